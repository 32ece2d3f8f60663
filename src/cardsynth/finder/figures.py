"""Measures how well a damage finder detects damage on unseen cards: by pixel, box and class."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torchmetrics.detection import MeanAveragePrecision

from cardsynth.cards.dataset import Cards
from cardsynth.evaluation.masks import MATCH, box_iou
from cardsynth.finder.batches import damage_targets
from cardsynth.finder.net import (
    DamageFinder,
    Detection,
    damage_probabilities,
    detect_damages,
)
from cardsynth.util.intervals import Figure, jackknife

RESAMPLINGS = 400
COCO_HEIGHT = 640  # pixels to which boxes are scaled: COCO's small, medium and large end at 32 and 96 pixels squared
SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class DetectionFigures:
    """Agreement of detected damage with the masks of cards; all figures in 0 to 1, with 95% intervals.

    Attributes:
        count: Number of cards.
        labels: Damage classes of the finder.
        iou: Intersection over union of pixels by class, over all cards; only classes that occur in the cards.
        dice: Dice coefficient of pixels by class.
        mean_iou: Mean of `iou` over the classes.
        any_iou: Intersection over union of damage regardless of class.
        map50: Mean average precision of boxes at an IoU of 0.5.
        map50_95: Mean average precision over IoUs of 0.5 to 0.95 (COCO).
        average_precision: Average precision over IoUs of 0.5 to 0.95 by class.
        precision_of_size: The same by size of the box on a card 640 pixels high: under 32x32, under 96x96, larger.
        confusion: Number of boxes by true class (row) and detected class (column), matched at an IoU of 0.5. The last
            column counts missed damage, the last row false alarms.
    """

    count: int
    labels: tuple[str, ...]
    iou: dict[str, float]
    dice: dict[str, float]
    mean_iou: Figure
    any_iou: Figure
    map50: Figure
    map50_95: Figure
    average_precision: dict[str, float]
    precision_of_size: dict[str, float]
    confusion: list[list[int]]

    def text(self) -> str:
        """Returns the figures in three lines."""
        classes = ", ".join(f"{name} {value:.2f}" for name, value in self.iou.items())
        sizes = ", ".join(f"{name} {value:.2f}" for name, value in self.precision_of_size.items())
        return (
            f"{self.count} cards: mean IoU {self.mean_iou.text()}, of any damage {self.any_iou.text()}\n"
            f"by class: {classes}\n"
            f"boxes: mAP50 {self.map50.text()}, mAP50-95 {self.map50_95.text()}; by size: {sizes}"
        )


class _Comparison:
    """Predictions of a finder beside the true damage of cards, by pixel and by box."""

    def __init__(self, finder: DamageFinder, cards: Cards) -> None:
        self.labels, self.scale = finder.labels, COCO_HEIGHT / cards.size[0]
        self.targets = damage_targets(cards, finder.labels)
        probabilities = damage_probabilities(finder, cards.pixels)
        self.predicted = probabilities.argmax(dim=1)
        self.counts = pixel_counts(self.predicted, self.targets, len(finder.labels))
        self.any_counts = pixel_counts((self.predicted > 0).long(), (self.targets > 0).long(), 1)
        self.detected = [detect_damages(card, finder.labels) for card in probabilities]
        one_hot = (torch.nn.functional.one_hot(target, 1 + len(finder.labels)).float() for target in self.targets)
        self.true = [detect_damages(card.permute(2, 0, 1), finder.labels, min_pixels=1) for card in one_hot]

    def average_precision(self, chosen: np.ndarray | None = None) -> dict[str, Any]:
        """Average precisions of torchmetrics (`map`, `map_50`, `map_small`, ...), and by class number in `classes`."""
        metric = MeanAveragePrecision(box_format="xywh", class_metrics=True)
        metric.warn_on_many_detections = False
        indices = range(len(self.true)) if chosen is None else chosen.tolist()
        detected = [self._boxes(self.detected[index]) for index in indices]
        metric.update(detected, [self._boxes(self.true[index]) for index in indices])
        values = metric.compute()
        numbers, precisions = values["classes"].reshape(-1).tolist(), values["map_per_class"].reshape(-1).tolist()
        singles = {name: float(value) for name, value in values.items() if value.numel() == 1}
        return singles | {"classes": {n: value for n, value in zip(numbers, precisions, strict=True) if value >= 0}}

    def _boxes(self, damages: list[Detection]) -> dict[str, torch.Tensor]:
        boxes = torch.tensor([damage.box for damage in damages], dtype=torch.float).reshape(-1, 4)
        return {
            "boxes": boxes * self.scale,
            "labels": torch.tensor([self.labels.index(damage.label) for damage in damages], dtype=torch.long),
            "scores": torch.tensor([damage.score for damage in damages]),
        }

    def confusion(self) -> list[list[int]]:
        """Counts boxes as `DetectionFigures.confusion` describes."""
        counts = np.zeros((len(self.labels) + 1, len(self.labels) + 1), int)
        for damages, truths in zip(self.detected, self.true, strict=True):
            free = list(damages)
            for truth in truths:
                overlaps = [box_iou(list(damage.box), list(truth.box)) for damage in free]
                column = -1
                if overlaps and max(overlaps) >= MATCH:
                    column = self.labels.index(free.pop(int(np.argmax(overlaps))).label)
                counts[self.labels.index(truth.label), column] += 1
            for damage in free:
                counts[-1, self.labels.index(damage.label)] += 1
        return counts.tolist()


def detection_figures(finder: DamageFinder, cards: Cards, seed: int = 0) -> DetectionFigures:
    """Measures a finder on cards with masks.

    Intervals of IoU come from a bootstrap over cards, those of average precision from a jackknife over ten groups.

    Args:
        finder: The finder.
        cards: Cards with masks that it was not trained on.
        seed: Seed of the bootstrap.

    Raises:
        CardError: The cards have no masks.
    """
    comparison = _Comparison(finder, cards)
    shared, joined, area = comparison.counts
    present = [number for number in range(len(finder.labels)) if (comparison.targets == number + 1).any()]
    drawn = np.random.default_rng(seed).integers(0, len(cards), (RESAMPLINGS, len(cards)))
    whole, groups = comparison.average_precision(), np.arange(len(cards)) % 10
    without = [comparison.average_precision(np.flatnonzero(groups != group)) for group in range(10)]
    return DetectionFigures(
        count=len(cards),
        labels=finder.labels,
        iou={finder.labels[n]: float(shared[:, n].sum() / max(1, joined[:, n].sum())) for n in present},
        dice={finder.labels[n]: float(2 * shared[:, n].sum() / max(1, area[:, n].sum())) for n in present},
        mean_iou=_bootstrap(shared[:, present], joined[:, present], drawn),
        any_iou=_bootstrap(*comparison.any_counts[:2], drawn),
        map50=jackknife(whole["map_50"], [values["map_50"] for values in without]),
        map50_95=jackknife(whole["map"], [values["map"] for values in without]),
        average_precision={finder.labels[n]: value for n, value in whole["classes"].items()},
        precision_of_size={size: whole[f"map_{size}"] for size in SIZES if whole[f"map_{size}"] >= 0},
        confusion=comparison.confusion(),
    )


def plain_figures(finder: DamageFinder, cards: Cards) -> dict[str, Any]:
    """Measures a finder without intervals: `mean_iou`, `any_iou`, `iou` by class and `map50`, in 0 to 1."""
    comparison = _Comparison(finder, cards)
    shared, joined, _ = (counts.sum(axis=0) for counts in comparison.counts)
    iou = {name: part / total for name, part, total in zip(finder.labels, shared, joined, strict=True) if total}
    any_shared, any_joined, _ = (float(counts.sum()) for counts in comparison.any_counts)
    return {
        "mean_iou": float(np.mean(list(iou.values()))),
        "any_iou": any_shared / max(1, any_joined),
        "iou": iou,
        "map50": comparison.average_precision()["map_50"],
    }


def seen_cards(finder: DamageFinder, cards: Cards) -> Cards:
    """Returns the cards with the damage that a finder predicts, of any class, as their masks."""
    predicted = damage_probabilities(finder, cards.pixels).argmax(dim=1) > 0
    masks = predicted[:, None] * torch.tensor(255, dtype=torch.uint8)
    return replace(cards, pixels=torch.cat([cards.pixels[:, :3], masks], 1))


def pixel_counts(
    predicted: torch.Tensor, targets: torch.Tensor, classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts pixels by card and class.

    Args:
        predicted: Predicted classes, int64 (N, H, W), 0 for undamaged.
        targets: True classes, int64 (N, H, W).
        classes: Number of damage classes.

    Returns:
        Pixels in the intersection of both maps, in their union, and the sum of both areas; each float64 (N, classes).
    """
    counts = np.empty((3, len(predicted), classes))
    for number in range(classes):
        left, right = predicted == number + 1, targets == number + 1
        for row, pixels in enumerate((left & right, left | right, left.int() + right.int())):
            counts[row, :, number] = pixels.sum(dim=(1, 2)).numpy()
    return counts[0], counts[1], counts[2]


def _bootstrap(shared: np.ndarray, joined: np.ndarray, drawn: Sequence[np.ndarray]) -> Figure:
    """Mean IoU over classes from pixel counts (N, classes), with an interval over resampled cards."""

    def mean_iou(cards: np.ndarray | slice) -> float:
        total = joined[cards].sum(axis=0)
        return float((shared[cards].sum(axis=0) / np.maximum(1, total))[total > 0].mean()) if total.any() else 0.0

    low, high = np.quantile([mean_iou(cards) for cards in drawn], (0.025, 0.975))
    return Figure(mean_iou(slice(None)), float(low), float(high))
