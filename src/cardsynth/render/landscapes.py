"""Layouts that lie on their long side: each function prints an invented player on the plates of a press.

Coordinates are card widths. `left`, `top`, `right` and `foot` are where the print ends: the margin depends on the
proportions of the card.
"""

import random

from cardsynth.render.cartoons import cartoon
from cardsynth.render.ornaments import badge, ball, signature, trivia
from cardsynth.render.players import Player
from cardsynth.render.press import BAND, BARE, KEY, Box, Press


def _print_area(press: Press) -> Box:
    return press.margin, press.margin, press.right, press.foot


def annual(press: Press, player: Player, rng: random.Random) -> None:
    """The complete record: a header band over a table of up to seventeen seasons, ruled both ways."""
    left, top, right, foot = _print_area(press)
    press.box(BAND, (left, top, right, top + 0.14))
    panel = (left + 0.015, top + 0.02, left + 0.155, top + 0.12)
    press.box(BAND, panel, tone=BARE)
    press.text(KEY, (left + 0.085, top + 0.07), str(player.number), 0.085, anchor="mm", fit=0.12)
    press.mark("number", panel)
    press.text(BAND, (left + 0.18, top + 0.05), player.name.upper(), 0.078, tone=BARE, fit=0.46, element="name")
    press.text(BAND, (left + 0.18, top + 0.11), player.role.upper(), 0.042, "sans", tone=BARE, fit=0.46, element="team")
    vitals = "HT: {HT}  WT: {WT}\nBATS: {BATS}  THROWS: {THROWS}\nBORN: {BORN}\nHOME: ".format(**player.vitals)
    for line, text in enumerate(f"{vitals}{player.home.upper()}".splitlines()):
        press.text(BAND, (right - 0.015, top + 0.022 + line * 0.032), text, 0.031, anchor="rm", tone=BARE, fit=0.26)
    press.mark("vitals", (right - 0.275, top + 0.005, right - 0.015, top + 0.135))
    rows, table = player.table("full"), top + 0.185
    end = min(foot - 0.045, max(foot - 0.115, table + 0.031 * len(rows)), table + 0.058 * len(rows))
    title = ((left + right) / 2, top + 0.163)
    press.text(KEY, title, "COMPLETE MAJOR LEAGUE RECORD", 0.034, anchor="mm", fit=right - left)
    press.table((left, table, right, end), rows, rules=BAND, head_tone=0.3, lines="both")
    imprint = foot - 0.012
    press.paragraph((left, end + 0.012, right, imprint - 0.02), player.sentences, 0.034, "serif", element="biography")
    press.text(BAND, (left, imprint), "© HALF MOON PRESS", 0.022, "fine")
    press.text(BAND, (right, imprint), "PRINTED IN THE VALLEY", 0.022, "fine", anchor="rm")


def funnies(press: Press, player: Player, rng: random.Random) -> None:
    """A cartoon in an ellipse beside a quiz with its answer upside down; a band with the name, and a table."""
    left, top, right, foot = _print_area(press)
    press.box(BAND, (left, top, right, top + 0.11), radius=0.02)
    press.text(BAND, (left + 0.16, top + 0.057), player.name.upper(), 0.085, tone=BARE, fit=0.43, element="name")
    team = (right - 0.02, top + 0.057)
    press.text(BAND, team, player.role.upper(), 0.042, anchor="rm", tone=BARE, fit=0.27, element="team")
    ball(press, (left + 0.075, top + 0.075), 0.075, player.number)
    vitals = (left + 0.17, top + 0.135)
    press.text(KEY, vitals, player.vitals_line(), 0.034, fit=right - left - 0.18, element="vitals")
    rows = player.table("middle")
    table = foot - 0.025 - 0.042 * len(rows)
    upper, middle = top + 0.165, (top + 0.17 + table) / 2
    tall = max(0.03, (table - upper) / 2 - 0.012)
    press.ellipse(press.accent, (0.26, middle), 0.21, tall, tone=0.35)
    press.ellipse(KEY, (0.26, middle), 0.21, tall, tone=BARE)
    cartoon(press, rng, (0.26 - 0.75 * tall, middle - 0.93 * tall, 1.5 * tall), tint=press.accent)
    press.text(KEY, (0.26, middle + 0.72 * tall), player.doodle, 0.036, "italic", anchor="mm", fit=0.25)
    press.box(KEY, (0.58, upper + 0.005, right, table - 0.02), line=0.004)
    press.box(BAND, (0.584, upper + 0.009, right - 0.004, table - 0.024), tone=0.15)
    trivia(press, (0.60, upper + 0.02, right - 0.02, table - 0.03), *player.trivia, height=0.046, head=KEY)
    press.table((left, table, right, foot - 0.022), rows, rules=BAND, head_tone=1)
    press.text(KEY, (left, foot - 0.008), "© ORCHARD CONFECTIONS", 0.020, "fine")


