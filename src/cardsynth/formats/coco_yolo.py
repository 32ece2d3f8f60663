"""Writes cards and their damages in the formats COCO and YOLO."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cardsynth.cards.splits import SPLITS
from cardsynth.formats.instances import Instance
from cardsynth.formats.items import Item, track, write_text
from cardsynth.formats.polygons import edge_polygons, pixel_polygon

Segmentation = Literal["polygons", "rle"]


def write_coco(
    folder: Path, items: Sequence[Item], categories: Sequence[str], segmentation: Segmentation = "polygons"
) -> None:
    """Writes `images/SPLIT/` and `annotations/instances_SPLIT.json`, https://cocodataset.org/#format-data.

    Categories are numbered from 1 and `iscrowd` is always 0. If only the box of a damage is known, its segmentation is
    an empty list.

    Args:
        folder: An empty folder.
        items: The cards.
        categories: Names of all categories, in order.
        segmentation: Polygons along the edges of the pixels (see `polygons.edge_polygons`), or compressed run lengths.
    """
    images: dict[str, list[str]] = defaultdict(list)
    annotations: dict[str, list[str]] = defaultdict(list)
    for item in track(items, "coco"):
        item.write_picture(folder / "images" / item.split)
        image_id, (height, width) = len(images[item.split]) + 1, item.annotated.size
        image = {"id": image_id, "file_name": item.name, "width": width, "height": height}
        images[item.split].append(_json({**image, "card": item.annotated.card.name, "group": item.group}))
        for instance in item.annotated.instances:
            annotation = {
                "id": len(annotations[item.split]) + 1,
                "image_id": image_id,
                "category_id": categories.index(instance.category) + 1,
                "bbox": instance.box,
                "area": instance.area,
                "iscrowd": 0,
                "segmentation": _coco_segmentation(instance, segmentation),
            }
            annotations[item.split].append(_json(annotation))
    numbered = [
        _json({"id": number, "name": name, "supercategory": "damage"})
        for number, name in enumerate(categories, start=1)
    ]
    for split, rows in images.items():
        lists = {"images": rows, "annotations": annotations[split], "categories": numbered}
        parts = ['"info": {"description": "made by cardsynth export"}', '"licenses": []']
        parts += [f'"{key}": [\n' + ",\n".join(values) + "\n]" for key, values in lists.items()]
        write_text(folder / f"annotations/instances_{split}.json", "{" + ",\n".join(parts) + "}\n")


def _coco_segmentation(instance: Instance, segmentation: Segmentation) -> dict[str, Any] | list[list[int]]:
    if instance.rle is None:
        return []
    if segmentation == "rle":
        return instance.rle
    return [polygon.ravel().tolist() for polygon in edge_polygons(instance.mask())]


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def write_yolo(folder: Path, items: Sequence[Item], categories: Sequence[str], segment: bool = False) -> None:
    """Writes `images/SPLIT/`, `labels/SPLIT/` and `data.yaml`, https://docs.ultralytics.com/datasets/.

    A label file has one line for each damage: the category, numbered from 0, then the centre and the lengths of its
    box, or the points of its polygon, as shares of width and height. The label file of an undamaged card is empty.

    Args:
        folder: An empty folder.
        items: The cards.
        categories: Names of all categories, in order.
        segment: Write polygons (see `polygons.pixel_polygon`) instead of boxes.
    """
    for item in track(items, "yolo-segment" if segment else "yolo"):
        item.write_picture(folder / "images" / item.split)
        size = np.array(item.annotated.size[::-1])
        lines = []
        for instance in item.annotated.instances:
            corner, lengths = np.array(instance.box).reshape(2, 2)
            points = pixel_polygon(instance.mask()) if segment else np.stack([corner + lengths / 2, lengths])
            shares = " ".join(f"{share:.6f}" for share in (points / size).ravel())
            lines.append(f"{categories.index(instance.category)} {shares}\n")
        write_text(folder / f"labels/{item.split}/{item.stem}.txt", "".join(lines))
    lines = [f"{split}: images/{split}\n" for split in SPLITS if any(item.split == split for item in items)]
    lines += ["names:\n", *(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(categories))]
    write_text(folder / "data.yaml", "".join(lines))
