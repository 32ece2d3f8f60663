"""Pairs of drawn cards that are alike in ways that are known: disturbed, damaged, or another card altogether."""

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
# How alike simulated people find the cards of a pair, 0 to 10. Chosen, not measured: nobody was asked.
LIKENESS = {
    **{f"blur {step:g}": value for step, value in zip(STEPS["blur"], (9, 7, 4), strict=True)},
    **{f"noise {step:g}": value for step, value in zip(STEPS["noise"], (9, 7, 5), strict=True)},
    **{f"shift {step:g}": value for step, value in zip(STEPS["shift"], (10, 9, 9), strict=True)},
    **dict(zip(DAMAGES, (8, 7, 6, 4), strict=True)),
    "same class": 2,
    "another class": 1,
}


@dataclass(frozen=True)
class CardPairs:
    """Pairs of cards: `first` and `second` uint8 (N, 3, H, W), what was done to the second, and the names of both.

    kinds: keys of LIKENESS, "noise 16" say. pairs: their file names are those that `write` writes.
    """

    first: torch.Tensor
    second: torch.Tensor
    kinds: tuple[str, ...]
    pairs: tuple[Pair, ...]

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def groups(self) -> tuple[str, ...]:
        """What sort of pair each is: blur, noise, shift, damage, or another card."""
        return tuple(_group(kind) for kind in self.kinds)

    def write(self, folder: str | Path) -> Path:
        """Write the pictures as PNG into a folder, each once; what stands there already is kept, if it is the same.

        Raises CardError for another picture of the same name.
        """
        folder = Path(folder)
        for pair, first, second in zip(self.pairs, self.first, self.second, strict=True):
            for name, pixels in ((pair.first, first), (pair.second, second)):
                _write_once(folder / name, encode_png(pixels.permute(1, 2, 0).numpy()))
        return folder


def disturb(pixels: torch.Tensor, kind: str, amount: float, seed: int = 0) -> torch.Tensor:
    """A picture uint8 (3, H, W), blurred, noisy or shifted, of the same shape.

    kind: `blur` (Gaussian, amount: its standard deviation in pixels), `noise` (normal, the same for a seed; amount:
    standard deviation in grey levels), `shift` (to the right by `amount` whole pixels, edge pixels repeated).
    Raises ValueError for another kind.
    """
    values = pixels.numpy().astype(np.float64)
    if kind == "blur":
        values = ndimage.gaussian_filter(values, (0, amount, amount), mode="nearest")
    elif kind == "noise":
        values = values + np.random.default_rng(seed).normal(0, amount, values.shape)
    elif kind == "shift":
        values = ndimage.shift(values, (0, 0, int(amount)), order=0, mode="nearest")
    else:
        raise ValueError(f"there is no disturbance {kind!r}; there are {', '.join(STEPS)}")
    return torch.from_numpy(values.round().clip(0, 255).astype(np.uint8))


def draw_pairs(count: int, size: tuple[int, int], seed: int = 0, styles: Sequence[str] = ("a",)) -> CardPairs:
    """Fifteen pairs of each of `count` clean cards: disturbed in three strengths, damaged, and beside another card.

    size: (height, width) in pixels. seed: of the first card; the others follow, and `count` further cards are drawn to
    stand beside them, clean and with a FULL_CARD stain. Raises ValueError as `render.draw_card` does.
    """

    def draw(number: int, label: str) -> torch.Tensor:
        return torch.from_numpy(draw_card(number, label, size, styles).image).permute(2, 0, 1).contiguous()

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
    if not first:
        raise ValueError(f"cannot draw pairs of {count} cards: the count must be 1 or more")
    return CardPairs(torch.stack(first), torch.stack(second), tuple(kinds), tuple(pairs))


def simulated_ratings(pairs: CardPairs, raters: int = 3, seed: int = 0) -> list[Rating]:
    """Ratings of nobody, 0 to 10 in whole numbers: LIKENESS of each pair, a leaning of each rater, and chance.

    They show how figures are made, and nothing about people.
    """
    rng, found = np.random.default_rng(seed), []
    for number in range(1, raters + 1):
        leaning = rng.normal(0, 0.7)
        for pair, kind in zip(pairs.pairs, pairs.kinds, strict=True):
            value = round(LIKENESS[kind] + leaning + rng.normal(0, 1.2))
            found.append(Rating(pair, f"simulated {number}", float(min(10, max(0, value)))))
    return found


def _group(kind: str) -> str:
    if kind in DAMAGES:
        return "damage"
    return kind.split()[0] if kind.split()[0] in STEPS else "another card"


def _write_once(path: Path, content: bytes) -> None:
    if not path.is_file():
        write_atomically(path, content)
    elif path.read_bytes() != content:
        raise CardError(f"{path} is another picture, which may have been rated; choose another folder")
