"""Numbers of cards as tensors, and as constant planes of a net's input."""

import math
from collections.abc import Sequence

import torch

from cardsynth.cards.numbers import LIMITS, Numbers

HIDDEN = 0.3  # share of each number that is hidden in training, so that a card may be asked for without it
PLANES = 2  # of the net's input, for each number
REACH = 2.0  # of the plane that holds a number, from -2 to 2


def column_of(values: Sequence[float | None]) -> torch.Tensor | None:
    """One number of each card as float32 (N,), NaN if unknown; None if unknown for all."""
    if all(value is None for value in values):
        return None
    return torch.tensor([math.nan if value is None else value for value in values], dtype=torch.float32)


def shares_of(numbers: Sequence[Numbers], conditions: Sequence[str]) -> torch.Tensor:
    """Returns numbers of cards as shares of their limits, float32 (B, K) in 0 to 1; NaN if unknown."""
    rows = [[card.get(name, math.nan) / LIMITS[name] for name in conditions] for card in numbers]
    return torch.tensor(rows, dtype=torch.float32).reshape(len(numbers), len(conditions))


def hide_numbers(shares: torch.Tensor, unlabelled: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Hides shares (B, K) as NaN: each at random by itself, and all of a card whose label is hidden.

    The net so learns labels with all, some and no numbers, and neither, which guidance compares with (Ho & Salimans
    2022).

    Args:
        shares: numbers as shares, float32 (B, K).
        unlabelled: whether a card's label is hidden, bool (B,).
        generator: random generator.
    """
    hidden = torch.rand(shares.shape, generator=generator, device=shares.device) < HIDDEN
    return shares.masked_fill(hidden | unlabelled[:, None], math.nan)


def with_numbers(images: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Appends two constant planes per number to images (B, C, H, W); returns (B, C + 2 * K, H, W).

    One plane says whether the number is known, 1 or -1; the other holds 4 * sqrt(share) - 2, or 0 if unknown (NaN). The
    root spreads small damage over the scale: a stain that covers 1 % is at 10 % of it. Values on both sides of 0 are
    learned sooner, since the net's group norm removes their scale and keeps their sign.
    """
    if not shares.shape[1]:
        return images
    known = ~shares.isnan()
    values = torch.where(known, REACH * (2 * shares.sqrt() - 1), 0.0)
    planes = torch.cat([values, torch.where(known, 1.0, -1.0)], dim=1)
    return torch.cat([images, planes[:, :, None, None].expand(-1, -1, *images.shape[2:]).to(images)], dim=1)
