"""What lies or has dried on a card: spots, crusts, wax, residue, water rings, and yellowed paper."""

import math

import numpy as np

from cardsynth.render.damage.films import FILMS, RESIDUES, Layer
from cardsynth.render.damage.shapes import OUTSIDE, Card, Point, grid, turned

ATTEMPTS = 30  # to place a spot apart from the others
YELLOWED = (0.22, 0.15, 0.09, 0.04)  # reach of the toning from the four sides, in card widths


def _shadow(inside: np.ndarray) -> np.ndarray:
    """The narrow shadow of an object on the card, to its lower right."""
    step = max(1, round(0.006 * inside.shape[1]))
    return np.maximum(np.roll(inside, (step, step), axis=(0, 1)) - inside, 0)


def _apart(card: Card, count: int, radii: tuple[float, float], gap: float) -> list[tuple[Point, float]]:
    """Centres and radii of up to `count` spots at least `gap` apart."""
    spots: list[tuple[Point, float]] = []
    for _ in range(count):
        radius = card.rng.uniform(*radii) * card.scale
        for _ in range(ATTEMPTS):
            center = card.somewhere(0.16)
            if all(math.dist(center, other) > radius + reach + gap for other, reach in spots):
                spots.append((center, radius))
                break
    return spots


def small(card: Card) -> list[Layer]:
    """One to three dried dark spots, darker at their rims."""
    spots = _apart(card, int(card.rng.choice((1, 2, 3), p=(0.4, 0.35, 0.25))), (0.085, 0.125), 0.08)
    depth = np.maximum.reduce([card.blob(center, radius, 0.11) for center, radius in spots])
    depth = card.roughen(depth, (0.004, 0.03))
    rim = card.rim(depth - 0.006, max(0.016, 1 / card.width))
    uneven = card.roughen(0, (0.10, 0.07), (0.06, 0.02))
    thickness = np.clip(0.88 + uneven + 0.55 * rim, 0.5, 1.8)
    return [(FILMS["spot"], card.cover(depth) * thickness * card.rng.uniform(0.78, 1.12))]


def white_marks(card: Card) -> list[Layer]:
    """White crusts: flakes and strips, with the shadows that they cast."""
    rng, shapes = card.rng, []
    for mark in range(int(rng.integers(2, 6))):
        center = card.somewhere(0.15)
        if mark % 2 == 0:
            shapes.append(card.flake(center, rng.uniform(0.075, 0.12) * card.scale))
        else:
            half, length = rng.uniform(0.035, 0.05) * card.scale, rng.uniform(0.18, 0.36) * card.scale
            shapes.append(card.strip(center, half, length))
    depth = np.maximum.reduce(shapes) + card.roughen(0, (0.006, 0.06), (0.004, 0.02))
    crust = np.clip(card.roughen(0.80, (0.20, 0.03), (0.16, 0.010)), 0.30, 1.1)
    inside = card.cover(depth)
    return [(FILMS["shade"], 0.6 * _shadow(inside)), (FILMS["white"], inside * crust)]


def wax_stain(card: Card) -> list[Layer]:
    """A greasy patch with a hard outline, crossed by straight folds of the wrapper."""
    depth = card.blob(card.somewhere(0.25), card.rng.uniform(0.19, 0.30) * card.scale, 0.20, 0.6)
    depth = card.roughen(depth, (0.016, 0.09), (0.006, 0.025))
    strips = [card.strip(card.somewhere(0.3), 0.007, 1.2) for _ in range(int(card.rng.integers(1, 4)))]
    folds = card.cover(np.maximum.reduce(strips))
    uneven = card.roughen(0, (0.14, 0.10), (0.08, 0.02))
    inside, rim = card.cover(depth), card.rim(depth, 0.012)
    shine = np.clip(card.noise(0.05, 2) - 0.9, 0, 1)
    return [
        (FILMS["wax"], inside * np.clip(0.9 + uneven + 0.5 * rim - 0.35 * folds, 0.4, 1.7)),
        (FILMS["gloss"], inside * (depth > 0.01) * shine * 0.6),
    ]


def residue(card: Card) -> list[Layer]:
    """Crumbs and smears of a coloured residue."""
    film = RESIDUES[card.rng.integers(len(RESIDUES))]
    depth = card.blob(card.somewhere(0.25), card.rng.uniform(0.13, 0.21) * card.scale, 0.15, 0.65)
    lumps = card.roughen(0, (1, 0.045), (0.35, 0.018))
    depth = np.minimum(depth, 0.022 * (lumps + 0.55))
    thickness = np.clip(card.roughen(0.8, (0.3, 0.03)) + 4 * depth, 0.45, 1.5)
    inside = card.cover(depth)
    return [(FILMS["shade"], 0.5 * _shadow(inside)), (film, inside * thickness)]


def toning(card: Card) -> list[Layer]:
    """Paper that has yellowed from its edges inwards, from some sides further than from others."""
    x, y = grid(card.size)
    reaches = card.rng.permutation(YELLOWED) * card.rng.uniform(0.8, 1.25) * card.scale
    depth = np.float32(OUTSIDE)
    for side, reach in zip((x, 1 - x, y, card.bottom - y), reaches, strict=True):
        depth = np.maximum(depth, reach - side)
    depth = card.roughen(depth, (0.025, 0.3), (0.006, 0.06))
    return [(FILMS["tone"], 1.2 * (1 - np.exp(-np.maximum(depth, 0) / 0.085)))]


def water_ring(card: Card) -> list[Layer]:
    """One or two rings that a wet glass left, dark at the outer edge; they may run off the card."""
    rng = card.rng
    amount = np.zeros(card.size, np.float32)
    radius = rng.uniform(0.24, 0.38) * card.scale
    center = card.somewhere(0.2)
    wander = card.roughen(0, (0.004, 0.3), (0.0015, 0.05))
    fade = np.clip(card.roughen(0.85, (0.4, 0.2)), 0.25, 1.4)
    for _ in range(int(rng.choice((1, 2), p=(0.7, 0.3)))):
        across, down = turned(*grid(card.size), center, 0)
        inward = radius + wander - np.hypot(across, down)
        band = rng.uniform(0.028, 0.042)
        ring = card.cover(np.minimum(inward, band - inward))
        edge = card.rim(inward, max(0.008, 0.8 / card.width))
        amount = np.maximum(amount, ring * (0.55 + 0.6 * edge) * fade)
        center = center[0] + rng.normal() * 0.05, center[1] + rng.normal() * 0.05
    return [(FILMS["water"], amount)]
