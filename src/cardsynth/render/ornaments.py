"""Ornaments of card backs: cartoons, number badges, trivia questions and facsimile signatures."""

import math
import random

from cardsynth.render.press import Press

# Figures of the cartoon panel in a unit square: head (x, y, radius), then limbs and tools as lines, then a ball.
POSES = (
    ((0.42, 0.27, 0.15), (((0.44, 0.40), (0.46, 0.64)), ((0.34, 0.92), (0.46, 0.64), (0.62, 0.92)),
      ((0.44, 0.46), (0.58, 0.52), (0.66, 0.42))), ((0.62, 0.50), (0.82, 0.12)), (0.86, 0.42)),
    ((0.50, 0.26, 0.15), (((0.50, 0.39), (0.48, 0.64)), ((0.30, 0.90), (0.48, 0.64), (0.70, 0.72), (0.84, 0.62)),
      ((0.24, 0.30), (0.34, 0.50), (0.50, 0.44)), ((0.50, 0.44), (0.70, 0.50), (0.80, 0.34))), None, (0.20, 0.24)),
    ((0.60, 0.26, 0.15), (((0.56, 0.38), (0.46, 0.62)),
      ((0.18, 0.78), (0.34, 0.70), (0.46, 0.62), (0.66, 0.72), (0.62, 0.92)),
      ((0.54, 0.43), (0.36, 0.50), (0.30, 0.36)), ((0.54, 0.43), (0.70, 0.54), (0.84, 0.46))), None, (0.14, 0.44)),
    ((0.46, 0.42, 0.15), (((0.46, 0.54), (0.46, 0.72)), ((0.30, 0.94), (0.46, 0.72), (0.64, 0.94)),
      ((0.46, 0.58), (0.30, 0.50), (0.26, 0.30)), ((0.46, 0.58), (0.64, 0.48), (0.72, 0.24))), None, (0.74, 0.14)),
    ((0.34, 0.44, 0.15), (((0.40, 0.56), (0.52, 0.72)), ((0.38, 0.92), (0.52, 0.72), (0.66, 0.66), (0.74, 0.92)),
      ((0.42, 0.60), (0.34, 0.74), (0.22, 0.82)), ((0.42, 0.60), (0.50, 0.80), (0.34, 0.86))), None, (0.10, 0.88)),
    ((0.26, 0.50, 0.15), (((0.32, 0.62), (0.50, 0.78)), ((0.90, 0.90), (0.70, 0.84), (0.50, 0.78), (0.66, 0.68),
      (0.84, 0.76)), ((0.34, 0.66), (0.20, 0.78), (0.12, 0.90)), ((0.34, 0.66), (0.42, 0.48), (0.52, 0.34))), None,
     (0.84, 0.40)),
    ((0.52, 0.30, 0.17), (((0.52, 0.46), (0.52, 0.68)), ((0.36, 0.92), (0.44, 0.68), (0.52, 0.68), (0.60, 0.68),
      (0.68, 0.92)), ((0.52, 0.50), (0.38, 0.58), (0.30, 0.48)), ((0.52, 0.50), (0.68, 0.58), (0.56, 0.64))), None,
     (0.22, 0.36)),
)  # fmt: skip


def _scene(press: Press, rng: random.Random, left, top, side, ink, tint):
    """What stands behind a cartoon figure in a square of the given side: a fence, a crowd, hills and sun, or a tree."""
    thin = 0.012 * side

    def line(*points):
        press.stroke(ink, [(left + x * side, top + y * side) for x, y in points], thin)

    def round_(x, y, radius, tone):
        press.ellipse(tint, left + x * side, top + y * side, radius * side, tone=tone)
        if tint != ink:
            press.ellipse(ink, left + x * side, top + y * side, radius * side, line=thin)

    kind = rng.choice(("fence", "crowd", "hills", "tree"))
    if kind == "fence":
        for post in range(11):
            x = 0.02 + post * 0.096
            line((x, 0.92), (x, 0.56), (x + 0.035, 0.52), (x + 0.07, 0.56), (x + 0.07, 0.92))
        line((0, 0.64), (1, 0.64))
    elif kind == "crowd":
        for row in range(3):
            for seat in range(11 - row % 2):
                x, y = 0.03 + 0.094 * (seat + 0.5 * (row % 2)), 0.62 - 0.085 * row + rng.uniform(-0.012, 0.012)
                round_(x, y, 0.034, rng.choice((0.0, 0.3, 0.6)))
        line((0, 0.67), (1, 0.67))
    elif kind == "hills":
        round_(0.82, 0.15, 0.09, 0.6)
        for turn in range(8):
            x, y = math.cos(turn * math.pi / 4), math.sin(turn * math.pi / 4)
            line((0.82 + 0.12 * x, 0.15 + 0.12 * y), (0.82 + 0.16 * x, 0.15 + 0.16 * y))
        line(*((n / 20, 0.68 - 0.10 * abs(math.sin(0.35 * n + 1))) for n in range(21)))
        line(*((n / 20, 0.80 - 0.03 * math.sin(0.5 * n)) for n in range(21)))
    else:
        line((0.12, 0.93), (0.13, 0.45))
        line((0.18, 0.93), (0.17, 0.45))
        for x, y in ((0.06, 0.36), (0.24, 0.36), (0.10, 0.22), (0.21, 0.20), (0.15, 0.33)):
            round_(x, y, 0.10, 0.45)
        for x in (0.45, 0.62, 0.80, 0.93):
            line((x, 0.94), (x + 0.01, 0.88), (x + 0.02, 0.94), (x + 0.04, 0.89))


