"""Draws vintage card backs with surface damage and exact masks, from seeds, and writes them as a card folder."""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cardsynth.cards.fitting import encode_png
from cardsynth.cards.folder import CardWriter
from cardsynth.cards.labels import CLASSES, EXTRA_CLASSES
from cardsynth.render.damage.stains import SEVERITIES, Damage, damage_card
from cardsynth.render.printing import print_card
from cardsynth.render.styles import STYLES
from cardsynth.util.processes import results_in_order

MINIMUM_SIZE = 16
CHUNK = 8
ALL_CLASSES = CLASSES + EXTRA_CLASSES
MOST_DAMAGES = 8

Number = int | tuple[int, int]  # a number, or the least and the most

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


@dataclass(frozen=True)
class DrawnCard:
    """A drawn card, its clean twin, its masks, and its metadata `row`; all pictures of height H and width W.

    image, twin: uint8 (H, W, 3), with and without damage, equal where `soft_mask` is 0.
    mask: uint8 (H, W), 255 where damaged and 0 elsewhere. soft_mask: uint8 (H, W), how much of a damage's film lies on
    each pixel, 0 to 255. The row holds label, seed, text (caption), all that was printed, `damages` (kind, boxes,
    covered share of the card, darkness in grey levels: see `stains.Damage`), and `objects`: the boxes [x, y, width,
    height] in pixels of all damages with their kinds as categories.
    """

    image: np.ndarray
    mask: np.ndarray
    soft_mask: np.ndarray
    twin: np.ndarray
    row: dict


def draw_card(
    seed: int,
    label: str,
    size: tuple[int, int],
    styles: Sequence[str] = tuple(STYLES),
    damages: Number = 1,
    severity: float = 1.0,
    others: Sequence[str] = EXTRA_CLASSES,
) -> DrawnCard:
    """Draw the card of one seed with the damage of one class.

    seed: 0 or more; the same seed is the same card under every label and, but for its grain, at every size.
    label: one of CLASSES or EXTRA_CLASSES. size: (height, width) in pixels. Same arguments, same bytes.
    styles: names of the styles to choose from.
    damages: how many damages a damaged card has, 1 to 8, or a range (least, most) to draw the number from. The first is
    the label's; the others, laid over it, are drawn from the kinds in `others`. Cards labelled CLEAN have none.
    severity: factor of every damage's size and darkness, 0.25 to 2.
    Raises ValueError for an unknown label, style or kind, a negative seed, a size below 16x16, numbers out of range.
    """
    _check(size, seed, (label,), styles, damages, severity, others)
    clean, area, about = print_card(seed, size, styles)
    image, soft_mask, mask = clean, np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    found: list[Damage] = []
    for place, kind in enumerate(_kinds(seed, label, damages, others)):
        rng = np.random.default_rng([seed, 2, place, ALL_CLASSES.index(kind)])
        image, damage = damage_card(image, clean, area, kind, rng, severity)
        soft_mask, mask = np.maximum(soft_mask, damage.soft), np.maximum(mask, damage.hard)
        found.append(damage)
    seen = ", ".join(dict.fromkeys(DAMAGE_WORDS[damage.kind] for damage in found)) or DAMAGE_WORDS["CLEAN"]
    row = {
        "label": label,
        "seed": seed,
        "text": f"{about['decade']}s card back, {about['stock']} stock, {about['inks']} ink, {seen}",
        **about,
        "damages": [damage.row for damage in found],
        "objects": {
            "bbox": [box for damage in found for box in damage.boxes],
            "categories": [damage.kind for damage in found for _ in damage.boxes],
        },
    }
    return DrawnCard(image, mask, soft_mask, clean, row)


def draw_cards(
    count: int,
    size: tuple[int, int],
    seed: int,
    classes: Sequence[str] = CLASSES,
    workers: int | None = None,
    styles: Sequence[str] = tuple(STYLES),
    damages: Number = 1,
    severity: float = 1.0,
    others: Sequence[str] = EXTRA_CLASSES,
) -> Iterator[DrawnCard]:
    """Draw `count` cards one after another: card i has the seed `seed + i` and the class `classes[i % len(classes)]`.

    size: (height, width) in pixels. workers: processes to draw with; 1 draws in this process, None is one for each
    core (fewer for few cards). The cards and their order do not depend on it, and only a few are held at a time.
    styles, damages, severity, others: as in `draw_card`.
    Two sets share cards where their seeds overlap: start fresh cards at a seed that is further on.
    Raises ValueError as `draw_card` does, and for a count or workers below 1; RuntimeError if the workers die.
    """
    how = {"styles": tuple(styles), "damages": damages, "severity": severity, "others": tuple(others)}
    return _stream(_draw_chunk, count, size, seed, classes, workers, how)


