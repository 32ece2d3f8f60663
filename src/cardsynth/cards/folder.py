"""The card folder (contract 1): finds its cards, reads its metadata, and writes cards into it."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from os import DirEntry, scandir
from pathlib import Path
from typing import Any

from cardsynth.util.files import write_atomically

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
REPORT_FOLDER = "report"  # beside generated cards: figures of them, and no cards ("evaluation" is a split to datasets)
COMPANIONS = ("masks", "soft_masks", "twins")  # folders beside a card's class that hold further pictures of it
METADATA_NAMES = ("metadata.jsonl", "metadata.csv")
OF_FOLDERS, NAME_ONE = "holds card folders and is none itself", "name one of them"
ROW_KINDS = {
    "file_name": (str,),
    "mask_file_name": (str, type(None)),
    "label": (str, int, float, type(None)),
    "text": (str, type(None)),
}


class CardError(ValueError):
    """Bad input of a card folder; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class StoredCard:
    """One card whose pictures are files or their bytes.

    Attributes:
        name: file name relative to the folder, or the row of a data set.
        image: its picture.
        mask: its damage mask, if it has one.
        label: its damage class, if known.
        text: its caption, if it has one.
        row: its metadata row, if it has one.
    """

    name: str
    image: Path | io.BytesIO
    mask: Path | io.BytesIO | None = None
    label: str | None = None
    text: str | None = None
    row: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CardFile(StoredCard):
    """One card of a folder.

    Attributes:
        others: further pictures that the row names, such as `soft_mask_file_name`.
    """

    image: Path
    mask: Path | None = None
    others: tuple[Path, ...] = ()


def picture_keys(row: dict[str, Any]) -> list[str]:
    """Keys of a metadata row that name a picture, as `datasets` reads them: `file_name` and `..._file_name`."""
    return [key for key, value in row.items() if (key == "file_name" or key.endswith("_file_name")) and value]


def card_root(folder: Path) -> Path:
    """The folder that holds the cards: `train/` inside a folder without metadata of its own, else the folder itself."""
    has_metadata = any((folder / name).is_file() for name in METADATA_NAMES)
    return folder / "train" if (folder / "train").is_dir() and not has_metadata else folder


def metadata_file(folder: Path) -> Path | None:
    """The metadata file of a folder; None without one."""
    return next((folder / name for name in METADATA_NAMES if (folder / name).is_file()), None)


def find_cards(folder: str | Path) -> list[CardFile]:
    """Finds the cards of a local folder: by its metadata file, its class folders, or as a flat folder.

    Looks into `train/` if there is one. A folder `masks/` holds masks under the same relative paths. A folder named
    `ALL...` that holds every class again is no class.

    Returns:
        The cards, sorted by name.

    Raises:
        CardError: the metadata cannot be read, or the folder holds card folders and is none itself.
    """
    root = card_root(Path(folder))
    metadata = metadata_file(root)
    if metadata is None:
        if inner := inner_card_folders(root):
            raise CardError(f"{root} {OF_FOLDERS}; {NAME_ONE}, as {inner[0]}")
        return find_pictures(root)
    return sorted((card_of_row(root, row) for row in read_metadata(metadata)), key=lambda card: card.name)


def inner_card_folders(root: Path) -> list[Path]:
    """The sub-folders with metadata of their own, sorted; hidden ones do not count."""
    return sorted(file.parent for name in METADATA_NAMES for file in root.glob(f"[!.]*/{name}"))


def read_metadata(path: Path) -> list[dict[str, Any]]:
    """Reads the rows of a `metadata.jsonl` or `metadata.csv`; raises CardError that names the first wrong line."""
    rows = []
    for _, row in parse_metadata(path):
        if isinstance(row, CardError):
            raise row
        rows.append(row)
    return rows


