"""The damages on a card, one by one: the components of its mask, or the boxes of its metadata row."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from scipy import ndimage

from cardsynth.cards.folder import CardError, CardFile
from cardsynth.cards.reading import read_pictures

LEAST_AREA = 4  # pixels; smaller components are no damage that anyone would point at
NO_LABEL = "damage"  # category of damage on cards without a label
SAME_BOX = 0.5  # intersection over union from which a box of the row names a component


@dataclass(frozen=True)
class Rules:
    """What is taken for one damage.

    least_area: pixels that it has at least. undamaged: labels of cards without any. one_object: categories whose
    components on a card are one damage together, as a stain over the whole card is.
    """

    least_area: int = LEAST_AREA
    undamaged: tuple[str, ...] = ("CLEAN",)
    one_object: tuple[str, ...] = ("FULL_CARD",)


@dataclass(frozen=True)
class Instance:
    """One damage: its category, box (x, y, width, height, of the pixels' outer edges), area in pixels, and mask.

    rle: the mask as COCO's compressed run lengths, with `size` and `counts`; None where only the box is known, whose
    area is given instead.
    """

    category: str
    box: tuple[float, float, float, float]
    area: float
    rle: dict[str, Any] | None = None

    def mask(self) -> np.ndarray:
        """The pixels of this damage, bool (H, W) of the whole card; raises ValueError where only the box is known."""
        if self.rle is None:
            raise ValueError("only the box of this damage is known, not its mask")
        return coco_mask.decode(self.rle).astype(bool)


@dataclass(frozen=True)
class SeenCard:
    """A card that could be read, its (height, width), its damages, and how many components were dropped as too small.

    contradicted: whether it is labelled undamaged, and its mask or row says otherwise.
    """

    card: CardFile
    size: tuple[int, int]
    instances: tuple[Instance, ...]
    dropped: int
    contradicted: bool


def see_card(card: CardFile, rules: Rules) -> SeenCard:
    """Read a card whole, and find its damages: components of its mask from 128 on, else the boxes of its row.

    A component is 8-connected; its category is that of the row's box that lies on it (intersection over union of the
    boxes 0.5 or more), else the card's label, else `damage`. Cards labelled undamaged have none. Raises CardError,
    naming the file and the remedy, for what cannot be read, for boxes that are none, and for a card of a damaged class
    with neither mask nor boxes.
    """
    image, mask = read_pictures(card)
    size = (image.height, image.width)
    undamaged = card.label in rules.undamaged
    boxes, categories = boxes_of(card, size)
    if mask is None and not undamaged and "objects" not in (card.row or {}):
        raise CardError(
            f"{card.name} has neither a mask nor boxes (`objects` of its row), so nobody knows where its damage is; add"
            " one of them, or name its class as undamaged"
        )
    if mask is not None:
        found = _components(np.asarray(mask) >= 128, card, rules, boxes, categories)
    else:
        found = [Instance(name, tuple(box), box[2] * box[3]) for box, name in zip(boxes, categories, strict=True)]
    kept = tuple(one for one in found if one.area >= rules.least_area)
    dropped = 0 if undamaged else len(found) - len(kept)
    return SeenCard(card, size, () if undamaged else kept, dropped, undamaged and bool(kept))


def _components(
    mask: np.ndarray, card: CardFile, rules: Rules, boxes: Sequence[list[float]], categories: Sequence[str]
) -> list[Instance]:
    components, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    members: dict[tuple[str, int], list[int]] = {}
    for number, place in enumerate(ndimage.find_objects(components), start=1):
        overlaps = coco_mask.iou([_box(place)], boxes, [0] * len(boxes))[0] if boxes else [0.0]
        best = int(np.argmax(overlaps))
        category = categories[best] if overlaps[best] >= SAME_BOX else card.label or NO_LABEL
        members.setdefault((category, 0 if category in rules.one_object else number), []).append(number)
    found = []
    for (category, _), numbers in members.items():
        rle = coco_mask.encode(np.asfortranarray(np.isin(components, numbers).astype(np.uint8)))
        box = tuple(int(value) for value in coco_mask.toBbox(rle))
        rle = {"size": list(mask.shape), "counts": rle["counts"].decode()}
        found.append(Instance(category, box, int(coco_mask.area(rle)), rle))
    return found


def _box(place: tuple[slice, slice]) -> list[float]:
    rows, columns = place
    return [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]


def boxes_of(card: CardFile, size: tuple[int, int]) -> tuple[list[list[float]], list[str]]:
    """Boxes [x, y, width, height] of a card's row, cut to its picture of (height, width), and their categories.

    Both are of the row's `objects`: `bbox`, and `categories`, for want of which it is the card's label. Raises
    CardError where they have another form, and for a box outside the picture.
    """
    objects = (card.row or {}).get("objects")
    if objects is None:
        return [], []
    try:
        boxes = np.array(objects["bbox"], float).reshape(-1, 4)
        categories = objects.get("categories")
        categories = [card.label or NO_LABEL] * len(boxes) if categories is None else list(map(str, categories))
        if len(boxes) != len(objects["bbox"]) or len(categories) != len(boxes) or not np.isfinite(boxes).all():
            raise ValueError("numbers of boxes and categories differ, or a box has not four numbers")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        form = '{"bbox": [[x, y, width, height], ...], "categories": ["SMALL", ...]}'
        raise CardError(f"`objects` of {card.name} is not {form} ({error}); mend its row") from error
    low = np.clip(boxes[:, :2], 0, size[::-1])
    lengths = np.clip(boxes[:, :2] + boxes[:, 2:], 0, size[::-1]) - low
    if len(boxes) and lengths.min() <= 0:
        outside = boxes[lengths.min(axis=1).argmin()].tolist()
        raise CardError(
            f"box {outside} (x, y, width, height) of {card.name} is empty or outside its picture of"
            f" {size[0]}x{size[1]}; mend its row"
        )
    return np.column_stack([low, lengths]).tolist(), categories
