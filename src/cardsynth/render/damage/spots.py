"""What lies or dried on a card: spots, crusts, wax, residue, water rings, and paper gone yellow."""

import math

import numpy as np

from cardsynth.render.damage.films import GLOSS, RESIDUES, SHADE, SPOT, TONE, WATER, WAX, WHITE, Layer
from cardsynth.render.damage.shapes import Card, blob_depth, cover, flake_depth, grid, noise, strip_depth, turned


def _shadow(inside: np.ndarray) -> np.ndarray:
    """The narrow shadow of something that lies on the card, to its lower right."""
    step = max(1, round(0.006 * inside.shape[1]))
    return np.maximum(np.roll(inside, (step, step), axis=(0, 1)) - inside, 0)


def _apart(rng, card: Card, count: int, radii: tuple[float, float], gap: float):
    """Places and radii of up to `count` spots that lie apart."""
    placed = []
    for _ in range(count):
        radius = rng.uniform(*radii) * card.scale
        for _ in range(30):
            spot = card.somewhere(rng, 0.16)
            if all(math.dist(spot, other) > radius + reach + gap for other, reach in placed):
                placed.append((spot, radius))
                break
    return placed


def small(rng: np.random.Generator, card: Card) -> list[Layer]:
    """One to three dark spots that dried, darker at their rims."""
    depth = np.full(card.size, -9, np.float32)
    for spot, radius in _apart(rng, card, int(rng.choice((1, 2, 3), p=(0.4, 0.35, 0.25))), (0.085, 0.125), 0.08):
        depth = np.maximum(depth, blob_depth(rng, card.size, spot, radius, 0.11))
    depth += 0.004 * noise(rng, card.size, 0.03)
    rim = np.exp(-np.square(np.maximum(depth - 0.006, 0) / max(0.016, 1 / card.size[1])))
    uneven = 0.10 * noise(rng, card.size, 0.07) + 0.06 * noise(rng, card.size, 0.02)
    return [
        (SPOT, cover(depth, card.size[1]) * np.clip(0.88 + uneven + 0.55 * rim, 0.5, 1.8) * rng.uniform(0.78, 1.12))
    ]


def white_marks(rng: np.random.Generator, card: Card) -> list[Layer]:
    """White crusts: flakes and strips of residue, with the shadow that they cast."""
    depth = np.full(card.size, -9, np.float32)
    for mark in range(int(rng.integers(2, 6))):
        center = card.somewhere(rng, 0.15)
        if mark % 2 == 0:
            shape = flake_depth(rng, card.size, center, rng.uniform(0.075, 0.12) * card.scale)
        else:
            half, length = rng.uniform(0.035, 0.05) * card.scale, rng.uniform(0.18, 0.36) * card.scale
            shape = strip_depth(rng, card.size, center, half, length)
        depth = np.maximum(depth, shape)
    depth += 0.006 * noise(rng, card.size, 0.06) + 0.004 * noise(rng, card.size, 0.02)
    crust = np.clip(0.80 + 0.20 * noise(rng, card.size, 0.03) + 0.16 * noise(rng, card.size, 0.010), 0.30, 1.1)
    inside = cover(depth, card.size[1])
    return [(SHADE, 0.6 * _shadow(inside)), (WHITE, inside * crust)]


def wax_stain(rng: np.random.Generator, card: Card) -> list[Layer]:
    """A greasy patch with a hard outline, crossed by the straight folds of the wrapper."""
    depth = blob_depth(rng, card.size, card.somewhere(rng, 0.25), rng.uniform(0.19, 0.30) * card.scale, 0.20, 0.6)
    depth = depth + 0.016 * noise(rng, card.size, 0.09) + 0.006 * noise(rng, card.size, 0.025)
    folds = np.zeros(card.size, np.float32)
    for _ in range(int(rng.integers(1, 4))):
        strip = strip_depth(rng, card.size, card.somewhere(rng, 0.3), 0.007, 1.2)
        folds = np.maximum(folds, cover(strip, card.size[1]))
    rim = np.exp(-np.square(np.maximum(depth, 0) / 0.012))
    uneven = 0.14 * noise(rng, card.size, 0.10) + 0.08 * noise(rng, card.size, 0.02)
    inside = cover(depth, card.size[1])
    shine = np.clip(noise(rng, card.size, 0.05, 2) - 0.9, 0, 1)
    return [
        (WAX, inside * np.clip(0.9 + uneven + 0.5 * rim - 0.35 * folds, 0.4, 1.7)),
        (GLOSS, inside * (depth > 0.01) * shine * 0.6),
    ]


def residue(rng: np.random.Generator, card: Card) -> list[Layer]:
    """Crumbs and smears of something coloured that stuck."""
    film = RESIDUES[rng.integers(len(RESIDUES))]
    depth = blob_depth(rng, card.size, card.somewhere(rng, 0.25), rng.uniform(0.13, 0.21) * card.scale, 0.15, 0.65)
    lumps = noise(rng, card.size, 0.045) + 0.35 * noise(rng, card.size, 0.018)
    depth = np.minimum(depth, 0.022 * (lumps + 0.55))
    thick = np.clip(0.8 + 0.3 * noise(rng, card.size, 0.03) + 4 * depth, 0.45, 1.5)
    inside = cover(depth, card.size[1])
    return [(SHADE, 0.5 * _shadow(inside)), (film, inside * thick)]


def toning(rng: np.random.Generator, card: Card) -> list[Layer]:
    """Paper gone yellow from its edges inward, from some sides further than from others."""
    x, y = grid(card.size)
    reaches = rng.permutation((0.22, 0.15, 0.09, 0.04)) * rng.uniform(0.8, 1.25) * card.scale
    sides = (x, 1 - x, y, card.bottom - y)
    depth = np.float32(-9)
    for side, reach in zip(sides, reaches, strict=True):
        depth = np.maximum(depth, reach - side)
    depth = depth + 0.025 * noise(rng, card.size, 0.3) + 0.006 * noise(rng, card.size, 0.06)
    return [(TONE, 1.2 * (1 - np.exp(-np.maximum(depth, 0) / 0.085)))]


def water_ring(rng: np.random.Generator, card: Card) -> list[Layer]:
    """The mark that a wet glass left: a ring, dark at its outer edge, that may run off the card."""
    amount = np.zeros(card.size, np.float32)
    radius = rng.uniform(0.24, 0.38) * card.scale
    center = card.somewhere(rng, 0.2)
    width = card.size[1]
    wander = 0.004 * noise(rng, card.size, 0.3) + 0.0015 * noise(rng, card.size, 0.05)
    fade = np.clip(0.85 + 0.4 * noise(rng, card.size, 0.2), 0.25, 1.4)
    for _ in range(int(rng.choice((1, 2), p=(0.7, 0.3)))):
        across, down = turned(*grid(card.size), center, 0)
        inward = radius + wander - np.hypot(across, down)
        band = rng.uniform(0.028, 0.042)
        ring = cover(np.minimum(inward, band - inward), width)
        edge = np.exp(-np.square(np.maximum(inward, 0) / max(0.008, 0.8 / width)))
        amount = np.maximum(amount, ring * (0.55 + 0.6 * edge) * fade)
        center = center[0] + rng.normal() * 0.05, center[1] + rng.normal() * 0.05
    return [(WATER, amount)]
