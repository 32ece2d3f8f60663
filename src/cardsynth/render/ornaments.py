"""Ornaments of card backs: number badges, trivia questions and facsimile signatures."""

import math
import random

from cardsynth.render.press import BAND, BARE, KEY, Box, Point, Press

SEAM = ((0.76, -0.6), (0.64, -0.3), (0.60, 0.0), (0.64, 0.3), (0.76, 0.6))
_TURNS = [math.pi * (2 * step - 10) / 20 for step in range(20)]
# In radii of the badge, from its centre.
BADGES = {
    "star": [(math.cos(t) * (1 - 0.16 * (n % 2)), math.sin(t) * (1 - 0.16 * (n % 2))) for n, t in enumerate(_TURNS)],
    "shield": [(-0.9, -0.85), (0, -1), (0.9, -0.85), (0.9, 0.2), (0.55, 0.7), (0, 1), (-0.55, 0.7), (-0.9, 0.2)],
    "diamond": [(0, -1.05), (1.05, 0), (0, 1.05), (-1.05, 0)],
    "disc": [(math.cos(math.pi * n / 24), math.sin(math.pi * n / 24)) for n in range(48)],
}
LETTER_HEIGHTS = (0.16, 0.18, 0.2, 0.42, -0.3)  # of a signature, in heights of its box
PEN, FLOURISH_PEN = 0.0065, 0.005  # card widths


def _square(center: Point, radius: float) -> Box:
    x, y = center
    return x - radius, y - radius, x + radius, y + radius


def ball(press: Press, center: Point, radius: float, number: int, under: int = BAND) -> None:
    """Prints the card's number in a ball with two seams; plate `under` is knocked out beneath it."""
    x, y = center
    press.ellipse(under, center, radius, tone=BARE)
    press.ellipse(KEY, center, radius, line=0.14 * radius)
    for side in (-1, 1):
        press.stroke(KEY, [(x + side * radius * dx, y + radius * dy) for dx, dy in SEAM], line=0.05 * radius)
    press.text(KEY, center, str(number), radius * 0.9, anchor="mm", fit=radius * 0.95)
    press.mark("number", _square(center, radius))


def badge(press: Press, center: Point, radius: float, number: int, shape: str, inks: tuple[int, ...]) -> None:
    """Knocks the card's number out of a badge.

    Args:
        press: The press.
        center: Centre of the badge.
        radius: Radius of the badge in card widths.
        number: The number.
        shape: A key of BADGES.
        inks: The badge's plate, then further plates to knock the number out of.
    """
    x, y = center
    press.polygon(inks[0], [(x + dx * radius, y + dy * radius) for dx, dy in BADGES[shape]])
    for ink in inks:
        press.text(ink, center, str(number), radius * 0.85, anchor="mm", tone=BARE, fit=radius * 1.25)
    press.mark("number", _square(center, radius))


def trivia(press: Press, box: Box, question: str, answer: str, height: float, head: int) -> None:
    """Prints a trivia question under a head line, and its answer upside down at the foot of the box.

    Args:
        press: The press.
        box: Left, top, right and bottom.
        question: The question.
        answer: The answer.
        height: Maximum height of the type; it is smaller if three lines of question need it.
        head: Plate of the head line.
    """
    left, top, right, bottom = box
    height = min(height, (bottom - top) / 6.5)
    middle, width = (left + right) / 2, right - left
    press.text(head, (middle, top + 0.6 * height), "BASEBALL QUIZ", height, anchor="mm", fit=width)
    inside = (left, top + 1.4 * height, right, bottom - 1.3 * height)
    press.paragraph(inside, (question,), height, "serif", centered=True)
    foot = (middle, bottom - 0.6 * height)
    press.text(KEY, foot, f"Ans: {answer}", 0.92 * height, "serif", anchor="mm", fit=width, turned=True)
    press.mark("trivia", box)


def signature(press: Press, rng: random.Random, box: Box) -> None:
    """Draws an invented signature: a slanted scrawl of loops with two capitals, and a flourish below."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    slant = rng.uniform(0.1, 0.8)
    base, letters = top + 0.68 * height, rng.randint(9, 12)
    capitals = (0, rng.randint(4, 6))
    heights = [rng.choice(LETTER_HEIGHTS) for _ in range(letters)]
    widths = [rng.uniform(0.7, 1.2) for _ in range(letters)]
    for capital in capitals:
        heights[capital], widths[capital] = rng.uniform(0.5, 0.68), rng.uniform(1.3, 2.0)
    scale, pen = 0.86 * width / sum(widths), left
    points: list[Point] = []
    for letter in range(letters):
        capital, step = letter in capitals, widths[letter] * scale
        loop = (rng.uniform(0.3, 1.1) if capital else rng.uniform(0.1, 0.45)) * rng.choice((1, 1, -0.7)) * step
        humps = rng.choice((1, 2)) if capital else 1
        for sample in range(14):
            turn = 2 * math.pi * sample / 14
            rise = heights[letter] * height * (1 - math.cos(humps * turn)) / 2 * (1 - 0.35 * (sample > 7) * (humps - 1))
            points.append((pen + step * sample / 14 - loop * math.sin(turn) + slant * rise, base - rise))
        pen += step
        if letter + 1 == capitals[1]:  # the first name ends
            press.stroke(KEY, points, line=PEN)
            points = []
    tail = [(pen + 0.02 * width * n, base - 0.02 * height * n * n) for n in range(1, 6)]
    press.stroke(KEY, points + tail, line=PEN)
    sweep = [
        (right - t * 0.9 * width, base + height * (0.12 + 0.14 * math.sin(3 * t) * rng.uniform(0.96, 1)))
        for t in (n / 12 for n in range(13))
    ]
    press.stroke(KEY, sweep, line=FLOURISH_PEN)
    press.mark("signature", box)
