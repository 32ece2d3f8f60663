"""How well a damage finder finds: pixels, boxes and classes, against the masks of cards that it has not seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torchmetrics.detection import MeanAveragePrecision

from cardsynth.cards.dataset import Cards
from cardsynth.evaluation.masks import MATCH, box_iou
from cardsynth.finder.net import DamageFinder, FoundDamage, damage_shares, found_damages
from cardsynth.finder.train import damage_targets
from cardsynth.util.intervals import Figure, jackknife

RESAMPLINGS = 400
SEEN_HEIGHT = 640  # pixels to which boxes are scaled: COCO's small, medium and large end at 32 and 96 pixels squared
SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class DetectionFigures:
    """How far found damage agrees with the masks of `count` cards; all figures in 0 to 1.

    iou, dice: by class, shared over joined pixels and twice the shared over all pixels, of all cards together; a class
    without damage in the cards is not named. mean_iou: mean of the classes' iou; any_iou: of damage of whatever class.
    map50, map50_95: mean average precision of boxes at an IoU of 0.5, and averaged over 0.5 to 0.95 (COCO). By class
    `average_precision` (0.5 to 0.95), by size `precision_of_size`: boxes of a card 640 pixels high of under 32x32
    pixels, under 96x96, and larger. confusion: counts of boxes by true class (row) and found class (column), boxes
    matched at an IoU of 0.5, background last: missed at the right, false alarms at the bottom.
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
        """The figures in a few lines."""
        classes = ", ".join(f"{name} {value:.2f}" for name, value in self.iou.items())
        sizes = ", ".join(f"{name} {value:.2f}" for name, value in self.precision_of_size.items())
        return "\n".join(
            [
                f"{self.count} cards: mean IoU {self.mean_iou.text()}, of any damage {self.any_iou.text()}",
                f"by class: {classes}",
                f"boxes: mAP50 {self.map50.text()}, mAP50-95 {self.map50_95.text()}; by size: {sizes}",
            ]
        )


def detection_figures(finder: DamageFinder, cards: Cards, seed: int = 0) -> DetectionFigures:
    """Figures of a finder on cards with masks; intervals over cards, by resampling (IoU) and leaving out tenths (mAP).

    Raises CardError for cards without masks.
    """
    targets = damage_targets(cards, finder.labels)
    shares = damage_shares(finder, cards.pixels)
    shared, joined, area = pixel_counts(shares.argmax(dim=1), targets, len(finder.labels))
    there = [number for number in range(len(finder.labels)) if (targets == number + 1).any()]
    random = np.random.default_rng(seed)
    drawn = random.integers(0, len(cards), (RESAMPLINGS, len(cards)))
    any_counts = pixel_counts((shares.argmax(dim=1) > 0).long(), (targets > 0).long(), 1)[:2]
    true = [_true_damages(target, finder.labels) for target in targets]
    found = [found_damages(share, finder.labels) for share in shares]
    scale = SEEN_HEIGHT / cards.size[0]
    tenths = np.arange(len(cards)) % 10
    whole = _average_precision(found, true, finder.labels, scale)
    without = [
        _average_precision(*(_kept(side, tenths != tenth) for side in (found, true)), finder.labels, scale)
        for tenth in range(10)
    ]
    return DetectionFigures(
        count=len(cards),
        labels=finder.labels,
        iou={finder.labels[n]: float(shared[:, n].sum() / max(1, joined[:, n].sum())) for n in there},
        dice={finder.labels[n]: float(2 * shared[:, n].sum() / max(1, area[:, n].sum())) for n in there},
        mean_iou=_resampled(shared[:, there], joined[:, there], drawn),
        any_iou=_resampled(*any_counts, drawn),
        map50=jackknife(whole["map_50"], [one["map_50"] for one in without]),
        map50_95=jackknife(whole["map"], [one["map"] for one in without]),
        average_precision={finder.labels[n]: value for n, value in whole["classes"].items()},
        precision_of_size={size: whole[f"map_{size}"] for size in SIZES if whole[f"map_{size}"] >= 0},
        confusion=_confusion(found, true, finder.labels),
    )


