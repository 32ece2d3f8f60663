"""Figures of pairs of pictures, of metrics against ratings, and of their rank correlations."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from cardsynth.evaluation.similarity.agreement import RankCorrelation
from cardsynth.evaluation.similarity.tables import RatingTable
from cardsynth.plots.cards import DARK, WARNING, NotebookFigure

DECIMALS = {"mse": 4}
COLOURS = (DARK, WARNING, "#6b9a4b", "#8a6bb0", "#c9a227")


def show_pairs(
    first: torch.Tensor, second: torch.Tensor, values: Mapping[str, Sequence[float]], titles: Sequence[str]
) -> Figure:
    """Pairs of pictures uint8 (N, C, H, W), RGB of each: the first above the second, and beneath each pair its figures.

    values: by metric, a value a pair. titles: one a pair. Raises ValueError for no pairs, or titles or values of
    another number.
    """
    count = len(first)
    if not count or {len(second), len(titles), *map(len, values.values())} != {count}:
        raise ValueError(f"there are {count} pairs to show; give as many second pictures, titles and values")
    height, width = first.shape[2:]
    inches, head, foot = min(1.3, 9.5 / count), 0.22, 0.1 + 0.15 * len(values)
    tall, gap = inches * height / width, 0.06
    total = head + 2 * tall + gap + foot
    figure = NotebookFigure(figsize=(count * (inches + gap), total), dpi=100)
    for place, title in enumerate(titles):
        left, wide = place / count, inches / (inches + gap) / count
        for pixels, bottom in ((first, foot + tall + gap), (second, foot)):
            axes = figure.add_axes((left, bottom / total, wide, tall / total))
            axes.imshow(pixels[place, :3].permute(1, 2, 0).cpu().numpy(), interpolation="nearest", aspect="auto")
            axes.axis("off")
        lines = [f"{name} {found[place]:.{DECIMALS.get(name, 2)}f}" for name, found in values.items()]
        middle = left + wide / 2
        figure.text(middle, 1 - 0.04 / total, title, fontsize=9, ha="center", va="top")
        figure.text(middle, (foot - 0.06) / total, "\n".join(lines), fontsize=8, ha="center", va="top")
    return figure


def plot_against_ratings(table: RatingTable, groups: Sequence[str] | None = None) -> Figure:
    """Each metric against the mean rating of each pair, a panel a metric, pairs coloured by group.

    groups: one a pair, by default all of one colour. Raises ValueError for a table without metrics or ratings.
    """
    if not table.metrics or not table.ratings:
        raise ValueError("there is nothing to plot: the table takes metrics and ratings")
    groups = groups or ["pairs"] * len(table.pairs)
    figure = NotebookFigure(figsize=(2.7 * len(table.metrics), 2.9), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(table.metrics), sharey=True, squeeze=False)[0]
    colours = {group: COLOURS[place % len(COLOURS)] for place, group in enumerate(dict.fromkeys(groups))}
    for axes, (name, values) in zip(panels, table.metrics.items(), strict=True):
        for group, colour in colours.items():
            chosen = [place for place, one in enumerate(groups) if one == group]
            axes.plot(np.array(values)[chosen], table.people[chosen], "o", color=colour, alpha=0.8, label=group)
        axes.set_xlabel(name)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean rating")
    if len(colours) > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def plot_correlations(found: Mapping[str, Sequence[RankCorrelation]]) -> Figure:
    """Rank correlation of each metric with ratings, a dot with its interval of 95 %, for one or more sets of ratings.

    found: by the name of the set. Filled dots: shown at the level of `ratings.LEVEL`; hollow ones: nothing shown.
    Raises ValueError where there are none.
    """
    rows = [(title, one) for title, correlations in found.items() for one in correlations]
    if not rows:
        raise ValueError("there are no correlations to plot")
    figure = NotebookFigure(figsize=(6.5, 0.36 * len(rows) + 0.9), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="#999999", linewidth=0.8)
    for place, (title, one) in enumerate(rows):
        colour = COLOURS[list(found).index(title) % len(COLOURS)]
        axes.plot((one.low, one.high), (place, place), color=colour, linewidth=1.8)
        filled = colour if one.verdict != "nothing shown" else "white"
        axes.plot(one.value, place, "o", color=colour, markerfacecolor=filled, markersize=7)
    names = [f"{one.metric} ({title})" if len(found) > 1 else one.metric for title, one in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set(xlim=(-1.03, 1.03), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xlabel("rank correlation with the ratings: 1 the same order, -1 the reverse")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure
