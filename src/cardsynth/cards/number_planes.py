"""Numbers of cards as tensors, and as constant planes of a net's input."""

import math
from collections.abc import Sequence

import torch

from cardsynth.cards.numbers import LIMITS, Numbers

HIDDEN = 0.3  # share of each number that is hidden in training, so that a card may be asked for without it
PLANES = 2  # of the net's input, for each number
REACH = 2.0  # of the plane that holds a number, from -2 to 2


def column_of(values: Sequence[float | None]) -> torch.Tensor | None:
    """One number of each card as float32 (N,), NaN where it is unknown; None where no card knows it."""
    if all(value is None for value in values):
        return None
    return torch.tensor([math.nan if value is None else value for value in values], dtype=torch.float32)


def shares_of(numbers: Sequence[Numbers], conditions: Sequence[str]) -> torch.Tensor:
    """Numbers of cards, by name, as shares of their limits, float32 (B, K) in 0 to 1; NaN: unknown."""
    rows = [[card.get(name, math.nan) / LIMITS[name] for name in conditions] for card in numbers]
    return torch.tensor(rows, dtype=torch.float32).reshape(len(numbers), len(conditions))


def hide_numbers(shares: torch.Tensor, unlabelled: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shares (B, K) with each hidden (NaN) at random by itself, and all of a card whose label is hidden, bool (B,).

    So the net learns labels with all, some and no numbers, and neither, which guidance leads away from (Ho & Salimans
    2022).
    """
    hidden = torch.rand(shares.shape, generator=generator, device=shares.device) < HIDDEN
    return shares.masked_fill(hidden | unlabelled[:, None], math.nan)


def with_numbers(images: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Images (B, C, H, W) with two constant planes for each number behind their channels, (B, C + 2 * K, H, W).

    One plane says whether it is known, 1 or -1, and one holds it: 4 * sqrt(share) - 2, and 0 where it is unknown (NaN).
    The root gives small damage room on the scale: a stain that covers a hundredth is a tenth of the way. Values on both
    sides of 0 are learned sooner, since the net's group norm takes the length out of what it sees, and leaves the sign.
    """
    if not shares.shape[1]:
        return images
    known = ~shares.isnan()
    values = torch.where(known, REACH * (2 * shares.sqrt() - 1), 0.0)
    planes = torch.cat([values, torch.where(known, 1.0, -1.0)], dim=1)
    return torch.cat([images, planes[:, :, None, None].expand(-1, -1, *images.shape[2:]).to(images)], dim=1)
