"""Writes cards and their damages as Pascal VOC does: boxes as XML, masks as PNG with a palette."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from cardsynth.cards.folder import CardError
from cardsynth.cards.splits import SPLITS
from cardsynth.formats.items import Item, track, write_text

PICTURES = "JPEGImages"  # VOC's name; pictures of other formats are not converted
MOST_INDICES = 254  # indices of a palette PNG, without the background (0) and VOC's border (255)


def write_voc(folder: Path, items: Sequence[Item]) -> None:
    """Writes `JPEGImages/`, `Annotations/` and `ImageSets/Main/SPLIT.txt`, http://host.robots.ox.ac.uk/pascal/VOC/.

    Boxes follow VOC: pixels are counted from 1 and the last one is included. A box over a whole card of 160x128 (height
    x width) runs from 1, 1 to 128, 160.

    Args:
        folder: An empty folder.
        items: The cards.
    """
    for item in track(items, "voc"):
        item.write_picture(folder / PICTURES)
        root = ElementTree.Element("annotation")
        _append(root, _annotation(item))
        ElementTree.indent(root)
        xml = ElementTree.tostring(root, encoding="unicode")
        write_text(folder / f"Annotations/{item.stem}.xml", f"{xml}\n")
    _write_image_sets(folder / "ImageSets/Main", items)


def _annotation(item: Item) -> dict[str, object]:
    """The content of an annotation file; a list stands for repeated elements."""
    height, width = item.annotated.size
    with Image.open(item.annotated.card.image) as image:
        depth = 1 if item.copied and image.mode == "L" else 3
    objects = []
    for instance in item.annotated.instances:
        corner, lengths = np.array(instance.box).reshape(2, 2)
        box = (*np.floor(corner).astype(int) + 1, *np.ceil(corner + lengths).astype(int))
        bounds = dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        flags = {"pose": "Unspecified", "truncated": 0, "difficult": 0}
        objects.append({"name": instance.category, **flags, "bndbox": bounds})
    return {
        "folder": PICTURES,
        "filename": item.name,
        "size": {"width": width, "height": height, "depth": depth},
        "segmented": 0,
        "object": objects,
    }


def _append(parent: ElementTree.Element, content: dict[str, object]) -> None:
    """Adds elements by name: text, nested elements, or a list of them."""
    for name, values in content.items():
        for value in values if isinstance(values, list) else [values]:
            element = ElementTree.SubElement(parent, name)
            if isinstance(value, dict):
                _append(element, value)
            else:
                element.text = str(value)


def _write_image_sets(folder: Path, items: Sequence[Item]) -> None:
    for split in SPLITS:
        if stems := [item.stem for item in items if item.split == split]:
            write_text(folder / f"{split}.txt", "".join(f"{stem}\n" for stem in stems))


def write_masks(folder: Path, items: Sequence[Item], categories: Sequence[str]) -> None:
    """Writes the segmentation masks of VOC.

    `JPEGImages/`, `SegmentationClass/`, `SegmentationObject/`, `ImageSets/Segmentation/SPLIT.txt` and `labelmap.txt`.
    The masks are PNG with VOC's palette: 0 is background, other values are the category (from 1, in the order of
    `labelmap.txt`) or the damage (from 1 on each card, ordered by its topmost pixel). Components that are too small are
    background.

    Args:
        folder: An empty folder.
        items: The cards; the masks of all damages must be known.
        categories: Names of all categories, in order.

    Raises:
        CardError: If a card has more damages than a palette has indices.
    """
    colours = palette()
    for item in track(items, "masks"):
        instances = item.annotated.instances
        if len(instances) > MOST_INDICES:
            raise CardError(
                f"{item.annotated.card.name} has {len(instances)} damages, and a PNG has {MOST_INDICES} indices; drop"
                " small ones with a larger least area"
            )
        item.write_picture(folder / PICTURES)
        classes, objects = np.zeros(item.annotated.size, np.uint8), np.zeros(item.annotated.size, np.uint8)
        for number, instance in enumerate(instances, start=1):
            mask = instance.mask()
            classes[mask], objects[mask] = categories.index(instance.category) + 1, number
        for name, values in {"SegmentationClass": classes, "SegmentationObject": objects}.items():
            (folder / name).mkdir(exist_ok=True)
            picture = Image.fromarray(values)
            picture.putpalette(colours.ravel().tolist())
            picture.save(folder / name / f"{item.stem}.png")
    _write_image_sets(folder / "ImageSets/Segmentation", items)
    lines = ["# label:color_rgb:parts:actions\n"]
    for name, colour in zip(("background", *categories), colours, strict=False):
        lines.append(f"{name}:{','.join(map(str, colour))}::\n")
    write_text(folder / "labelmap.txt", "".join(lines))


def palette() -> np.ndarray:
    """Returns VOC's 256 colours.

    Bits 0, 1 and 2 of an index are the highest bits of red, green and blue, bits 3 to 5 the next ones, and so on
    (VOClabelcolormap of the VOC development kit).

    Returns:
        uint8 (256, 3).
    """
    index = np.arange(256)
    colours = np.zeros((256, 3), int)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
    return colours.astype(np.uint8)
