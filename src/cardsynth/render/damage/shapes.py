"""Shapes of damage in card widths, the same at every resolution; and the card that is damaged.

The depth of a shape is the distance of each pixel from its outline inwards, in card widths, negative outside.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

Size = tuple[int, int]
Point = tuple[float, float]
Colour = tuple[float, float, float]
Stroke = tuple[Sequence[Point], Sequence[float]]  # points of a line, and its width at each of them, in card widths

OUTSIDE = -9  # depth far from a shape
STOCK_QUANTILE, INK_QUANTILE = 0.85, 0.04  # of the card's pixels, per channel


def grid(size: Size) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres in card widths: x, float32 (1, W) in 0 to 1, and y, float32 (H, 1) in 0 to H / W."""
    height, width = size
    x = (np.arange(width, dtype=np.float32) + 0.5) / width
    y = (np.arange(height, dtype=np.float32) + 0.5) / width
    return x[None, :], y[:, None]


def upscale(coarse: np.ndarray, size: Size) -> np.ndarray:
    """Interpolates a coarse float32 field (h, w) to a smooth one of size (H, W)."""
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC))


def box_depth(across: np.ndarray, down: np.ndarray, half_x: float, half_y: float, radius: float) -> np.ndarray:
    """Depth of a box around the origin whose corners are rounded by `radius`."""
    out_x, out_y = np.abs(across) - half_x + radius, np.abs(down) - half_y + radius
    return radius - np.hypot(np.maximum(out_x, 0), np.maximum(out_y, 0)) - np.minimum(np.maximum(out_x, out_y), 0)


