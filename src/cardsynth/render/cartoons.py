"""Cartoons of ball players; the poses are in `poses.toml`."""

import math
import random
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardsynth.render.press import BAND, BARE, KEY, Point, Press

Square = tuple[float, float, float]  # left, top, side

POSES: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("poses.toml").read_text(encoding="utf-8"))["poses"]
# In radii of the head, from its centre; the player looks to the right.
CAP = ((-1, -0.2), (-0.85, -0.75), (-0.3, -1.1), (0.5, -1), (0.95, -0.25), (1.7, -0.1), (1.6, 0.05), (0.8, -0.05))
SMILE = ((-0.1, 0.45), (0.15, 0.6), (0.45, 0.55), (0.65, 0.35))
EYES = (0.05, 0.5)


@dataclass(frozen=True)
class Background:
    """What stands behind a player, drawn in a square with coordinates in shares of its side."""

    press: Press
    square: Square
    tint: int

    def line(self, *points: Point) -> None:
        """Draws a thin line."""
        left, top, side = self.square
        self.press.stroke(KEY, [(left + x * side, top + y * side) for x, y in points], line=0.012 * side)

    def disc(self, x: float, y: float, radius: float, tone: float) -> None:
        """Draws a tinted disc with an outline, which on cards with one colour replaces the tint."""
        left, top, side = self.square
        center = left + x * side, top + y * side
        self.press.ellipse(self.tint, center, radius * side, tone=tone)
        if self.tint != KEY:
            self.press.ellipse(KEY, center, radius * side, line=0.012 * side)


def _fence(scene: Background, _: random.Random) -> None:
    for post in range(11):
        x = 0.02 + post * 0.096
        scene.line((x, 0.92), (x, 0.56), (x + 0.035, 0.52), (x + 0.07, 0.56), (x + 0.07, 0.92))
    scene.line((0, 0.64), (1, 0.64))


def _crowd(scene: Background, rng: random.Random) -> None:
    for row in range(3):
        for seat in range(11 - row % 2):
            x, y = 0.03 + 0.094 * (seat + 0.5 * (row % 2)), 0.62 - 0.085 * row + rng.uniform(-0.012, 0.012)
            scene.disc(x, y, 0.034, rng.choice((0.0, 0.3, 0.6)))
    scene.line((0, 0.67), (1, 0.67))


def _hills(scene: Background, _: random.Random) -> None:
    sun_x, sun_y = 0.82, 0.15
    scene.disc(sun_x, sun_y, 0.09, 0.6)
    for ray in range(8):
        x, y = math.cos(ray * math.pi / 4), math.sin(ray * math.pi / 4)
        scene.line((sun_x + 0.12 * x, sun_y + 0.12 * y), (sun_x + 0.16 * x, sun_y + 0.16 * y))
    scene.line(*((n / 20, 0.68 - 0.10 * abs(math.sin(0.35 * n + 1))) for n in range(21)))
    scene.line(*((n / 20, 0.80 - 0.03 * math.sin(0.5 * n)) for n in range(21)))


def _tree(scene: Background, _: random.Random) -> None:
    scene.line((0.12, 0.93), (0.13, 0.45))
    scene.line((0.18, 0.93), (0.17, 0.45))
    for x, y in ((0.06, 0.36), (0.24, 0.36), (0.10, 0.22), (0.21, 0.20), (0.15, 0.33)):
        scene.disc(x, y, 0.10, 0.45)
    for x in (0.45, 0.62, 0.80, 0.93):  # grass
        scene.line((x, 0.94), (x + 0.01, 0.88), (x + 0.02, 0.94), (x + 0.04, 0.89))


SCENES: tuple[Callable[[Background, random.Random], None], ...] = (_fence, _crowd, _hills, _tree)


