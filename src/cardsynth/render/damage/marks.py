"""Marks of handling and of the press: creases, scratches, hickeys and pen marks.

The letters and signs of pen marks are in `signs.toml`.
"""

import math
import tomllib
from pathlib import Path

import numpy as np
from PIL import Image

from cardsynth.render.damage.films import FILMS, PENS, Film, Layer, torn
from cardsynth.render.damage.shapes import Card, Point, Stroke, curve, grid, strokes, turned

SIGNS: list[list[list[Point]]] = tomllib.loads(Path(__file__).with_name("signs.toml").read_text("utf-8"))["signs"]
HICKEY_CELLS = 20  # across the card, to look for ink in
HICKEY_SITES = 8  # of which the one with most ink is chosen


def crease(card: Card) -> list[Layer]:
    """A fold from edge to edge or across a corner: cracked ink, light on one flank and shade on the other."""
    rng = card.rng
    if rng.random() < 0.5:
        start, stop = (0, rng.uniform(0.15, 0.85) * card.bottom), (1, rng.uniform(0.15, 0.85) * card.bottom)
    else:
        right, low = (bool(flip) for flip in rng.integers(0, 2, 2))
        start = (1 if right else 0), abs(card.bottom * low - rng.uniform(0.25, 0.6) * card.bottom)
        stop = abs(right - rng.uniform(0.35, 0.75)), card.bottom * low
    angle = math.atan2(stop[1] - start[1], stop[0] - start[0])
    _, aside = turned(*grid(card.size), start, angle)
    aside = card.roughen(aside, (0.006, 0.13), (0.0015, 0.02))
    flank = rng.uniform(0.016, 0.026) * card.scale
    crack = card.roughen(0.0055 * card.scale, (0.0035, 0.03))
    slope = np.clip(1.1 - np.abs(aside) / flank * 0.6, 0, 1)
    return [
        (FILMS["shade"], card.cover(np.minimum(aside, flank - aside)) * slope),
        (FILMS["fold_light"], card.cover(np.minimum(-aside, flank + aside)) * slope),
        (torn(card.stock), card.cover(np.maximum(crack, 0.6 / card.width) - np.abs(aside))),
    ]


def scratch(card: Card) -> list[Layer]:
    """Scuffed ink in a few thin lines side by side."""
    rng = card.rng
    turn, length = rng.uniform(0, math.pi), rng.uniform(0.35, 0.7) * card.scale
    x, y = card.somewhere(0.3)
    share = np.linspace(-1, 1, 13)
    lines: list[Stroke] = []
    for _ in range(int(rng.integers(2, 6))):
        middle = x + rng.normal() * 0.06, y + rng.normal() * 0.06
        reach, lean, bow = length / 2 * rng.uniform(0.5, 1), turn + rng.normal() * 0.05, rng.normal() * 0.012
        cosine, sine = math.cos(lean), math.sin(lean)
        along = middle[0] + reach * share * cosine - bow * sine * share * share
        down = middle[1] + reach * share * sine + bow * cosine * share * share
        width = rng.uniform(0.010, 0.015) * math.sqrt(card.scale)
        lines.append((list(zip(along, down, strict=True)), width * (1 - 0.6 * share**4)))
    broken = np.clip(card.roughen(0.9, (0.3, 0.02)), 0.45, 1.2)
    return [(torn(card.stock), np.minimum(1, 1.3 * strokes(card.size, lines)) * broken)]


def hickey(card: Card) -> list[Layer]:
    """Specks of dirt on the plate: dots of ink in halos without ink, placed where the card has much ink."""
    rows, columns = round(HICKEY_CELLS * card.bottom), HICKEY_CELLS
    cells = Image.fromarray(card.picture).convert("L").resize((columns, rows), Image.Resampling.BOX)
    darkness = 255 - np.asarray(cells, np.int16)
    halos, dots = [], []
    for _ in range(int(card.rng.integers(1, 4))):
        sites = [card.somewhere(0.12) for _ in range(HICKEY_SITES)]
        site = max(sites, key=lambda point: darkness[int(point[1] * HICKEY_CELLS), int(point[0] * HICKEY_CELLS)])
        radius = card.rng.uniform(0.047, 0.060) * card.scale
        halos.append(card.blob(site, radius, 0.05, 0.9))
        dots.append(card.blob(site, radius * card.rng.uniform(0.42, 0.55), 0.10))
    bare = Film((0.97, 0.97, 0.97), tuple(min(252.0, light + 13) for light in card.stock), 0.93)
    inked = Film((0.8, 0.8, 0.8), card.ink, 0.9)
    halo, dot = (card.cover(np.maximum.reduce(shapes)) for shapes in (halos, dots))
    return [(bare, halo * (1 - 0.8 * dot)), (inked, dot)]


def pen_mark(card: Card) -> list[Layer]:
    """Handwritten initials, ticks and crosses, sometimes underlined."""
    rng = card.rng
    height = rng.uniform(0.13, 0.24) * card.scale
    letters = rng.choice(len(SIGNS), int(rng.integers(1, 4)), replace=False)
    x, y = rng.uniform(0.12, 0.45), rng.uniform(0.12, max(0.12, card.bottom - 0.12 - height))
    width = rng.choice((0.016, 0.030), p=(0.6, 0.4)) * math.sqrt(card.scale)
    slant, rise = rng.uniform(-0.1, 0.35), rng.uniform(-0.25, 0.12)
    written = [(stroke, index) for index, sign in enumerate(letters) for stroke in SIGNS[sign]]
    if rng.random() < 0.4:  # a line under them
        written.append((((-0.1, 1.2), (len(letters) * 0.5, 1.25), (len(letters) * 1.05, 1.12)), 0))
    lines: list[Stroke] = []
    for stroke, index in written:
        points = np.array(stroke) + rng.normal(0, 0.035, (len(stroke), 2))
        across = 0.8 * index + 0.68 * points[:, 0] + slant * (1 - points[:, 1])
        on_card = np.stack([x + height * across, y + height * (points[:, 1] + rise * across)], axis=1)
        path = curve([tuple(point) for point in on_card])
        lines.append((path, width * np.linspace(1.08, 0.85, len(path))))
    ink = np.minimum(1, 1.2 * strokes(card.size, lines))
    return [(PENS[rng.integers(len(PENS))], ink * np.clip(card.roughen(0.95, (0.2, 0.02)), 0.6, 1.3))]
