"""Draws vintage card backs with surface damage and exact masks, from seeds, and writes them as a card folder."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

import numpy as np

from cardsynth.cards.fitting import encode_png
from cardsynth.cards.folder import CardWriter
from cardsynth.cards.labels import CLASSES, EXTRA_CLASSES
from cardsynth.render.damage.shapes import Size
from cardsynth.render.damage.stains import SEVERITIES, Damage, damage_card
from cardsynth.render.printing import print_card
from cardsynth.render.styles import STYLES
from cardsynth.util.processes import results_in_order

MINIMUM_SIZE = 16  # pixels
MAXIMUM_DAMAGES = 8  # on one card
CHUNK = 8  # cards that a worker draws at a time
ALL_CLASSES = CLASSES + EXTRA_CLASSES
ALL_STYLES = tuple(STYLES)

Number = int | tuple[int, int]  # a number, or its minimum and maximum
Names = Sequence[str]
Job = tuple[int, str]  # seed and label
Result = TypeVar("Result")

DAMAGE_WORDS = {
    "CLEAN": "no damage",
    "FULL_CARD": "large gum stain",
    "LIGHT": "faint gum stain",
    "SMALL": "small dark stains",
    "WHITE_MARKS": "white marks",
    "WAX_STAIN": "wax stain",
    "RESIDUE": "coloured residue",
    "TONING": "toned paper",
    "CREASE": "crease",
    "SCRATCH": "scratches",
    "WATER_RING": "water ring",
    "HICKEY": "print hickeys",
    "PEN_MARK": "pen marks",
}


class Options(TypedDict, total=False):
    """Options of `draw_card`, passed on by the functions that draw many cards."""

    styles: Names
    damages: Number
    severity: float
    others: Names


DEFAULTS: Options = {"styles": ALL_STYLES, "damages": 1, "severity": 1.0, "others": EXTRA_CLASSES}


@dataclass(frozen=True)
class DrawnCard:
    """A drawn card of height H and width W.

    Attributes:
        image: uint8 (H, W, 3).
        mask: uint8 (H, W), 255 where damaged and 0 elsewhere.
        soft_mask: uint8 (H, W), 0 to 255: how much of a film of damage lies on each pixel.
        twin: The card without damage, uint8 (H, W, 3); equals `image` where `soft_mask` is 0.
        row: Metadata: label, seed, text (caption), the printed design (see `print_card`), `damages` (see
            `stains.Damage.row`), and `objects`: the boxes [x, y, width, height] in pixels of all damages, with their
            kinds as categories.
    """

    image: np.ndarray
    mask: np.ndarray
    soft_mask: np.ndarray
    twin: np.ndarray
    row: dict[str, Any]


def draw_card(
    seed: int,
    label: str,
    size: Size,
    styles: Names = ALL_STYLES,
    damages: Number = 1,
    severity: float = 1.0,
    others: Names = EXTRA_CLASSES,
) -> DrawnCard:
    """Draws the card of one seed with damage of one class. Equal arguments give equal bytes.

    Args:
        seed: 0 or more. A seed is the same card under every label and, except for its grain, at every size.
        label: One of CLASSES or EXTRA_CLASSES.
        size: (height, width) in pixels, at least 16x16.
        styles: Names of the styles to choose from.
        damages: Number of damages on a damaged card, 1 to 8, or a range (minimum, maximum) to draw it from. The first
            damage is of class `label`; the kinds of the others are drawn from `others`. CLEAN cards have none.
        severity: Factor of every damage's area and darkness, 0.25 to 2.
        others: Kinds of further damage.

    Raises:
        ValueError: If a label, style or kind is unknown, or a number is out of range.
    """
    _check(size, seed, (label,), {"styles": styles, "damages": damages, "severity": severity, "others": others})
    clean, area, about = print_card(seed, size, styles)
    image, soft_mask, mask = clean, np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    laid: list[Damage] = []
    for index, kind in enumerate(_kinds(seed, label, damages, others)):
        rng = np.random.default_rng([seed, 2, index, ALL_CLASSES.index(kind)])
        image, damage = damage_card(image, clean, area, kind, rng, severity)
        soft_mask, mask = np.maximum(soft_mask, damage.soft), np.maximum(mask, damage.hard)
        laid.append(damage)
    words = ", ".join(dict.fromkeys(DAMAGE_WORDS[damage.kind] for damage in laid)) or DAMAGE_WORDS["CLEAN"]
    row = {
        "label": label,
        "seed": seed,
        "text": f"{about['decade']}s card back, {about['stock']} stock, {about['inks']} ink, {words}",
        **about,
        "damages": [damage.row for damage in laid],
        "objects": {
            "bbox": [box for damage in laid for box in damage.boxes],
            "categories": [damage.kind for damage in laid for _ in damage.boxes],
        },
    }
    return DrawnCard(image, mask, soft_mask, clean, row)


def draw_cards(
    count: int, size: Size, seed: int, classes: Names = CLASSES, workers: int | None = None, **options: Unpack[Options]
) -> Iterator[DrawnCard]:
    """Draws cards one after another, a few ahead of the reader.

    Card i has the seed `seed + i` and the class `classes[i % len(classes)]`. Two sets whose ranges of seeds overlap
    share cards.

    Args:
        count: Number of cards, 1 or more.
        size: (height, width) in pixels.
        seed: Seed of the first card.
        classes: Damage classes, drawn in turn.
        workers: Number of processes, which does not change the cards. 1 draws in this process; None uses one per core,
            fewer for few cards.
        **options: styles, damages, severity and others, as in `draw_card`.

    Raises:
        ValueError: As `draw_card` does, and if count or workers are below 1.
        RuntimeError: If the worker processes die.
    """
    _check(size, seed, classes, options)
    return _stream(partial(_draw_chunk, size=tuple(size), options=options), count, seed, classes, workers)


def render_cards(
    out: str | os.PathLike,
    count: int,
    size: Size,
    seed: int = 0,
    classes: Names = CLASSES,
    workers: int | None = None,
    overwrite: bool = False,
    soft_masks: bool = False,
    twins: bool = False,
    **options: Unpack[Options],
) -> Path:
    """Draws cards as `draw_cards` does and writes them as a card folder.

    Files are named after their seeds: FULL_CARD/000016.png, its mask masks/FULL_CARD/000016.png, and on request its
    soft mask soft_masks/FULL_CARD/000016.png and its undamaged twin twins/FULL_CARD/000016.png.

    Args:
        out: Folder to write to.
        count: Number of cards, 1 or more.
        size: (height, width) in pixels.
        seed: Seed of the first card.
        classes: Damage classes, drawn in turn.
        workers: Number of processes, as in `draw_cards`.
        overwrite: Replaces existing pictures.
        soft_masks: Writes soft masks too.
        twins: Writes each card's undamaged twin too.
        **options: styles, damages, severity and others, as in `draw_card`.

    Returns:
        The folder.

    Raises:
        ValueError: As `draw_cards` does.
        RuntimeError: If the worker processes die.
        CardError: If pictures exist already and `overwrite` is not set.
    """
    from tqdm.auto import tqdm

    pictures = ("mask", *("soft_mask",) * soft_masks, *("twin",) * twins)
    _check(size, seed, classes, options)
    work = partial(_encode_chunk, size=tuple(size), options=options, pictures=pictures)
    cards = _stream(work, count, seed, classes, workers)
    folder = Path(out)
    with closing(cards), CardWriter(folder, overwrite=overwrite) as writer:
        for row, image, further in tqdm(cards, total=count, unit="card", desc=f"drawing into {folder}"):
            name = f"{row['label']}/{row['seed']:06d}.png"
            names = {f"{picture}_file_name": f"{picture}s/{name}" for picture in pictures}
            writer.add({"file_name": name, **names, **row}, image, **further)
    return folder


def _bounds(number: Number) -> tuple[int, int]:
    return (number, number) if isinstance(number, int) else number


def _kinds(seed: int, label: str, damages: Number, others: Names) -> list[str]:
    """Draws the kinds of damage on a card."""
    if label == "CLEAN":
        return []
    least, most = _bounds(damages)
    rng = np.random.default_rng([seed, 3])
    number = int(rng.integers(least, most + 1))
    return [label, *(others[index] for index in rng.integers(0, len(others) or 1, number - 1))]


def _check(size: Size, seed: int, labels: Names, options: Options) -> None:
    options = {**DEFAULTS, **options}
    _check_known("style", options["styles"], STYLES)
    _check_known("damage class", labels, ALL_CLASSES)
    if min(size) < MINIMUM_SIZE:
        raise ValueError(f"cards of {size[0]}x{size[1]} (height x width) are too small to draw: at least 16x16")
    if seed < 0:
        raise ValueError(f"seed {seed} is negative: seeds are 0 or more")
    least, most = _bounds(options["damages"])
    if not 1 <= least <= most <= MAXIMUM_DAMAGES:
        number = f"damages {options['damages']}"
        raise ValueError(f"{number}: a card has 1 to {MAXIMUM_DAMAGES} damages, or a range of such (minimum, maximum)")
    if most > 1:
        _check_known("kind of further damage", options["others"], ALL_CLASSES[1:])
    (low, high), severity = SEVERITIES, options["severity"]
    if not low <= severity <= high:
        raise ValueError(f"severity {severity} is out of range: {low:g} to {high:g}; 1 is the usual severity")


def _check_known(what: str, names: Names, known: Iterable[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown or not names:
        raise ValueError(f"unknown {what} {', '.join(unknown) or '(none given)'}: choose from {', '.join(known)}")


def _draw_chunk(jobs: list[Job], size: Size, options: Options) -> list[DrawnCard]:
    return [draw_card(seed, label, size, **options) for seed, label in jobs]


def _encode_chunk(
    jobs: list[Job], size: Size, options: Options, pictures: Names
) -> list[tuple[dict[str, Any], bytes, dict[str, bytes]]]:
    return [
        (card.row, encode_png(card.image), {picture: encode_png(getattr(card, picture)) for picture in pictures})
        for card in _draw_chunk(jobs, size, options)
    ]


def _stream(
    work: Callable[[list[Job]], list[Result]], count: int, seed: int, classes: Names, workers: int | None
) -> Iterator[Result]:
    """Returns an iterator over the results of the work, in order."""
    if count < 1:
        raise ValueError(f"cannot draw {count} cards: the count must be 1 or more")
    if workers is None:
        workers = min(os.cpu_count() or 1, math.ceil(count / (8 * CHUNK)))
    elif workers < 1:
        raise ValueError(f"cannot draw with {workers} workers: 1 draws in this process, more in worker processes")
    jobs = ((seed + i, classes[i % len(classes)]) for i in range(count))
    chunks = iter(lambda: list(islice(jobs, CHUNK)), [])
    return _flatten(results_in_order(work, chunks, workers))


def _flatten(chunks: Iterator[list[Result]]) -> Iterator[Result]:
    """Yields the items of all chunks; closing it closes `chunks`, which ends the worker processes."""
    with closing(chunks):
        for chunk in chunks:
            yield from chunk
