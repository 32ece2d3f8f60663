"""Figures of a sweep: each setting's values side by side, and cards by each setting on one sheet."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cardsynth.evaluation.metrics import Figure as Measured
from cardsynth.plots.cards import DARK, LIGHT, WARNING, NotebookFigure, show_rows
from cardsynth.studies.sweeps.config import Sweep
from cardsynth.studies.sweeps.data import read_generated
from cardsynth.studies.sweeps.factors import Factor, changes_text, factors_of
from cardsynth.studies.sweeps.rows import MEASURES, SweepRow
from cardsynth.studies.sweeps.run import CARDS
from cardsynth.studies.sweeps.summary import Effect, effects, family_of, left_over, mean_figure_of, within_share

SHOWN = ("KID", "recall", "class accuracy", "mask IoU")
WIDE = 10  # times the least value that the largest may be before an axis of distances is logarithmic


def plot_sweep(sweep: Sweep, rows: Sequence[SweepRow]) -> Figure:
    """A row of panels for each swept setting, a panel for each measure: runs, mean and interval of 95 % of each value.

    Only runs with a partner that differs in this setting alone are shown. Values that are better for sure than the
    first one are dark, worse for sure red, others light. Raises ValueError where no run is done.
    """
    measures = [name for name in SHOWN if any(name in row.figures for row in rows)]
    if not measures:
        raise ValueError("no run of the sweep is judged yet; run it first")
    factors = factors_of(sweep)
    heights = [0.34 * len(factor.values) + 0.75 for factor in factors] or [1.0]
    figure = NotebookFigure(figsize=(3.1 * len(measures) + 1.2, sum(heights)), dpi=100, layout="constrained")
    panels = figure.subplots(len(heights), len(measures), squeeze=False, height_ratios=heights)
    for column, name in enumerate(measures):
        found = effects(factors, rows, name)
        for factor, axes in zip(factors, panels[:, column], strict=False):
            own = {one.value: one for one in found if one.factor == factor}
            _draw_panel(axes, factor, family_of(factor, factors, rows, name), own, MEASURES[name].share)
            axes.set_yticks(range(len(factor.values)), factor.values if not column else [], fontsize=8)
            axes.set_ylim(len(factor.values) - 0.5, -0.5)
            axes.set_title(factor.name if not column else "", loc="left", fontsize=9, fontweight="bold")
        panels[-1, column].set_xlabel(name, fontsize=9)
    return figure


def _draw_panel(
    axes: Axes, factor: Factor, family: dict[str, dict[str, Measured]], found: dict[str, Effect], share: bool
) -> None:
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    if not family:
        axes.text(0, 0, "nothing to compare", transform=axes.transAxes, fontsize=8, color=WARNING)
        axes.set_xticks([])
        return
    spread, freedom = left_over(family)
    figures = [one.value for of in family.values() for one in of.values()]
    for place, value in enumerate(factor.values):
        own = list(family.get(value, {}).values())
        if not own:
            continue
        effect = found.get(value)
        colour = "#888888" if place == 0 else {1: DARK, 0: LIGHT, -1: WARNING}[effect.sure if effect else 0]
        mean = mean_figure_of(own, spread, freedom, share)
        if share:
            mean = within_share(mean)
        axes.plot([one.value for one in own], [place] * len(own), ".", color="#777777", markersize=4, zorder=3)
        axes.plot([mean.low, mean.high], [place] * 2, color=colour, linewidth=3, solid_capstyle="butt")
        axes.plot(mean.value, place, "o", color=colour)
        if place == 0:
            axes.axvline(mean.value, color="#888888", linewidth=0.8, zorder=0)
    if min(figures) > 0 and max(figures) > WIDE * min(figures):
        axes.set_xscale("log", nonpositive="clip")
        axes.set_xlim(min(figures) / 2, max(figures) * 2)


def show_samples(sweep: Sweep, rows: Sequence[SweepRow], out: str | Path, columns: int = 10) -> Figure:
    """The first cards of each setting's first model, a row a setting, all from the same seeds: masks outlined.

    Raises ValueError where no run is done.
    """
    shown = {}
    for row in rows:
        if not row.failed:
            shown.setdefault(changes_text(row.run.changes), row.run)
    if not shown:
        raise ValueError("no run of the sweep has generated cards yet; run it first")
    return show_rows(
        {
            settings: read_generated(sweep, run, Path(out) / CARDS / run.name).pixels[:columns]
            for settings, run in shown.items()
        }
    )
