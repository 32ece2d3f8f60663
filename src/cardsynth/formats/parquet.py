"""Cards and their damages as a data set of the Hugging Face library: Parquet files that hold pictures, masks, boxes."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from cardsynth.cards.fitting import encode_png
from cardsynth.cards.licence import data_set_card
from cardsynth.formats.coco_yolo import Item, Writer

CARDS_A_FILE = 200  # and so many are held in memory
SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}

COLUMNS = {
    "image": "image",
    "mask": "image",
    "label": "class",
    "file_name": "text",
    "group": "text",
    "objects": "lists of id, bbox, category, area",
}


class HubWriter(Writer):
    """`data/SPLIT-00000-of-00001.parquet` and a README.md, which `load_dataset` opens here and on the Hub.

    items: all cards that will be added. title: what the README.md is headed.
    """

    def __init__(self, folder: Path, categories: Sequence[str], items: Sequence[Item], title: str) -> None:
        super().__init__(folder, categories)
        self.title = title
        self.counts = Counter(SPLIT_NAMES[item.split] for item in items)
        self.damages = Counter(instance.category for item in items for instance in item.seen.instances)
        self.synthetic = any((item.seen.card.row or {}).get("seed") is not None for item in items)
        labels = sorted({item.seen.card.label for item in items} - {None})
        integer, string, picture = datasets.Value("int64"), datasets.Value("string"), datasets.Image()
        objects = {
            "id": datasets.List(integer),
            "bbox": datasets.List(datasets.List(datasets.Value("float32"), length=4)),
            "category": datasets.List(datasets.ClassLabel(names=list(categories))),
            "area": datasets.List(datasets.Value("float32")),
        }
        self.features = datasets.Features(
            {
                "image_id": integer,
                "file_name": string,
                "group": string,
                "image": picture,
                "mask": picture,
                "width": integer,
                "height": integer,
                "label": datasets.ClassLabel(names=labels) if labels else string,
                "objects": objects,
            }
        )
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.written: Counter[str] = Counter()
        self.count = 0

    def add(self, item: Item) -> None:
        seen, split = item.seen, SPLIT_NAMES[item.split]
        mask = None
        if all(instance.rle is not None for instance in seen.instances):
            mask = np.zeros(seen.size, np.uint8)
            for instance in seen.instances:
                mask[instance.mask()] = 255
        row = {"image_id": self.count, "file_name": seen.card.name, "group": item.group, "label": seen.card.label}
        row |= {"height": seen.size[0], "width": seen.size[1]}
        row["image"] = {"bytes": item.picture(), "path": item.name}
        row["mask"] = None if mask is None else {"bytes": encode_png(mask), "path": f"{item.stem}.png"}
        row["objects"] = {
            "id": list(range(len(seen.instances))),
            "bbox": [list(instance.box) for instance in seen.instances],
            "category": [instance.category for instance in seen.instances],
            "area": [instance.area for instance in seen.instances],
        }
        self.count += 1
        self.rows[split].append(row)
        if len(self.rows[split]) == CARDS_A_FILE:
            self._write_rows(split)

    def _write_rows(self, split: str) -> None:
        files = -(-self.counts[split] // CARDS_A_FILE)
        path = self.folder / "data" / f"{split}-{self.written[split]:05d}-of-{files:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = datasets.Dataset.from_list(self.rows.pop(split), features=self.features)
        shown = not datasets.are_progress_bars_disabled()
        datasets.disable_progress_bars()  # one a file would bury the bar of all cards
        try:
            rows.to_parquet(path)
        finally:
            if shown:
                datasets.enable_progress_bars()
        self.written[split] += 1

    def finish(self) -> None:
        for split in list(self.rows):
            self._write_rows(split)
        counts = ", ".join(f"{self.counts[split]:,} {split}" for split in SPLIT_NAMES.values())
        card = data_set_card(
            {"task_categories": ["object-detection", "image-segmentation"]},
            synthetic=self.synthetic,
            title=self.title,
            summary=f"{counts} trading cards with their surface damage.",
            classes={category: self.damages[category] for category in self.categories},
            counted="damages",
            columns=COLUMNS,
            code='cards = load_dataset("PATH_OR_HUB_ID")\ncards["train"][0]["objects"]',
            origin="Exported from a card folder (`cardsynth export`).",
        )
        self.write("README.md", card)
