"""How abrupt a way through latent space is: how far apart, in features, the cards lie that follow each other."""

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
    """Distances, in features of the net `net`, of each card of a way to the next, and of its first to its last card."""

    distances: tuple[float, ...]
    end_to_end: float
    net: str

    @property
    def abruptness(self) -> float:
        """The largest step by the mean one: 1 for an even way, the number of steps for one single jump.

        1 also where no two cards differ.
        """
        mean = float(np.mean(self.distances))
        return max(self.distances) / mean if mean else 1.0

    @property
    def detour(self) -> float:
        """The length of the way by the distance of its ends: 1 for the straight way; NaN where the ends are equal."""
        return sum(self.distances) / self.end_to_end if self.end_to_end else float("nan")


def measure_steps(net: FeatureNet, cards: torch.Tensor) -> Steps:
    """How far each of the cards uint8 (N, C, H, W) of a way lies from the next, Euclidean; two cards or more."""
    if len(cards) < 2:
        raise ValueError(f"a step takes two cards, and there are {len(cards)}")
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
    """The steps of a way of `count` cards between each pair of seeds; labels and how as of `walks.interpolate`."""
    return [measure_steps(net, interpolate(model, pair, count, labels, how)) for pair in pairs]


def summarize(ways: Sequence[Steps]) -> tuple[MeanFigure, MeanFigure]:
    """Mean abruptness and mean detour of several ways, with their intervals; raises TooFewSamples for under two."""
    return tuple(mean_figure([getattr(way, name) for way in ways]) for name in ("abruptness", "detour"))


def plot_steps(ways: Mapping[str, Steps]) -> Figure:
    """The length of each step along named ways, by the mean step of each, and how abrupt each is."""
    if not ways:
        raise ValueError("there are no ways to draw; give at least one")
    figure, axes = new_axes(6.5, 2.8)
    for index, (name, way) in enumerate(ways.items()):
        lengths = np.array(way.distances) / (np.mean(way.distances) or 1.0)
        middles = (np.arange(len(lengths)) + 0.5) / len(lengths)
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(middles, lengths, color=colour, linewidth=1.8, label=f"{name}: largest {way.abruptness:.1f}")
    axes.axhline(1, color="#999999", linewidth=1, linestyle=":")
    axes.set(xlim=(0, 1), xlabel="share of the way", ylabel="step, by the mean step")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    return figure
