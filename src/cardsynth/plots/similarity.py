"""Figures of pairs of pictures, of metrics against ratings, and of rank correlations."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from cardsynth.evaluation.similarity.agreement import RankCorrelation
from cardsynth.evaluation.similarity.tables import RatingTable
from cardsynth.plots.cards import DARK, WARNING, NotebookFigure, new_axes

DECIMALS = {"mse": 4}
COLOURS = (DARK, WARNING, "#6b9a4b", "#8a6bb0", "#c9a227")


def show_pairs(
    first: torch.Tensor, second: torch.Tensor, values: Mapping[str, Sequence[float]], titles: Sequence[str]
) -> Figure:
    """Shows pairs of pictures, the first above the second, with the values of the metrics below each pair.

    Args:
        first: First pictures, uint8 (N, C, H, W); only RGB is shown.
        second: Second pictures, of the same shape.
        values: For each metric, one value per pair.
        titles: One title per pair.

    Raises:
        ValueError: There are no pairs, or the numbers of pictures, titles and values differ.
    """
    count = len(first)
    if not count or {len(second), len(titles), *map(len, values.values())} != {count}:
        raise ValueError(f"there are {count} pairs to show; give as many second pictures, titles and values")
    height, width = first.shape[2:]
    inches, head, foot = min(1.3, 9.5 / count), 0.22, 0.1 + 0.15 * len(values)
    tall, gap = inches * height / width, 0.06
    total = head + 2 * tall + gap + foot
    figure = NotebookFigure(figsize=(count * (inches + gap), total), dpi=100)
    for index, title in enumerate(titles):
        left, wide = index / count, inches / (inches + gap) / count
        for pixels, bottom in ((first, foot + tall + gap), (second, foot)):
            axes = figure.add_axes((left, bottom / total, wide, tall / total))
            axes.imshow(pixels[index, :3].permute(1, 2, 0).cpu().numpy(), interpolation="nearest", aspect="auto")
            axes.axis("off")
        lines = [f"{name} {of_pairs[index]:.{DECIMALS.get(name, 2)}f}" for name, of_pairs in values.items()]
        center = left + wide / 2
        figure.text(center, 1 - 0.04 / total, title, fontsize=9, ha="center", va="top")
        figure.text(center, (foot - 0.06) / total, "\n".join(lines), fontsize=8, ha="center", va="top")
    return figure


def plot_against_ratings(table: RatingTable, groups: Sequence[str] | None = None) -> Figure:
    """Plots each metric against the mean rating of each pair, in one panel per metric.

    Args:
        table: Ratings and metrics.
        groups: One group per pair, shown by colour; by default all pairs form one group.

    Raises:
        ValueError: The table has no metrics or no ratings.
    """
    if table.metrics.empty or table.ratings.empty:
        raise ValueError("there is nothing to plot: the table requires metrics and ratings")
    groups = np.array(groups or ["pairs"] * len(table.pairs))
    figure = NotebookFigure(figsize=(2.7 * table.metrics.shape[1], 2.9), dpi=100, layout="constrained")
    panels = figure.subplots(1, table.metrics.shape[1], sharey=True, squeeze=False)[0]
    names = list(dict.fromkeys(groups.tolist()))
    for axes, (metric, values) in zip(panels, table.metrics.items(), strict=True):
        for number, group in enumerate(names):
            colour, members = COLOURS[number % len(COLOURS)], groups == group
            axes.plot(values[members], table.people[members], "o", color=colour, alpha=0.8, label=group)
        axes.set_xlabel(metric)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("mean rating")
    if len(names) > 1:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def plot_correlations(correlations: Mapping[str, Sequence[RankCorrelation]]) -> Figure:
    """Plots rank correlations of metrics with ratings and their 95% intervals.

    Filled dots mark significant correlations, hollow dots mark others.

    Args:
        correlations: For each set of ratings, by its name, the correlations of the metrics.

    Raises:
        ValueError: There are no correlations.
    """
    rows = [(title, entry) for title, entries in correlations.items() for entry in entries]
    if not rows:
        raise ValueError("there are no correlations to plot")
    figure, axes = new_axes(6.5, 0.36 * len(rows) + 0.9)
    axes.axvline(0, color="#999999", linewidth=0.8)
    for row, (title, entry) in enumerate(rows):
        colour = COLOURS[list(correlations).index(title) % len(COLOURS)]
        axes.plot((entry.low, entry.high), (row, row), color=colour, linewidth=1.8)
        filled = colour if entry.verdict != "nothing shown" else "white"
        axes.plot(entry.value, row, "o", color=colour, markerfacecolor=filled, markersize=7)
    names = [f"{entry.metric} ({title})" if len(correlations) > 1 else entry.metric for title, entry in rows]
    axes.set_yticks(range(len(rows)), names)
    axes.set(xlim=(-1.03, 1.03), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xlabel("rank correlation with the ratings: 1 the same order, -1 the reverse")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure
