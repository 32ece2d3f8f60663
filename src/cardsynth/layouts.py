"""Seven layouts of card backs, each a function that prints an invented player on a press's two ink plates."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from cardsynth.press import Player, Press

# Figures of the cartoon panel in a unit square: head (x, y, radius), then limbs and tools as lines, then a ball.
POSES = (
    ((0.42, 0.27, 0.13), (((0.44, 0.40), (0.46, 0.64)), ((0.34, 0.92), (0.46, 0.64), (0.62, 0.92)),
      ((0.44, 0.46), (0.58, 0.52), (0.66, 0.42)), ((0.62, 0.50), (0.82, 0.12))), (0.86, 0.42)),
    ((0.50, 0.26, 0.13), (((0.50, 0.39), (0.48, 0.64)), ((0.30, 0.90), (0.48, 0.64), (0.70, 0.72), (0.84, 0.62)),
      ((0.24, 0.30), (0.34, 0.50), (0.50, 0.44)), ((0.50, 0.44), (0.70, 0.50), (0.80, 0.34))), (0.20, 0.24)),
    ((0.60, 0.26, 0.13), (((0.56, 0.38), (0.46, 0.62)),
      ((0.18, 0.78), (0.34, 0.70), (0.46, 0.62), (0.66, 0.72), (0.62, 0.92)),
      ((0.54, 0.43), (0.36, 0.50), (0.30, 0.36)), ((0.54, 0.43), (0.70, 0.54), (0.84, 0.46))), (0.14, 0.44)),
    ((0.46, 0.42, 0.13), (((0.46, 0.54), (0.46, 0.72)), ((0.30, 0.94), (0.46, 0.72), (0.64, 0.94)),
      ((0.46, 0.58), (0.30, 0.50), (0.26, 0.30)), ((0.46, 0.58), (0.64, 0.48), (0.72, 0.24))), (0.74, 0.14)),
)  # fmt: skip
NARROW = ("YR", "CLUB", "G", "AB", "H", "HR", "AVG")


@dataclass(frozen=True)
class Layout:
    """A way to set a card back: its print function, its decade and the number of seasons its table shows."""

    name: str
    decade: int
    seasons: tuple[int, int]
    draw: Callable[[Press, Player, random.Random], None]


def _cartoon(press: Press, rng: random.Random, left, top, side, ink=0, skin=0.0):
    """A simple figure in a square of the given side; `skin` is the tone of ink 1 on its cap and shirt."""
    head, limbs, ball = rng.choice(POSES)

    def place(point):
        return left + point[0] * side, top + point[1] * side

    line = max(0.010, 0.042 * side)
    (x, y), radius = place(head), head[2] * side
    (shoulder, hip), *others = limbs
    for limb in others:
        press.stroke(ink, [place(point) for point in limb], line)
    (x0, y0), (x1, y1) = place(shoulder), place(hip)
    chest = ((x0 - 0.11 * side, y0), (x0 + 0.11 * side, y0), (x1 + 0.08 * side, y1), (x1 - 0.08 * side, y1))
    press.polygon(ink, chest, 0)
    press.polygon(1 - ink, chest, skin)
    press.stroke(ink, [*chest, chest[0]], line * 0.7)
    press.ellipse(ink, x, y, radius, line=line * 0.7)
    press.ellipse(1 - ink, x, y, radius - line * 0.5, tone=0)
    cap = ((-1, -0.2), (-0.6, -1.05), (0.5, -1), (0.95, -0.2), (1.7, -0.1))
    press.polygon(ink, [(x + across * radius, y + down * radius) for across, down in cap])
    press.stroke(ink, [(x - radius * 0.1, y + radius * 0.5), (x + radius * 0.5, y + radius * 0.35)], line * 0.5)
    for eye in (0.0, 0.45):
        press.ellipse(ink, x + eye * radius, y + radius * 0.1, line * 0.4)
    (ball_x, ball_y) = place(ball)
    press.ellipse(ink, ball_x, ball_y, 0.07 * side, line=line * 0.5)
    press.stroke(ink, [place((0.05, 0.95)), place((0.95, 0.95))], line * 0.6)


def _ball(press: Press, x, y, radius, number, ink=0):
    """The card's number in a ball with two seams."""
    press.ellipse(1 - ink, x, y, radius, tone=0)
    press.ellipse(ink, x, y, radius, line=0.14 * radius)
    for side in (-1, 1):
        seam = [(0.76, -0.6), (0.64, -0.3), (0.60, 0.0), (0.64, 0.3), (0.76, 0.6)]
        press.stroke(ink, [(x + side * radius * across, y + radius * down) for across, down in seam], 0.05 * radius)
    press.text(ink, x, y, str(number), radius * 0.9, anchor="mm", fit=radius * 0.95)


def _banner(press: Press, player: Player, rng: random.Random):
    """A solid band with the name knocked out, biography beside an oval cartoon, a short table."""
    bottom = press.bottom
    press.box(1, 0.05, 0.05, 0.95, 0.235)
    press.text(1, 0.29, 0.115, player.name.upper(), 0.105, fit=0.63, tone=0)
    press.text(1, 0.29, 0.195, f"{player.town} {player.team} · {player.position}", 0.052, "sans", tone=0, fit=0.62)
    _ball(press, 0.165, 0.1425, 0.105, player.number)
    press.text(0, 0.5, 0.275, player.vitals, 0.048, "sans", "mm", fit=0.9)
    press.box(0, 0.05, 0.31, 0.95, 0.316)
    press.paragraph(0, 0.05, 0.34, 0.56, 0.36 + 0.41 * bottom, player.sentences, 0.056, "serif")
    middle = 0.34 + 0.21 * bottom
    press.ellipse(1, 0.77, middle, 0.185, 0.24 * bottom * 0.95, tone=0.32)
    press.ellipse(1, 0.77, middle, 0.165, 0.22 * bottom * 0.95, tone=0)
    _cartoon(press, rng, 0.64, middle - 0.15, 0.27, skin=0.4)
    press.table(0, 0.05, bottom - 0.33, 0.95, bottom - 0.10, player.statistics, rules=1, head_tone=1)
    press.text(0, 0.5, bottom - 0.055, "NO. SERIES · PRINTED IN THE VALLEY", 0.036, "sans", "mm")


def _ledger(press: Press, player: Player, rng: random.Random):
    """The career table that fills the card beneath a corner badge and the name."""
    bottom = press.bottom
    press.polygon(1, [(0.05, 0.05), (0.27, 0.05), (0.27, 0.19), (0.16, 0.25), (0.05, 0.19)])
    press.text(1, 0.16, 0.13, str(player.number), 0.11, anchor="mm", tone=0, fit=0.19)
    press.text(0, 0.31, 0.09, player.name.upper(), 0.105, fit=0.64)
    press.text(1, 0.31, 0.165, f"{player.position} · {player.team}".upper(), 0.06, fit=0.64)
    press.text(0, 0.31, 0.22, player.vitals, 0.042, "sans", fit=0.64)
    press.box(1, 0.05, 0.265, 0.95, bottom - 0.235, 0.2)
    press.table(0, 0.05, 0.265, 0.95, bottom - 0.235, player.statistics, rules=1, head_tone=1)
    press.paragraph(0, 0.05, bottom - 0.22, 0.95, bottom - 0.08, player.sentences, 0.052, "sans")
    press.text(1, 0.5, bottom - 0.05, "© FAIRWEATHER CARD WORKS", 0.034, "sans", "mm")


def _comic(press: Press, player: Player, rng: random.Random):
    """A cartoon panel over the upper half, name and biography beneath."""
    bottom = press.bottom
    split = 0.47 * bottom
    press.box(0, 0.05, 0.05, 0.95, split, line=0.012)
    press.box(1, 0.062, 0.062, 0.938, split - 0.012, 0.45)
    _cartoon(press, rng, 0.10, 0.09, split - 0.16, skin=0.0)
    press.ellipse(1, 0.71, 0.26 * bottom - 0.03, 0.21, 0.125 * bottom, tone=0)
    press.ellipse(0, 0.71, 0.26 * bottom - 0.03, 0.21, 0.125 * bottom, line=0.009)
    press.paragraph(0, 0.55, 0.22 * bottom - 0.06, 0.87, 0.40 * bottom, (player.doodle,), 0.062, "bold", True)
    press.box(1, 0.05, split + 0.03, 0.95, split + 0.17)
    press.text(1, 0.08, split + 0.10, player.name.upper(), 0.105, fit=0.66, tone=0)
    press.text(1, 0.92, split + 0.10, f"#{player.number}", 0.09, anchor="rm", tone=0, fit=0.18)
    press.text(0, 0.05, split + 0.21, player.vitals, 0.045, "sans", fit=0.9)
    press.paragraph(0, 0.05, split + 0.245, 0.95, bottom - 0.26, player.sentences, 0.056, "serif")
    press.table(0, 0.05, bottom - 0.235, 0.95, bottom - 0.06, player.statistics, rules=0)


def _sidebar(press: Press, player: Player, rng: random.Random):
    """A coloured column with number and vitals, the table and biography to its right."""
    bottom = press.bottom
    press.box(1, 0.05, 0.05, 0.29, bottom - 0.05, radius=0.03)
    press.ellipse(1, 0.17, 0.17, 0.095, tone=0)
    press.text(0, 0.17, 0.17, str(player.number), 0.10, anchor="mm", fit=0.15)
    for line, word in enumerate(player.vitals.split("   ")):
        label, value = word.split(" ")
        press.text(1, 0.17, 0.34 + line * 0.145 * bottom, label, 0.042, "sans", "mm", tone=0)
        press.text(1, 0.17, 0.39 + line * 0.145 * bottom, value, 0.062, anchor="mm", tone=0, fit=0.2)
    press.text(0, 0.33, 0.10, player.first.upper(), 0.07, "sans")
    press.text(0, 0.33, 0.18, player.last.upper(), 0.115, fit=0.62)
    press.text(1, 0.33, 0.255, f"{player.team} · {player.position}".upper(), 0.052, fit=0.62)
    press.box(0, 0.33, 0.29, 0.95, 0.298)
    press.table(0, 0.33, 0.31, 0.95, 0.62 * bottom, player.statistics, NARROW, rules=1, head_tone=0.35)
    press.paragraph(0, 0.33, 0.65 * bottom, 0.95, bottom - 0.10, player.sentences, 0.058, "sans")
    press.text(1, 0.95, bottom - 0.07, "LANTERN GUM CO.", 0.038, anchor="rm")


def _framed(press: Press, player: Player, rng: random.Random):
    """A thick frame around a bare panel, the name on a plaque that overlaps it."""
    bottom = press.bottom
    press.box(0, 0.05, 0.05, 0.95, bottom - 0.05, line=0.05, radius=0.06)
    press.box(1, 0.115, 0.115, 0.885, bottom - 0.115, line=0.012, radius=0.02)
    press.box(0, 0.13, 0.05, 0.87, 0.25, radius=0.05)
    press.box(1, 0.15, 0.07, 0.85, 0.23, tone=0)
    press.box(0, 0.145, 0.065, 0.855, 0.235, tone=0, radius=0.04)
    press.text(0, 0.5, 0.125, player.name, 0.095, "italic", "mm", fit=0.66)
    press.text(1, 0.5, 0.195, f"{player.position}, {player.town} {player.team}", 0.052, "serif-bold", "mm", fit=0.66)
    press.paragraph(0, 0.155, 0.285, 0.845, 0.50 * bottom, player.sentences, 0.056, "serif")
    press.table(0, 0.15, 0.53 * bottom, 0.85, bottom - 0.30, player.statistics, NARROW, rules=1)
    press.text(0, 0.16, bottom - 0.24, player.vitals.split("   BORN")[0], 0.042, "sans", fit=0.48)
    press.text(0, 0.16, bottom - 0.18, "SET OF 660 · GOLDEN BOUGH", 0.036, "sans", fit=0.48)
    _ball(press, 0.76, bottom - 0.20, 0.085, player.number)


