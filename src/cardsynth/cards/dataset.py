"""Cards in memory: reads them from a card folder or the Hub, and converts pixels to the range of the net and back."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from cardsynth.cards.cache import fingerprint_of, number_labels, read_folder
from cardsynth.cards.number_planes import column_of
from cardsynth.cards.numbers import LIMITS, darkness_of
from cardsynth.cards.reading import Reading

MOST_LOOKED_AT = 2000  # cards, evenly spread, of which ranges are told
GPU_SHARE = 1 / 4  # of a GPU's free memory that pixels may take; the rest is the training's


@dataclass(frozen=True)
class Cards:
    """Cards in memory.

    Attributes:
        pixels: uint8 (N, C, H, W), C 3 (RGB) or 4 (RGB and mask, 0 or 255).
        labels: number of each card's class, int64 (N,).
        label_names: names of the classes; empty for cards without labels.
        names: file names.
        source: folder or Hub id.
        skipped: what was left out, with the reason.
        darkness: mean change of lightness under each card's damage in grey levels, float32 (N,), NaN if unknown; None
            if unknown for all.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    label_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    source: str = ""
    skipped: tuple[str, ...] = ()
    darkness: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def has_mask(self) -> bool:
        """Whether the cards have damage masks, as fourth channel."""
        return self.pixels.shape[1] == 4

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[2], self.pixels.shape[3]

    @property
    def class_counts(self) -> dict[str, int]:
        """Number of cards of each class; empty without labels."""
        counts = torch.bincount(self.labels, minlength=len(self.label_names)).tolist()
        return dict(zip(self.label_names, counts, strict=False))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of pixels and labels; equal for equal training data, whatever the names of its files."""
        return fingerprint_of(self.pixels.cpu().numpy(), self.labels.cpu().numpy(), self.label_names)

    def to(self, device: str | torch.device) -> "Cards":
        """Returns the same cards on a device; pixels that would fill over a quarter of a GPU's free memory stay behind.

        `batch` returns cards on the device either way.
        """
        device, pixels = torch.device(device), self.pixels
        if device.type != "cuda" or pixels.nbytes <= GPU_SHARE * torch.cuda.mem_get_info(device)[0]:
            pixels = pixels.to(device)
        darkness = None if self.darkness is None else self.darkness.to(device)
        moved = replace(self, pixels=pixels, labels=self.labels.to(device), darkness=darkness)
        if "fingerprint" in vars(self):
            vars(moved)["fingerprint"] = self.fingerprint
        return moved

    def batch(self, indices: torch.Tensor, device: str | torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Copies some cards to a device.

        Args:
            indices: int64 (B,), best on the CPU, so that no GPU is waited for.
            device: the device.

        Returns:
            Pixels uint8 (B, C, H, W) and labels int64 (B,).
        """
        return _taken(self.pixels, indices, device), _taken(self.labels, indices, device)

    def knows(self, condition: str) -> bool:
        """Whether a number, `covered` or `darkness`, is known for any card."""
        return self.has_mask if condition == "covered" else self.darkness is not None

    def numbers(self, conditions: Sequence[str], indices: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """Returns numbers of some cards as shares of their limits, float32 (B, K) in 0 to 1; NaN if unknown.

        Args:
            conditions: names of the numbers; `covered` is the share of the card under its mask.
            indices: the cards, int64 (B,).
            pixels: their pixels, as `batch` returns them.
        """
        shares = torch.full((len(pixels), len(conditions)), math.nan, device=pixels.device)
        for place, name in enumerate(conditions):
            if name == "covered" and self.has_mask:
                shares[:, place] = (pixels[:, 3] >= 128).float().mean(dim=(1, 2))
            elif name == "darkness" and self.darkness is not None:
                shares[:, place] = _taken(self.darkness, indices, pixels.device) / LIMITS[name]
        return shares

    def ranges(self, conditions: Sequence[str]) -> dict[str, dict[str, tuple[float, float]]]:
        """Returns least and most of each number among some 2,000 cards, by class ("all" for cards without labels)."""
        some = torch.arange(0, len(self), -(-len(self) // MOST_LOOKED_AT))
        parts = [self.numbers(conditions, part, self.batch(part, "cpu")[0]) for part in some.split(100)]
        shares, labels = torch.cat(parts), self.labels.cpu()[some]
        ranges: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in conditions}
        for number, label in enumerate(self.label_names or ("all",)):
            for name, values in zip(conditions, shares[labels == number].T, strict=True):
                known = values[~values.isnan()] * LIMITS[name]
                if len(known):
                    ranges[name][label] = round(known.min().item(), 4), round(known.max().item(), 4)
        return ranges


def _taken(values: torch.Tensor, indices: torch.Tensor, device: str | torch.device) -> torch.Tensor:
    taken = values.index_select(0, indices.to(values.device))
    if torch.device(device).type == "cuda" and taken.device.type == "cpu":
        taken = taken.pin_memory()
    return taken.to(device, non_blocking=True)


def normalize(pixels: torch.Tensor, patch_size: int = 1) -> torch.Tensor:
    """uint8 (B, C, H, W) in 0 to 255 -> float32 in [-1, 1], patches folded: (B, C * p * p, H / p, W / p)."""
    return F.pixel_unshuffle(pixels.float() / 127.5 - 1, patch_size)


def denormalize(images: torch.Tensor, patch_size: int = 1) -> torch.Tensor:
    """The inverse of `normalize`: float (B, C * p * p, H / p, W / p) -> uint8 (B, C, H, W), values clipped."""
    images = F.pixel_shuffle(images.float(), patch_size)
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def read_cards(source: str | Path, reading: Reading | tuple[int, int] | None = None, **options: Any) -> Cards:
    """Reads the cards of a folder or a Hub data set into one uint8 tensor.

    Masks become a fourth channel if the cards have them. A folder of 1,000 pictures or more is prepared once; later
    starts map its pixels into memory (see `cache.py`).

    Args:
        source: card folder, or the id of a data set on the Hub.
        reading: how to read, such as `config.reading`, or only the (height, width) in pixels.
        options: fields of `Reading` instead, such as `size=(160, 128)` and `fit="pad"`.

    Raises:
        CardError: a card cannot be read (unless `skip_bad`), a class of `only_labels` does not exist, or fewer than two
            cards remain; the message names the file and the remedy.
    """
    if reading is None:
        reading = Reading(**options)
    elif not isinstance(reading, Reading):
        height, width = reading
        reading = Reading((height, width), **options)
    if Path(source).is_dir():
        pixels, listing, fingerprint = read_folder(Path(source), reading)
    else:
        from cardsynth.cards.hub_rows import read_rows

        (pixels, listing), fingerprint = read_rows(source, reading), None
    labels, label_names = number_labels(listing)
    cards = Cards(
        pixels=torch.from_numpy(pixels),
        labels=torch.from_numpy(labels),
        label_names=label_names,
        names=listing.names,
        source=str(source),
        skipped=listing.skipped,
        darkness=column_of(listing.darkness),
    )
    if fingerprint:
        vars(cards)["fingerprint"] = fingerprint
    return cards


def balance_report(cards: Cards) -> str:
    """Lists class counts and shares, with a remedy for classes under a third of the largest."""
    counts = Counter(cards.class_counts)
    lines = [f"{len(cards)} cards, {cards.size[0]}x{cards.size[1]}, {'with' if cards.has_mask else 'without'} masks"]
    for name, count in counts.most_common():
        rare = "   rare: see balance_classes" if count * 3 < max(counts.values()) else ""
        lines.append(f"{name:>16} {count:6d} {count / len(cards):6.1%}{rare}")
    return "\n".join(lines)


def stack_cards(drawn: Iterable[Any], source: str = "drawn cards") -> Cards:
    """Stacks drawn cards in memory; each has an `image` (H, W, 3), a `mask` (H, W) and a `row` with its label."""
    pixels, labels, darkness = [], [], []
    for card in drawn:
        pixels.append(np.concatenate([card.image, card.mask[..., None]], axis=-1).transpose(2, 0, 1))
        labels.append(card.row["label"])
        darkness.append(darkness_of(card.row))
    label_names = tuple(sorted(set(labels)))
    return Cards(
        pixels=torch.from_numpy(np.stack(pixels)),
        labels=torch.tensor([label_names.index(label) for label in labels]),
        label_names=label_names,
        source=source,
        darkness=column_of(darkness),
    )
