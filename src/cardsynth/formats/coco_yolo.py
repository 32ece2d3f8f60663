"""Cards and their damages written as COCO and YOLO want them; what all writers of data sets share."""

import json
import shutil
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from cardsynth.cards.fitting import encode_png, read_image
from cardsynth.cards.folder import CardError
from cardsynth.cards.splits import SPLITS
from cardsynth.formats.instances import Instance, SeenCard
from cardsynth.formats.polygons import edge_polygons, pixel_polygon

Segmentation = Literal["polygons", "rle"]

COPIED_FORMATS = {"JPEG", "PNG", "BMP", "WEBP", "TIFF"}
ORIENTATION = 0x0112  # EXIF tag; 1 is upright


@dataclass(frozen=True)
class Item:
    """A card as it is exported: into which split, under which file name (stem and suffix), and of which group.

    copied: whether its picture is copied byte for byte; else it is written as PNG, upright RGB.
    """

    seen: SeenCard
    split: str
    stem: str
    suffix: str
    group: str
    copied: bool

    @property
    def name(self) -> str:
        """The picture's file name."""
        return f"{self.stem}{self.suffix}"

    def picture(self) -> bytes:
        """The bytes of its picture file."""
        path = self.seen.card.image
        return path.read_bytes() if self.copied else encode_png(np.asarray(read_image(path)))

    def write_picture(self, folder: Path) -> None:
        """Put its picture into a folder; copied and never linked, since some tools mend pictures in place."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.copied:
            shutil.copyfile(self.seen.card.image, folder / self.name)
        else:
            (folder / self.name).write_bytes(self.picture())


def is_read_alike(path: Path) -> bool:
    """Whether every tool sees a picture as cardsynth does: 8-bit grey or RGB, one frame, not turned by EXIF tags."""
    with Image.open(path) as image:
        plain = image.mode in ("L", "RGB") and "transparency" not in image.info and getattr(image, "n_frames", 1) == 1
        return plain and image.format in COPIED_FORMATS and image.getexif().get(ORIENTATION, 1) == 1


def need_masks(items: Sequence[Item], form: str) -> None:
    """Raise CardError, naming the card, where the mask of a damage is not known."""
    for item in items:
        if any(instance.rle is None for instance in item.seen.instances):
            name = item.seen.card.name
            raise CardError(f"{name} has boxes and no mask, which {form} needs; export it as coco, yolo or voc")


class Writer(ABC):
    """Writes cards into a new folder, one after another, then what belongs to all of them."""

    def __init__(self, folder: Path, categories: Sequence[str]) -> None:
        self.folder, self.categories = folder, tuple(categories)

    @abstractmethod
    def add(self, item: Item) -> None:
        """Write one card."""

    @abstractmethod
    def finish(self) -> None:
        """Write what belongs to all cards."""

    def write(self, name: str, text: str) -> None:
        """Write a text file, named relative to the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


class CocoWriter(Writer):
    """`images/SPLIT/` and `annotations/instances_SPLIT.json`, https://cocodataset.org/#format-data.

    Categories count from 1. Segmentations are polygons along the edges of the pixels (`polygons.edge_polygons`), or
    compressed run lengths; of damage of which only the box is known, an empty list. `iscrowd` is always 0.
    """

    def __init__(self, folder: Path, categories: Sequence[str], segmentation: Segmentation = "polygons") -> None:
        super().__init__(folder, categories)
        self.segmentation = segmentation
        self.images: dict[str, list[str]] = defaultdict(list)
        self.annotations: dict[str, list[str]] = defaultdict(list)

    def add(self, item: Item) -> None:
        item.write_picture(self.folder / "images" / item.split)
        images, annotations = self.images[item.split], self.annotations[item.split]
        height, width = item.seen.size
        image: dict[str, Any] = {"id": len(images) + 1, "file_name": item.name, "width": width, "height": height}
        images.append(_json({**image, "card": item.seen.card.name, "group": item.group}))
        for instance in item.seen.instances:
            annotation = {
                "id": len(annotations) + 1,
                "image_id": len(images),
                "category_id": self.categories.index(instance.category) + 1,
                "bbox": instance.box,
                "area": instance.area,
                "iscrowd": 0,
                "segmentation": self._segmentation(instance),
            }
            annotations.append(_json(annotation))

    def _segmentation(self, instance: Instance) -> dict[str, Any] | list[list[int]]:
        if instance.rle is None:
            return []
        if self.segmentation == "rle":
            return instance.rle
        return [polygon.ravel().tolist() for polygon in edge_polygons(instance.mask())]

    def finish(self) -> None:
        categories = [
            _json({"id": number, "name": name, "supercategory": "damage"})
            for number, name in enumerate(self.categories, start=1)
        ]
        for split, images in self.images.items():
            parts = {"images": images, "annotations": self.annotations[split], "categories": categories}
            lists = (f'"{key}": [\n' + ",\n".join(rows) + "\n]" for key, rows in parts.items())
            text = ",\n".join(['"info": {"description": "made by cardsynth export"}', '"licenses": []', *lists])
            self.write(f"annotations/instances_{split}.json", f"{{{text}}}\n")


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class YoloWriter(Writer):
    """`images/SPLIT/`, `labels/SPLIT/` and `data.yaml`, https://docs.ultralytics.com/datasets/.

    A label is a line a damage: category from 0, then the box's centre and lengths, or with `segment` the points of its
    polygon (`polygons.pixel_polygon`), as shares of width and height. An undamaged card has an empty label file.
    """

    def __init__(self, folder: Path, categories: Sequence[str], segment: bool = False) -> None:
        super().__init__(folder, categories)
        self.segment = segment
        self.splits: set[str] = set()

    def add(self, item: Item) -> None:
        self.splits.add(item.split)
        item.write_picture(self.folder / "images" / item.split)
        size = np.array(item.seen.size[::-1])
        lines = []
        for instance in item.seen.instances:
            box = np.array(instance.box)
            points = pixel_polygon(instance.mask()) if self.segment else np.stack([box[:2] + box[2:] / 2, box[2:]])
            shares = " ".join(f"{share:.6f}" for share in (points / size).ravel())
            lines.append(f"{self.categories.index(instance.category)} {shares}\n")
        self.write(f"labels/{item.split}/{item.stem}.txt", "".join(lines))

    def finish(self) -> None:
        lines = [f"{split}: images/{split}" for split in SPLITS if split in self.splits]
        lines += ["names:", *(f"  {number}: {json.dumps(name)}" for number, name in enumerate(self.categories))]
        self.write("data.yaml", "\n".join(lines) + "\n")