def cartoon(
    press: Press, rng: random.Random, square: Square, tint: int = BAND, skin: float = BARE, scene: bool = True
) -> None:
    """Draws a ball player.

    Args:
        press: The press.
        rng: Chooses the pose and the scene.
        square: Left, top and side of the square to draw in.
        tint: Plate of the colour.
        skin: Tone of the tint on the shirt.
        scene: Draws a background.
    """
    left, top, side = square
    pose = rng.choice(POSES)
    mirrored = rng.random() < 0.5
    if scene:
        rng.choice(SCENES)(Background(press, square, tint), rng)

    def place(point: Point) -> Point:
        return left + (1 - point[0] if mirrored else point[0]) * side, top + point[1] * side

    pen = max(0.006, 0.036 * side)
    _limbs(press, pose, place, side, pen)
    (x0, y0), (x1, y1) = map(place, pose["torso"])
    shirt = ((x0 - 0.12 * side, y0), (x0 + 0.12 * side, y0), (x1 + 0.08 * side, y1), (x1 - 0.08 * side, y1))
    press.polygon(KEY, shirt, tone=BARE)
    press.polygon(tint, shirt, tone=skin)
    press.stroke(KEY, [*shirt, shirt[0]], line=pen * 0.7)
    *head, radius = pose["head"]
    _head(press, place(head), radius * side, pen, tint=tint, way=-1 if mirrored else 1)
    _ball(press, place(pose["ball"]), place(head)[0], side, pen)
    press.stroke(KEY, [place((0.05, 0.95)), place((0.95, 0.95))], line=pen * 0.6)
    press.mark("cartoon", (left, top, left + side, top + side))


def _limbs(press: Press, pose: dict[str, Any], place: Callable[[Point], Point], side: float, pen: float) -> None:
    for width, tone in ((2.6, 1.0), (1.2, BARE)):  # the outline of the limbs, then their inside
        for limb in (pose["legs"], *pose["arms"]):
            press.stroke(KEY, [place(point) for point in limb], line=width * pen, tone=tone)
    for foot in (pose["legs"][0], pose["legs"][-1]):
        press.ellipse(KEY, place(foot), 0.065 * side, 0.032 * side)
    for arm in pose["arms"]:
        press.ellipse(KEY, place(arm[-1]), 0.042 * side, line=pen * 0.5)
    if "bat" in pose:
        (x0, y0), (x1, y1) = map(place, pose["bat"])
        press.polygon(KEY, [(x0 - pen * 0.3, y0), (x1 - pen, y1), (x1 + pen, y1 + pen * 0.6), (x0 + pen * 0.3, y0)])


def _head(press: Press, center: Point, radius: float, pen: float, *, tint: int, way: int) -> None:
    """Draws a head that looks to the right if `way` is 1, to the left if it is -1."""
    x, y = center

    def around(points: Sequence[Point]) -> list[Point]:
        return [(x + way * across * radius, y + down * radius) for across, down in points]

    press.ellipse(KEY, center, radius, line=pen * 0.7)
    press.ellipse(tint, center, radius - pen * 0.5, tone=BARE)
    press.polygon(KEY, around(CAP))
    press.stroke(KEY, around(SMILE), line=pen * 0.5)
    press.ellipse(KEY, (x + way * 0.85 * radius, y + radius * 0.25), 0.2 * radius, line=pen * 0.45)  # the nose
    for eye in EYES:
        press.ellipse(KEY, (x + way * eye * radius, y + radius * 0.1), pen * 0.42)


def _ball(press: Press, center: Point, head_x: float, side: float, pen: float) -> None:
    """Draws a ball that flies towards the head, with three lines behind it."""
    x, y = center
    press.ellipse(KEY, center, 0.07 * side, line=pen * 0.5)
    for offset in (-0.05, 0.0, 0.05):
        start = x + math.copysign(0.1, x - head_x) * side
        stop = start + math.copysign(0.09, x - head_x) * side
        press.stroke(KEY, [(start, y + offset * side), (stop, y + offset * side)], line=pen * 0.4)
