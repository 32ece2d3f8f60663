"""Cartoons of ball players; the poses are in `poses.toml`."""

import math
import random
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cardsynth.render.press import BAND, BARE, KEY, Point, Press

Square = tuple[float, float, float]  # left, top, side

POSES: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("poses.toml").read_text(encoding="utf-8"))["poses"]
# In radii of the head, from its centre; the player looks to the right.
CAP = ((-1, -0.2), (-0.85, -0.75), (-0.3, -1.1), (0.5, -1), (0.95, -0.25), (1.7, -0.1), (1.6, 0.05), (0.8, -0.05))
SMILE = ((-0.1, 0.45), (0.15, 0.6), (0.45, 0.55), (0.65, 0.35))
EYES = (0.05, 0.5)
GROUND = ((0.05, 0.95), (0.95, 0.95))  # in the square
THIN = 0.012  # width of the lines of the background, in sides of the square


@dataclass(frozen=True)
class Sketch:
    """A square of the press with coordinates in shares of its side from the top left corner.

    Attributes:
        press: The press.
        square: Left, top and side in card widths.
        tint: Plate of the colour.
        mirrored: Swaps left and right.
    """

    press: Press
    square: Square
    tint: int
    mirrored: bool = False

    def at(self, point: Point) -> Point:
        """Converts a point of the square to card widths."""
        left, top, side = self.square
        return left + (1 - point[0] if self.mirrored else point[0]) * side, top + point[1] * side

    def line(self, points: Iterable[Point], width: float, tone: float = 1.0) -> None:
        """Draws a line; its width is in card widths."""
        self.press.stroke(KEY, [self.at(point) for point in points], line=width, tone=tone)

    def thin_line(self, *points: Point) -> None:
        """Draws a line of the background."""
        self.line(points, THIN * self.square[2])

    def disc(self, x: float, y: float, radius: float, tone: float) -> None:
        """Draws a tinted disc of the background with an outline, or without tint if there is no colour for it."""
        side = self.square[2]
        self.press.ellipse(self.tint, self.at((x, y)), radius * side, tone=tone)
        if self.tint != KEY:
            self.press.ellipse(KEY, self.at((x, y)), radius * side, line=THIN * side)


def _fence(sketch: Sketch, _: random.Random) -> None:
    for post in range(11):
        x = 0.02 + post * 0.096
        sketch.thin_line((x, 0.92), (x, 0.56), (x + 0.035, 0.52), (x + 0.07, 0.56), (x + 0.07, 0.92))
    sketch.thin_line((0, 0.64), (1, 0.64))


def _crowd(sketch: Sketch, rng: random.Random) -> None:
    for row in range(3):
        for seat in range(11 - row % 2):
            x, y = 0.03 + 0.094 * (seat + 0.5 * (row % 2)), 0.62 - 0.085 * row + rng.uniform(-0.012, 0.012)
            sketch.disc(x, y, 0.034, rng.choice((0.0, 0.3, 0.6)))
    sketch.thin_line((0, 0.67), (1, 0.67))


def _hills(sketch: Sketch, _: random.Random) -> None:
    sun_x, sun_y = 0.82, 0.15
    sketch.disc(sun_x, sun_y, 0.09, 0.6)
    for ray in range(8):
        x, y = math.cos(ray * math.pi / 4), math.sin(ray * math.pi / 4)
        sketch.thin_line((sun_x + 0.12 * x, sun_y + 0.12 * y), (sun_x + 0.16 * x, sun_y + 0.16 * y))
    sketch.thin_line(*((n / 20, 0.68 - 0.10 * abs(math.sin(0.35 * n + 1))) for n in range(21)))
    sketch.thin_line(*((n / 20, 0.80 - 0.03 * math.sin(0.5 * n)) for n in range(21)))


def _tree(sketch: Sketch, _: random.Random) -> None:
    sketch.thin_line((0.12, 0.93), (0.13, 0.45))
    sketch.thin_line((0.18, 0.93), (0.17, 0.45))
    for x, y in ((0.06, 0.36), (0.24, 0.36), (0.10, 0.22), (0.21, 0.20), (0.15, 0.33)):
        sketch.disc(x, y, 0.10, 0.45)
    for x in (0.45, 0.62, 0.80, 0.93):  # grass
        sketch.thin_line((x, 0.94), (x + 0.01, 0.88), (x + 0.02, 0.94), (x + 0.04, 0.89))


