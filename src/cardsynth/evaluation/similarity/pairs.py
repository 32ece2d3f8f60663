"""Pairs of drawn cards with known differences: blur, noise, shift, damage, or another card."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from cardsynth.cards.fitting import encode_png
from cardsynth.cards.folder import CardError
from cardsynth.evaluation.similarity.tables import Pair, Rating
from cardsynth.render.draw import draw_card
from cardsynth.util.files import write_atomically

STEPS = {"blur": (0.5, 1.0, 2.0), "noise": (8.0, 16.0, 32.0), "shift": (1, 2, 4)}
DAMAGES = ("LIGHT", "SMALL", "WHITE_MARKS", "FULL_CARD")
# Mean simulated rating of each kind of pair, 0 to 10; chosen, not measured.
LIKENESS = {
    **{"blur 0.5": 9, "blur 1": 7, "blur 2": 4, "noise 8": 9, "noise 16": 7, "noise 32": 5},
    **{"shift 1": 10, "shift 2": 9, "shift 4": 9, "LIGHT": 8, "SMALL": 7, "WHITE_MARKS": 6, "FULL_CARD": 4},
    **{"same class": 2, "another class": 1},
}


@dataclass(frozen=True)
class CardPairs:
    """Pairs of cards.

    Attributes:
        first: First cards, uint8 (N, 3, H, W).
        second: Second cards, uint8 (N, 3, H, W).
        kinds: Difference of each pair, a key of LIKENESS such as "noise 16".
        pairs: Names of the pairs and of the files that `write` creates.
    """

    first: torch.Tensor
    second: torch.Tensor
    kinds: tuple[str, ...]
    pairs: tuple[Pair, ...]

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of each pair: blur, noise, shift, damage, or another card."""
        return tuple(_group(kind) for kind in self.kinds)

    def write(self, folder: str | Path) -> Path:
        """Writes the pictures as PNG files, each once; identical existing files are left alone.

        Args:
            folder: Folder of the files.

        Returns:
            The folder.

        Raises:
            CardError: A file exists with another picture, which may have been rated.
        """
        folder = Path(folder)
        for pair, first, second in zip(self.pairs, self.first, self.second, strict=True):
            for name, pixels in ((pair.first, first), (pair.second, second)):
                path, content = folder / name, encode_png(pixels.permute(1, 2, 0).numpy())
                if not path.is_file():
                    write_atomically(path, content)
                elif path.read_bytes() != content:
                    raise CardError(f"{path} is another picture, which may have been rated; choose another folder")
        return folder


def disturb(pixels: torch.Tensor, kind: str, amount: float, seed: int = 0) -> torch.Tensor:
    """Blurs, adds noise to, or shifts a picture.

    Args:
        pixels: The picture, uint8 (3, H, W).
        kind: `blur` (Gaussian), `noise` (normal) or `shift` (to the right, edges repeated).
        amount: Standard deviation in pixels for blur and in grey levels for noise; whole pixels for shift.
        seed: Seed of the noise.

    Returns:
        The disturbed picture, uint8 (3, H, W).

    Raises:
        ValueError: `kind` is unknown.
    """
    values = pixels.numpy().astype(np.float64)
    if kind == "blur":
        values = ndimage.gaussian_filter(values, (0, amount, amount), mode="nearest")
    elif kind == "noise":
        values = values + np.random.default_rng(seed).normal(0, amount, values.shape)
    elif kind == "shift":
        values = ndimage.shift(values, (0, 0, int(amount)), order=0, mode="nearest")
    else:
        raise ValueError(f"there is no disturbance {kind!r}; choose one of {', '.join(STEPS)}")
    return torch.from_numpy(values.round().clip(0, 255).astype(np.uint8))


def draw_pairs(count: int, size: tuple[int, int], seed: int = 0, styles: Sequence[str] = ("a",)) -> CardPairs:
    """Draws fifteen pairs for each clean card: disturbed at three strengths, damaged, and with another card.

    Args:
        count: Number of clean cards.
        size: Height and width in pixels.
        seed: Seed of the first card. The other clean cards have the next seeds, and the other cards those after them.
        styles: Styles of `draw_card`.

    Raises:
        ValueError: `count` is below 1, or as for `draw_card`.
    """

    def draw(number: int, label: str) -> torch.Tensor:
        return torch.from_numpy(draw_card(number, label, size, styles).image).permute(2, 0, 1).contiguous()

    if count < 1:
        raise ValueError(f"cannot draw pairs of {count} cards: the count must be 1 or more")
    first, second, kinds, pairs = [], [], [], []
    for number in range(seed, seed + count):
        clean = draw(number, "CLEAN")
        others = {
            f"{kind} {amount:g}": disturb(clean, kind, amount, number)
            for kind, amounts in STEPS.items()
            for amount in amounts
        }
        others |= {label: draw(number, label) for label in DAMAGES}
        others |= {"same class": draw(number + count, "CLEAN"), "another class": draw(number + count, "FULL_CARD")}
        for kind, other in others.items():
            first.append(clean)
            second.append(other)
            kinds.append(kind)
            name = re.sub(r"\W", "_", kind)
            pairs.append(Pair(f"{number} {kind}", f"{number:06d}.png", f"{number:06d}_{name}.png"))
    return CardPairs(torch.stack(first), torch.stack(second), tuple(kinds), tuple(pairs))


def simulated_ratings(pairs: CardPairs, raters: int = 3, seed: int = 0) -> list[Rating]:
    """Simulates ratings in whole numbers: LIKENESS plus a bias of each rater plus noise. They say nothing about people.

    Args:
        pairs: The pairs to rate.
        raters: Number of simulated raters.
        seed: Seed of bias and noise.
    """
    rng, ratings = np.random.default_rng(seed), []
    for number in range(1, raters + 1):
        bias = rng.normal(0, 0.7)
        for pair, kind in zip(pairs.pairs, pairs.kinds, strict=True):
            value = round(LIKENESS[kind] + bias + rng.normal(0, 1.2))
            ratings.append(Rating(pair, f"simulated {number}", float(min(10, max(0, value)))))
    return ratings


def _group(kind: str) -> str:
    if kind in DAMAGES:
        return "damage"
    return kind.split()[0] if kind.split()[0] in STEPS else "another card"