def autograph(press: Press, player: Player, rng: random.Random) -> None:
    """A facsimile signature across a toned panel, the vitals in a column, and a short table."""
    left, top, right, foot = _print_area(press)
    press.box(KEY, (left, top, right, foot), line=0.006)
    press.box(BAND, (left + 0.02, top + 0.02, left + 0.25, foot - 0.02))
    middle = left + 0.135
    badge(press, (middle, top + 0.115), 0.075, player.number, "disc", (KEY, BAND))
    vitals = {**player.vitals, "HOME": player.home.upper()}
    lead = max(0.02, (foot - top - 0.24) / len(vitals))
    for line, (label, value) in enumerate(vitals.items()):
        y = top + 0.225 + (line + 0.3) * lead
        press.text(BAND, (middle, y - 0.15 * lead), label, 0.026, "sans", anchor="mm", tone=BARE)
        press.text(BAND, (middle, y + 0.27 * lead), value, 0.042, anchor="mm", tone=BARE, fit=0.2)
    press.mark("vitals", (left + 0.03, top + 0.21, left + 0.24, foot - 0.03))
    column = left + 0.28
    press.box(press.accent, (column, top + 0.02, right - 0.02, top + 0.24), tone=0.25)
    signature(press, rng, (column + 0.03, top + 0.03, right - 0.06, top + 0.22))
    press.text(KEY, (column, top + 0.28), player.name.upper(), 0.064, "serif-bold", fit=0.62, element="name")
    team = f"{player.club}, {player.position}"
    press.text(BAND, (column, top + 0.335), team, 0.042, "serif-bold", fit=0.62, element="team")
    rows = player.table("middle")
    table = foot - 0.03 - 0.04 * len(rows)
    biography = (column, top + 0.37, right - 0.025, table - 0.01)
    press.paragraph(biography, player.sentences, 0.042, "serif", element="biography")
    press.table((column, table, right - 0.02, foot - 0.025), rows, rules=BAND)


def gazette(press: Press, player: Player, rng: random.Random) -> None:
    """The small biography back of the early fifties: framed text under two name lines, over two rows of figures."""
    left, top, right, foot = _print_area(press)
    press.box(KEY, (left, top, right, foot), line=0.008)
    press.box(BAND, (left + 0.016, top + 0.016, right - 0.016, foot - 0.016), line=0.004)
    ball(press, (left + 0.105, top + 0.105), 0.07, player.number)
    press.text(KEY, (left + 0.20, top + 0.075), player.name.upper(), 0.075, "serif-bold", fit=0.66, element="name")
    team = f"{player.position} - {player.club}"
    press.text(BAND, (left + 0.20, top + 0.145), team, 0.045, "serif-bold", fit=0.66, element="team")
    press.text(KEY, (left + 0.04, top + 0.205), f"Home: {player.home}", 0.036, "sans", fit=0.4)
    vitals = "Born: {BORN}   Ht: {HT}   Wt: {WT}   Bats: {BATS}".format(**player.vitals)
    press.text(KEY, (right - 0.04, top + 0.205), vitals, 0.036, "sans", anchor="rm", fit=0.5, element="vitals")
    press.box(BAND, (left + 0.04, top + 0.228, right - 0.04, top + 0.233))
    table, end = foot - 0.2, foot - 0.2 + 0.145
    biography = (left + 0.045, top + 0.245, right - 0.045, table - 0.03)
    press.paragraph(biography, player.sentences, 0.047, "serif", element="biography")
    head, *_, past, life = player.table("full")
    rows = (("", "", *head[2:]), ("PAST YEAR", "", *past[2:]), ("LIFETIME", "", *life[2:]))
    press.box(BAND, (left + 0.04, table, right - 0.04, end), tone=0.22)
    press.box(KEY, (left + 0.04, end, right - 0.04, table + 0.149))
    press.table((left + 0.055, table, right - 0.045, end), rows)
    press.text(KEY, (0.5, foot - 0.034), "© GREENLEAF CHEWING GUM. PRTD. IN THE VALLEY", 0.024, "fine", anchor="mm")


def halves(press: Press, player: Player, rng: random.Random) -> None:
    """Two panels: number, name and biography at the left, a cartoon over the table at the right."""
    left, top, right, foot = _print_area(press)
    split = 0.46
    inner, fit = left + 0.02, split - left - 0.04
    press.box(BAND, (left, top, split, foot), tone=0.30)
    press.box(BAND, (left, top, split, top + 0.16))
    badge(press, (left + 0.075, top + 0.08), 0.062, player.number, "diamond", (KEY, BAND))
    name = split - left - 0.17
    press.text(BAND, (left + 0.16, top + 0.052), player.first.upper(), 0.048, "sans", tone=BARE, fit=name)
    press.text(BAND, (left + 0.16, top + 0.108), player.last.upper(), 0.072, tone=BARE, fit=name, element="name")
    press.text(KEY, (inner, top + 0.195), player.club.upper(), 0.044, "serif-bold", fit=fit, element="team")
    press.text(KEY, (inner, top + 0.24), player.position.upper(), 0.036, fit=fit)
    biography = (inner, top + 0.27, split - 0.02, foot - 0.10)
    press.paragraph(biography, player.sentences, 0.044, "serif", element="biography")
    vitals = player.vitals_line("BATS", "THROWS", "HT", "WT")
    press.text(KEY, (inner, foot - 0.07), vitals, 0.032, fit=fit, element="vitals")
    born = f"{player.vitals_line('BORN')}   HOME {player.home.upper()}"
    press.text(KEY, (inner, foot - 0.03), born, 0.032, fit=fit)
    column, rows, accent = split + 0.02, player.table("narrow"), press.accent
    table = foot - 0.03 - 0.042 * len(rows)
    press.box(KEY, (column, top, right, table - 0.02), line=0.005)
    panel = (column + 0.005, top + 0.005, right - 0.005, table - 0.025)
    press.box(accent, panel, tone=0.18 if accent == BAND else 0.5)
    side = max(0.03, min(table - top - 0.09, 0.4))
    cartoon(press, rng, ((column + right - side) / 2, top + 0.015, side), tint=accent)
    caption = ((column + right) / 2, table - 0.05)
    press.text(KEY, caption, player.doodle, 0.04, "italic", anchor="mm", fit=right - column - 0.04)
    press.table((column, table, right, foot - 0.025), rows)
    press.text(KEY, (right, foot - 0.01), "© QUILL & ANCHOR", 0.02, "fine", anchor="rm")


def marquee(press: Press, player: Player, rng: random.Random) -> None:
    """Vitals in a header band, the name in a second one, a big ball, the record, and a quiz along the foot."""
    left, top, right, foot = _print_area(press)
    press.box(KEY, (left, top, right, top + 0.055))
    vitals, middle = f"{player.vitals_line()}   HOME {player.home.upper()}", ((left + right) / 2, top + 0.029)
    press.text(KEY, middle, vitals, 0.036, anchor="mm", tone=BARE, fit=right - left - 0.03, element="vitals")
    press.box(press.accent, (left, top + 0.07, right, top + 0.19), tone=0.45)
    ball(press, (right - 0.085, top + 0.13), 0.08, player.number, under=press.accent)
    press.text(KEY, (left + 0.02, top + 0.11), player.name.upper(), 0.082, fit=0.66, element="name")
    team = f"{player.town} {player.role}".upper()
    press.text(KEY, (left + 0.02, top + 0.165), team, 0.038, fit=0.66, element="team")
    rows, table, quiz = player.table("full"), top + 0.215, foot - 0.115
    end = min(quiz - 0.015, max(quiz - 0.11, table + 0.036 * len(rows)), table + 0.055 * len(rows))
    press.table((left, table, right, end), rows, rules=BAND, head_tone=1, lines="rows")
    press.paragraph((left, end + 0.012, right, quiz - 0.01), player.sentences, 0.037, element="biography")
    press.box(BAND, (left, quiz, right, foot), line=0.004)
    question, answer = player.trivia
    press.text(BAND, (left + 0.015, quiz + 0.03), "QUIZ:", 0.036)
    press.text(KEY, (left + 0.105, quiz + 0.03), question, 0.036, "sans", fit=right - left - 0.125)
    press.text(KEY, (right - 0.015, quiz + 0.082), f"Ans: {answer}", 0.032, "sans", anchor="rm", fit=0.6, turned=True)
    press.text(KEY, (left + 0.015, quiz + 0.085), "© HALF MOON PRESS", 0.02, "fine")
    press.mark("trivia", (left, quiz, right, foot))
