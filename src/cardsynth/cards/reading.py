"""Reads many cards at one size, and records which are left out and why."""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from cardsynth.cards.fitting import Fit, fit_image, read_image
from cardsynth.cards.folder import IMAGE_SUFFIXES, CardError, CardFile, StoredCard, find_cards
from cardsynth.cards.numbers import darkness_of
from cardsynth.util.processes import results_in_order

CARDS_AT_A_TIME = 8  # so many that handing them to a thread costs little beside reading them


@dataclass(frozen=True)
class Reading:
    """How cards are read.

    Attributes:
        size: (height, width) in pixels that each card is brought to.
        fit: how a picture of another shape fits: `crop` covers and crops, `pad` adds white, `stretch` distorts.
        portrait: turn landscape pictures by 90 degrees where the size is portrait.
        use_masks: read damage masks as a fourth channel if the cards have them.
        use_labels: read damage classes if the cards have them.
        only_labels: read cards of these classes only; empty: all cards.
        skip_bad: leave out unreadable pictures, and name them, instead of raising an error.
    """

    size: tuple[int, int]
    fit: Fit = "crop"
    portrait: bool = True
    use_masks: bool = True
    use_labels: bool = True
    only_labels: tuple[str, ...] = ()
    skip_bad: bool = False


@dataclass(frozen=True)
class Listing:
    """The cards that were read, in order.

    Attributes:
        names: their names.
        labels: their classes; empty for cards without labels.
        darkness: mean change of lightness under each card's damage in grey levels; None if unknown.
        skipped: what was left out, with the reason.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    darkness: tuple[float | None, ...]
    skipped: tuple[str, ...]


def some_cards(folder: Path) -> list[CardFile]:
    """Finds the cards of a local folder; raises CardError if it has none."""
    cards = find_cards(folder)
    if not cards:
        raise CardError(f"{folder} has no pictures ({', '.join(sorted(IMAGE_SUFFIXES))}); put scans there")
    return cards


def chosen_cards(labels: Sequence[str | None], reading: Reading, source: str | Path) -> list[int]:
    """Indices of the cards of the chosen classes; raises CardError for a class that no card has."""
    unknown = sorted(set(reading.only_labels) - set(labels))
    if unknown:
        classes = ", ".join(sorted({label for label in labels if label})) or "none"
        raise CardError(f"{source} has no class {', '.join(unknown)}; its classes are: {classes}")
    return [index for index, label in enumerate(labels) if not reading.only_labels or label in reading.only_labels]


def read_pictures(card: StoredCard, with_mask: bool = True) -> tuple[Image.Image, Image.Image | None]:
    """Reads a card's picture as upright RGB, and its mask as grey if it has one.

    Raises:
        CardError: a picture cannot be read, or the mask has another size; the message names file and remedy.
    """
    image = _open(card.image, "image", card)
    if not with_mask or card.mask is None:
        return image, None
    mask = _open(card.mask, "mask", card).convert("L")
    if mask.size != image.size:
        raise CardError(
            f"the mask of {card.name} measures {mask.height}x{mask.width} and the picture"
            f" {image.height}x{image.width}; save both at one size"
        )
    return image, mask


def read_card(card: StoredCard, reading: Reading, with_mask: bool) -> np.ndarray:
    """Reads one card as uint8 (C, H, W), its mask as fourth channel; raises CardError that names file and remedy."""
    image, mask = read_pictures(card, with_mask)
    channels = [fit_image(image, reading.size, reading.fit, reading.portrait)]
    if with_mask:
        if mask is None:
            raise CardError(f"{card.name} has no mask where other cards have one; add it, or set use_masks off")
        channels.append(fit_image(mask, reading.size, reading.fit, reading.portrait, is_mask=True)[..., None])
    return np.concatenate(channels, axis=-1).transpose(2, 0, 1)


def _open(file: Path | io.BytesIO, what: str, card: StoredCard) -> Image.Image:
    return read_image(file, f"{what} of {card.name}" if isinstance(file, io.BytesIO) else str(file))


def read_into(
    write: Callable[[np.ndarray], object],
    cards: Sequence[StoredCard],
    labelled: bool,
    with_mask: bool,
    reading: Reading,
    source: str | Path,
) -> Listing:
    """Reads cards in threads, which Pillow's decoders do not block, and passes their pixels on in order.

    Args:
        write: called with pixels uint8 (N, C, H, W) of a few cards at a time.
        cards: the cards.
        labelled: whether a card must have a label.
        with_mask: whether a card must have a mask.
        reading: how cards are read.
        source: folder or Hub id, for messages.

    Raises:
        CardError: as of `read_cards`.
    """
    read = partial(_read_some, cards=cards, labelled=labelled, with_mask=with_mask, reading=reading)
    names: list[str] = []
    labels: list[str] = []
    darkness: list[float | None] = []
    bad: list[str] = []
    batches = results_in_order(read, _parts(len(cards)), os.cpu_count() or 1, threads=True)
    with tqdm(desc="Reading cards", total=len(cards), unit="card", leave=False) as progress:
        for pixels, good, errors in batches:
            if len(good):
                write(pixels)
            names += [card.name for card in good]
            labels += [card.label for card in good if labelled and card.label is not None]
            darkness += map(_darkness, good, pixels)
            bad += errors
            progress.update(len(good) + len(errors))
    if bad and not reading.skip_bad:
        more = f" (and {len(bad) - 1} more: cardsynth check {source} lists them)" if len(bad) > 1 else ""
        raise CardError(f"{bad[0]}; or leave bad pictures out with skip_bad{more}")
    if len(names) < 2:
        raise CardError(f"{source} has {len(names)} usable cards; at least two are needed")
    return Listing(tuple(names), tuple(labels), tuple(darkness), tuple(bad))


def _darkness(card: StoredCard, pixels: np.ndarray) -> float | None:
    """The darkness of a card by its row; without one, 0 if its mask is empty, else unknown."""
    known = darkness_of(card.row)
    return 0.0 if known is None and len(pixels) == 4 and not pixels[3].any() else known


def _parts(count: int) -> Iterator[range]:
    for first in range(0, count, CARDS_AT_A_TIME):
        yield range(first, min(first + CARDS_AT_A_TIME, count))


def _read_some(
    indices: range, cards: Sequence[StoredCard], labelled: bool, with_mask: bool, reading: Reading
) -> tuple[np.ndarray, list[StoredCard], list[str]]:
    """Reads some cards; returns pixels of the readable ones, those cards, and the errors of the others."""
    pixels = np.empty((len(indices), 3 + with_mask, *reading.size), np.uint8)
    good: list[StoredCard] = []
    errors = []
    for index in indices:
        card = cards[index]
        try:
            if labelled and card.label is None:
                raise CardError(f"{card.name} has no label where other cards have one; add it")
            pixels[len(good)] = read_card(card, reading, with_mask)
            good.append(card)
        except CardError as error:
            errors.append(str(error))
    return pixels[: len(good)], good, errors


def read_into_memory(
    cards: Sequence[StoredCard], labelled: bool, with_mask: bool, reading: Reading, source: str | Path
) -> tuple[np.ndarray, Listing]:
    """Reads cards into memory; returns pixels uint8 (N, C, H, W) and the listing; raises as `read_cards` does."""
    pixels = np.empty((len(cards), 3 + with_mask, *reading.size), np.uint8)
    count = 0

    def write(some: np.ndarray) -> None:
        nonlocal count
        pixels[count : count + len(some)] = some
        count += len(some)

    listing = read_into(write, cards, labelled, with_mask, reading, source)
    return pixels[:count], listing