def cartoon(press: Press, rng: random.Random, left, top, side, ink=0, tint=1, skin=0.0, scene=False):
    """A ball player drawn in a square of the given side, before a scene where asked to.

    `skin` is the tone of ink `tint` on shirt and cap.
    """
    head, limbs, bat, ball = rng.choice(POSES)
    mirrored = rng.random() < 0.5

    def place(point):
        return left + (1 - point[0] if mirrored else point[0]) * side, top + point[1] * side

    if scene:
        _scene(press, rng, left, top, side, ink, tint)
    line = max(0.006, 0.036 * side)
    (x, y), radius = place(head), head[2] * side
    (shoulder, hip), legs, *arms = limbs
    for width in (2.6 * line, 1.2 * line):
        for limb in (legs, *arms):
            press.stroke(ink, [place(point) for point in limb], width, tone=float(width > 2 * line))
    for foot in (legs[0], legs[-1]):
        foot_x, foot_y = place(foot)
        press.ellipse(ink, foot_x, foot_y, 0.065 * side, 0.032 * side)
    for arm in arms:
        hand_x, hand_y = place(arm[-1])
        press.ellipse(ink, hand_x, hand_y, 0.042 * side, line=line * 0.5)
    if bat:
        (x0, y0), (x1, y1) = map(place, bat)
        press.polygon(
            ink, [(x0 - line * 0.3, y0), (x1 - line, y1), (x1 + line, y1 + line * 0.6), (x0 + line * 0.3, y0)]
        )
    (x0, y0), (x1, y1) = place(shoulder), place(hip)
    chest = ((x0 - 0.12 * side, y0), (x0 + 0.12 * side, y0), (x1 + 0.08 * side, y1), (x1 - 0.08 * side, y1))
    press.polygon(ink, chest, 0)
    press.polygon(tint, chest, skin)
    press.stroke(ink, [*chest, chest[0]], line * 0.7)
    press.ellipse(ink, x, y, radius, line=line * 0.7)
    press.ellipse(tint, x, y, radius - line * 0.5, tone=0)
    way = -1 if mirrored else 1
    cap = ((-1, -0.2), (-0.85, -0.75), (-0.3, -1.1), (0.5, -1), (0.95, -0.25), (1.7, -0.1), (1.6, 0.05), (0.8, -0.05))
    press.polygon(ink, [(x + way * across * radius, y + down * radius) for across, down in cap])
    smile = ((-0.1, 0.45), (0.15, 0.6), (0.45, 0.55), (0.65, 0.35))
    press.stroke(ink, [(x + way * across * radius, y + down * radius) for across, down in smile], line * 0.5)
    press.ellipse(ink, x + way * 0.85 * radius, y + radius * 0.25, 0.2 * radius, line=line * 0.45)
    for eye in (0.05, 0.5):
        press.ellipse(ink, x + way * eye * radius, y + radius * 0.1, line * 0.42)
    (ball_x, ball_y) = place(ball)
    press.ellipse(ink, ball_x, ball_y, 0.07 * side, line=line * 0.5)
    for trail in (-0.05, 0.0, 0.05):
        start = ball_x + math.copysign(0.1, ball_x - x) * side
        press.stroke(
            ink,
            [(start, ball_y + trail * side), (start + math.copysign(0.09, ball_x - x) * side, ball_y + trail * side)],
            line * 0.4,
        )
    press.stroke(ink, [place((0.05, 0.95)), place((0.95, 0.95))], line * 0.6)
    press.mark("cartoon", left, top, left + side, top + side)


