"""Prints clean cards: layout, stock and inks from a seed, paper grain, misregistration, worn corners."""

import random
from collections.abc import Sequence

import numpy as np
from PIL import Image

from cardsynth.layouts import LAYOUTS
from cardsynth.press import Press, invent_player
from cardsynth.styles import INKS, STOCKS, STYLES

GROUNDS = ((30, 30, 33), (58, 60, 66), (44, 38, 36))


def print_card(seed: int, size: tuple[int, int], styles: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict]:
    """Print the clean card of a seed at (height, width) pixels, in one of the styles.

    Returns the picture, uint8 (H, W, 3); the card's own coverage of it, float32 (H, W) in 0 to 1; and what was printed.
    """
    height, width = size
    design = random.Random(f"cardsynth {seed}")
    name = design.choice(list(styles))
    style = STYLES[name]
    layout = LAYOUTS[design.choice(style.layouts)]
    stock, inks = design.choice(style.stocks), design.choice(style.inks)
    player = invent_player(design, layout.decade, design.randint(*layout.seasons))
    press = Press(size)
    layout.draw(press, player, design)

    grain = np.random.default_rng([seed, 1])
    colour, speckle = STOCKS[stock]
    fine = grain.standard_normal(size, np.float32)
    cloud = _upscale(grain.standard_normal((9, 7), np.float32), size)
    fibre = _upscale(grain.standard_normal((max(8, height // 3), max(8, width // 2)), np.float32), size)
    slope_x, slope_y = design.uniform(-0.03, 0.03), design.uniform(-0.03, 0.03)
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    paper = 1 + slope_x * across + slope_y * down + 0.008 * cloud + speckle * (0.010 * fine + 0.014 * fibre)

    center = design.gauss(0, 0.008), design.gauss(0, 0.008)
    slip = center[0] + design.gauss(0, 0.004), center[1] + design.gauss(0, 0.004)
    wear = 1 - 0.05 * np.clip(fibre + 0.5 * fine, -1, 2)
    plates = [press.coverage(plate, shift) * wear for plate, shift in enumerate((center, slip))]
    area = _card_area(design, cloud, size)
    ground = design.choice(GROUNDS)
    picture = np.empty((*size, 3), np.uint8)
    for channel in range(3):
        light = paper * colour[channel]
        for plate, ink in zip(plates, INKS[inks], strict=True):
            light *= 1 - plate * (1 - ink[channel] / 255)
        behind = ground[channel] + 2 * fine
        picture[..., channel] = np.clip(behind + area * (light - behind) + 0.5, 0, 255)
    return picture, area, {"style": name, "layout": layout.name, "decade": layout.decade, "stock": stock, "inks": inks}


def _card_area(design: random.Random, cloud: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The card's coverage of the picture: all but a thin margin and worn, rounded corners."""
    height, width = size
    bottom = height / width
    left, top, right, lower = (design.uniform(0.002, 0.016) for _ in range(4))
    radius = design.uniform(0.02, 0.06)
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / width
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / width
    out_x = np.abs(x - (1 + left - right) / 2) - (1 - left - right) / 2 + radius
    out_y = np.abs(y - (bottom + top - lower) / 2) - (bottom - top - lower) / 2 + radius
    depth = radius - np.hypot(np.maximum(out_x, 0), np.maximum(out_y, 0)) - np.minimum(np.maximum(out_x, out_y), 0)
    return np.clip((depth + 0.0012 * cloud) * width + 0.5, 0, 1)


def _upscale(coarse: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC))
