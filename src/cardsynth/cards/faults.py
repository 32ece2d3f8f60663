"""Checks one card: its picture, its mask and further pictures."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from cardsynth.cards.fitting import read_image
from cardsynth.cards.folder import CardError, CardFile

Level = Literal["error", "warning"]
ReportProblem = Callable[[Level, Path, str, str], None]  # called with level, file, reason and remedy
Size = tuple[int, int]


@dataclass(frozen=True)
class Problem:
    """A problem of a file and its remedy. An error stops or spoils training; a warning does not.

    Attributes:
        level: `error` or `warning`.
        file: path relative to the checked folder.
        reason: what is wrong.
        remedy: what to do.
    """

    level: Level
    file: str
    reason: str
    remedy: str


def look_at(card: CardFile, folder: Path, masked: bool, report: ReportProblem) -> tuple[Size, bytes] | None:
    """Decodes the pictures of a card and reports their problems.

    Args:
        card: the card.
        folder: the checked folder, which pictures must not lead out of.
        masked: whether cards of the folder have masks.
        report: called with each problem.

    Returns:
        (height, width) of the picture and a hash of its pixels; None if it cannot be read.
    """
    image, mask = (_open(path, folder, report) if path else None for path in (card.image, card.mask))
    if masked and card.mask is None:
        report(
            "error", card.image, "has no mask where other cards have one", "add it; all black where nothing is damaged"
        )
    if card.mask and mask:
        _check_mask(card.mask, mask, image, report)
    for path in card.others:
        _check_size(path, _open(path, folder, report), image, report)
    if image is None:
        return None
    for reason, remedy in _oddities(card.image):
        report("warning", card.image, reason, remedy)
    if image.getcolors(1):
        report("warning", card.image, "has one colour all over", "scan it again, or remove it")
    digest = hashlib.sha256(repr(image.size).encode())
    digest.update(np.ascontiguousarray(image).data)
    return (image.height, image.width), digest.digest()


def _open(path: Path, folder: Path, report: ReportProblem) -> Image.Image | None:
    if not is_inside(path, folder, report):
        return None
    try:
        return read_image(path)
    except CardError as error:
        report_error(error, path, report)


def is_inside(path: Path, folder: Path, report: ReportProblem) -> bool:
    """Whether a path leads to a file inside the folder; reports it if not."""
    try:
        target = path.resolve()
        if not target.is_relative_to(folder.resolve()):
            report("error", path, "leads outside the folder", "copy the picture into the folder")
        elif target.is_file():
            return True
        elif path.is_symlink():
            report("error", path, "is a broken link", "put the picture in its place, or remove it")
        else:
            report("error", path, "does not exist", "restore it, or remove it from its metadata row")
    except (OSError, RuntimeError, ValueError) as error:
        report("error", path, f"cannot be followed ({error})", "rename or remove it")
    return False


def _check_size(path: Path, other: Image.Image | None, image: Image.Image | None, report: ReportProblem) -> None:
    if image and other and other.size != image.size:
        reason = f"measures {other.height}x{other.width} and its card {image.height}x{image.width}"
        report("error", path, reason, "save both at one size")


def _check_mask(path: Path, mask: Image.Image, image: Image.Image | None, report: ReportProblem) -> None:
    _check_size(path, mask, image, report)
    values = {value for value, count in enumerate(mask.convert("L").histogram()) if count}
    if max(values) and max(values) < 128:
        reason = f"reaches only {max(values)} of 255, so that it reads as no damage"
        report("error", path, reason, "save damage as 255, the rest as 0")
    elif not values <= {0, 255}:
        reason = "has values other than 0 and 255; from 128 on they are read as damage"
        report("warning", path, reason, "save damage as 255, the rest as 0")


def _oddities(path: Path) -> Iterator[tuple[str, str]]:
    """Yields what reading a picture changes, by its header, and a remedy."""
    with Image.open(path) as image:
        raw_modes = [tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in image.tile]
        if image.mode.startswith(("I", "F")) or any(";16" in raw_mode for raw_mode in raw_modes):
            yield "has 16 bits or more a channel and is read with 8", "save it with 8 if it looks too dark or bright"
        if image.mode == "CMYK":
            yield "is CMYK and is read as RGB without its colour profile", "save it as RGB if colours look wrong"
        if image.mode in ("P", "PA"):
            yield "has a palette and is read as RGB", "save it as RGB from the scan, which has more colours"
        if "A" in image.getbands() or "transparency" in image.info:
            yield "has transparency and is laid on white", "save it without an alpha channel"
        try:
            if (count := getattr(image, "n_frames", 1)) > 1:
                yield f"holds {count} pictures, of which the first is read", "save the one that is meant"
        except Exception:  # a decoder may raise anything on damaged bytes
            yield "is damaged behind its first picture, which is read", "scan or copy it again"


def report_error(error: CardError, path: Path, report: ReportProblem) -> None:
    """Reports a CardError of a file, whose message is "FILE: REASON; REMEDY"."""
    reason, _, remedy = str(error).removeprefix(str(path)).lstrip(" ,:").rpartition("; ")
    report("error", path, reason, remedy)
