"""The paper of drawn cards: its texture, the outline that it was cut to, and the wear of its edges."""

import random
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from cardsynth.render.damage.shapes import grid, upscale

CORE = (236, 230, 216)  # colour of the fibres at a worn edge
FIBRES = 420
FIBRE_TONES = (0, 20, 50, 190, 230)  # 128 is the tone of the pulp

Borders = tuple[float, float, float, float]  # cut off at left, top, right and bottom, in card widths


@lru_cache(maxsize=4)
def _fibres(size: tuple[int, int]) -> np.ndarray:
    """Short curved fibres, darker (-1) or lighter (+1) than the pulp: float32 (H, W)."""
    height, width = size
    rng = random.Random(7)
    sheet = Image.new("L", (2 * width, 2 * height), 128)
    draw = ImageDraw.Draw(sheet)
    for _ in range(FIBRES):
        x, y = rng.uniform(0, 2 * width), rng.uniform(0, 2 * height)
        reach = rng.uniform(0.012, 0.04) * 2 * width
        step_x, step_y, bend = rng.uniform(-1, 1) * reach, rng.uniform(-1, 1) * reach, rng.uniform(-0.3, 0.3)
        middle = (x + step_x / 2 - bend * step_y, y + step_y / 2 + bend * step_x)
        draw.line([(x, y), middle, (x + step_x, y + step_y)], fill=rng.choice(FIBRE_TONES), width=1)
    return (np.asarray(sheet.reduce(2), np.float32) - 128) / 128


class Paper:
    """The stock of one card: noise fields, float32 (H, W), with a standard deviation of about 1.

    Attributes:
        size: (height, width) in pixels.
        fine: Noise from pixel to pixel.
        pulp: Flecks of the paper.
        cloud: Smooth noise over the whole card.
        fibres: -1 to 1, mostly 0.
        ragged: Noise of the cut edge.
    """

    def __init__(self, grain: np.random.Generator, size: tuple[int, int]) -> None:
        height, width = size
        self.size = size

        def noise(rows: int, columns: int) -> np.ndarray:
            return upscale(grain.standard_normal((rows, columns), np.float32), size)

        self.fine = grain.standard_normal(size, np.float32)
        # Flecks have one size on paper, but are never finer than two pixels.
        rows = min(120, max(8, height // 2))
        self.pulp = noise(rows, max(6, rows * width // height))
        self.cloud = noise(9, 7)
        self.fibres = np.roll(_fibres(size), (int(grain.integers(height)), int(grain.integers(width))), (0, 1))
        self.ragged = noise(max(8, height // 5), max(8, width // 5))

    def shade(self, speckle: float) -> np.ndarray:
        """Brightness of the stock, about 1: float32 (H, W)."""
        texture = 0.008 * self.fine + 0.010 * self.pulp + 0.045 * self.fibres
        return 1 + 0.007 * self.cloud + speckle * texture

    def cut(self, design: random.Random, wear: float) -> tuple[np.ndarray, np.ndarray, Borders]:
        """Cuts the card out of the picture, rounds each corner by its own radius, and frays the edge.

        Args:
            design: Draws the borders and radii.
            wear: 0 to 1.

        Returns:
            The coverage of the pixels by the card, float32 (H, W) in 0 to 1; the distance from the edge inwards in
            card widths, float32 (H, W); and the borders that were cut off.
        """
        height, width = self.size
        bottom = height / width
        left, top, right, lower = (design.uniform(0.004, 0.016) for _ in range(4))
        x, y = grid(self.size)
        middle_x, middle_y = (1 + left - right) / 2, (bottom + top - lower) / 2
        radii = np.array([design.uniform(0.008, 0.02 + 0.05 * (0.3 + 0.7 * wear)) for _ in range(4)], np.float32)
        radius = radii[2 * (y > middle_y) + (x > middle_x)]
        out_x = np.abs(x - middle_x) - (1 - left - right) / 2 + radius
        out_y = np.abs(y - middle_y) - (bottom - top - lower) / 2 + radius
        corner = np.hypot(np.maximum(out_x, 0), np.maximum(out_y, 0))
        depth = radius - corner - np.minimum(np.maximum(out_x, out_y), 0)
        frayed = np.clip(corner / 0.02, 0, 1) * (corner > np.maximum(out_x, out_y))
        fray = self.ragged * (0.0004 + 0.0003 * wear + 0.002 * wear * frayed)
        return np.clip((depth + fray) * width + 0.5, 0, 1), depth, (left, top, right, lower)

    def worn(self, depth: np.ndarray, wear: float) -> np.ndarray:
        """Fraction of print and surface that wear has rubbed off near the edges, 0 to 1: float32 (H, W)."""
        reach = 0.012 * wear * (0.5 + 0.8 * self.cloud) * (1 + 0.4 * self.ragged)
        return np.clip(1.2 * (reach - depth) / 0.008 + 0.2 * self.fine * wear, 0, 1) * (depth < 0.06) * wear
