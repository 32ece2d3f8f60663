"""Batches that a damage finder learns from: real and synthetic cards, their targets, and augmentation."""

import numpy as np
import torch
import torch.nn.functional as F

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.evaluation.masks import clean_classes
from cardsynth.finder.config import FinderConfig

# Limits of the augmentation: shares of height or width, degrees, and factors.
MOST_SHIFT, MOST_TURN, MOST_ZOOM, MOST_LIGHT = 0.06, 5.0, 0.1, 0.15


def damage_classes(cards: Cards) -> tuple[str, ...]:
    """Returns the classes of damaged cards: all classes except those in which most masks are empty."""
    clean = clean_classes(cards)
    return tuple(name for number, name in enumerate(cards.label_names) if number not in clean)


def damage_targets(cards: Cards, labels: tuple[str, ...]) -> torch.Tensor:
    """Returns the class of each pixel: the card's class where its mask shows damage.

    Args:
        cards: Cards with masks. Without classes, all damage is of the first of `labels`.
        labels: Damage classes.

    Returns:
        int64 (N, H, W): 0 for undamaged, else 1 + the index of the class in `labels`.

    Raises:
        CardError: The cards have no masks.
    """
    if not cards.has_mask:
        raise CardError(f"{cards.source or 'the cards'}: no masks, and a damage finder learns from them; add masks")
    numbers = [labels.index(name) + 1 if name in labels else 0 for name in cards.label_names] or [1]
    card_classes = torch.tensor(numbers)[cards.labels]
    return torch.where(cards.pixels[:, 3] >= 128, card_classes[:, None, None], 0)


def synthetic_counts(config: FinderConfig) -> list[int]:
    """Returns the number of synthetic cards in the batch of each step."""
    steps, most = config.max_train_steps, config.train_batch_size * config.synthetic_share
    return [round(most * (min(1.0, 2 * (1 - step / steps)) if config.anneal else 1.0)) for step in range(steps)]


class FinderBatches:
    """The batch of each step: real cards, then synthetic ones, both in shuffled passes.

    Args:
        config: Settings of the run.
        cards: Real cards with masks.
        synthetic: Synthetic cards with masks, if any.
        labels: Damage classes.

    Raises:
        CardError: Cards have no masks.
    """

    def __init__(self, config: FinderConfig, cards: Cards, synthetic: Cards | None, labels: tuple[str, ...]) -> None:
        self._size, self._real, self._synthetic = config.train_batch_size, _Pool(cards, labels, [config.seed, 0]), None
        self._counts = [0] * config.max_train_steps
        if synthetic is not None and len(synthetic):
            self._synthetic = _Pool(synthetic, labels, [config.seed, 1])
            self._counts = synthetic_counts(config)
        self._before = np.cumsum([0, *self._counts]).tolist()

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns pixels, uint8 (B, 3, H, W), and targets, int64 (B, H, W), of step `step` (from 0)."""
        count, before = self._counts[step], self._before[step]
        parts = [self._real.take(step * self._size - before, self._size - count)]
        if self._synthetic:
            parts.append(self._synthetic.take(before, count))
        pixels, targets = zip(*parts, strict=True)
        return torch.cat(pixels), torch.cat(targets)


class _Pool:
    """Cards and targets in shuffled passes, end to end; the order depends on the seed alone."""

    def __init__(self, cards: Cards, labels: tuple[str, ...], seed: list[int]) -> None:
        self._pixels, self._targets = cards.pixels[:, :3], damage_targets(cards, labels)
        self._random, self._order = np.random.default_rng(seed), []

    def take(self, start: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        while len(self._order) < start + count:
            self._order += self._random.permutation(len(self._pixels)).tolist()
        indices = torch.tensor(self._order[start : start + count], dtype=torch.long)
        return self._pixels[indices], self._targets[indices]


def augment(
    pixels: torch.Tensor, targets: torch.Tensor, generator: torch.Generator, flips: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Shifts, rotates, scales and optionally mirrors cards with their targets, and varies brightness and contrast.

    Pixels beyond an edge repeat the edge.

    Args:
        pixels: uint8 (B, 3, H, W).
        targets: int64 (B, H, W).
        generator: Source of random numbers, on the CPU.
        flips: Mirror half of the cards horizontally and half vertically.

    Returns:
        Images, float32 (B, 3, H, W) in about [-1, 1], and targets, int64 (B, H, W).
    """
    count, _, height, width = pixels.shape

    def spread(most: float, columns: int = 1) -> torch.Tensor:
        return (2 * torch.rand(count, columns, generator=generator) - 1) * most

    turn = torch.deg2rad(spread(MOST_TURN))[:, 0]
    zoom = 1 + spread(MOST_ZOOM)[:, 0]
    mirror = torch.where(torch.rand(count, 2, generator=generator) < (0.5 if flips else 0.0), -1.0, 1.0)
    cos, sin, ratio = turn.cos() * zoom, turn.sin() * zoom, height / width
    shift = spread(2 * MOST_SHIFT, 2)
    rows = torch.stack([cos * mirror[:, 0], -sin * ratio * mirror[:, 1], shift[:, 0]], dim=1)
    columns = torch.stack([sin / ratio * mirror[:, 0], cos * mirror[:, 1], shift[:, 1]], dim=1)
    grid = F.affine_grid(torch.stack([rows, columns], dim=1), [count, 3, height, width], align_corners=False)
    images = F.grid_sample(pixels.float() / 127.5 - 1, grid, padding_mode="border", align_corners=False)
    moved = F.grid_sample(targets[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    contrast, light = 1 + spread(MOST_LIGHT)[:, :, None, None], spread(MOST_LIGHT)[:, :, None, None]
    return images * contrast + light, moved[:, 0].long()
