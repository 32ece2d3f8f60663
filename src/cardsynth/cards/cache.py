"""Prepares the cards of a large folder once: stores their pixels in one file, which later starts map into memory."""

import hashlib
import json
import math
import mmap
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO

import numpy as np
import PIL
import psutil
from filelock import FileLock

from cardsynth.cards.folder import METADATA_NAMES, REPORT_FOLDER, CardFile, card_root, picture_files
from cardsynth.cards.reading import Listing, Reading, chosen_cards, read_into, read_into_memory, some_cards

CACHE_FOLDER = ".cardsynth"  # in the card folder, beside its pictures; hidden, so that nothing takes it for a class
CACHED_FROM = 1000  # pictures, masks among them; fewer are read in seconds
FORMAT = 2  # counts up when something else is made of the same pictures and settings
PIXELS, LISTING = "pixels", "cards.json"
NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)  # Python 3.11 does not name it


def read_folder(folder: Path, reading: Reading) -> tuple[np.ndarray, Listing, str | None]:
    """Reads the cards of a folder.

    From 1,000 pictures on, the pixels come from a file in the hidden folder `.cardsynth`, mapped into memory; writing
    to them does not change the file. If that file cannot be written, warns and reads into memory.

    Returns:
        Pixels uint8 (N, C, H, W), the listing of the cards, and their fingerprint if known.

    Raises:
        CardError: as of `read_cards`.
    """
    root = card_root(folder)
    names, state = folder_state(root)
    if len(names) < CACHED_FROM:
        return *_read_into_memory(folder, reading), None
    place = root / CACHE_FOLDER / f"{_digest(repr(reading))}-{state}"
    cached = _open(place)
    if cached:
        return cached
    try:
        _make_cache_folder(place.parent)
        with FileLock(place.parent / ".lock"):
            return _open(place) or _prepare(folder, reading, place, names)
    except (OSError, NotImplementedError) as error:
        warnings.warn(
            f"{root} keeps no prepared cards ({error}), so they are read into memory, now and at each start",
            stacklevel=3,
        )
        return *_read_into_memory(folder, reading), None


def folder_state(root: Path) -> tuple[set[str], str]:
    """Returns the relative names of the pictures in a card folder, and a digest that changes with the folder.

    The digest covers names, sizes and modification times of the pictures, the metadata, and Pillow's version.
    """
    names, rows = set(), [PIL.__version__, str(FORMAT), str((root / "images").is_dir())]
    for name, entry in picture_files(root):
        if not name.startswith(f"{REPORT_FOLDER}/"):
            status = entry.stat()
            names.add(name)
            rows.append(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}")
    for name in METADATA_NAMES:
        if (root / name).is_file():
            rows.append(f"{name}\0{hashlib.sha256((root / name).read_bytes()).hexdigest()}")
    return names, _digest("\0\0".join(sorted(rows)))


def fingerprint_of(pixels: np.ndarray, labels: np.ndarray, label_names: tuple[str, ...]) -> str:
    """Hash of pixels, uint8 (N, C, H, W), and labels, int64 (N,)."""
    digest = hashlib.sha256(repr((pixels.shape, label_names)).encode())
    for values in (pixels, labels):
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()[:16]