SCENES: tuple[Callable[[Sketch, random.Random], None], ...] = (_fence, _crowd, _hills, _tree)


def cartoon(
    press: Press, rng: random.Random, square: Square, tint: int = BAND, skin: float = BARE, scene: bool = True
) -> None:
    """Draws a ball player.

    Args:
        press: The press.
        rng: Chooses the pose and the background.
        square: Left, top and side of the square to draw in.
        tint: Plate of the colour.
        skin: Tone of the tint on the shirt.
        scene: Draws a background.
    """
    left, top, side = square
    pose = rng.choice(POSES)
    sketch = Sketch(press, square, tint, mirrored=rng.random() < 0.5)
    if scene:
        rng.choice(SCENES)(replace(sketch, mirrored=False), rng)
    pen = max(0.006, 0.036 * side)
    _body(sketch, pose, pen, skin)
    _head(sketch, pose, pen)
    _ball(sketch, pose, pen)
    sketch.line(GROUND, pen * 0.6)
    press.mark("cartoon", (left, top, left + side, top + side))


def _body(sketch: Sketch, pose: dict[str, Any], pen: float, skin: float) -> None:
    press, side = sketch.press, sketch.square[2]
    for width, tone in ((2.6, 1.0), (1.2, BARE)):  # the outline of the limbs, then their inside
        for limb in (pose["legs"], *pose["arms"]):
            sketch.line(limb, width * pen, tone)
    for foot in (pose["legs"][0], pose["legs"][-1]):
        press.ellipse(KEY, sketch.at(foot), 0.065 * side, 0.032 * side)
    for arm in pose["arms"]:
        press.ellipse(KEY, sketch.at(arm[-1]), 0.042 * side, line=pen * 0.5)
    if "bat" in pose:
        (x0, y0), (x1, y1) = map(sketch.at, pose["bat"])
        press.polygon(KEY, [(x0 - pen * 0.3, y0), (x1 - pen, y1), (x1 + pen, y1 + pen * 0.6), (x0 + pen * 0.3, y0)])
    (x0, y0), (x1, y1) = map(sketch.at, pose["torso"])
    shirt = ((x0 - 0.12 * side, y0), (x0 + 0.12 * side, y0), (x1 + 0.08 * side, y1), (x1 - 0.08 * side, y1))
    press.polygon(KEY, shirt, tone=BARE)
    press.polygon(sketch.tint, shirt, tone=skin)
    press.stroke(KEY, [*shirt, shirt[0]], line=pen * 0.7)


def _head(sketch: Sketch, pose: dict[str, Any], pen: float) -> None:
    *center, share = pose["head"]
    x, y = center = sketch.at(center)
    press, radius, way = sketch.press, share * sketch.square[2], -1 if sketch.mirrored else 1
    press.ellipse(KEY, center, radius, line=pen * 0.7)
    press.ellipse(sketch.tint, center, radius - pen * 0.5, tone=BARE)
    cap, smile = ([(x + way * dx * radius, y + dy * radius) for dx, dy in shape] for shape in (CAP, SMILE))
    press.polygon(KEY, cap)
    press.stroke(KEY, smile, line=pen * 0.5)
    press.ellipse(KEY, (x + way * 0.85 * radius, y + radius * 0.25), 0.2 * radius, line=pen * 0.45)  # the nose
    for eye in EYES:
        press.ellipse(KEY, (x + way * eye * radius, y + radius * 0.1), pen * 0.42)


def _ball(sketch: Sketch, pose: dict[str, Any], pen: float) -> None:
    """Draws a ball that flies towards the head, with three lines behind it."""
    side = sketch.square[2]
    x, y = sketch.at(pose["ball"])
    way = x - sketch.at(pose["head"])[0]
    sketch.press.ellipse(KEY, (x, y), 0.07 * side, line=pen * 0.5)
    for offset in (-0.05, 0.0, 0.05):
        start = x + math.copysign(0.1, way) * side
        stop = start + math.copysign(0.09, way) * side
        sketch.press.stroke(KEY, [(start, y + offset * side), (stop, y + offset * side)], line=pen * 0.4)
