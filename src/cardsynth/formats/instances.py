"""Reads the damages of a card one by one: the components of its mask, or the boxes of its metadata row."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from scipy import ndimage

from cardsynth.cards.folder import CardError, CardFile
from cardsynth.cards.reading import read_pictures

LEAST_AREA = 4  # pixels; smaller components are not visible as damage
NO_LABEL = "damage"  # category of damage on cards without a label
SAME_BOX = 0.5  # intersection over union from which a box of the row names a component
OBJECTS_FORM = '{"bbox": [[x, y, width, height], ...], "categories": ["SMALL", ...]}'


@dataclass(frozen=True)
class Rules:
    """What counts as one damage.

    Attributes:
        least_area: Minimum area in pixels.
        undamaged: Labels of cards without damage.
        one_object: Categories whose components on a card form one damage, such as a stain over the whole card.
    """

    least_area: int = LEAST_AREA
    undamaged: tuple[str, ...] = ("CLEAN",)
    one_object: tuple[str, ...] = ("FULL_CARD",)


@dataclass(frozen=True)
class Instance:
    """One damage.

    Attributes:
        category: Name of its category.
        box: x, y, width and height in pixels; x and y are those of the outer edge.
        area: Area of the mask in pixels; of the box if the mask is unknown.
        rle: The mask as COCO's compressed run lengths (`size` and `counts`); None if only the box is known.
    """

    category: str
    box: tuple[float, float, float, float]
    area: float
    rle: dict[str, Any] | None = None

    def mask(self) -> np.ndarray:
        """Decodes the mask.

        Returns:
            bool (H, W) of the whole card.

        Raises:
            ValueError: If only the box is known.
        """
        if self.rle is None:
            raise ValueError("only the box of this damage is known, not its mask")
        return coco_mask.decode(self.rle).astype(bool)


@dataclass(frozen=True)
class AnnotatedCard:
    """A card and its damages.

    Attributes:
        card: The card.
        size: (height, width) of its picture.
        instances: Its damages.
        dropped: Number of damages dropped as too small.
        contradicted: Whether the card is labelled undamaged, but its mask or row has damage.
    """

    card: CardFile
    size: tuple[int, int]
    instances: tuple[Instance, ...]
    dropped: int
    contradicted: bool


def annotate_card(card: CardFile, rules: Rules) -> AnnotatedCard:
    """Reads a card and finds its damages.

    Damages are the 8-connected components of the mask (128 and more), or without a mask the boxes of the row. The
    category of a component is that of a box of the row with an intersection over union of at least 0.5, otherwise the
    card's label, otherwise `damage`. Cards labelled undamaged have no damages.

    Args:
        card: The card.
        rules: What counts as one damage.

    Returns:
        The card and its damages.

    Raises:
        CardError: If a picture or box is invalid, or a card of a damaged class has neither a mask nor boxes; names the
            file and the remedy.
    """
    image, mask = read_pictures(card)
    size = (image.height, image.width)
    undamaged = card.label in rules.undamaged
    boxes, categories = boxes_of(card, size)
    if mask is None and not undamaged and "objects" not in (card.row or {}):
        raise CardError(
            f"{card.name} has neither a mask nor boxes (`objects` of its row), so its damage is unknown; add one of"
            " them, or name its class as undamaged"
        )
    if mask is not None:
        instances = _components(np.asarray(mask) >= 128, card.label or NO_LABEL, rules, boxes, categories)
    else:
        instances = [Instance(name, tuple(box), box[2] * box[3]) for box, name in zip(boxes, categories, strict=True)]
    large = tuple(instance for instance in instances if instance.area >= rules.least_area)
    if undamaged:
        return AnnotatedCard(card, size, (), 0, contradicted=bool(large))
    return AnnotatedCard(card, size, large, len(instances) - len(large), contradicted=False)


def _components(
    mask: np.ndarray, label: str, rules: Rules, boxes: Sequence[list[float]], categories: Sequence[str]
) -> list[Instance]:
    components, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    members: dict[tuple[str, int], list[int]] = defaultdict(list)
    for number, (rows, columns) in enumerate(ndimage.find_objects(components), start=1):
        box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
        overlaps = coco_mask.iou([box], boxes, [0] * len(boxes))[0] if boxes else [0.0]
        best = int(np.argmax(overlaps))
        category = categories[best] if overlaps[best] >= SAME_BOX else label
        members[category, 0 if category in rules.one_object else number].append(number)
    instances = []
    for (category, _), numbers in members.items():
        rle = coco_mask.encode(np.asfortranarray(np.isin(components, numbers).astype(np.uint8)))
        box = tuple(int(value) for value in coco_mask.toBbox(rle))
        rle = {"size": list(mask.shape), "counts": rle["counts"].decode()}
        instances.append(Instance(category, box, int(coco_mask.area(rle)), rle))
    return instances


def boxes_of(card: CardFile, size: tuple[int, int]) -> tuple[list[list[float]], list[str]]:
    """Reads the boxes of a card's metadata row, `objects`, and clips them to the picture.

    Args:
        card: The card.
        size: (height, width) of its picture.

    Returns:
        Boxes [x, y, width, height] and their categories; without `categories` the card's label.

    Raises:
        CardError: If `objects` is malformed, or a box is empty or outside the picture.
    """
    objects = (card.row or {}).get("objects")
    if objects is None:
        return [], []
    try:
        boxes = np.array(objects["bbox"], float).reshape(-1, 4)
        categories = objects.get("categories")
        categories = [card.label or NO_LABEL] * len(boxes) if categories is None else list(map(str, categories))
        if len(boxes) != len(objects["bbox"]) or len(categories) != len(boxes) or not np.isfinite(boxes).all():
            raise ValueError("numbers of boxes and categories differ, or a box does not have four numbers")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CardError(f"`objects` of {card.name} is not {OBJECTS_FORM} ({error}); correct its row") from error
    low = np.clip(boxes[:, :2], 0, size[::-1])
    lengths = np.clip(boxes[:, :2] + boxes[:, 2:], 0, size[::-1]) - low
    if len(boxes) and lengths.min() <= 0:
        outside = boxes[lengths.min(axis=1).argmin()].tolist()
        raise CardError(
            f"box {outside} (x, y, width, height) of {card.name} is empty or outside its picture of"
            f" {size[0]}x{size[1]}; correct its row"
        )
    return np.column_stack([low, lengths]).tolist(), categories
