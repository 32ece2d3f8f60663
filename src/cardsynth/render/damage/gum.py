"""Gum stains: the slab that lay on the card, what seeped from it, and what tore as it came off."""

import math

import numpy as np

from cardsynth.render.damage.films import GLOSS, GUM, LIGHT_GUM, Film, Layer, torn
from cardsynth.render.damage.shapes import Card, blob_depth, box_depth, cover, grid, noise, turned


def _slab(rng: np.random.Generator, card: Card, shares: tuple[float, float], tilt: float) -> np.ndarray:
    """Depth inside the outer line of a slab of gum that lay askew and covers a share of the card."""
    share = min(0.97, rng.uniform(*shares) * card.scale**2)
    angle = math.radians(rng.uniform(-tilt, tilt))
    half_x = math.sqrt(share) * 0.5 * rng.uniform(0.92, 1.06)
    half_y = share * card.bottom * 0.25 / half_x
    center = (
        0.5 + rng.uniform(-1, 1) * max(0.03, 0.5 - half_x) * 0.8,
        card.bottom / 2 + rng.uniform(-1, 1) * max(0.03, card.bottom / 2 - half_y) * 0.8,
    )
    depth = box_depth(*turned(*grid(card.size), center, angle), half_x, half_y, 0.05)
    step = max(1, card.size[1] // 64)
    coarse, there = depth[::step, ::step], card.area[::step, ::step] > 0.5
    return depth - np.float32(np.quantile(coarse[there], 1 - share))


def _gum(rng, card: Card, film: Film, shares, tilt, rim, seep_width, tears) -> list[Layer]:
    """A slab's rounded rectangle, uneven and darker at its rim, a tide line around it, gloss, torn paper fibre."""
    width = card.size[1]
    rectangle = _slab(rng, card, shares, tilt)
    wander = (
        0.55 * noise(rng, card.size, 0.24) + 0.30 * noise(rng, card.size, 0.09) + 0.12 * noise(rng, card.size, 0.03)
    )
    tide = rectangle + seep_width * np.clip(wander, -0.9, 1.6)
    slab = rectangle - seep_width + 0.0025 * noise(rng, card.size, 0.05) + 0.0015 * noise(rng, card.size, 0.014)
    uneven = (
        0.17 * noise(rng, card.size, 0.11) + 0.09 * noise(rng, card.size, 0.028) + 0.05 * noise(rng, card.size, 0.01)
    )
    rim_width = max(0.014, 0.9 / width)
    seeped = 0.42 + 0.35 * np.exp(-np.square(np.maximum(tide, 0) / rim_width))
    lay_on = np.clip(0.92 + uneven, 0.55, 1.5) + rim * np.exp(-np.square(np.maximum(slab, 0) / rim_width))
    inside = cover(slab, width)
    amount = cover(tide, width) * (inside * lay_on + (1 - inside) * seeped)
    shine = np.clip(1.5 * noise(rng, card.size, 0.07, 2.5) + 0.6 * noise(rng, card.size, 0.02) - 1.3, 0, 1)
    layers = [(film, amount * rng.uniform(0.82, 1.15)), (GLOSS, inside * shine * (slab > 0.01))]
    for _ in range(int(rng.choice(len(tears), p=tears))):
        layers.append(
            (torn(card.stock), _torn(rng, card, card.somewhere(rng, 0.22), rng.uniform(0.06, 0.13)) * (slab > 0))
        )
    return layers


def _torn(rng, card: Card, center, radius) -> np.ndarray:
    """A patch where paper was pulled off: a ragged outline and fibres that lie one way."""
    depth = blob_depth(rng, card.size, center, radius * card.scale, 0.16, rng.uniform(0.45, 0.9))
    depth = depth + 0.012 * noise(rng, card.size, 0.03, 2) + 0.008 * noise(rng, card.size, 0.010, 3)
    lie = (0.010, 4) if rng.random() < 0.5 else (0.040, 0.25)
    fibre = 0.80 + 0.20 * noise(rng, card.size, *lie) + 0.12 * noise(rng, card.size, 0.04)
    fibre = np.clip(fibre + 0.10 * noise(rng, card.size, 0.005), 0.35, 1.2)
    return cover(depth, card.size[1]) * fibre


def full_card(rng: np.random.Generator, card: Card) -> list[Layer]:
    """A dark slab over most of the card, now and then with torn fibre."""
    return _gum(rng, card, GUM, (0.66, 0.92), 9, 0.55, 0.030, (0.35, 0.35, 0.20, 0.10))


def light(rng: np.random.Generator, card: Card) -> list[Layer]:
    """A faint slab over less than half of the card."""
    return _gum(rng, card, LIGHT_GUM, (0.30, 0.52), 16, 0.50, 0.022, (1.0,))
