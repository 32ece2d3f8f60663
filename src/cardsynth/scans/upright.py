"""Which way up a card is: told by its lines of text, where more rises above small letters than hangs below them."""

import math
from dataclasses import dataclass

import numpy as np

from cardsynth.scans.outlines import cv2

SURE = 0.9  # confidence from which a card is turned
READING_HEIGHT = 700  # pixels of the card at which letters are measured


@dataclass(frozen=True)
class Direction:
    """How a card is read: upside_down; sideways, its lines running along the long side; confidence, 0.5 to 1."""

    upside_down: bool
    sideways: bool
    confidence: float


def reading_direction(card: np.ndarray) -> Direction:
    """Which way up a portrait card is, by the letters that rise above or hang below the others of their line.

    card: uint8 (H, W, 3). Most lines of Latin text have more ascenders and capitals (b d f h k l t A) than descenders
    (g j p q y); lines in capitals alone tell nothing. A card that is printed sideways is upright when it was given the
    quarter turn to the left that brings landscape to portrait. The confidence is that of a vote of all such letters.
    """
    grey = cv2.cvtColor(card, cv2.COLOR_RGB2GRAY)
    zoom = READING_HEIGHT / grey.shape[0]
    if zoom != 1:
        grey = cv2.resize(grey, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    readings = [_read(grey), _read(cv2.rotate(grey, cv2.ROTATE_90_CLOCKWISE))]
    sideways = readings[1][0] > readings[0][0]
    # Columns, as of a checklist, can look like lines the other way: then no direction is known.
    if 3 * readings[not sideways][0] > readings[sideways][0]:
        return Direction(False, sideways, 0.5)
    _, rising, hanging = readings[sideways]
    # Letters of a line and misread ones are not independent, so that each counts for a part of a vote.
    odds = (rising - hanging) / math.sqrt(rising + hanging + 4)
    return Direction(odds < 0, sideways, 1 / (1 + math.exp(-abs(odds))))


def _read(grey: np.ndarray) -> tuple[int, int, int]:
    """How many letters stand in lines, and how many of them rise above and hang below the rest of their line."""
    around = cv2.blur(grey, (31, 31)).astype(np.int16)
    ink = ((around - grey) > 18).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    left, top, width, height, area = stats[1:count].T
    letter = (height >= 6) & (height <= 34) & (width <= 2.5 * height) & (width >= 2) & (area > 0.15 * width * height)
    left, top, width, height = left[letter], top[letter], width[letter], height[letter]
    standing = rising = hanging = 0
    for line in _lines(left, top, width, height):
        tops, feet, usual = top[line], (top + height)[line], float(np.median(height[line]))
        head, base = np.median(tops), np.median(feet)
        near = 0.14 * usual
        standing += int(((np.abs(tops - head) <= near) | (np.abs(feet - base) <= near)).sum())
        on_base, on_head = np.abs(feet - base) <= near, np.abs(tops - head) <= near
        rising += int((on_base & (tops < head - 0.2 * usual)).sum())
        hanging += int((on_head & (feet > base + 0.2 * usual)).sum())
    return standing, rising, hanging


def _lines(left: np.ndarray, top: np.ndarray, width: np.ndarray, height: np.ndarray) -> list[np.ndarray]:
    """Letters that follow each other from left to right at one height: indices of each line of six and more."""
    right, foot = left + width, top + height
    gap = left[None, :] - right[:, None]
    shared = np.minimum(foot[None, :], foot[:, None]) - np.maximum(top[None, :], top[:, None])
    near = (gap >= -2) & (gap < 1.1 * np.maximum(height[None, :], height[:, None]))
    gap = np.where(near & (shared > 0.55 * np.minimum(height[None, :], height[:, None])), gap, 10_000)
    np.fill_diagonal(gap, 10_000)
    if len(left) < 6:
        return []
    following, before = gap.argmin(axis=1), gap.argmin(axis=0)
    places = np.arange(len(left))
    joined = (gap[places, following] < 10_000) & (before[following] == places)
    begins = np.ones(len(left), bool)
    begins[following[joined]] = False
    lines = []
    for index in np.flatnonzero(begins):
        line = [index]
        while joined[line[-1]] and len(line) < len(left):
            line.append(following[line[-1]])
        if len(line) >= 6:
            lines.append(np.array(line))
    return lines
