"""Surface damage with exact masks: gum stains, small stains and white marks on a card back."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage


@dataclass(frozen=True)
class Film:
    """What a kind of damage does to the print beneath it.

    through: share of each channel's light that the film lets pass (R, G, B, 0 to 1).
    tint, body: the damage's own colour (0 to 255) and how much of it covers the print (0 to 1).
    rim: how much deeper the film is at its edge; mottle: how uneven it is within.
    """

    through: tuple[float, float, float]
    tint: tuple[float, float, float]
    body: float
    rim: float
    mottle: float


FILMS = {
    "FULL_CARD": Film((0.76, 0.60, 0.42), (146, 98, 52), 0.22, 0.45, 0.18),
    "LIGHT": Film((0.87, 0.78, 0.64), (190, 152, 98), 0.05, 0.35, 0.10),
    "SMALL": Film((0.46, 0.35, 0.26), (78, 46, 24), 0.48, 0.6, 0.09),
    "WHITE_MARKS": Film((0.70, 0.67, 0.62), (250, 248, 243), 0.95, 1.0, 0.07),
}


def stain_card(
    card: np.ndarray, area: np.ndarray, label: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Put the damage of one class on a clean card.

    card: uint8 (H, W, 3); area: float32 (H, W), the card's own coverage of the picture, 0 to 1.
    Returns the damaged card, uint8 (H, W, 3), and its mask, uint8 (H, W), 0 or 255; outside the mask the card is
    untouched.
    """
    if label == "CLEAN":
        return card, np.zeros(card.shape[:2], np.uint8)
    film = FILMS[label]
    width = area.shape[1]
    depth = _DEPTHS[label](rng, area)
    mottle = film.mottle * (_noise(rng, area.shape, 0.12) + 0.4 * _noise(rng, area.shape, 0.02))
    cover = np.clip(depth * width + 0.5, 0, 1) * (area > 0.5)
    mask = cover > 0.3
    spots = np.flatnonzero(mask)
    cover, depth, mottle = (plane.ravel()[spots] for plane in (cover, depth, mottle))
    rim_width = max(0.007 if label == "WHITE_MARKS" else 0.016, 1.0 / width)
    rim = np.exp(-np.square(np.maximum(depth, 0) / rim_width))
    if label == "WHITE_MARKS":
        shade, body = cover * rim, cover * film.body * (1 - 0.6 * rim) * (1 + np.minimum(mottle, 0))
    else:
        shade = cover * np.clip(0.86 + mottle, 0.5, 1.15) * (1 + film.rim * rim)
        body = cover * film.body * (1 + mottle * 0.5)
    damaged = card.copy()
    pixels = damaged.reshape(-1, 3)
    for channel in range(3):
        light = pixels[spots, channel] * (1 - shade * (1 - film.through[channel]))
        light += np.clip(body, 0, 1) * ((1 + 0.25 * mottle) * film.tint[channel] - light)
        pixels[spots, channel] = np.clip(light + 0.5, 0, 255)
    return damaged, mask.astype(np.uint8) * 255