def turned(x: np.ndarray, y: np.ndarray, center: Point, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates along and across an axis through `center` at `angle` radians."""
    across, down = x - center[0], y - center[1]
    cosine, sine = math.cos(angle), math.sin(angle)
    return across * cosine + down * sine, down * cosine - across * sine


def curve(points: Sequence[Point], steps: int = 8) -> list[Point]:
    """A smooth line through the points (Catmull-Rom spline), with `steps` points per segment."""
    knots = np.array([points[0], *points, points[-1]], np.float64)
    share = np.arange(steps)[:, None] / steps
    line = []
    for before, start, stop, after in zip(knots, knots[1:], knots[2:], knots[3:], strict=False):
        bend = 2 * before - 5 * start + 4 * stop - after, 3 * (start - stop) + after - before
        line.extend(start + 0.5 * (share * (stop - before) + share**2 * bend[0] + share**3 * bend[1]))
    return [tuple(map(float, point)) for point in [*line, knots[-1]]]


def strokes(size: Size, lines: Sequence[Stroke]) -> np.ndarray:
    """Draws lines and returns the coverage of each pixel, float32 (H, W) in 0 to 1."""
    fine = 4 if size[1] <= 200 else 3 if size[1] <= 400 else 2
    unit = fine * size[1]
    canvas = Image.new("L", (unit, fine * size[0]), 0)
    draw = ImageDraw.Draw(canvas)
    for points, widths in lines:
        for (start, stop), width in zip(pairwise(points), widths, strict=False):
            ends = [start[0] * unit, start[1] * unit, stop[0] * unit, stop[1] * unit]
            draw.line(ends, fill=255, width=max(1, round(width * unit)))
        for (x, y), width in zip(points, widths, strict=True):
            radius = width / 2
            draw.ellipse([(x - radius) * unit, (y - radius) * unit, (x + radius) * unit, (y + radius) * unit], fill=255)
    return np.asarray(canvas.reduce(fine), np.float32) / 255


@dataclass(frozen=True)
class Card:
    """The card that is damaged, and the random shapes on it.

    Attributes:
        picture: uint8 (H, W, 3).
        area: Coverage of the pixels by the card, float32 (H, W).
        scale: Factor of all lengths of the damage.
        rng: Draws the shapes.
    """

    picture: np.ndarray
    area: np.ndarray
    scale: float
    rng: np.random.Generator

    @property
    def size(self) -> Size:
        """Height and width in pixels."""
        return self.area.shape

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.area.shape[1]

    @property
    def bottom(self) -> float:
        """Height in card widths."""
        return self.area.shape[0] / self.area.shape[1]

    @cached_property
    def stock(self) -> Colour:
        """Colour of the bare stock, 0 to 255: a high quantile of the card's pixels."""
        return self._quantile(STOCK_QUANTILE)

    @cached_property
    def ink(self) -> Colour:
        """Colour of the darkest ink, 0 to 255: a low quantile of the card's pixels."""
        return self._quantile(INK_QUANTILE)

    def _quantile(self, share: float) -> Colour:
        step = max(1, self.width // 32)
        lights = self.picture[::step, ::step][self.area[::step, ::step] > 0.5]
        return tuple(np.quantile(lights, share, axis=0).tolist())

    def somewhere(self, margin: float) -> Point:
        """A random point (x, y) at least `margin` card widths from the edges; the middle of a smaller card."""
        margin = min(margin, self.bottom / 2, 0.5)
        return self.rng.uniform(margin, 1 - margin), self.rng.uniform(margin, self.bottom - margin)

    def noise(self, grain: float, stretch: float = 1.0) -> np.ndarray:
        """Smooth noise, float32 (H, W), with a standard deviation of about 1.

        Args:
            grain: Size of its features in card widths, at any resolution.
            stretch: Ratio of their height to their width.
        """
        cells = (max(2, round(1.4 / (grain * stretch))), max(2, round(1 / grain)))
        return upscale(self.rng.standard_normal(cells, np.float32), self.size)

    def roughen(self, field: np.ndarray | float, *layers: tuple[float, ...]) -> np.ndarray:
        """Adds layers of noise, each given as (strength, grain) or (strength, grain, stretch), to a field."""
        for strength, *shape in layers:
            field = field + strength * self.noise(*shape)
        return field

    def cover(self, depth: np.ndarray) -> np.ndarray:
        """Converts depth to the fraction of each pixel that lies inside the shape, 0 to 1."""
        return np.clip(depth * self.width + 0.5, 0, 1)

    def rim(self, depth: np.ndarray, width: float) -> np.ndarray:
        """A band along the outline of a shape, inwards: 1 at the outline, then a Gaussian of `width`."""
        return np.exp(-np.square(np.maximum(depth, 0) / width))

    def blob(self, center: Point, radius: float, unrest: float, squash: float = 1.0) -> np.ndarray:
        """Depth of a blob, float32 (H, W).

        Args:
            center: Its centre.
            radius: Radius of a circle with its area.
            unrest: Deviation of its outline from an ellipse, as a fraction of the radius.
            squash: Ratio of its short axis to its long one.
        """
        x, y = grid(self.size)
        reach = radius * (1 + 3 * unrest) / squash + 2 / self.width
        columns, rows = (
            slice(*np.searchsorted(axis.ravel(), (middle - reach, middle + reach)))
            for axis, middle in ((x, center[0]), (y, center[1]))
        )
        along, aside = turned(x[:, columns], y[rows], center, self.rng.uniform(0, math.tau))
        along, aside = along * math.sqrt(squash), aside / math.sqrt(squash)
        angle = np.arctan2(aside, along)
        outline = np.full(angle.shape, radius, np.float32)
        for wave in (2, 3, 5, 8):
            swing = radius * unrest / math.sqrt(wave) * self.rng.normal()
            outline += swing * np.cos(wave * angle + self.rng.uniform(0, math.tau))
        depth = np.full(self.size, OUTSIDE, np.float32)
        depth[rows, columns] = np.clip(outline, radius * 0.78, radius * 1.3) - np.hypot(along, aside)
        return depth

    def flake(self, center: Point, half: float) -> np.ndarray:
        """Depth of an angular flake with 5 to 7 sides, about `half` from centre to side, float32 (H, W)."""
        across, down = turned(*grid(self.size), center, 0)
        depth, sides, turn = np.float32(-OUTSIDE), int(self.rng.integers(5, 8)), self.rng.uniform(0, math.tau)
        for side in range(sides):
            angle = turn + (side + self.rng.uniform(-0.25, 0.25)) * math.tau / sides
            reach = half * self.rng.uniform(0.8, 1.2)
            depth = np.minimum(depth, reach - across * math.cos(angle) - down * math.sin(angle))
        return depth

    def strip(self, center: Point, half: float, length: float) -> np.ndarray:
        """Depth of a straight strip with round ends at a random angle, float32 (H, W)."""
        along, aside = turned(*grid(self.size), center, self.rng.uniform(0, math.tau))
        return half - np.hypot(np.maximum(np.abs(along) - length / 2, 0), aside)