def ball(press: Press, x, y, radius, number, ink=0, under=1):
    """The card's number in a ball with two seams; ink `under` is knocked out beneath it."""
    press.ellipse(under, x, y, radius, tone=0)
    press.ellipse(ink, x, y, radius, line=0.14 * radius)
    for side in (-1, 1):
        seam = [(0.76, -0.6), (0.64, -0.3), (0.60, 0.0), (0.64, 0.3), (0.76, 0.6)]
        press.stroke(ink, [(x + side * radius * across, y + radius * down) for across, down in seam], 0.05 * radius)
    press.text(ink, x, y, str(number), radius * 0.9, anchor="mm", fit=radius * 0.95)
    press.mark("number", x - radius, y - radius, x + radius, y + radius)


def badge(press: Press, x, y, radius, number, shape, ink=1, under=None):
    """The card's number knocked out of a badge (star, shield, diamond, disc or box), and of ink `under` beneath it."""
    turns = [math.pi * (2 * step - 10) / 20 for step in range(20)]
    outlines = {
        "star": [(math.cos(turn) * (1 - 0.16 * (n % 2)), math.sin(turn) * (1 - 0.16 * (n % 2)))
                 for n, turn in enumerate(turns)],
        "shield": [(-0.9, -0.85), (0, -1), (0.9, -0.85), (0.9, 0.2), (0.55, 0.7), (0, 1), (-0.55, 0.7), (-0.9, 0.2)],
        "diamond": [(0, -1.05), (1.05, 0), (0, 1.05), (-1.05, 0)],
        "disc": [(math.cos(math.pi * n / 24), math.sin(math.pi * n / 24)) for n in range(48)],
        "box": [(-1, -0.7), (1, -0.7), (1, 0.7), (-1, 0.7)],
    }  # fmt: skip
    press.polygon(ink, [(x + across * radius, y + down * radius) for across, down in outlines[shape]])
    for plate in (ink,) if under is None else (ink, under):
        press.text(plate, x, y, str(number), radius * 0.85, anchor="mm", tone=0, fit=radius * 1.25)
    press.mark("number", x - radius, y - radius, x + radius, y + radius)


def trivia(press: Press, left, top, right, bottom, question, answer, height, ink=0, head=1, face="sans"):
    """A trivia question under its head line, and its answer upside down at the foot of the box.

    Type is of the given height, or as small as three lines of question need.
    """
    height = min(height, (bottom - top) / 6.5)
    press.text(head, (left + right) / 2, top + 0.6 * height, "BASEBALL QUIZ", height, anchor="mm", fit=right - left)
    press.paragraph(ink, left, top + 1.4 * height, right, bottom - 1.3 * height, (question,), height, face, True)
    middle = bottom - 0.6 * height
    press.text(
        ink, (left + right) / 2, middle, f"Ans: {answer}", 0.92 * height, face, "mm", fit=right - left, turned=True
    )
    press.mark("trivia", left, top, right, bottom)


def signature(press: Press, rng: random.Random, left, top, right, bottom, ink=0):
    """An invented facsimile signature: a scrawl of loops with two tall capitals, slanted, and a flourish."""
    width, height = right - left, bottom - top
    slant = rng.uniform(0.1, 0.8)
    base, letters = top + 0.68 * height, rng.randint(9, 12)
    capitals = (0, rng.randint(4, 6))
    points = []
    heights = [rng.choice((0.16, 0.18, 0.2, 0.42, -0.3)) for _ in range(letters)]
    widths = [rng.uniform(0.7, 1.2) for _ in range(letters)]
    for capital in capitals:
        heights[capital], widths[capital] = rng.uniform(0.5, 0.68), rng.uniform(1.3, 2.0)
    scale, pen = 0.86 * width / sum(widths), left
    for letter in range(letters):
        step = widths[letter] * scale
        loop = (
            (rng.uniform(0.3, 1.1) if letter in capitals else rng.uniform(0.1, 0.45)) * rng.choice((1, 1, -0.7)) * step
        )
        humps = rng.choice((1, 2)) if letter in capitals else 1
        for sample in range(14):
            turn = 2 * math.pi * sample / 14
            rise = heights[letter] * height * (1 - math.cos(humps * turn)) / 2 * (1 - 0.35 * (sample > 7) * (humps - 1))
            across = pen + step * sample / 14 - loop * math.sin(turn)
            points.append((across + slant * rise, base - rise))
        pen += step
        if letter + 1 == capitals[1]:
            press.stroke(ink, points, 0.0065)
            points = []
    tail = [(pen + 0.02 * width * n, base - 0.02 * height * n * n) for n in range(1, 6)]
    press.stroke(ink, points + tail, 0.0065)
    sweep = [
        (right - t * 0.9 * width, base + height * (0.12 + 0.14 * math.sin(3 * t) * rng.uniform(0.96, 1)))
        for t in (n / 12 for n in range(13))
    ]
    press.stroke(ink, sweep, 0.005)
    press.mark("signature", left, top, right, bottom)
