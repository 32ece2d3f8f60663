"""Correctness of damage masks: comparison with the damage that a segmentation net, trained on real cards, predicts."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from cardsynth.cards.boxes import mask_boxes
from cardsynth.cards.dataset import Cards
from cardsynth.util.intervals import Figure, TooFewSamplesError, mean_figure, share_figure

MATCH = 0.5  # least intersection over union of matching boxes
LEAST_BOX = 4  # pixels; smaller boxes are ignored
TRACE = 0.001  # share of a card's pixels above which its mask counts as not empty


@dataclass(frozen=True)
class MaskFigures:
    """Agreement of masks with predicted damage, in 0 to 1; a figure is None if the cards do not determine it.

    Attributes:
        count: Number of cards.
        iou: Mean intersection over union of mask and predicted damage, by class; cards without either are left out.
        mean_iou: The same over all classes with damage.
        box_precision: Share of the masks' boxes that match a box of the predicted damage.
        box_recall: Share of the predicted damage's boxes that match a box of the mask.
        uncovered: Share of the predicted damage that lies more than one pixel outside the mask.
        masked_when_clean: Share of cards of undamaged classes whose mask is not empty.
    """

    count: int
    iou: dict[str, Figure]
    mean_iou: Figure | None
    box_precision: Figure | None
    box_recall: Figure | None
    uncovered: Figure | None
    masked_when_clean: Figure | None


def clean_classes(cards: Cards) -> set[int]:
    """Returns the classes in which most cards have an empty mask; class 0 stands for all unlabelled cards.

    Args:
        cards: Cards with masks.
    """
    empty = ~_not_empty(cards.pixels[:, 3] >= 128)
    return {number for number in cards.labels.unique().tolist() if empty[cards.labels == number].float().mean() > 0.5}


def mask_figures(cards: Cards, predicted: torch.Tensor, clean: set[int]) -> MaskFigures:
    """Compares the masks of cards with predicted damage.

    Args:
        cards: Cards with masks.
        predicted: Predicted damage, bool (N, H, W).
        clean: Classes without damage, as `clean_classes` returns them for real cards.
    """
    masks = cards.pixels[:, 3] >= 128
    iou = mask_iou(predicted, masks)
    names = cards.label_names or ("all",)
    by_class = {
        names[number]: _mean_or_none(iou[cards.labels == number])
        for number in cards.labels.unique().tolist()
        if number not in clean
    }
    damaged = ~torch.isin(cards.labels, torch.tensor(sorted(clean)))
    outside = predicted & ~(F.max_pool2d(masks[:, None].float(), 3, 1, 1)[:, 0] > 0)
    area = predicted.sum(dim=(1, 2))
    uncovered = torch.where(area > 0, outside.sum(dim=(1, 2)) / area, torch.nan)
    precision, recall = _box_figures(masks[damaged], predicted[damaged])
    return MaskFigures(
        count=len(cards),
        iou={name: figure for name, figure in by_class.items() if figure},
        mean_iou=_mean_or_none(iou[damaged]),
        box_precision=precision,
        box_recall=recall,
        uncovered=_mean_or_none(uncovered[damaged]),
        masked_when_clean=_share_or_none(_not_empty(masks)[~damaged].tolist()),
    )


def mask_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Computes the intersection over union of masks.

    Args:
        first: Masks, bool (N, H, W).
        second: Masks, bool (N, H, W).

    Returns:
        Values in 0 to 1, (N,); NaN if both masks are empty.
    """
    intersection = (first & second).sum(dim=(1, 2))
    union = (first | second).sum(dim=(1, 2))
    return torch.where(union > 0, intersection / union, torch.nan)


def _not_empty(masks: torch.Tensor) -> torch.Tensor:
    return masks.float().mean(dim=(1, 2)) > TRACE


def _box_figures(masks: torch.Tensor, predicted: torch.Tensor) -> tuple[Figure | None, Figure | None]:
    """Returns precision and recall of the masks' boxes against the boxes of the predicted damage."""
    mask_matches, damage_matches = [], []
    for pair in zip(masks.numpy(), predicted.numpy(), strict=True):
        mask_side, damage_side = ([box for box in mask_boxes(mask) if box[2] * box[3] >= LEAST_BOX] for mask in pair)
        matches = [[box_iou(box, other) >= MATCH for other in damage_side] for box in mask_side]
        mask_matches += [any(row) for row in matches]
        damage_matches += [any(row[number] for row in matches) for number in range(len(damage_side))]
    return _share_or_none(mask_matches), _share_or_none(damage_matches)


def box_iou(first: list[int], second: list[int]) -> float:
    """Computes the intersection over union of two boxes [x, y, width, height], in 0 to 1."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    shared = max(0, width) * max(0, height)
    return shared / (first[2] * first[3] + second[2] * second[3] - shared)


def _mean_or_none(values: torch.Tensor) -> Figure | None:
    try:
        return mean_figure(values)
    except TooFewSamplesError:
        return None


def _share_or_none(flags: list[bool]) -> Figure | None:
    return share_figure(sum(flags), len(flags)) if flags else None