def number_labels(listing: Listing) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the label number of each card, int64 (N,), 0 without labels, and the sorted names of the labels."""
    label_names = tuple(sorted(set(listing.labels)))
    number_of = {name: number for number, name in enumerate(label_names)}
    labels = [number_of[label] for label in listing.labels] or [0] * len(listing.names)
    return np.array(labels, np.int64), label_names


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def _chosen(folder: Path, reading: Reading) -> tuple[list[CardFile], bool, bool]:
    """Returns the cards to read, and whether they must have labels and masks."""
    cards = some_cards(folder)
    labels = [card.label for card in cards]
    cards = [cards[index] for index in chosen_cards(labels, reading, folder)]
    labelled = reading.use_labels and any(label is not None for label in labels)
    return cards, labelled, reading.use_masks and any(card.mask for card in cards)


def _read_into_memory(folder: Path, reading: Reading) -> tuple[np.ndarray, Listing]:
    return read_into_memory(*_chosen(folder, reading), reading, folder)


def _make_cache_folder(path: Path) -> None:
    path.mkdir(exist_ok=True)
    ignore = path / ".gitignore"
    if not ignore.exists():
        ignore.write_text("*\n")


def _prepare(folder: Path, reading: Reading, place: Path, names: set[str]) -> tuple[np.ndarray, Listing, str]:
    """Reads the cards into a new cache, which replaces older ones of the same settings.

    Args:
        folder: the card folder.
        reading: how cards are read.
        place: folder of the cache.
        names: the pictures whose changes the cache notices.

    Raises:
        OSError: the cache cannot be written, or would not notice a change of a picture.
    """
    cards, labelled, with_mask = _chosen(folder, reading)
    unknown = sum(name not in names and Path(name).as_posix() not in names for name in _named(cards, with_mask))
    if unknown:
        raise FileNotFoundError(f"files that its metadata names are missing or lie elsewhere: {unknown}")
    size = (3 + with_mask) * math.prod(reading.size)
    for old in place.parent.glob(f"{place.name.partition('-')[0]}-*"):
        shutil.rmtree(old, ignore_errors=True)
    free = shutil.disk_usage(place.parent).free
    if len(cards) * size > free:
        raise OSError(f"they take {len(cards) * size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on its disk")
    temporary = place.parent / ".preparing"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with (temporary / PIXELS).open("wb") as store:
            listing = read_into(lambda pixels: store.write(pixels.data), cards, labelled, with_mask, reading, folder)
            _flush(store)
        shape = (len(listing.names), 3 + with_mask, *reading.size)
        fingerprint = fingerprint_of(_map(temporary / PIXELS, shape), *number_labels(listing))
        with (temporary / LISTING).open("w") as file:
            json.dump({"shape": shape, "fingerprint": fingerprint, "listing": asdict(listing)}, file)
            _flush(file)
        temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    cached = _open(place)
    if not cached:
        raise OSError(f"{place} cannot be read again")
    return cached


def _named(cards: list[CardFile], with_mask: bool) -> Iterator[str]:
    """Yields the pictures that metadata rows name, which may lie anywhere."""
    for row in (card.row for card in cards if card.row):
        yield row["file_name"]
        if with_mask and row.get("mask_file_name"):
            yield row["mask_file_name"]


def _flush(file: IO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _open(place: Path) -> tuple[np.ndarray, Listing, str] | None:
    """Opens a cache; returns pixels, listing and fingerprint, or None without a complete cache."""
    try:
        stored = json.loads((place / LISTING).read_bytes())
        listing = Listing(**{name: tuple(values) for name, values in stored["listing"].items()})
        return _map(place / PIXELS, stored["shape"], at_random=True), listing, stored["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _map(path: Path, shape: Sequence[int], at_random: bool = False) -> np.ndarray:
    """Maps a file into memory as an array, copy on write.

    Args:
        path: the file.
        shape: shape of the array.
        at_random: it is read in random order. If it does not fit into memory, read-ahead is turned off, since it made
            random batches thirteen times slower.
    """
    with path.open("rb") as file:
        if sys.platform == "win32":
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        else:
            flags = mmap.MAP_PRIVATE | NORESERVE
            mapped = mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            if at_random and len(mapped) > free_memory() / 2:
                mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, np.uint8).reshape(shape)


def free_memory() -> int:
    """Bytes of memory that this machine, or the container that this runs in, can still give."""
    free = psutil.virtual_memory().available
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = Path(limit).read_text().strip() if Path(limit).is_file() else ""
        free = min(free, int(text)) if text.isdigit() else free
    return free
