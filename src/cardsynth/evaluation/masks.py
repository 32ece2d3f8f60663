"""Are the masks of cards true: compared with the damage that a segmenter, trained on real cards, sees on them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from cardsynth.cards.boxes import mask_boxes
from cardsynth.cards.dataset import Cards
from cardsynth.evaluation.metrics import Figure, TooFewCards, mean_figure, share_figure

MATCH = 0.5  # intersection over union from which two boxes are the same
LEAST_BOX = 4  # pixels of a box's mask; smaller ones are no damage that anyone would point at
TRACE = 0.001  # share of a card's pixels from which its mask counts as not empty


@dataclass(frozen=True)
class MaskFigures:
    """How far masks and seen damage agree, all in 0 to 1.

    iou: intersection over union of mask and seen damage, by class, of cards with damage in either; mean_iou: the mean
    of all those cards. box_precision: share of the masks' boxes that the seen damage has too; box_recall: share of the
    seen damage's boxes that the masks have. uncovered: share of a damaged card's seen damage that lies more than a
    pixel outside its mask. masked_when_clean: share of the cards of undamaged classes whose mask is not empty. A figure
    that the cards cannot give is None.
    """

    count: int
    iou: dict[str, Figure]
    mean_iou: Figure | None
    box_precision: Figure | None
    box_recall: Figure | None
    uncovered: Figure | None
    masked_when_clean: Figure | None


def clean_classes(cards: Cards) -> set[int]:
    """The classes most of whose cards have an empty mask; 0 stands for all cards where they have no classes."""
    empty = ~_not_empty(cards.pixels[:, 3] >= 128)
    return {number for number in cards.labels.unique().tolist() if empty[cards.labels == number].float().mean() > 0.5}


def mask_figures(cards: Cards, seen: torch.Tensor, clean: set[int]) -> MaskFigures:
    """Compare cards' own masks with seen damage, bool (N, H, W); `clean`: the classes whose real cards have none."""
    masks = cards.pixels[:, 3] >= 128
    per_card = mask_iou(seen, masks)
    damaged = torch.tensor([label not in clean for label in cards.labels.tolist()])
    names = dict(enumerate(cards.label_names or ("all",)))
    chosen = {names[n]: damaged & (cards.labels == n) for n in cards.labels.unique().tolist() if n not in clean}
    precision, recall = _box_figures(masks[damaged], seen[damaged])
    outside = seen & ~(F.max_pool2d(masks[:, None].float(), 3, 1, 1)[:, 0] > 0)
    seen_area = seen.sum(dim=(1, 2))
    uncovered = torch.where(seen_area > 0, outside.sum(dim=(1, 2)) / seen_area, torch.nan)
    return MaskFigures(
        count=len(cards),
        iou={name: figure for name, of in chosen.items() if (figure := _mean_or_none(per_card[of]))},
        mean_iou=_mean_or_none(per_card[damaged]),
        box_precision=precision,
        box_recall=recall,
        uncovered=_mean_or_none(uncovered[damaged]),
        masked_when_clean=_share_or_none(_not_empty(masks)[~damaged]),
    )


def mask_iou(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Intersection over union of bool masks (N, H, W), (N,) in 0 to 1; NaN where both are empty."""
    intersection = (one & other).sum(dim=(1, 2))
    union = (one | other).sum(dim=(1, 2))
    return torch.where(union > 0, intersection / union, torch.nan)


def _not_empty(masks: torch.Tensor) -> torch.Tensor:
    return masks.float().mean(dim=(1, 2)) > TRACE


def _box_figures(masks: torch.Tensor, seen: torch.Tensor) -> tuple[Figure | None, Figure | None]:
    """Precision and recall of the masks' boxes by the boxes of what is seen."""
    own_matched, seen_matched = [], []
    for mask, damage in zip(masks.numpy(), seen.numpy(), strict=True):
        own, found = ([box for box in mask_boxes(one) if box[2] * box[3] >= LEAST_BOX] for one in (mask, damage))
        own_matched += [any(box_iou(box, other) >= MATCH for other in found) for box in own]
        seen_matched += [any(box_iou(box, other) >= MATCH for other in own) for box in found]
    return _share_or_none(torch.tensor(own_matched)), _share_or_none(torch.tensor(seen_matched))


def box_iou(one: list[int], other: list[int]) -> float:
    """Intersection over union of two boxes [x, y, width, height], 0 to 1."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(0, across) * max(0, down)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)


def _mean_or_none(values: torch.Tensor) -> Figure | None:
    try:
        return mean_figure(values)
    except TooFewCards:
        return None


def _share_or_none(flags: torch.Tensor) -> Figure | None:
    return share_figure(int(flags.sum()), len(flags)) if len(flags) else None