def mask_boxes(mask: np.ndarray) -> list[list[int]]:
    """Bounding boxes [x, y, width, height] of a mask's 8-connected components, from top to bottom.

    mask: (H, W), any type; what is not zero is damage.
    """
    components, _ = ndimage.label(np.asarray(mask) != 0, structure=np.ones((3, 3)))
    return [
        [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
        for rows, columns in ndimage.find_objects(components)
    ]


def _noise(rng: np.random.Generator, size: tuple[int, int], grain: float) -> np.ndarray:
    """Smooth noise, float32 (H, W), about unit strength, with features of `grain` card widths at any resolution."""
    height, width = size
    cells = (max(2, round(1.4 / grain)), max(2, round(1 / grain)))
    coarse = rng.standard_normal(cells, np.float32)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _grid(area: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    height, width = area.shape
    x = (np.arange(width, dtype=np.float32) + 0.5) / width
    y = (np.arange(height, dtype=np.float32) + 0.5) / width
    return x[None, :], y[:, None]


def _slab(rng, area, span, waver, tilt) -> np.ndarray:
    """Depth inside a gum slab's askew rounded rectangle that covers a share of the card drawn from `span`."""
    x, y = _grid(area)
    bottom = area.shape[0] / area.shape[1]
    share = rng.uniform(*span)
    angle = math.radians(rng.uniform(-tilt, tilt))
    side = math.sqrt(share)
    half_x = side * 0.5 * rng.uniform(0.92, 1.06)
    half_y = side * side * bottom * 0.25 / half_x
    center_x = 0.5 + rng.uniform(-1, 1) * max(0.03, 0.5 - half_x) * 0.8
    center_y = bottom / 2 + rng.uniform(-1, 1) * max(0.03, bottom / 2 - half_y) * 0.8
    across = (x - center_x) * math.cos(angle) + (y - center_y) * math.sin(angle)
    down = (y - center_y) * math.cos(angle) - (x - center_x) * math.sin(angle)
    radius = 0.05
    out_x, out_y = np.abs(across) - half_x + radius, np.abs(down) - half_y + radius
    depth = radius - np.hypot(np.maximum(out_x, 0), np.maximum(out_y, 0)) - np.minimum(np.maximum(out_x, out_y), 0)
    wavering = _noise(rng, area.shape, 0.16) + 0.35 * _noise(rng, area.shape, 0.05)
    depth += waver * wavering
    return depth - np.float32(np.quantile(depth[area > 0.5], 1 - share))


def _full(rng, area):
    return _slab(rng, area, (0.64, 0.92), 0.018, 9)


def _light(rng, area):
    return _slab(rng, area, (0.28, 0.52), 0.010, 16)


def _small(rng, area):
    x, y = _grid(area)
    bottom = area.shape[0] / area.shape[1]
    depth = np.full(area.shape, -9.0, np.float32)
    placed = []
    for _ in range(int(rng.choice((1, 2, 3), p=(0.4, 0.35, 0.25)))):
        radius = rng.uniform(0.085, 0.125)
        for _ in range(30):
            spot = rng.uniform(0.16, 0.84), rng.uniform(0.16, bottom - 0.16)
            if all(math.dist(spot, other) > radius + reach + 0.08 for *other, reach in placed):
                break
        else:
            continue
        placed.append((*spot, radius))
        across, down = x - spot[0], y - spot[1]
        angle = np.arctan2(down, across)
        outline = np.full(area.shape, radius, np.float32)
        for wave in (2, 3, 5):
            outline += radius * 0.17 / math.sqrt(wave) * rng.normal() * np.cos(wave * angle + rng.uniform(0, 6.3))
        depth = np.maximum(depth, np.clip(outline, radius * 0.8, radius * 1.15) - np.hypot(across, down))
    return depth + 0.004 * _noise(rng, area.shape, 0.03)


def _marks(rng, area):
    x, y = _grid(area)
    bottom = area.shape[0] / area.shape[1]
    depth = np.full(area.shape, -9.0, np.float32)
    for mark in range(int(rng.integers(2, 6))):
        across = x - rng.uniform(0.15, 0.85)
        down = y - rng.uniform(0.15, bottom - 0.15)
        turn = rng.uniform(0, math.tau)
        if mark % 2 == 0:
            half, sides = rng.uniform(0.075, 0.12), int(rng.integers(5, 8))
            inside = np.full(area.shape, 9.0, np.float32)
            for side in range(sides):
                angle = turn + (side + rng.uniform(-0.25, 0.25)) * math.tau / sides
                edge = half * rng.uniform(0.8, 1.2) - across * math.cos(angle) - down * math.sin(angle)
                inside = np.minimum(inside, edge)
        else:
            half, length = rng.uniform(0.035, 0.05), rng.uniform(0.18, 0.36)
            along = across * math.cos(turn) + down * math.sin(turn)
            aside = down * math.cos(turn) - across * math.sin(turn)
            inside = half - np.hypot(np.maximum(np.abs(along) - length / 2, 0), aside)
        depth = np.maximum(depth, inside)
    return depth + 0.006 * _noise(rng, area.shape, 0.06) + 0.004 * _noise(rng, area.shape, 0.02)


_DEPTHS = {"FULL_CARD": _full, "LIGHT": _light, "SMALL": _small, "WHITE_MARKS": _marks}
