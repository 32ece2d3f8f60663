"""Figures of a sweep: the values of each factor side by side, and generated cards of each setting on one sheet."""

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardsynth.plots.cards import DARK, LIGHT, WARNING, NotebookFigure, show_rows
from cardsynth.studies.plots import draw_interval, strip_axes
from cardsynth.studies.sweeps.config import Sweep
from cardsynth.studies.sweeps.data import read_generated
from cardsynth.studies.sweeps.factors import Factor, changes_text, factors_of
from cardsynth.studies.sweeps.rows import MEASURES, SweepRow
from cardsynth.studies.sweeps.run import CARDS
from cardsynth.studies.sweeps.summary import Effect, blocks_of, effects, mean_figure_of, residual_spread

SHOWN = ("KID", "recall", "class accuracy", "mask IoU")
COLORS = {1: DARK, 0: LIGHT, -1: WARNING}  # of values that are better, not distinguished, and worse
WIDE = 10  # ratio of the largest to the smallest distance from which an axis is logarithmic


def plot_sweep(sweep: Sweep, rows: Sequence[SweepRow]) -> Figure:
    """Plots one row of panels per factor and one panel per measure: runs, mean and 95% interval of each value.

    Only runs with a partner that differs in this factor alone are shown. Values better than the reference with
    certainty are dark, worse ones red, others light.

    Args:
        sweep: The sweep.
        rows: Results of its runs.

    Raises:
        ValueError: No run is finished.
    """
    measures = [name for name in SHOWN if any(name in row.figures for row in rows)]
    if not measures:
        raise ValueError("no run of the sweep is judged yet; run it first")
    factors = factors_of(sweep)
    heights = [0.34 * len(factor.values) + 0.75 for factor in factors] or [1.0]
    figure = NotebookFigure(figsize=(3.1 * len(measures) + 1.2, sum(heights)), dpi=100, layout="constrained")
    panels = figure.subplots(len(heights), len(measures), squeeze=False, height_ratios=heights)
    for column, name in enumerate(measures):
        compared = effects(factors, rows, name)
        for factor, axes in zip(factors, panels[:, column], strict=False):
            by_value = {effect.value: effect for effect in compared if effect.factor == factor}
            _draw_panel(axes, factor, blocks_of(factor, factors, rows, name), by_value, MEASURES[name].share)
            axes.set_yticks(range(len(factor.values)), factor.values if not column else [], fontsize=8)
            axes.set_ylim(len(factor.values) - 0.5, -0.5)
            axes.set_title(factor.name if not column else "", loc="left", fontsize=9, fontweight="bold")
        panels[-1, column].set_xlabel(name, fontsize=9)
    return figure


def _draw_panel(axes: Axes, factor: Factor, blocks: pd.DataFrame, by_value: dict[str, Effect], share: bool) -> None:
    strip_axes(axes)
    axes.tick_params(axis="x", labelsize=8)
    if blocks.empty:
        axes.text(0, 0, "nothing to compare", transform=axes.transAxes, fontsize=8, color=WARNING)
        axes.set_xticks([])
        return
    spread, freedom = residual_spread(blocks)
    values = blocks.stack().dropna().map(attrgetter("value"))
    for row, value in enumerate(factor.values):
        if value not in blocks:
            continue
        figures = blocks[value].dropna()
        color = COLORS[by_value[value].sure if value in by_value else 0] if row else "#888888"
        mean = mean_figure_of(figures, spread, freedom, share)
        if share:
            mean = mean.within(0.0, 1.0)
        axes.plot(
            [figure.value for figure in figures], [row] * len(figures), ".", color="#777777", markersize=4, zorder=3
        )
        draw_interval(axes, row, mean, color)
        if row == 0:
            axes.axvline(mean.value, color="#888888", linewidth=0.8, zorder=0)
    if values.min() > 0 and values.max() > WIDE * values.min():
        axes.set_xscale("log", nonpositive="clip")
        axes.set_xlim(values.min() / 2, values.max() * 2)


def show_samples(sweep: Sweep, rows: Sequence[SweepRow], out: str | Path, columns: int = 10) -> Figure:
    """Shows the first cards of each setting's first model, one row per setting, all from the same seeds.

    Args:
        sweep: The sweep.
        rows: Results of its runs.
        out: Folder of the sweep.
        columns: Number of cards per setting.

    Raises:
        ValueError: No run is finished.
    """
    first = {}
    for row in rows:
        if not row.failed:
            first.setdefault(changes_text(row.run.changes), row.run)
    if not first:
        raise ValueError("no run of the sweep has generated cards yet; run it first")
    return show_rows(
        {
            settings: read_generated(sweep, run, Path(out) / CARDS / run.name).pixels[:columns]
            for settings, run in first.items()
        }
    )
