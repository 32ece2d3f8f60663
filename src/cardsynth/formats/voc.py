"""Cards and their damages written as Pascal VOC has them: boxes as XML, masks as PNG with a palette."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from cardsynth.cards.folder import CardError
from cardsynth.formats.coco_yolo import Item, Writer

MOST_INDICES = 254  # of a PNG with a palette, without the background (0) and VOC's border (255)


class VocWriter(Writer):
    """`JPEGImages/`, `Annotations/` and `ImageSets/Main/SPLIT.txt`, http://host.robots.ox.ac.uk/pascal/VOC/.

    Boxes are VOC's own: pixels counted from 1, the last one included, so that a box over the whole of a card of 160x128
    (height x width) goes from 1, 1 to 128, 160. Pictures keep their format, whatever the folder is called.
    """

    image_sets = "ImageSets/Main"

    def __init__(self, folder: Path, categories: Sequence[str]) -> None:
        super().__init__(folder, categories)
        self.stems: dict[str, list[str]] = defaultdict(list)

    def add(self, item: Item) -> None:
        item.write_picture(self.folder / "JPEGImages")
        self.stems[item.split].append(item.stem)
        self.write_labels(item)

    def write_labels(self, item: Item) -> None:
        """Write what is known of one card's damage."""
        height, width = item.seen.size
        with Image.open(item.seen.card.image) as image:
            depth = 1 if item.copied and image.mode == "L" else 3
        root = ElementTree.Element("annotation")
        _add(root, "folder", "JPEGImages")
        _add(root, "filename", item.name)
        measures = ElementTree.SubElement(root, "size")
        for name, value in (("width", width), ("height", height), ("depth", depth)):
            _add(measures, name, value)
        _add(root, "segmented", 0)
        for instance in item.seen.instances:
            x, y, across, down = instance.box
            element = ElementTree.SubElement(root, "object")
            for name, value in (("name", instance.category), ("pose", "Unspecified"), ("truncated", 0)):
                _add(element, name, value)
            _add(element, "difficult", 0)
            box = ElementTree.SubElement(element, "bndbox")
            first, last = np.floor([x, y]).astype(int) + 1, np.ceil([x + across, y + down]).astype(int)
            for name, value in zip(("xmin", "ymin", "xmax", "ymax"), (*first, *last), strict=True):
                _add(box, name, value)
        ElementTree.indent(root)
        self.write(f"Annotations/{item.stem}.xml", ElementTree.tostring(root, encoding="unicode") + "\n")

    def finish(self) -> None:
        for split, stems in self.stems.items():
            self.write(f"{self.image_sets}/{split}.txt", "".join(f"{stem}\n" for stem in stems))


def _add(parent: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(parent, name).text = str(value)


class MaskWriter(VocWriter):
    """`JPEGImages/`, `SegmentationClass/`, `SegmentationObject/`, `ImageSets/Segmentation/SPLIT.txt`, `labelmap.txt`.

    The masks are PNG of indices with VOC's palette: 0 for background, else the category (from 1, in the order of
    `labelmap.txt`), or the damage (from 1 on each card, in the order of its topmost pixels). Dropped components are
    background.
    """

    image_sets = "ImageSets/Segmentation"

    def write_labels(self, item: Item) -> None:
        instances = item.seen.instances
        if len(instances) > MOST_INDICES:
            name = item.seen.card.name
            raise CardError(
                f"{name} has {len(instances)} damages, and a PNG has {MOST_INDICES} indices; drop small ones with a"
                " larger least area"
            )
        indices = {"SegmentationClass": [self.categories.index(instance.category) + 1 for instance in instances]}
        indices["SegmentationObject"] = list(range(1, len(instances) + 1))
        for folder, numbers in indices.items():
            values = np.zeros(item.seen.size, np.uint8)
            for instance, number in zip(instances, numbers, strict=True):
                values[instance.mask()] = number
            picture = Image.fromarray(values)
            picture.putpalette(palette().ravel().tolist())
            (self.folder / folder).mkdir(exist_ok=True)
            picture.save(self.folder / folder / f"{item.stem}.png")

    def finish(self) -> None:
        super().finish()
        colours = palette().tolist()
        lines = [
            f"{name}:{','.join(map(str, colours[number]))}::"
            for number, name in enumerate(("background", *self.categories))
        ]
        self.write("labelmap.txt", "\n".join(["# label:color_rgb:parts:actions", *lines]) + "\n")


def palette() -> np.ndarray:
    """VOC's 256 colours, uint8 (256, 3): bits 0, 1, 2 of an index are the highest of red, green, blue, and so on.

    Source: VOClabelcolormap of the VOC development kit.
    """
    index = np.arange(256)
    colours = np.zeros((256, 3), int)
    for place in range(8):
        for channel in range(3):
            colours[:, channel] |= (index >> (3 * place + channel) & 1) << (7 - place)
    return colours.astype(np.uint8)
