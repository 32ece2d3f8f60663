"""Measures how abruptly cards change along a path through latent space, by distances between their features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from cardsynth.evaluation.features import FeatureNet
from cardsynth.latents.latent_model import LatentModel
from cardsynth.latents.walks import Labels, interpolate
from cardsynth.plots.cards import new_axes
from cardsynth.plots.curves import COLOURS
from cardsynth.util.intervals import Figure as MeanFigure
from cardsynth.util.intervals import mean_figure


@dataclass(frozen=True)
class Steps:
    """Feature distances along a path of cards.

    Attributes:
        distances: Distance from each card to the next.
        end_to_end: Distance from the first card to the last.
        net: Name of the feature net.
    """

    distances: tuple[float, ...]
    end_to_end: float
    net: str

    @property
    def abruptness(self) -> float:
        """Ratio of the largest step to the mean step: 1 for an even path, the number of steps for a single jump.

        It is 1 if all cards are equal.
        """
        mean = float(np.mean(self.distances))
        return max(self.distances) / mean if mean else 1.0

    @property
    def detour(self) -> float:
        """Ratio of the path's length to the distance of its ends: 1 for a straight path; NaN if the ends are equal."""
        return sum(self.distances) / self.end_to_end if self.end_to_end else float("nan")


def measure_steps(net: FeatureNet, cards: torch.Tensor) -> Steps:
    """Measures the Euclidean feature distances along a path of at least two cards, uint8 (N, C, H, W)."""
    if len(cards) < 2:
        raise ValueError(f"a path takes at least two cards, not {len(cards)}")
    features = net.measure(cards)
    distances = (features[1:] - features[:-1]).norm(dim=1)
    return Steps(tuple(distances.tolist()), (features[-1] - features[0]).norm().item(), net.name)


def measure_ways(
    model: LatentModel,
    net: FeatureNet,
    pairs: Sequence[tuple[int, int]],
    count: int = 33,
    labels: Labels = None,
    how: str = "spherical",
) -> list[Steps]:
    """Measures a path of `count` cards between each pair of seeds; for `labels` and `how` see `walks.interpolate`."""
    return [measure_steps(net, interpolate(model, pair, count, labels, how)) for pair in pairs]


def summarize(ways: Sequence[Steps]) -> tuple[MeanFigure, MeanFigure]:
    """Returns the mean abruptness and the mean detour of at least two paths, with 95% confidence intervals.

    Raises:
        TooFewSamplesError: There are fewer than two paths.
    """
    return mean_figure([way.abruptness for way in ways]), mean_figure([way.detour for way in ways])


def plot_steps(ways: Mapping[str, Steps]) -> Figure:
    """Plots the steps of named paths as multiples of each path's mean step, with the largest in the legend."""
    if not ways:
        raise ValueError("no paths to plot; give at least one")
    figure, axes = new_axes(6.5, 2.8)
    for index, (name, way) in enumerate(ways.items()):
        lengths = np.array(way.distances) / (np.mean(way.distances) or 1.0)
        middles = (np.arange(len(lengths)) + 0.5) / len(lengths)
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(middles, lengths, color=colour, linewidth=1.8, label=f"{name}: largest {way.abruptness:.1f}")
    axes.axhline(1, color="#999999", linewidth=1, linestyle=":")
    axes.set(xlim=(0, 1), xlabel="share of the path", ylabel="step / mean step")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    return figure