def parse_metadata(path: Path) -> Iterator[tuple[int, dict[str, Any] | CardError]]:
    """Yields line number and row of each card of a metadata file; a CardError in place of a wrong row."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        yield 0, CardError(f"{path}: cannot be read ({error}); restore it")
        return
    except UnicodeDecodeError as error:
        number = error.object.count(b"\n", 0, error.start) + 1
        yield number, CardError(f"{path}, line {number}: not UTF-8 text; save the file as UTF-8")
        return
    for number, parsed in (_csv_rows if path.suffix == ".csv" else _json_rows)(text):
        fault = parsed if isinstance(parsed, str) else _fault_of(parsed)
        if fault or isinstance(parsed, str):
            yield number, CardError(f"{path}, line {number}: {fault}")
        else:
            yield number, parsed


def _json_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
                yield number, row if isinstance(row, dict) else {}
            except (ValueError, RecursionError) as error:
                yield number, f"not JSON ({error}); mend or remove the line"


def _csv_rows(text: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            if None in row:
                yield reader.line_num, "more cells than the header has; put text that holds commas in quotes"
            else:
                yield reader.line_num, {key: value for key, value in row.items() if value}
    except csv.Error as error:
        yield reader.line_num, f"not CSV ({error}); mend or remove the line"


def _fault_of(row: dict[str, Any]) -> str | None:
    if not row.get("file_name"):
        return "has no file_name; add it or remove the line"
    for key, kinds in ROW_KINDS.items():
        if not isinstance(row.get(key), kinds):
            return f"{key} is {row[key]!r}; write it as text"
    for key in picture_keys(row):
        if not isinstance(row[key], str):
            return f"{key} is {row[key]!r}; write it as text"
    return None


def card_of_row(root: Path, row: dict[str, Any]) -> CardFile:
    """Builds the card of a metadata row; its file names are relative to `root`."""
    mask, label = row.get("mask_file_name"), row.get("label")
    return CardFile(
        name=row["file_name"],
        image=root / row["file_name"],
        mask=root / mask if mask else None,
        label=None if label in (None, "") else str(label),
        text=row.get("text"),
        row=row,
        others=tuple(root / row[key] for key in picture_keys(row) if key not in ROW_KINDS),
    )


def find_pictures(root: Path) -> list[CardFile]:
    """Finds the cards of a folder without metadata, sorted by name."""
    inside = "images/" if (root / "images").is_dir() else ""
    aside = tuple(f"{name}/" for name in (*COMPANIONS, REPORT_FOLDER))
    files = sorted((name for name, _ in picture_files(root / inside)), key=_order)
    files = [name for name in files if not f"{inside}{name}".startswith(aside)]
    masks = sorted((name for name, _ in picture_files(root / "masks")), key=_order)
    mask_of = {_without_suffix(name): root / "masks" / name for name in masks}
    label_of = {parent: Path(parent).name for parent in set(map(_parent, files)) if parent}
    label_of = {parent: label for parent, label in label_of.items() if not is_gathering(Path(label))}
    classed = [name for name in files if _parent(name) in label_of]
    return [
        CardFile(
            name=f"{inside}{name}",
            image=root / f"{inside}{name}",
            mask=mask_of.get(_without_suffix(name)),
            label=label_of.get(_parent(name)),
        )
        for name in classed or files
    ]


def is_gathering(folder: Path) -> bool:
    """Whether a folder repeats the cards of all classes, such as `ALL_GUM_STAIN_CARDS`, and is no class itself."""
    return re.match(r"all(?![a-z])", folder.name, re.IGNORECASE) is not None


def picture_files(folder: Path) -> Iterator[tuple[str, DirEntry[str]]]:
    """Yields relative name and entry of each picture in a folder and its sub-folders, in no order.

    Skips hidden files and folders, links to folders, and folders that cannot be opened.
    """
    folders, suffixes = [""], tuple(IMAGE_SUFFIXES)
    while folders:
        parent = folders.pop()
        try:
            entries = list(scandir(folder / parent))
        except OSError:
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(f"{parent}{entry.name}/")
            elif entry.name.lower().endswith(suffixes) and _is_file(entry):
                yield f"{parent}{entry.name}", entry


def _is_file(entry: DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False) or Path(entry.path).is_file()


def _order(name: str) -> str:
    """Sort key that keeps the files of a folder together."""
    return name.replace("/", "\0")


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _without_suffix(name: str) -> str:
    return name.rpartition(".")[0]


class CardWriter:
    """Writes cards into a card folder, each picture whole or not at all; adds to the cards that it has.

    Use it as a context manager; several processes may write different cards.

    Args:
        folder: the card folder; made if missing.
        overwrite: replace pictures that exist.

    Raises:
        CardError: the folder has a `metadata.csv`, which the `metadata.jsonl` would hide, or broken metadata.
    """

    def __init__(self, folder: str | Path, overwrite: bool = False) -> None:
        self.folder, self.overwrite = Path(folder), overwrite
        self.metadata = self.folder / "metadata.jsonl"
        self.rows: dict[str, dict[str, Any]] = {}
        if self.metadata.is_file():
            read_metadata(self.metadata)
        elif (self.folder / "metadata.csv").is_file():
            raise CardError(f"{self.folder} has a metadata.csv; choose another folder, or turn it into metadata.jsonl")
        self.folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "CardWriter":
        unended = self.metadata.is_file() and self.metadata.read_bytes()[-1:] not in (b"", b"\n")
        self._journal = self.metadata.open("a", encoding="utf-8")
        if unended:
            self._journal.write("\n")
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()
        written = [row for _, row in parse_metadata(self.metadata) if not isinstance(row, CardError)]
        rows = {row["file_name"]: row for row in written} | self.rows
        if not rows:
            self.metadata.unlink()
        elif list(rows.values()) != written:
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values())
            write_atomically(self.metadata, "".join(lines).encode())

    def add(self, row: dict[str, Any], image: bytes, mask: bytes | None = None, **others: bytes) -> None:
        """Writes one card.

        Args:
            row: its metadata row, with `file_name` and a `..._file_name` for each further picture.
            image: PNG bytes of its picture.
            mask: PNG bytes of its mask.
            others: PNG bytes of further pictures by name: `twin` for `twin_file_name`.

        Raises:
            CardError: a picture exists, unless `overwrite`.
        """
        files = {self.folder / row["file_name"]: image}
        if mask is not None:
            others = {"mask": mask, **others}
        files |= {self.folder / row[f"{name}_file_name"]: content for name, content in others.items()}
        line = json.dumps(row, ensure_ascii=False) + "\n"
        existing = [path for path in files if path.exists()]
        if existing and not self.overwrite:
            raise CardError(f"{existing[0]} exists already; choose another folder or seed, or overwrite")
        written = []
        try:
            for path, content in files.items():
                write_atomically(path, content)
                written.append(path)
            self._journal.write(line)
            self._journal.flush()
        except BaseException:
            for path in set(written) - set(existing):
                path.unlink()
            raise
        self.rows[row["file_name"]] = json.loads(line)