def _pennant(press: Press, player: Player, rng: random.Random):
    """A pennant with the team across the top, a round number and a toned did-you-know panel."""
    bottom = press.bottom
    press.polygon(1, [(0.05, 0.05), (0.80, 0.15), (0.05, 0.25)])
    press.text(1, 0.08, 0.15, player.team.upper(), 0.085, "roman", tone=0, fit=0.46)
    press.ellipse(0, 0.85, 0.15, 0.10)
    press.text(0, 0.85, 0.15, str(player.number), 0.095, anchor="mm", tone=0, fit=0.15)
    press.text(0, 0.05, 0.315, player.name.upper(), 0.10, "serif-bold", fit=0.9)
    press.text(0, 0.05, 0.385, player.vitals, 0.046, "sans", fit=0.9)
    press.box(1, 0.05, 0.415, 0.95, 0.423)
    press.table(0, 0.05, 0.44, 0.95, 0.63 * bottom, player.statistics, rules=1)
    press.box(1, 0.05, 0.67 * bottom, 0.95, bottom - 0.06, 0.28, radius=0.03)
    press.text(1, 0.08, 0.67 * bottom + 0.055, "DID YOU KNOW?", 0.062)
    press.paragraph(0, 0.08, 0.67 * bottom + 0.095, 0.62, bottom - 0.07, player.sentences, 0.054, "sans")
    side = 0.33 * bottom - 0.13
    _cartoon(press, rng, 0.92 - side, 0.67 * bottom + 0.03, side, skin=0.0)


def _reverse(press: Press, player: Player, rng: random.Random):
    """A fully toned ground with panels knocked out to bare stock."""
    bottom = press.bottom
    press.box(1, 0.05, 0.05, 0.95, bottom - 0.05, 0.85)
    press.box(1, 0.09, 0.09, 0.66, 0.27, 0)
    press.text(0, 0.12, 0.145, player.last.upper(), 0.105, fit=0.51)
    press.text(0, 0.12, 0.225, f"{player.first} · {player.position}", 0.056, "serif", fit=0.51)
    _ball(press, 0.80, 0.18, 0.105, player.number)
    press.text(1, 0.5, 0.31, player.vitals, 0.046, "bold", "mm", tone=0, fit=0.82)
    press.box(1, 0.09, 0.35, 0.91, 0.58 * bottom, 0)
    press.paragraph(0, 0.12, 0.37, 0.88, 0.58 * bottom, player.sentences, 0.058, "serif")
    press.box(1, 0.09, 0.61 * bottom, 0.91, bottom - 0.15, 0)
    press.table(0, 0.10, 0.615 * bottom, 0.90, bottom - 0.155, player.statistics)
    press.text(1, 0.5, bottom - 0.10, f"{player.town} {player.team}".upper(), 0.06, "roman", "mm", tone=0, fit=0.8)


_LAYOUTS = (
    Layout("banner", 1950, (1, 2), _banner),
    Layout("reverse", 1950, (2, 3), _reverse),
    Layout("comic", 1960, (1, 1), _comic),
    Layout("pennant", 1960, (3, 5), _pennant),
    Layout("ledger", 1970, (7, 11), _ledger),
    Layout("framed", 1970, (3, 4), _framed),
    Layout("sidebar", 1980, (5, 7), _sidebar),
)
LAYOUTS = {layout.name: layout for layout in _LAYOUTS}
