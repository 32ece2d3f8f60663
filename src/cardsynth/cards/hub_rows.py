"""Opens cards as a `datasets.Dataset`: those of a folder, or of a data set on the Hub."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np

from cardsynth.cards.folder import CardError, StoredCard
from cardsynth.cards.numbers import darkness_of
from cardsynth.cards.reading import Listing, Reading, chosen_cards, read_into_memory, some_cards

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def open_cards(source: str | Path) -> datasets.Dataset:
    """Opens the cards of a folder or of a data set on the Hub.

    Returns:
        A Dataset of image, mask, label, text, file_name and darkness (see `numbers.darkness_of`), undecoded.

    Raises:
        CardError: there is no such folder or data set, or no picture in it.
    """
    folder = Path(source)
    if folder.is_dir():
        rows = [
            {
                "image": str(card.image),
                "mask": str(card.mask) if card.mask else None,
                "label": card.label,
                "text": card.text,
                "file_name": card.name,
                "darkness": darkness_of(card.row),
            }
            for card in some_cards(folder)
        ]
        picture, string = datasets.Image(decode=False), datasets.Value("string")
        features = dict(image=picture, mask=picture, label=string, text=string, file_name=string)
        features["darkness"] = datasets.Value("float32")
        return datasets.Dataset.from_list(rows, features=datasets.Features(features))
    if folder.exists() or not HUB_ID.fullmatch(str(source)):
        raise CardError(f"{source} is no folder of cards, and no Hub id like name/cards; check the path")
    return _open_hub_cards(str(source))


def _open_hub_cards(repo_id: str) -> datasets.Dataset:
    try:
        cards = datasets.load_dataset(repo_id, split="train")
    except Exception as error:
        raise CardError(
            f"{repo_id} is no local folder, and could not be opened as a data set on the Hub"
            f" ({type(error).__name__}): check the name, and log in (hf auth login) where it is private"
        ) from error
    if "image" not in cards.column_names:
        raise CardError(f"{repo_id} has no column `image`; its columns are {', '.join(cards.column_names)}")
    columns: dict[str, list] = {"file_name": [f"{repo_id}[{index}]" for index in range(len(cards))]}
    label = cards.features.get("label")
    if label is not None:
        values = cards["label"][:]
        columns["label"] = [label.int2str(v) if isinstance(label, datasets.ClassLabel) else str(v) for v in values]
    telling = [name for name in ("darkness", "damages") if name in cards.column_names]
    rows = cards.select_columns(telling).to_list() if telling else [None] * len(cards)
    columns["darkness"] = [darkness_of(row) for row in rows]
    kept = cards.select_columns([name for name in ("image", "mask", "text") if name in cards.column_names])
    for name in ("mask", "label", "text"):
        if name not in cards.column_names:
            columns[name] = [None] * len(cards)
    for name, values in columns.items():
        kept = kept.add_column(name, values)
    for name in {"image", "mask"} & set(cards.column_names):
        kept = kept.cast_column(name, datasets.Image(decode=False))
    return kept


def read_rows(source: str | Path, reading: Reading) -> tuple[np.ndarray, Listing]:
    """Reads the cards of a data set; returns pixels uint8 (N, C, H, W) and the listing; raises as `read_cards` does."""
    rows = open_cards(source)
    labels = rows["label"][:]
    if reading.only_labels:
        rows = rows.select(chosen_cards(labels, reading, source))
    labelled = reading.use_labels and any(label is not None for label in labels)
    with_mask = reading.use_masks and any(mask is not None for mask in rows["mask"][:])
    return read_into_memory(_RowCards(rows), labelled, with_mask, reading, source)


class _RowCards(Sequence):
    """The rows of a Dataset as cards, fetched on access."""

    def __init__(self, rows: datasets.Dataset) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> StoredCard:
        row = self.rows[index]
        mask = file_of(row["mask"]) if row["mask"] else None
        image, known = file_of(row["image"]), {"darkness": row["darkness"]}
        return StoredCard(name=row["file_name"], image=image, mask=mask, label=row["label"], row=known)


def file_of(stored: dict[str, Any]) -> Path | io.BytesIO:
    """The file of an undecoded picture of a Dataset, or its bytes."""
    return io.BytesIO(stored["bytes"]) if stored.get("bytes") else Path(stored["path"])
