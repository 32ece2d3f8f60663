"""The card folder on disk: which cards it holds, and the writer that adds to it."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
METADATA_NAMES = ("metadata.jsonl", "metadata.csv")


class CardError(ValueError):
    """Bad input of a card folder: says which file, what is wrong and what to do."""


@dataclass(frozen=True)
class CardFile:
    """One card of a folder: its picture, and mask, label and caption where known; `row` is its metadata row."""

    name: str
    image: Path
    mask: Path | None = None
    label: str | None = None
    text: str | None = None
    row: dict[str, Any] | None = None


def find_cards(folder: str | Path) -> list[CardFile]:
    """The cards of a local folder, sorted by name: by its metadata file, its class folders, or as a flat folder.

    Looks into `train/` where there is one. A folder `masks/` beside holds masks of the same path, and `ALL...` folders
    that hold every class again are no class. Raises CardError for metadata that cannot be read.
    """
    folder = Path(folder)
    root = folder / "train" if (folder / "train").is_dir() else folder
    for name in METADATA_NAMES:
        if (root / name).is_file():
            return [_card_of_row(root, row) for row in read_metadata(root / name)]
    return _find_pictures(root)


def read_metadata(path: Path) -> list[dict[str, Any]]:
    """Rows of a `metadata.jsonl` or `metadata.csv`; raises CardError with the line that is wrong."""
    rows = []
    with path.open(encoding="utf-8-sig", newline="") as lines:
        parsed = csv.DictReader(lines) if path.suffix == ".csv" else lines
        for number, line in enumerate(parsed, start=2 if path.suffix == ".csv" else 1):
            if isinstance(line, str) and not line.strip():
                continue
            try:
                row = json.loads(line) if isinstance(line, str) else {k: v for k, v in line.items() if v}
            except ValueError as error:
                raise CardError(f"{path}, line {number}: not JSON ({error}); mend or remove the line") from error
            if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
                raise CardError(f"{path}, line {number}: has no file_name; add it or remove the line")
            rows.append(row)
    return rows


def _card_of_row(root: Path, row: dict[str, Any]) -> CardFile:
    mask = row.get("mask_file_name")
    label = row.get("label")
    return CardFile(
        name=row["file_name"],
        image=root / row["file_name"],
        mask=root / mask if mask else None,
        label=None if label is None else str(label),
        text=row.get("text"),
        row=row,
    )


def _find_pictures(root: Path) -> list[CardFile]:
    images = root / "images" if (root / "images").is_dir() else root
    masks = root / "masks"
    files = [path for path in images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(root).parts)]
    mask_of = {}
    if masks.is_dir():
        files = [path for path in files if not path.is_relative_to(masks)]
        mask_of = {path.relative_to(masks).with_suffix(""): path for path in sorted(masks.rglob("*")) if path.is_file()}
    classed = [path for path in files if path.parent != images and not path.parent.name.upper().startswith("ALL")]
    return [
        CardFile(
            name=path.relative_to(root).as_posix(),
            image=path,
            mask=mask_of.get(path.relative_to(images).with_suffix("")),
            label=path.parent.name if classed else None,
        )
        for path in sorted(classed or files)
    ]


class CardWriter:
    """Writes cards into a card folder, each picture whole or not at all; adds to a folder that has cards already.

    Use as a context manager. Raises CardError where a picture exists already, unless `overwrite`.
    """

    def __init__(self, folder: str | Path, overwrite: bool = False) -> None:
        self.folder, self.overwrite = Path(folder), overwrite
        self.metadata = self.folder / "metadata.jsonl"
        self.rows = {row["file_name"]: row for row in read_metadata(self.metadata)} if self.metadata.is_file() else {}
        self.folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "CardWriter":
        self._journal = self.metadata.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()
        rows = [self.rows[name] for name in sorted(self.rows)]
        write_atomically(self.metadata, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())

    def add(self, row: dict[str, Any], image: bytes, mask: bytes | None = None) -> None:
        """Write one card: PNG bytes of its picture, and of its mask where the row has a `mask_file_name`."""
        files = {row["file_name"]: image}
        if mask is not None:
            files[row["mask_file_name"]] = mask
        for name in files:
            if (self.folder / name).exists() and not self.overwrite:
                raise CardError(f"{self.folder / name} exists already; choose another folder or seed, or overwrite")
        for name, content in files.items():
            write_atomically(self.folder / name, content)
        self.rows[row["file_name"]] = row
        self._journal.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._journal.flush()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
