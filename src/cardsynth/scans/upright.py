"""Tells which way up a card is from its text: more letters rise above the small letters than hang below them."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cardsynth.scans.outlines import cv2

SURE = 0.9  # confidence from which a card is turned over
READING_HEIGHT = 700  # height of the card, in pixels, at which letters are measured
LETTER_HEIGHTS = (6, 34)  # pixels
INK = 18  # grey levels by which ink is darker than the mean of its surroundings
LETTERS_OF_A_LINE = 6  # shorter runs of letters are ignored
ALIGNED = 0.14  # distance from the line's top or baseline up to which a letter stands on it, in letter heights
PROTRUDING = 0.2  # length of an ascender or descender from which it counts, in letter heights


@dataclass(frozen=True)
class Direction:
    """The reading direction of a card.

    Attributes:
        upside_down: Whether the card must be turned over.
        sideways: Whether lines of text run along the long side.
        confidence: 0.5 (a guess) to 1.
    """

    upside_down: bool
    sideways: bool
    confidence: float


def reading_direction(card: np.ndarray) -> Direction:
    """Tells which way up a portrait card is, by the ascenders and descenders of its text.

    Most lines of Latin text have more ascenders and capitals (b d f h k l t A) than descenders (g j p q y); lines in
    capitals give no information. A card printed sideways counts as upright after the counterclockwise quarter turn that
    brings landscape to portrait. The confidence is that of a majority vote of all such letters.

    Args:
        card: uint8 (H, W, 3), RGB.

    Returns:
        The direction; its confidence is 0.5 where the text gives no information.
    """
    grey = cv2.cvtColor(card, cv2.COLOR_RGB2GRAY)
    zoom = READING_HEIGHT / grey.shape[0]
    if zoom != 1:
        grey = cv2.resize(grey, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    counts = [_count_letters(grey), _count_letters(cv2.rotate(grey, cv2.ROTATE_90_CLOCKWISE))]
    sideways = counts[1][0] > counts[0][0]
    # Columns, as those of a checklist, can look like lines at right angles: the direction is then unknown.
    if 3 * counts[not sideways][0] > counts[sideways][0]:
        return Direction(False, sideways, 0.5)
    _, ascenders, descenders = counts[sideways]
    # Letters of one line are not independent, and some are misread, so each counts as part of a vote.
    odds = (ascenders - descenders) / math.sqrt(ascenders + descenders + 4)
    return Direction(odds < 0, sideways, 1 / (1 + math.exp(-abs(odds))))


def _count_letters(grey: np.ndarray) -> tuple[int, int, int]:
    """Counts the letters that stand in lines, and the ascenders and descenders among them."""
    background = cv2.blur(grey, (31, 31)).astype(np.int16)
    ink = ((background - grey) > INK).astype(np.uint8)
    count, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    left, top, width, height, area = stats[1:count].T
    is_letter = (height >= LETTER_HEIGHTS[0]) & (height <= LETTER_HEIGHTS[1])
    is_letter &= (width <= 2.5 * height) & (width >= 2) & (area > 0.15 * width * height)
    left, top, width, height = left[is_letter], top[is_letter], width[is_letter], height[is_letter]
    aligned = ascenders = descenders = 0
    for line in _lines(left, top, width, height):
        tops, bottoms, letter_height = top[line], (top + height)[line], float(np.median(height[line]))
        line_top, baseline = np.median(tops), np.median(bottoms)
        at_top = np.abs(tops - line_top) <= ALIGNED * letter_height
        on_baseline = np.abs(bottoms - baseline) <= ALIGNED * letter_height
        aligned += int((at_top | on_baseline).sum())
        ascenders += int((on_baseline & (tops < line_top - PROTRUDING * letter_height)).sum())
        descenders += int((at_top & (bottoms > baseline + PROTRUDING * letter_height)).sum())
    return aligned, ascenders, descenders


def _lines(left: np.ndarray, top: np.ndarray, width: np.ndarray, height: np.ndarray) -> list[np.ndarray]:
    """Joins letters that follow each other at one height; returns the indices of the letters of each line."""
    count = len(left)
    if count < LETTERS_OF_A_LINE:
        return []
    right, bottom = left + width, top + height
    gap = left[None, :] - right[:, None]
    overlap = np.minimum(bottom[None, :], bottom[:, None]) - np.maximum(top[None, :], top[:, None])
    is_near = (gap >= -2) & (gap < 1.1 * np.maximum(height[None, :], height[:, None]))
    is_near &= overlap > 0.55 * np.minimum(height[None, :], height[:, None])
    np.fill_diagonal(is_near, False)
    gap = np.where(is_near, gap, np.iinfo(gap.dtype).max)
    following, preceding, letters = gap.argmin(axis=1), gap.argmin(axis=0), np.arange(count)
    joined = is_near[letters, following] & (preceding[following] == letters)
    links = coo_array((joined[joined], (letters[joined], following[joined])), shape=(count, count))
    number_of_lines, line_of = connected_components(links, directed=False)
    lines = (np.flatnonzero(line_of == number) for number in range(number_of_lines))
    return [line for line in lines if len(line) >= LETTERS_OF_A_LINE]
