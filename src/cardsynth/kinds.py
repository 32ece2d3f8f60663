"""The kinds of surface damage: for each the films it lays on a card, and how much of each where."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cardsynth.films import (
    FOLD_DARK,
    FOLD_LIGHT,
    GLOSS,
    GUM,
    LIGHT_GUM,
    PENS,
    RESIDUES,
    SPOT,
    TONE,
    TORN,
    WATER,
    WAX,
    WHITE,
    Film,
)
from cardsynth.outlines import (
    blob_depth,
    box_depth,
    cover,
    curve,
    flake_depth,
    grid,
    noise,
    strip_depth,
    strokes,
    turned,
)

Layer = tuple[Film, np.ndarray]  # a film and its amount, float32 (H, W), 0 or more, about 1 where it is fully there


@dataclass(frozen=True)
class Card:
    """The card that is damaged: picture, uint8 (H, W, 3); area, its coverage of the picture, float32 (H, W); `scale`,
    how large damage is against its usual length."""

    picture: np.ndarray
    area: np.ndarray
    scale: float

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.area.shape

    @property
    def bottom(self) -> float:
        """Height in card widths."""
        return self.area.shape[0] / self.area.shape[1]

    def somewhere(self, rng: np.random.Generator, margin: float) -> tuple[float, float]:
        """A place on the card (x, y), `margin` card widths from its edges."""
        return rng.uniform(margin, 1 - margin), rng.uniform(margin, self.bottom - margin)


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
    layers = [(film, amount), (GLOSS, inside * shine * (slab > 0.01))]
    for _ in range(int(rng.choice(len(tears), p=tears))):
        layers.append((TORN, _torn(rng, card, card.somewhere(rng, 0.22), rng.uniform(0.06, 0.13)) * (slab > 0)))
    return layers


def _torn(rng, card: Card, center, radius) -> np.ndarray:
    """A patch where paper was pulled off: a ragged outline and fibres that lie one way."""
    depth = blob_depth(rng, card.size, center, radius * card.scale, 0.16, rng.uniform(0.45, 0.9))
    depth = depth + 0.012 * noise(rng, card.size, 0.03, 2) + 0.008 * noise(rng, card.size, 0.010, 3)
    fibre = np.clip(0.75 + 0.28 * noise(rng, card.size, 0.012, 4) + 0.15 * noise(rng, card.size, 0.04), 0.30, 1.2)
    return cover(depth, card.size[1]) * fibre


def _full_card(rng, card):
    return _gum(rng, card, GUM, (0.66, 0.92), 9, 0.55, 0.030, (0.35, 0.35, 0.20, 0.10))


def _light(rng, card):
    return _gum(rng, card, LIGHT_GUM, (0.30, 0.52), 16, 0.50, 0.022, (1.0,))


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


def _small(rng, card):
    depth = np.full(card.size, -9, np.float32)
    for spot, radius in _apart(rng, card, int(rng.choice((1, 2, 3), p=(0.4, 0.35, 0.25))), (0.085, 0.125), 0.08):
        depth = np.maximum(depth, blob_depth(rng, card.size, spot, radius, 0.11))
    depth += 0.004 * noise(rng, card.size, 0.03)
    rim = np.exp(-np.square(np.maximum(depth - 0.006, 0) / max(0.016, 1 / card.size[1])))
    uneven = 0.10 * noise(rng, card.size, 0.07) + 0.06 * noise(rng, card.size, 0.02)
    return [(SPOT, cover(depth, card.size[1]) * np.clip(0.88 + uneven + 0.55 * rim, 0.5, 1.8))]


def _white_marks(rng, card):
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
    inside, step = cover(depth, card.size[1]), max(1, round(0.006 * card.size[1]))
    cast = np.roll(inside, (step, step), axis=(0, 1))
    return [(FOLD_DARK, 0.6 * np.maximum(cast - inside, 0)), (WHITE, inside * crust)]


def _wax(rng, card):
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


def _residue(rng, card):
    """Crumbs and smears of something coloured that stuck."""
    film = RESIDUES[rng.integers(len(RESIDUES))]
    depth = blob_depth(rng, card.size, card.somewhere(rng, 0.25), rng.uniform(0.13, 0.21) * card.scale, 0.15, 0.65)
    lumps = noise(rng, card.size, 0.045) + 0.35 * noise(rng, card.size, 0.018)
    depth = np.minimum(depth, 0.022 * (lumps + 0.55))
    thick = np.clip(0.8 + 0.3 * noise(rng, card.size, 0.03) + 4 * depth, 0.45, 1.5)
    inside, step = cover(depth, card.size[1]), max(1, round(0.006 * card.size[1]))
    cast = np.roll(inside, (step, step), axis=(0, 1))
    return [(FOLD_DARK, 0.5 * np.maximum(cast - inside, 0)), (film, inside * thick)]


def _toning(rng, card):
    """Paper gone yellow from its edges inward, from some sides further than from others."""
    x, y = grid(card.size)
    reaches = rng.permutation((0.22, 0.15, 0.09, 0.04)) * rng.uniform(0.8, 1.25) * card.scale
    sides = (x, 1 - x, y, card.bottom - y)
    depth = np.float32(-9)
    for side, reach in zip(sides, reaches, strict=True):
        depth = np.maximum(depth, reach - side)
    depth = depth + 0.025 * noise(rng, card.size, 0.3) + 0.006 * noise(rng, card.size, 0.06)
    return [(TONE, 1.2 * (1 - np.exp(-np.maximum(depth, 0) / 0.085)))]


def _crease(rng, card):
    """A fold from edge to edge or off a corner: cracked ink along it, light on its one flank, shade on the other."""
    x, y = grid(card.size)
    if rng.random() < 0.5:
        start, stop = (0, rng.uniform(0.15, 0.85) * card.bottom), (1, rng.uniform(0.15, 0.85) * card.bottom)
    else:
        right, low = (bool(flip) for flip in rng.integers(0, 2, 2))
        start = (1 if right else 0), abs(card.bottom * low - rng.uniform(0.25, 0.6) * card.bottom)
        stop = abs(right - rng.uniform(0.35, 0.75)), card.bottom * low
    angle = math.atan2(stop[1] - start[1], stop[0] - start[0])
    _, aside = turned(x, y, start, angle)
    aside = aside + 0.006 * noise(rng, card.size, 0.13) + 0.0015 * noise(rng, card.size, 0.02)
    flank = rng.uniform(0.016, 0.026) * card.scale
    width = card.size[1]
    crack = 0.0055 * card.scale + 0.0035 * noise(rng, card.size, 0.03)
    slope = np.clip(1.1 - np.abs(aside) / flank * 0.6, 0, 1)
    return [
        (FOLD_DARK, cover(np.minimum(aside, flank - aside), width) * slope),
        (FOLD_LIGHT, cover(np.minimum(-aside, flank + aside), width) * slope),
        (TORN, cover(np.maximum(crack, 0.6 / width) - np.abs(aside), width)),
    ]


def _scratch(rng, card):
    """Scuffed ink in a few thin lines side by side."""
    turn, length = rng.uniform(0, math.pi), rng.uniform(0.35, 0.7) * card.scale
    x, y = card.somewhere(rng, 0.3)
    lines = []
    for _ in range(int(rng.integers(2, 6))):
        middle = x + rng.normal() * 0.06, y + rng.normal() * 0.06
        reach, lean, bow = length / 2 * rng.uniform(0.5, 1), turn + rng.normal() * 0.05, rng.normal() * 0.012
        ahead = math.cos(lean), math.sin(lean)
        share = np.linspace(-1, 1, 13)
        path = [
            (
                middle[0] + reach * s * ahead[0] - bow * ahead[1] * s * s,
                middle[1] + reach * s * ahead[1] + bow * ahead[0] * s * s,
            )
            for s in share
        ]
        widest = rng.uniform(0.012, 0.018) * math.sqrt(card.scale)
        lines.append((path, widest * (1 - 0.6 * share**4)))
    scuffed = strokes(card.size, lines)
    broken = np.clip(0.9 + 0.3 * noise(rng, card.size, 0.02), 0.45, 1.2)
    return [(TORN, np.minimum(1, 1.3 * scuffed) * broken)]


def _water_ring(rng, card):
    """The mark that a wet glass left: a ring, dark at its outer edge, that may run off the card."""
    amount = np.zeros(card.size, np.float32)
    radius = rng.uniform(0.24, 0.38) * card.scale
    center = card.somewhere(rng, 0.2)
    width = card.size[1]
    wander = 0.004 * noise(rng, card.size, 0.3) + 0.0015 * noise(rng, card.size, 0.05)
    fade = np.clip(0.95 + 0.3 * noise(rng, card.size, 0.25), 0.5, 1.4)
    for _ in range(int(rng.choice((1, 2), p=(0.7, 0.3)))):
        across, down = turned(*grid(card.size), center, 0)
        inward = radius + wander - np.hypot(across, down)
        band = rng.uniform(0.028, 0.042)
        ring = cover(np.minimum(inward, band - inward), width)
        edge = np.exp(-np.square(np.maximum(inward, 0) / max(0.008, 0.8 / width)))
        amount = np.maximum(amount, ring * (0.55 + 0.6 * edge) * fade)
        center = center[0] + rng.normal() * 0.05, center[1] + rng.normal() * 0.05
    return [(WATER, amount)]


def _hickey(rng, card):
    """A speck of dirt on the plate: a dot of ink in a halo that took none; where there is most ink of eight places."""
    step = max(1, card.size[1] // 32)
    coarse = card.picture[::step, ::step].astype(np.float32)
    paper, ink = np.quantile(coarse[card.area[::step, ::step] > 0.5], (0.85, 0.04), axis=0)
    darkest = coarse.mean(axis=2)
    halo, dot = (np.full(card.size, -9, np.float32) for _ in range(2))
    for _ in range(int(rng.integers(1, 4))):
        places = [card.somewhere(rng, 0.12) for _ in range(8)]
        rows, columns = (np.array([int(place[axis] * card.size[1]) // step for place in places]) for axis in (1, 0))
        place, radius = places[np.argmin(darkest[rows, columns])], rng.uniform(0.047, 0.060) * card.scale
        halo = np.maximum(halo, blob_depth(rng, card.size, place, radius, 0.05, 0.9))
        dot = np.maximum(dot, blob_depth(rng, card.size, place, radius * rng.uniform(0.42, 0.55), 0.10))
    bare = Film((0.97, 0.97, 0.97), tuple(np.minimum(paper + 13, 252).tolist()), 0.93)
    inked = Film((0.8, 0.8, 0.8), tuple(ink.tolist()), 0.9)
    spot = cover(dot, card.size[1])
    return [(bare, cover(halo, card.size[1]) * (1 - 0.8 * spot)), (inked, spot)]


# Pen marks as lines through points in a unit square, letters and signs.
SIGNS = (
    (((0.05, 0.55), (0.35, 0.95), (0.95, 0.05)),),
    (((0.05, 0.05), (0.5, 0.5), (0.95, 0.95)), ((0.95, 0.05), (0.5, 0.5), (0.05, 0.95))),
    (((0.9, 0.15), (0.5, 0.02), (0.08, 0.4), (0.3, 0.95), (0.85, 0.85), (0.95, 0.35), (0.5, 0.02)),),
    (((0.2, 0.95), (0.22, 0.05)), ((0.85, 0.05), (0.24, 0.5), (0.9, 0.95))),
    (((0.05, 0.95), (0.2, 0.1), (0.5, 0.7), (0.8, 0.1), (0.95, 0.95)),),
    (((0.3, 0.05), (0.9, 0.05)), ((0.62, 0.05), (0.6, 0.8), (0.3, 0.97), (0.08, 0.75))),
    (((0.2, 0.97), (0.2, 0.05), (0.75, 0.08), (0.8, 0.4), (0.22, 0.52), (0.9, 0.97)),),
    (((0.85, 0.12), (0.45, 0.03), (0.2, 0.28), (0.75, 0.62), (0.6, 0.95), (0.12, 0.85)),),
)


def _pen_mark(rng, card):
    """Initials, ticks and crosses that somebody wrote, sometimes with a line under them."""
    height = rng.uniform(0.13, 0.24) * card.scale
    letters = rng.choice(len(SIGNS), int(rng.integers(1, 4)), replace=False)
    x, y = rng.uniform(0.12, 0.45), rng.uniform(0.12, card.bottom - 0.12 - height)
    line = rng.choice((0.016, 0.030), p=(0.6, 0.4)) * math.sqrt(card.scale)
    slant, rise, lines = rng.uniform(-0.1, 0.35), rng.uniform(-0.25, 0.12), []
    written = [stroke for sign in letters for stroke in SIGNS[sign]]
    offsets = [place for place, sign in enumerate(letters) for _ in SIGNS[sign]]
    if rng.random() < 0.4:
        written.append(((-0.1, 1.2), (len(letters) * 0.5, 1.25), (len(letters) * 1.05, 1.12)))
        offsets.append(0)
    for stroke, offset in zip(written, offsets, strict=True):
        points = np.array(stroke) + rng.normal(0, 0.035, (len(stroke), 2))
        across = 0.8 * offset + 0.68 * points[:, 0] + slant * (1 - points[:, 1])
        placed = np.stack([x + height * across, y + height * (points[:, 1] + rise * across)], axis=1)
        path = curve([tuple(point) for point in placed])
        lines.append((path, line * np.linspace(1.08, 0.85, len(path))))
    ink = strokes(card.size, lines)
    return [
        (
            PENS[rng.integers(len(PENS))],
            np.minimum(1, 1.2 * ink) * np.clip(0.95 + 0.2 * noise(rng, card.size, 0.02), 0.6, 1.3),
        )
    ]


KINDS: dict[str, Callable[[np.random.Generator, Card], list[Layer]]] = {
    "FULL_CARD": _full_card,
    "LIGHT": _light,
    "SMALL": _small,
    "WHITE_MARKS": _white_marks,
    "WAX_STAIN": _wax,
    "RESIDUE": _residue,
    "TONING": _toning,
    "CREASE": _crease,
    "SCRATCH": _scratch,
    "WATER_RING": _water_ring,
    "HICKEY": _hickey,
    "PEN_MARK": _pen_mark,
}
