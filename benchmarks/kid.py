"""KID of cards: how far their features lie from those of drawn cards, with an error bar (Binkowski et al. 2018).

The features are those of a judge net trained on drawn cards alone, so no downloaded weights are needed and no generated
card has a say in what counts. They are means of its feature maps at each level: texture, print and damage, not place.
"""

from dataclasses import dataclass

import numpy as np
import torch

from cardsynth.cards import stack_cards
from cardsynth.evaluation import select
from cardsynth.features import FeatureNet, cardnet
from cardsynth.judge import JudgeNet, ask, train_judge
from cardsynth.render import draw_cards

STEPS = 600
GROUPS = 20


@dataclass(frozen=True)
class Ruler:
    """A judge, the feature net that it makes, and classes and features float64 (N, F) of real cards."""

    judge: JudgeNet
    net: FeatureNet
    real: torch.Tensor
    real_labels: torch.Tensor
    accuracy: float


@dataclass(frozen=True)
class Distance:
    """A KID and its standard error; `low` and `high` bound its 95 % interval."""

    value: float
    error: float

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.value - 1.96 * self.error

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.value + 1.96 * self.error


def build_ruler(
    size: tuple[int, int], styles: tuple[str, ...], train_count: int, real_count: int, seed: int, first_seed: int
) -> Ruler:
    """Train the net on `train_count` cards of (height, width), and measure `real_count` others; none is drawn twice."""
    cards = stack_cards(draw_cards(train_count + real_count, size, seed=first_seed, styles=styles))
    shown = select(cards, torch.arange(train_count))
    real = select(cards, torch.arange(train_count, train_count + real_count))
    judge = train_judge(shown, steps=STEPS, seed=seed)
    net = cardnet(judge, shown)
    right = ask(judge, real).labels == real.labels
    return Ruler(judge, net, net.measure(real.pixels), real.labels, right.double().mean().item())


def features(ruler: Ruler, pixels: torch.Tensor) -> torch.Tensor:
    """Features float64 (N, F) of cards uint8 (N, C, H, W)."""
    return ruler.net.measure(pixels)


def kid(
    generated: torch.Tensor,
    generated_labels: torch.Tensor,
    real: torch.Tensor,
    real_labels: torch.Tensor,
    groups: int = GROUPS,
) -> Distance:
    """KID of features (N, F) and (M, F) with their classes (N,) and (M,): cubic kernel, unbiased, over all cards.

    Its error is the jackknife's: the spread of what is found when one of `groups` groups of cards is left out, first of
    the generated, then of the real (Efron & Tibshirani 1993, chapter 11; the two are independent). A group is of cards
    that follow each other, and so of all classes alike where these take turns.
    """
    sets = [(generated.numpy(), generated_labels.numpy()), (real.numpy(), real_labels.numpy())]
    kernels = {(a, b): (sets[a][0] @ sets[b][0].T / generated.shape[1] + 1) ** 3 for a, b in ((0, 0), (0, 1), (1, 1))}
    everything = [np.arange(len(labels)) for _, labels in sets]

    def distance(chosen: list[np.ndarray]) -> float:
        total = 0.0
        for (a, b), kernel in kernels.items():
            part = kernel[np.ix_(chosen[a], chosen[b])]
            weights = pair_weights(sets[a][1][chosen[a]], sets[b][1][chosen[b]], same_cards=a == b)
            total += (1 if a == b else -2) * float((weights * part).sum())
        return total

    variance = 0.0
    for side, cards in enumerate(everything):
        left_out = [cards[cards * groups // len(cards) != group] for group in range(groups)]
        found = [distance([kept, everything[1]] if side == 0 else [everything[0], kept]) for kept in left_out]
        variance += (groups - 1) * np.var(found)
    return Distance(distance(everything), float(np.sqrt(variance)))


def pair_weights(labels: np.ndarray, others: np.ndarray, same_cards: bool) -> np.ndarray:
    """Weights (N, M) that turn a kernel's values into its mean over pairs of cards whose classes are equally likely.

    A card is not paired with itself. The plain mean (Gretton et al. 2012, equation 3) would be biased here: cards whose
    classes take turns have fewer pairs of one class than cards of random classes.
    """
    one, other = (np.unique(classes, return_inverse=True)[1] for classes in (labels, others))
    counts = np.outer(np.bincount(one), np.bincount(other)).astype(float)
    if same_cards:
        counts -= np.diag(np.bincount(one))
    weights = 1 / counts[one][:, other] / counts.size
    if same_cards:
        np.fill_diagonal(weights, 0)
    return weights
