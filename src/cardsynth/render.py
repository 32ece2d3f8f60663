"""Draws vintage card backs with surface damage and exact masks, from seeds, and writes them as a card folder."""

import io
import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from cardsynth.config import CLASSES
from cardsynth.folder import CardWriter
from cardsynth.printing import print_card
from cardsynth.stains import mask_boxes, stain_card
from cardsynth.styles import STYLES

MINIMUM_SIZE = 16
CHUNK = 8

DAMAGE_WORDS = {
    "CLEAN": "no damage",
    "FULL_CARD": "large gum stain",
    "LIGHT": "faint gum stain",
    "SMALL": "small dark stains",
    "WHITE_MARKS": "white marks",
}


@dataclass(frozen=True)
class DrawnCard:
    """A drawn card: image, uint8 (H, W, 3); mask, uint8 (H, W), 255 where damaged and 0 elsewhere; row, its metadata.

    The row holds label, seed, text (caption), style, layout, decade, stock, inks and objects: boxes [x, y, width,
    height] in pixels with their categories, one for each connected part of the mask.
    """

    image: np.ndarray
    mask: np.ndarray
    row: dict


def draw_card(seed: int, label: str, size: tuple[int, int], styles: Sequence[str] = tuple(STYLES)) -> DrawnCard:
    """Draw the card of one seed with the damage of one class.

    seed: 0 or more; the same seed is the same card under every label and, but for its grain, at every size.
    size: (height, width) in pixels. Same arguments, same bytes.
    styles: names of the styles to choose from. Raises ValueError for an unknown label or style, a negative seed or a
    size below 16x16.
    """
    _check(size, seed, (label,), styles)
    clean, area, about = print_card(seed, size, styles)
    image, mask = stain_card(clean, area, label, np.random.default_rng([seed, 2, CLASSES.index(label)]))
    boxes = mask_boxes(mask)
    row = {
        "label": label,
        "seed": seed,
        "text": f"{about['decade']}s card back, {about['stock']} stock, {about['inks']} ink, {DAMAGE_WORDS[label]}",
        **about,
        "objects": {"bbox": boxes, "categories": [label] * len(boxes)},
    }
    return DrawnCard(image, mask, row)


def draw_cards(
    count: int,
    size: tuple[int, int],
    seed: int,
    classes: Sequence[str] = CLASSES,
    workers: int | None = None,
    styles: Sequence[str] = tuple(STYLES),
) -> Iterator[DrawnCard]:
    """Draw `count` cards one after another: card i has the seed `seed + i` and the class `classes[i % len(classes)]`.

    size: (height, width) in pixels. workers: processes to draw with; 1 draws in this process, None is one for each
    core (fewer for few cards). The cards and their order do not depend on it, and only a few are held at a time.
    Two sets share cards where their seeds overlap: start fresh cards at a seed that is further on.
    Raises ValueError as `draw_card` does, and for a count or workers below 1; RuntimeError if the workers die.
    """
    return _stream(_draw_chunk, count, size, seed, classes, workers, styles)


def render_cards(
    out: str | os.PathLike,
    count: int,
    size: tuple[int, int],
    seed: int = 0,
    classes: Sequence[str] = CLASSES,
    workers: int | None = None,
    overwrite: bool = False,
    styles: Sequence[str] = tuple(STYLES),
) -> Path:
    """Write the cards of `draw_cards` as a card folder: pictures in class folders, masks, metadata.jsonl.

    Files are named after their seeds: FULL_CARD/000016.png with masks/FULL_CARD/000016.png. Returns the folder.
    Raises what `draw_cards` raises, and CardError where pictures exist already, unless `overwrite`.
    """
    from tqdm.auto import tqdm

    cards = _stream(_encode_chunk, count, size, seed, classes, workers, styles)
    folder = Path(out)
    with closing(cards), CardWriter(folder, overwrite=overwrite) as writer:
        for row, image, mask in tqdm(cards, total=count, unit="card", desc=f"drawing into {folder}"):
            name = f"{row['label']}/{row['seed']:06d}.png"
            writer.add({"file_name": name, "mask_file_name": f"masks/{name}", **row}, image, mask)
    return folder


def _check(size, seed, labels, styles, count=1):
    strange = sorted(set(styles) - set(STYLES))
    if strange or not styles:
        raise ValueError(f"unknown style {', '.join(strange) or '(none given)'}: choose from {', '.join(STYLES)}")
    unknown = sorted(set(labels) - set(CLASSES))
    if unknown or not labels:
        raise ValueError(
            f"unknown damage class {', '.join(unknown) or '(none given)'}: choose from {', '.join(CLASSES)}"
        )
    if min(size) < MINIMUM_SIZE:
        raise ValueError(f"cards of {size[0]}x{size[1]} (height x width) are too small to draw: at least 16x16")
    if seed < 0:
        raise ValueError(f"seed {seed} is negative: seeds are 0 or more")
    if count < 1:
        raise ValueError(f"cannot draw {count} cards: the count must be 1 or more")


def _draw_chunk(jobs: list[tuple[int, str]], **how) -> list[DrawnCard]:
    return [draw_card(seed, label, **how) for seed, label in jobs]


def _encode_chunk(jobs: list[tuple[int, str]], **how) -> list[tuple[dict, bytes, bytes]]:
    return [(card.row, _encode(card.image), _encode(card.mask)) for card in _draw_chunk(jobs, **how)]


def _encode(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG", compress_level=1)
    return stream.getvalue()


def _follow_parent():
    """Leave Ctrl-C to the parent process, and end with it even where it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _stream(work: Callable, count, size, seed, classes, workers, styles) -> Iterator:
    """Check the arguments at once; then yield the work's results in order, a few chunks ahead of the reader."""
    classes, styles = tuple(classes), tuple(styles)
    _check(size, seed, classes, styles, count)
    if workers is None:
        workers = min(os.cpu_count() or 1, math.ceil(count / (8 * CHUNK)))
    elif workers < 1:
        raise ValueError(f"cannot draw with {workers} workers: 1 draws in this process, more in as many others")
    return _results(partial(work, size=tuple(size), styles=styles), count, seed, classes, workers)


def _results(work: Callable, count: int, seed: int, classes: tuple[str, ...], workers: int) -> Iterator:
    chunks = (
        [(seed + i, classes[i % len(classes)]) for i in range(start, min(start + CHUNK, count))]
        for start in range(0, count, CHUNK)
    )
    if workers == 1:
        for chunk in chunks:
            yield from work(chunk)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_follow_parent)
    pending = deque()
    try:
        for chunk in chunks:
            pending.append(pool.submit(work, chunk))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "the processes that draw cards died: in a script, call this from under `if __name__ == '__main__':`, "
            "or draw in this process with workers=1"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
