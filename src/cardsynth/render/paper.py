"""Paper of drawn cards: its texture, the outline that it was cut to, and the wear and toning of its edges."""

import random
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

CORE = (236, 230, 216)  # colour of the fibres that a worn edge lays bare


def upscale(coarse: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A coarse float32 field (h, w) as a smooth one of size (H, W)."""
    return np.asarray(Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC))


@lru_cache(maxsize=4)
def _fibres(size: tuple[int, int]) -> np.ndarray:
    """Short curved fibres, darker (-1) and lighter (+1) than the pulp: float32 (H, W), the same for each size."""
    height, width = size
    rng = random.Random(7)
    sheet = Image.new("L", (2 * width, 2 * height), 128)
    draw = ImageDraw.Draw(sheet)
    for _ in range(420):
        x, y = rng.uniform(0, 2 * width), rng.uniform(0, 2 * height)
        reach = rng.uniform(0.012, 0.04) * 2 * width
        step_x, step_y, bend = rng.uniform(-1, 1) * reach, rng.uniform(-1, 1) * reach, rng.uniform(-0.3, 0.3)
        middle = (x + step_x / 2 - bend * step_y, y + step_y / 2 + bend * step_x)
        draw.line([(x, y), middle, (x + step_x, y + step_y)], fill=rng.choice((0, 20, 50, 190, 230)), width=1)
    return (np.asarray(sheet.reduce(2), np.float32) - 128) / 128


@lru_cache(maxsize=4)
def places(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centers of a picture of size (H, W) in card widths: x (1, W) and y (H, 1), float32."""
    height, width = size
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / width
    return x, (np.arange(height, dtype=np.float32)[:, None] + 0.5) / width


class Paper:
    """The stock of one card at size (height, width): noise fields float32 (H, W), about 1 in standard deviation.

    fine: from pixel to pixel; pulp: flecks of the paper; cloud: over the whole card; fibres: -1 to 1, mostly 0.
    """

    def __init__(self, grain: np.random.Generator, size: tuple[int, int]):
        height, width = size
        self.size = size
        self.fine = grain.standard_normal(size, np.float32)
        # Flecks are of one size on paper, but no finer than two pixels.
        down = min(120, max(8, height // 2))
        self.pulp = upscale(grain.standard_normal((down, max(6, down * width // height)), np.float32), size)
        self.cloud = upscale(grain.standard_normal((9, 7), np.float32), size)
        turn_y, turn_x = int(grain.integers(height)), int(grain.integers(width))
        self.fibres = np.roll(_fibres(size), (turn_y, turn_x), (0, 1))
        self.ragged = upscale(grain.standard_normal((max(8, height // 5), max(8, width // 5)), np.float32), size)

    def shade(self, speckle: float) -> np.ndarray:
        """How bright the stock is from place to place, about 1: float32 (H, W)."""
        texture = 0.008 * self.fine + 0.010 * self.pulp + 0.045 * self.fibres
        return 1 + 0.007 * self.cloud + speckle * texture

    def cut(self, design: random.Random, wear: float) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
        """Cut the card out of the picture, each of its corners rounded by itself, and fray it by `wear`, 0 to 1.

        Returns the coverage, float32 (H, W); the depth from the edge in card widths, float32 (H, W); and the borders
        cut off at left, top, right and foot in card widths.
        """
        height, width = self.size
        bottom = height / width
        left, top, right, lower = (design.uniform(0.004, 0.016) for _ in range(4))
        x, y = places(self.size)
        middle_x, middle_y = (1 + left - right) / 2, (bottom + top - lower) / 2
        radii = [design.uniform(0.008, 0.02 + 0.05 * (0.3 + 0.7 * wear)) for _ in range(4)]
        near_x, near_y = x > middle_x, y > middle_y
        radius = np.where(near_y, np.where(near_x, radii[3], radii[2]), np.where(near_x, radii[1], radii[0])).astype(
            np.float32
        )
        out_x = np.abs(x - middle_x) - (1 - left - right) / 2 + radius
        out_y = np.abs(y - middle_y) - (bottom - top - lower) / 2 + radius
        corner = np.hypot(np.maximum(out_x, 0), np.maximum(out_y, 0))
        depth = radius - corner - np.minimum(np.maximum(out_x, out_y), 0)
        frayed = np.clip(corner / 0.02, 0, 1) * (corner > np.maximum(out_x, out_y))
        fray = self.ragged * (0.0004 + 0.0003 * wear + 0.002 * wear * frayed)
        return np.clip((depth + fray) * width + 0.5, 0, 1), depth, (left, top, right, lower)

    def worn(self, depth: np.ndarray, wear: float) -> np.ndarray:
        """Share of print and surface rubbed off towards the edges, 0 to 1: float32 (H, W)."""
        reach = 0.012 * wear * (0.5 + 0.8 * self.cloud) * (1 + 0.4 * self.ragged)
        return np.clip(1.2 * (reach - depth) / 0.008 + 0.2 * self.fine * wear, 0, 1) * (depth < 0.06) * wear
