"""Marks of handling and of the press: creases, scratches, hickeys and pen marks."""

import math

import numpy as np
from PIL import Image

from cardsynth.render.damage.films import FOLD_LIGHT, PENS, SHADE, Film, Layer, torn
from cardsynth.render.damage.shapes import Card, blob_depth, cover, curve, grid, noise, strokes, turned


def crease(rng: np.random.Generator, card: Card) -> list[Layer]:
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
        (SHADE, cover(np.minimum(aside, flank - aside), width) * slope),
        (FOLD_LIGHT, cover(np.minimum(-aside, flank + aside), width) * slope),
        (torn(card.stock), cover(np.maximum(crack, 0.6 / width) - np.abs(aside), width)),
    ]


def scratch(rng: np.random.Generator, card: Card) -> list[Layer]:
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
        widest = rng.uniform(0.010, 0.015) * math.sqrt(card.scale)
        lines.append((path, widest * (1 - 0.6 * share**4)))
    scuffed = strokes(card.size, lines)
    broken = np.clip(0.9 + 0.3 * noise(rng, card.size, 0.02), 0.45, 1.2)
    return [(torn(card.stock), np.minimum(1, 1.3 * scuffed) * broken)]


def hickey(rng: np.random.Generator, card: Card) -> list[Layer]:
    """A speck of dirt on the plate: a dot of ink in a halo that took none; where there is most ink of eight places."""
    width = card.size[1]
    cells = Image.fromarray(card.picture).convert("L").resize((20, round(20 * card.bottom)), Image.Resampling.BOX)
    darkness = 255 - np.asarray(cells, np.int16)
    halo, dot = (np.full(card.size, -9, np.float32) for _ in range(2))
    for _ in range(int(rng.integers(1, 4))):
        places = [card.somewhere(rng, 0.12) for _ in range(8)]
        darkest = max(places, key=lambda place: darkness[int(place[1] * 20), int(place[0] * 20)])
        radius = rng.uniform(0.047, 0.060) * card.scale
        halo = np.maximum(halo, blob_depth(rng, card.size, darkest, radius, 0.05, 0.9))
        dot = np.maximum(dot, blob_depth(rng, card.size, darkest, radius * rng.uniform(0.42, 0.55), 0.10))
    bare = Film((0.97, 0.97, 0.97), tuple(min(252.0, light + 13) for light in card.stock), 0.93)
    inked = Film((0.8, 0.8, 0.8), card.ink, 0.9)
    spot = cover(dot, width)
    return [(bare, cover(halo, width) * (1 - 0.8 * spot)), (inked, spot)]


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


def pen_mark(rng: np.random.Generator, card: Card) -> list[Layer]:
    """Initials, ticks and crosses that somebody wrote, sometimes with a line under them."""
    height = rng.uniform(0.13, 0.24) * card.scale
    letters = rng.choice(len(SIGNS), int(rng.integers(1, 4)), replace=False)
    x, y = rng.uniform(0.12, 0.45), rng.uniform(0.12, max(0.12, card.bottom - 0.12 - height))
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
