"""Shapes of damage in card widths, the same at every resolution: depth inside them, noise, drawn strokes; the card."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

Size = tuple[int, int]
Point = tuple[float, float]


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

    @cached_property
    def stock(self) -> tuple[float, float, float]:
        """Colour of its bare stock, 0 to 255: in each channel what 85 % of the card are darker than."""
        return self._shade(0.85)

    @cached_property
    def ink(self) -> tuple[float, float, float]:
        """Colour of its darkest ink, 0 to 255: in each channel what 4 % of the card are darker than."""
        return self._shade(0.04)

    def _shade(self, share: float) -> tuple[float, float, float]:
        step = max(1, self.size[1] // 32)
        lights = self.picture[::step, ::step][self.area[::step, ::step] > 0.5]
        return tuple(np.quantile(lights, share, axis=0).tolist())

    @property
    def bottom(self) -> float:
        """Height in card widths."""
        return self.area.shape[0] / self.area.shape[1]

    def somewhere(self, rng: np.random.Generator, margin: float) -> tuple[float, float]:
        """A place on the card (x, y), `margin` card widths from its edges, or amidst a smaller card."""
        margin = min(margin, self.bottom / 2, 0.5)
        return rng.uniform(margin, 1 - margin), rng.uniform(margin, self.bottom - margin)


def grid(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres in card widths: x, float32 (1, W) in 0 to 1, and y, float32 (H, 1) in 0 to H / W."""
    height, width = size
    x = (np.arange(width, dtype=np.float32) + 0.5) / width
    y = (np.arange(height, dtype=np.float32) + 0.5) / width
    return x[None, :], y[:, None]


def upscale(coarse: np.ndarray, size: Size) -> np.ndarray:
    """Interpolates a coarse float32 field (h, w) to a smooth one of size (H, W)."""
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def noise(rng: np.random.Generator, size: Size, grain: float, stretch: float = 1.0) -> np.ndarray:
    """Smooth noise, float32 (H, W), about unit strength, with features of `grain` card widths at any resolution.

    stretch: how many times longer than wide its features are, down the card.
    """
    cells = (max(2, round(1.4 / (grain * stretch))), max(2, round(1 / grain)))
    return upscale(rng.standard_normal(cells, np.float32), size)


def cover(depth: np.ndarray, width: int) -> np.ndarray:
    """How much of each pixel lies inside a shape, 0 to 1: depth is card widths inside its outline, negative outside."""
    return np.clip(depth * width + 0.5, 0, 1)


def box_depth(across: np.ndarray, down: np.ndarray, half_x: float, half_y: float, radius: float) -> np.ndarray:
    """Depth inside a box round the origin with rounded corners, negative outside; all in card widths."""
    out_x, out_y = np.abs(across) - half_x + radius, np.abs(down) - half_y + radius
    return radius - np.hypot(np.maximum(out_x, 0), np.maximum(out_y, 0)) - np.minimum(np.maximum(out_x, out_y), 0)


def turned(x: np.ndarray, y: np.ndarray, center: Point, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across an axis through `center` at `angle` radians."""
    across, down = x - center[0], y - center[1]
    return (
        across * math.cos(angle) + down * math.sin(angle),
        down * math.cos(angle) - across * math.sin(angle),
    )


def blob_depth(rng: np.random.Generator, size: Size, center: Point, radius: float, unrest: float, squash: float = 1.0):
    """Depth inside a blob, float32 (H, W), far outside it -9.

    radius: of a circle with its area; unrest: how far its outline strays, a share of it; squash: its short axis over
    its long one.
    """
    x, y = grid(size)
    reach = radius * (1 + 3 * unrest) / squash + 2 / size[1]
    columns, rows = (
        slice(*np.searchsorted(axis.ravel(), (middle - reach, middle + reach)))
        for axis, middle in ((x, center[0]), (y, center[1]))
    )
    along, aside = turned(x[:, columns], y[rows], center, rng.uniform(0, math.tau))
    along, aside = along * math.sqrt(squash), aside / math.sqrt(squash)
    angle = np.arctan2(aside, along)
    outline = np.full(angle.shape, radius, np.float32)
    for wave in (2, 3, 5, 8):
        outline += radius * unrest / math.sqrt(wave) * rng.normal() * np.cos(wave * angle + rng.uniform(0, math.tau))
    depth = np.full(size, -9, np.float32)
    depth[rows, columns] = np.clip(outline, radius * 0.78, radius * 1.3) - np.hypot(along, aside)
    return depth


def flake_depth(rng: np.random.Generator, size: Size, center: Point, half: float) -> np.ndarray:
    """Depth inside an angular flake of 5 to 7 sides, about `half` from centre to side, float32 (H, W)."""
    across, down = turned(*grid(size), center, 0)
    depth, sides, turn = np.float32(9), int(rng.integers(5, 8)), rng.uniform(0, math.tau)
    for side in range(sides):
        angle = turn + (side + rng.uniform(-0.25, 0.25)) * math.tau / sides
        depth = np.minimum(depth, half * rng.uniform(0.8, 1.2) - across * math.cos(angle) - down * math.sin(angle))
    return depth


def strip_depth(rng: np.random.Generator, size: Size, center: Point, half: float, length: float) -> np.ndarray:
    """Depth inside a straight strip with round ends at a random angle, float32 (H, W)."""
    along, aside = turned(*grid(size), center, rng.uniform(0, math.tau))
    return half - np.hypot(np.maximum(np.abs(along) - length / 2, 0), aside)


def curve(points: Sequence[Point], steps: int = 8) -> list[Point]:
    """A smooth line through the points (Catmull and Rom's spline), `steps` places between each two."""
    knots = np.array([points[0], *points, points[-1]], np.float64)
    share = np.arange(steps)[:, None] / steps
    line = []
    for before, start, stop, after in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        bend = 2 * before - 5 * start + 4 * stop - after, 3 * (start - stop) + after - before
        line.extend(start + 0.5 * (share * (stop - before) + share**2 * bend[0] + share**3 * bend[1]))
    return [tuple(map(float, point)) for point in [*line, knots[-1]]]


def strokes(size: Size, lines: Sequence[tuple[Sequence[Point], Sequence[float]]]) -> np.ndarray:
    """How much of each pixel is drawn over, float32 (H, W) in 0 to 1.

    lines: for each its points and its width at each of them, in card widths.
    """
    fine = 4 if size[1] <= 200 else 3 if size[1] <= 400 else 2
    unit = fine * size[1]
    canvas = Image.new("L", (unit, fine * size[0]), 0)
    draw = ImageDraw.Draw(canvas)
    for points, widths in lines:
        for (start, stop), line in zip(pairwise(points), widths, strict=False):
            ends = [start[0] * unit, start[1] * unit, stop[0] * unit, stop[1] * unit]
            draw.line(ends, fill=255, width=max(1, round(line * unit)))
        for (x, y), line in zip(points, widths, strict=True):
            radius = line / 2
            draw.ellipse([(x - radius) * unit, (y - radius) * unit, (x + radius) * unit, (y + radius) * unit], fill=255)
    return np.asarray(canvas.reduce(fine), np.float32) / 255
