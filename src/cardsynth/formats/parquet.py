"""Writes cards and their damages as a data set of the Hugging Face `datasets` library: Parquet files and a README."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from cardsynth.cards.fitting import encode_png
from cardsynth.cards.licence import data_set_card
from cardsynth.formats.items import Item, track, write_text

CARDS_A_FILE = 200  # also the number of cards in memory
SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}

COLUMNS = {
    "image": "image",
    "mask": "image",
    "label": "class",
    "file_name": "text",
    "group": "text",
    "objects": "lists of id, bbox, category, area",
}


def write_parquet(folder: Path, items: Sequence[Item], categories: Sequence[str], title: str) -> None:
    """Writes `data/SPLIT-00000-of-00001.parquet` and `README.md`; `load_dataset` opens them locally and from the Hub.

    Args:
        folder: An empty folder.
        items: The cards.
        categories: Names of all categories, in order.
        title: Heading of the README.
    """
    features, counts = _features(items, categories), Counter(SPLIT_NAMES[item.split] for item in items)
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in counts}
    written: Counter[str] = Counter()
    for number, item in enumerate(track(items, "hub")):
        split = SPLIT_NAMES[item.split]
        rows[split].append(_row(item, number))
        written[split] += 1
        if len(rows[split]) == CARDS_A_FILE or written[split] == counts[split]:
            file, files = (-(-cards // CARDS_A_FILE) for cards in (written[split], counts[split]))
            path = folder / "data" / f"{split}-{file - 1:05d}-of-{files:05d}.parquet"
            _write_rows(path, rows[split], features)
            rows[split].clear()
    write_text(folder / "README.md", _readme(items, categories, title))


def _features(items: Sequence[Item], categories: Sequence[str]) -> datasets.Features:
    labels = sorted({item.annotated.card.label for item in items} - {None})
    integer, string, picture = datasets.Value("int64"), datasets.Value("string"), datasets.Image()
    objects = {
        "id": datasets.List(integer),
        "bbox": datasets.List(datasets.List(datasets.Value("float32"), length=4)),
        "category": datasets.List(datasets.ClassLabel(names=list(categories))),
        "area": datasets.List(datasets.Value("float32")),
    }
    return datasets.Features(
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


def _row(item: Item, number: int) -> dict[str, Any]:
    """A card with its picture, and the mask of all its damages if every mask is known."""
    card, (height, width), instances = item.annotated.card, item.annotated.size, item.annotated.instances
    mask = None
    if all(instance.rle is not None for instance in instances):
        damaged = np.any([np.zeros((height, width), bool), *(instance.mask() for instance in instances)], axis=0)
        mask = {"bytes": encode_png(np.where(damaged, 255, 0).astype(np.uint8)), "path": f"{item.stem}.png"}
    return {
        "image_id": number,
        "file_name": card.name,
        "group": item.group,
        "label": card.label,
        "height": height,
        "width": width,
        "image": {"bytes": item.picture(), "path": item.name},
        "mask": mask,
        "objects": {
            "id": list(range(len(instances))),
            "bbox": [list(instance.box) for instance in instances],
            "category": [instance.category for instance in instances],
            "area": [instance.area for instance in instances],
        },
    }


def _write_rows(path: Path, rows: list[dict[str, Any]], features: datasets.Features) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    bars_shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()  # a bar for each file would hide the bar of all cards
    try:
        datasets.Dataset.from_list(rows, features=features).to_parquet(path)
    finally:
        if bars_shown:
            datasets.enable_progress_bars()


def _readme(items: Sequence[Item], categories: Sequence[str], title: str) -> str:
    counts = Counter(SPLIT_NAMES[item.split] for item in items)
    damages = Counter(instance.category for item in items for instance in item.annotated.instances)
    cards = ", ".join(f"{counts[split]:,} {split}" for split in SPLIT_NAMES.values())
    return data_set_card(
        {"task_categories": ["object-detection", "image-segmentation"]},
        synthetic=any((item.annotated.card.row or {}).get("seed") is not None for item in items),
        title=title,
        summary=f"{cards} trading cards with their surface damage.",
        classes={category: damages[category] for category in categories},
        counted="damages",
        columns=COLUMNS,
        code='cards = load_dataset("PATH_OR_HUB_ID")\ncards["train"][0]["objects"]',
        origin="Exported from a card folder (`cardsynth export`).",
    )
