"""Cards and their damages as a data set of the Hugging Face library: Parquet files that hold pictures, masks, boxes."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from huggingface_hub import DatasetCardData

from cardsynth.cards.fitting import encode_png
from cardsynth.formats.coco_yolo import Item, Writer
from cardsynth.hub.model_card import CARDS_LIMITS, LICENSE, LICENSE_TEXT

CARDS_A_FILE = 200  # and so many are held in memory
SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}

DESCRIPTION = """# {title}

{counts} trading cards with their surface damage, made with `cardsynth export`.

{table}

```python
from datasets import load_dataset

cards = load_dataset("PATH_OR_HUB_ID")
cards["train"][0]["objects"]
```

- `image`: the card; `mask`: its damage, 255 where damaged, else 0 (none where only boxes are known);
- `label`: the class of the card; `file_name`: what it was called; `group`: cards that must not be parted share it;
- `objects`: its damages: `bbox` as x, y, width, height in pixels, `category`, `area` in pixels."""


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
        front = DatasetCardData(
            license=LICENSE if self.synthetic else "unknown",
            task_categories=["object-detection", "image-segmentation"],
            tags=["cardsynth", "image", *(["synthetic"] if self.synthetic else [])],
        )
        table = [f"| {category} | {self.damages[category]:,} |" for category in self.categories]
        about = DESCRIPTION.format(
            title=self.title,
            counts=", ".join(f"{self.counts[split]:,} {split}" for split in SPLIT_NAMES.values()),
            table="\n".join(["| category | damages |", "| --- | --- |", *table]),
        )
        rights = (
            LICENSE_TEXT.format(subject="The pictures") if self.synthetic else "## Licence\nNot stated: ask the owner."
        )
        self.write("README.md", f"---\n{front.to_yaml().strip()}\n---\n\n{about}\n\n{CARDS_LIMITS}\n\n{rights}\n")