def render_cards(
    out: str | os.PathLike,
    count: int,
    size: tuple[int, int],
    seed: int = 0,
    classes: Sequence[str] = CLASSES,
    workers: int | None = None,
    overwrite: bool = False,
    styles: Sequence[str] = tuple(STYLES),
    damages: Number = 1,
    severity: float = 1.0,
    others: Sequence[str] = EXTRA_CLASSES,
    soft_masks: bool = False,
    twins: bool = False,
) -> Path:
    """Write the cards of `draw_cards` as a card folder: pictures in class folders, masks, metadata.jsonl.

    Files are named after their seeds: FULL_CARD/000016.png with masks/FULL_CARD/000016.png, and where asked for
    soft_masks/FULL_CARD/000016.png and the undamaged twins/FULL_CARD/000016.png. Returns the folder.
    Raises what `draw_cards` raises, and CardError where pictures exist already, unless `overwrite`.
    """
    from tqdm.auto import tqdm

    pictures = ("mask", *("soft_mask",) * soft_masks, *("twin",) * twins)
    how = {"styles": tuple(styles), "damages": damages, "severity": severity, "others": tuple(others)}
    cards = _stream(partial(_encode_chunk, pictures=pictures), count, size, seed, classes, workers, how)
    folder = Path(out)
    with closing(cards), CardWriter(folder, overwrite=overwrite) as writer:
        for row, image, others_of_it in tqdm(cards, total=count, unit="card", desc=f"drawing into {folder}"):
            name = f"{row['label']}/{row['seed']:06d}.png"
            names = {f"{picture}_file_name": f"{picture}s/{name}" for picture in pictures}
            writer.add({"file_name": name, **names, **row}, image, **others_of_it)
    return folder


def _kinds(seed: int, label: str, damages: Number, others: Sequence[str]) -> list[str]:
    if label == "CLEAN":
        return []
    least, most = (damages, damages) if isinstance(damages, int) else damages
    rng = np.random.default_rng([seed, 3])
    number = int(rng.integers(least, most + 1))
    return [label, *(others[index] for index in rng.integers(0, len(others) or 1, number - 1))]


def _check(size, seed, labels, styles, damages, severity, others, count=1):
    _check_known("style", styles, STYLES)
    _check_known("damage class", labels, ALL_CLASSES)
    if min(size) < MINIMUM_SIZE:
        raise ValueError(f"cards of {size[0]}x{size[1]} (height x width) are too small to draw: at least 16x16")
    if seed < 0:
        raise ValueError(f"seed {seed} is negative: seeds are 0 or more")
    if count < 1:
        raise ValueError(f"cannot draw {count} cards: the count must be 1 or more")
    least, most = (damages, damages) if isinstance(damages, int) else damages
    if not 1 <= least <= most <= MOST_DAMAGES:
        raise ValueError(f"damages {damages}: a card has 1 to {MOST_DAMAGES} damages, or a range of such (least, most)")
    if most > 1:
        _check_known("kind of further damage", others, ALL_CLASSES[1:])
    low, high = SEVERITIES
    if not low <= severity <= high:
        raise ValueError(f"severity {severity} is out of range: {low:g} to {high:g}, and 1 is the usual")


def _check_known(what: str, names: Sequence[str], known: Sequence[str]):
    unknown = sorted(set(names) - set(known))
    if unknown or not names:
        raise ValueError(f"unknown {what} {', '.join(unknown) or '(none given)'}: choose from {', '.join(known)}")


def _draw_chunk(jobs: list[tuple[int, str]], **how) -> list[DrawnCard]:
    return [draw_card(seed, label, **how) for seed, label in jobs]


def _encode_chunk(jobs: list[tuple[int, str]], pictures, **how) -> list[tuple[dict, bytes, dict[str, bytes]]]:
    return [
        (card.row, encode_png(card.image), {picture: encode_png(getattr(card, picture)) for picture in pictures})
        for card in (draw_card(seed, label, **how) for seed, label in jobs)
    ]


def _stream(work: Callable, count, size, seed, classes, workers, how: dict) -> Iterator:
    """Check the arguments at once; then yield the work's results in order, a few chunks ahead of the reader."""
    classes, size = tuple(classes), tuple(size)
    _check(size, seed, classes, count=count, **how)
    if workers is None:
        workers = min(os.cpu_count() or 1, math.ceil(count / (8 * CHUNK)))
    elif workers < 1:
        raise ValueError(f"cannot draw with {workers} workers: 1 draws in this process, more in as many others")
    return _one_by_one(results_in_order(partial(work, size=size, **how), _chunks(count, seed, classes), workers))


def _chunks(count: int, seed: int, classes: tuple[str, ...]) -> Iterator[list[tuple[int, str]]]:
    for start in range(0, count, CHUNK):
        yield [(seed + i, classes[i % len(classes)]) for i in range(start, min(start + CHUNK, count))]


def _one_by_one(chunks: Iterator[list]) -> Iterator:
    with closing(chunks):
        for chunk in chunks:
            yield from chunk