def plain_figures(finder: DamageFinder, cards: Cards) -> dict:
    """Mean IoU, IoU of any damage, IoU by class, and mAP50 of a finder on cards, in 0 to 1, without intervals."""
    targets, shares = damage_targets(cards, finder.labels), damage_shares(finder, cards.pixels)
    seen = shares.argmax(dim=1)
    shared, joined, _ = (counts.sum(axis=0) for counts in pixel_counts(seen, targets, len(finder.labels)))
    iou = {name: one / total for name, one, total in zip(finder.labels, shared, joined, strict=True) if total}
    either = (seen > 0) | (targets > 0)
    boxes = [[_true_damages(target, finder.labels) for target in targets]]
    boxes.insert(0, [found_damages(share, finder.labels) for share in shares])
    return {
        "mean_iou": float(np.mean(list(iou.values()))),
        "any_iou": float(((seen > 0) & (targets > 0)).sum() / max(1, int(either.sum()))),
        "iou": iou,
        "map50": _average_precision(*boxes, finder.labels, SEEN_HEIGHT / cards.size[0])["map_50"],
    }


def seen_cards(finder: DamageFinder, cards: Cards) -> Cards:
    """The cards with the damage that a finder sees on them as their masks, of whatever class."""
    found = damage_shares(finder, cards.pixels).argmax(dim=1) > 0
    return replace(
        cards, pixels=torch.cat([cards.pixels[:, :3], found[:, None] * torch.tensor(255, dtype=torch.uint8)], 1)
    )


def pixel_counts(found: torch.Tensor, targets: torch.Tensor, classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of each class (0 is none) that two maps int64 (N, H, W) share, join, have in sum: each (N, classes)."""
    counts = np.empty((3, len(found), classes))
    for number in range(classes):
        one, other = found == number + 1, targets == number + 1
        for place, of_card in enumerate((one & other, one | other, one.int() + other.int())):
            counts[place, :, number] = of_card.sum(dim=(1, 2)).numpy()
    return counts[0], counts[1], counts[2]


def _resampled(shared: np.ndarray, joined: np.ndarray, drawn: np.ndarray) -> Figure:
    """Mean over classes of shared over joined pixels (N, classes), with an interval over resampled cards."""

    def mean_iou(cards: np.ndarray | slice) -> float:
        total = joined[cards].sum(axis=0)
        return float((shared[cards].sum(axis=0) / np.maximum(1, total))[total > 0].mean()) if total.any() else 0.0

    low, high = np.quantile([mean_iou(cards) for cards in drawn], (0.025, 0.975))
    return Figure(mean_iou(slice(None)), float(low), float(high))


def _true_damages(target: torch.Tensor, labels: Sequence[str]) -> list[FoundDamage]:
    sure = torch.nn.functional.one_hot(target, 1 + len(labels)).permute(2, 0, 1).float()
    return found_damages(sure, tuple(labels), least=1)


def _kept(of_cards: list[list[FoundDamage]], kept: np.ndarray) -> list[list[FoundDamage]]:
    return [damages for damages, here in zip(of_cards, kept, strict=True) if here]


def _average_precision(
    found: list[list[FoundDamage]], true: list[list[FoundDamage]], labels: Sequence[str], scale: float
) -> dict:
    """What torchmetrics says of boxes: map, map_50, map_small and so on, and map by class number in `classes`."""
    metric = MeanAveragePrecision(box_format="xywh", class_metrics=True)
    metric.warn_on_many_detections = False
    sides = []
    for of_cards in (found, true):
        side = []
        for damages in of_cards:
            boxes = torch.tensor([damage.box for damage in damages], dtype=torch.float).reshape(-1, 4)
            numbers = torch.tensor([labels.index(damage.label) for damage in damages], dtype=torch.long)
            side.append({"boxes": boxes * scale, "labels": numbers})
        sides.append(side)
    for side, damages in zip(sides[0], found, strict=True):
        side["scores"] = torch.tensor([damage.score for damage in damages])
    metric.update(*sides)
    values = metric.compute()
    classes = dict(
        zip(values["classes"].reshape(-1).tolist(), values["map_per_class"].reshape(-1).tolist(), strict=True)
    )
    singles = {name: float(value) for name, value in values.items() if value.numel() == 1}
    return singles | {"classes": {number: value for number, value in classes.items() if value >= 0}}


def _confusion(found: list[list[FoundDamage]], true: list[list[FoundDamage]], labels: Sequence[str]) -> list[list[int]]:
    counts = np.zeros((len(labels) + 1, len(labels) + 1), int)
    for damages, truths in zip(found, true, strict=True):
        free = list(damages)
        for truth in truths:
            best = max(free, key=lambda damage: box_iou(list(damage.box), list(truth.box)), default=None)
            if best is None or box_iou(list(best.box), list(truth.box)) < MATCH:
                counts[labels.index(truth.label), -1] += 1
                continue
            free.remove(best)
            counts[labels.index(truth.label), labels.index(best.label)] += 1
        for damage in free:
            counts[-1, labels.index(damage.label)] += 1
    return counts.tolist()
