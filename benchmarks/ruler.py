"""What cards are measured by: a feature net that learnt from drawn cards, and others as reference.

The features are those of a judge net trained on drawn cards alone, so no downloaded weights are needed and no generated
card has a say in what counts. They are means of its feature maps at each level: texture, print and damage, not place.
"""

from dataclasses import dataclass

import torch

from cardsynth.cards.dataset import Cards, stack_cards
from cardsynth.evaluation.evaluate import select
from cardsynth.evaluation.features import FeatureNet, cardnet, known_judge
from cardsynth.evaluation.judge import JudgeNet, ask
from cardsynth.evaluation.metrics import kernel_distance
from cardsynth.render.draw import draw_cards
from cardsynth.util.intervals import Figure


@dataclass(frozen=True)
class Ruler:
    """A judge, the feature net that it makes, and classes and features float64 (N, F) of real cards."""

    judge: JudgeNet
    net: FeatureNet
    real: torch.Tensor
    real_labels: torch.Tensor
    accuracy: float

    def kid(self, pixels: torch.Tensor, labels: torch.Tensor | None = None) -> Figure:
        """KID of cards uint8 (N, C, H, W) to real ones whose classes have the same shares.

        labels: int64 (N,), what the cards were made as; without them, what the judge takes them for.
        """
        if labels is None:
            nothing = torch.zeros(len(pixels), dtype=torch.long)
            labels = ask(self.judge, Cards(pixels, nothing)).labels
        counts = torch.bincount(labels, minlength=int(self.real_labels.max()) + 1)
        times = float((torch.bincount(self.real_labels)[counts > 0] / counts[counts > 0]).min())
        shares = [round(times * count) for count in counts.tolist()]
        if sum(shares) < len(self.real) / 4:  # cards that are taken for one class almost all, like noise
            shares = [len(self.real)] * len(shares)
        of_class = [torch.nonzero(self.real_labels == label).flatten() for label in range(len(shares))]
        chosen = torch.cat([places[:share] for places, share in zip(of_class, shares, strict=True)])
        return kernel_distance(self.net.measure(pixels), self.real[chosen], labels, self.real_labels[chosen])

    def floor(self, count: int) -> Figure:
        """KID of the first so many real cards against the others."""
        sides = slice(count), slice(count, None)
        return kernel_distance(*(self.real[side] for side in sides), *(self.real_labels[side] for side in sides))


def build_ruler(
    size: tuple[int, int], styles: tuple[str, ...], train_count: int, real_count: int, seed: int, first_seed: int
) -> Ruler:
    """Train the net on `train_count` cards of (height, width), and measure `real_count` others; none is drawn twice."""
    cards = stack_cards(draw_cards(train_count + real_count, size, seed=first_seed, styles=styles))
    shown = select(cards, torch.arange(train_count))
    real = select(cards, torch.arange(train_count, train_count + real_count))
    judge = known_judge(shown, seed)
    net = cardnet(judge, shown)
    right = ask(judge, real).labels == real.labels
    return Ruler(judge, net, net.measure(real.pixels), real.labels, right.double().mean().item())
