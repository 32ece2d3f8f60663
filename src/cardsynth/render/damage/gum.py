"""Gum stains: the slab that lay on the card, what seeped from it, and what tore when it came off."""

import math
from dataclasses import dataclass

import numpy as np

from cardsynth.render.damage.films import FILMS, Film, Layer, torn
from cardsynth.render.damage.shapes import Card, Point, box_depth, grid, turned


@dataclass(frozen=True)
class Slab:
    """A kind of gum stain.

    Attributes:
        film: What the gum does to the print.
        shares: Minimum and maximum fraction of the card that it covers.
        tilt: Maximum angle, in degrees.
        rim: How much darker the rim is.
        seep: Width of the seeped border, in card widths.
        tears: Probabilities of 0, 1, 2, ... patches of torn paper.
    """

    film: Film
    shares: tuple[float, float]
    tilt: float
    rim: float
    seep: float
    tears: tuple[float, ...] = (1.0,)


FULL_SLAB = Slab(FILMS["gum"], shares=(0.66, 0.92), tilt=9, rim=0.55, seep=0.030, tears=(0.35, 0.35, 0.20, 0.10))
LIGHT_SLAB = Slab(FILMS["light_gum"], shares=(0.30, 0.52), tilt=16, rim=0.50, seep=0.022)


def _outline(card: Card, slab: Slab) -> np.ndarray:
    """Depth inside the outer line of a slab that lay askew and covers its share of the card."""
    rng = card.rng
    share = min(0.97, rng.uniform(*slab.shares) * card.scale**2)
    angle = math.radians(rng.uniform(-slab.tilt, slab.tilt))
    half_x = math.sqrt(share) * 0.5 * rng.uniform(0.92, 1.06)
    half_y = share * card.bottom * 0.25 / half_x
    center = (
        0.5 + rng.uniform(-1, 1) * max(0.03, 0.5 - half_x) * 0.8,
        card.bottom / 2 + rng.uniform(-1, 1) * max(0.03, card.bottom / 2 - half_y) * 0.8,
    )
    depth = box_depth(*turned(*grid(card.size), center, angle), half_x, half_y, 0.05)
    step = max(1, card.width // 64)
    on_card = card.area[::step, ::step] > 0.5
    return depth - np.float32(np.quantile(depth[::step, ::step][on_card], 1 - share))


def _gum(card: Card, slab: Slab) -> list[Layer]:
    """An uneven slab with a darker rim, a tide line around it, gloss, and torn fibre."""
    rng, outer = card.rng, _outline(card, slab)
    wander = card.roughen(0, (0.55, 0.24), (0.30, 0.09), (0.12, 0.03))
    tide = outer + slab.seep * np.clip(wander, -0.9, 1.6)
    inner = card.roughen(outer - slab.seep, (0.0025, 0.05), (0.0015, 0.014))
    uneven = card.roughen(0, (0.17, 0.11), (0.09, 0.028), (0.05, 0.01))
    rim_width = max(0.014, 0.9 / card.width)
    seeped = 0.42 + 0.35 * card.rim(tide, rim_width)
    thickness = np.clip(0.92 + uneven, 0.55, 1.5) + slab.rim * card.rim(inner, rim_width)
    inside = card.cover(inner)
    amount = card.cover(tide) * (inside * thickness + (1 - inside) * seeped)
    shine = np.clip(card.roughen(0, (1.5, 0.07, 2.5), (0.6, 0.02)) - 1.3, 0, 1)
    layers = [(slab.film, amount * rng.uniform(0.82, 1.15)), (FILMS["gloss"], inside * shine * (inner > 0.01))]
    for _ in range(int(rng.choice(len(slab.tears), p=slab.tears))):
        patch = _torn_patch(card, card.somewhere(0.22), rng.uniform(0.06, 0.13))
        layers.append((torn(card.stock), patch * (inner > 0)))
    return layers


def _torn_patch(card: Card, center: Point, radius: float) -> np.ndarray:
    """A patch where paper was pulled off: a ragged outline, and fibres in one direction."""
    depth = card.blob(center, radius * card.scale, 0.16, card.rng.uniform(0.45, 0.9))
    depth = card.roughen(depth, (0.012, 0.03, 2), (0.008, 0.010, 3))
    fibre_shape = (0.010, 4) if card.rng.random() < 0.5 else (0.040, 0.25)
    fibre = card.roughen(0.80, (0.20, *fibre_shape), (0.12, 0.04))
    fibre = np.clip(card.roughen(fibre, (0.10, 0.005)), 0.35, 1.2)
    return card.cover(depth) * fibre


def full_card(card: Card) -> list[Layer]:
    """A dark slab over most of the card, often with torn fibre."""
    return _gum(card, FULL_SLAB)


def light(card: Card) -> list[Layer]:
    """A faint slab over less than half of the card."""
    return _gum(card, LIGHT_SLAB)
