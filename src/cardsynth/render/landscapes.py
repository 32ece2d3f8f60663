"""Layouts that lie on their long side, each a function that prints an invented player on the plates of a press."""

import random

from cardsynth.render.ornaments import badge, ball, cartoon, signature, trivia
from cardsynth.render.players import Player
from cardsynth.render.press import Press


def annual(press: Press, player: Player, rng: random.Random):
    """The complete record: a header band over a table of up to seventeen seasons, ruled both ways."""
    m, right, foot = press.margin, press.right, press.foot
    press.box(1, m, m, right, m + 0.14)
    press.box(1, m + 0.015, m + 0.02, m + 0.155, m + 0.12, 0)
    press.text(0, m + 0.085, m + 0.07, str(player.number), 0.085, anchor="mm", fit=0.12)
    press.mark("number", m + 0.015, m + 0.02, m + 0.155, m + 0.12)
    press.text(1, m + 0.18, m + 0.05, player.name.upper(), 0.078, tone=0, fit=0.46, element="name")
    where = f"{player.team} - {player.position}".upper()
    press.text(1, m + 0.18, m + 0.11, where, 0.042, "sans", tone=0, fit=0.46, element="team")
    for line, text in enumerate((
        f"HT: {player.height}  WT: {player.weight}",
        f"BATS: {player.bats}  THROWS: {player.throws}",
        f"BORN: {player.born}",
        f"HOME: {player.home.upper()}",
    )):  # fmt: skip
        press.text(1, right - 0.015, m + 0.022 + line * 0.032, text, 0.031, anchor="rm", tone=0, fit=0.26)
    press.mark("vitals", right - 0.275, m + 0.005, right - 0.015, m + 0.135)
    rows = player.table("full")
    end = min(foot - 0.045, max(foot - 0.115, m + 0.185 + 0.031 * len(rows)), m + 0.185 + 0.058 * len(rows))
    press.text(0, (m + right) / 2, m + 0.163, "COMPLETE MAJOR LEAGUE RECORD", 0.034, anchor="mm", fit=right - m)
    press.table(0, m, m + 0.185, right, end, rows, rules=1, head_tone=0.3, ruled=2)
    sentences, fine = player.sentences, foot - 0.012
    press.paragraph(0, m, end + 0.012, right, fine - 0.02, sentences, 0.034, "serif", element="biography")
    press.text(1, m, fine, "© HALF MOON PRESS", 0.022, "fine")
    press.text(1, right, fine, "PRINTED IN THE VALLEY", 0.022, "fine", "rm")


def funnies(press: Press, player: Player, rng: random.Random):
    """A cartoon in an ellipse beside a quiz with its answer upside down, a band with the name and a table."""
    m, right, foot, accent = press.margin, press.right, press.foot, press.accent
    press.box(1, m, m, right, m + 0.11, radius=0.02)
    press.text(1, m + 0.16, m + 0.057, player.name.upper(), 0.085, tone=0, fit=0.43, element="name")
    where = f"{player.team} - {player.position}".upper()
    press.text(1, right - 0.02, m + 0.057, where, 0.042, anchor="rm", tone=0, fit=0.27, element="team")
    ball(press, m + 0.075, m + 0.075, 0.075, player.number)
    press.text(0, m + 0.17, m + 0.135, player.vitals_line, 0.034, fit=right - m - 0.18, element="vitals")
    rows = player.table("middle")
    table = foot - 0.025 - 0.042 * len(rows)
    top, middle = m + 0.165, (m + 0.17 + table) / 2
    tall = max(0.03, (table - top) / 2 - 0.012)
    press.ellipse(accent, 0.26, middle, 0.21, tall, tone=0.35)
    press.ellipse(0, 0.26, middle, 0.21, tall, tone=0)
    cartoon(press, rng, 0.26 - 0.75 * tall, middle - 0.93 * tall, 1.5 * tall, tint=accent, scene=True)
    press.text(0, 0.26, middle + 0.72 * tall, player.doodle, 0.036, "italic", "mm", fit=0.25)
    press.box(0, 0.58, top + 0.005, right, table - 0.02, line=0.004)
    press.box(1, 0.584, top + 0.009, right - 0.004, table - 0.024, 0.15)
    trivia(press, 0.60, top + 0.02, right - 0.02, table - 0.03, *player.trivia, 0.046, 0, 0, "serif")
    press.table(0, m, table, right, foot - 0.022, rows, rules=1, head_tone=1)
    press.text(0, m, foot - 0.008, "© ORCHARD CONFECTIONS", 0.020, "fine")


def autograph(press: Press, player: Player, rng: random.Random):
    """A facsimile signature across a toned panel, vitals in a column and a short table."""
    m, right, foot, accent = press.margin, press.right, press.foot, press.accent
    press.box(0, m, m, right, foot, line=0.006)
    press.box(1, m + 0.02, m + 0.02, m + 0.25, foot - 0.02)
    badge(press, m + 0.135, m + 0.115, 0.075, player.number, "disc", 0, under=1)
    pairs = (*player.vitals, ("HOME", player.home.upper()))
    lead = max(0.02, (foot - m - 0.24) / len(pairs))
    for line, (label, value) in enumerate(pairs):
        y = m + 0.225 + (line + 0.3) * lead
        press.text(1, m + 0.135, y - 0.15 * lead, label, 0.026, "sans", "mm", tone=0)
        press.text(1, m + 0.135, y + 0.27 * lead, value, 0.042, anchor="mm", tone=0, fit=0.2)
    press.mark("vitals", m + 0.03, m + 0.21, m + 0.24, foot - 0.03)
    left = m + 0.28
    press.box(accent, left, m + 0.02, right - 0.02, m + 0.24, 0.25)
    signature(press, rng, left + 0.03, m + 0.03, right - 0.06, m + 0.22)
    press.text(0, left, m + 0.28, player.name.upper(), 0.064, "serif-bold", fit=0.62, element="name")
    where = f"{player.town} {player.team}, {player.position}"
    press.text(1, left, m + 0.335, where, 0.042, "serif-bold", fit=0.62, element="team")
    rows = player.table("middle")
    table = foot - 0.03 - 0.04 * len(rows)
    press.paragraph(
        0, left, m + 0.37, right - 0.025, table - 0.01, player.sentences, 0.042, "serif", element="biography"
    )
    press.table(0, left, table, right - 0.02, foot - 0.025, rows, rules=1)


def gazette(press: Press, player: Player, rng: random.Random):
    """The small biography back of the early fifties: a framed text between two name lines, two rows of figures."""
    m, right, foot = press.margin, press.right, press.foot
    press.box(0, m, m, right, foot, line=0.008)
    press.box(1, m + 0.016, m + 0.016, right - 0.016, foot - 0.016, line=0.004)
    ball(press, m + 0.105, m + 0.105, 0.07, player.number)
    press.text(0, m + 0.20, m + 0.075, player.name.upper(), 0.075, "serif-bold", fit=0.66, element="name")
    where = f"{player.position} - {player.town} {player.team}"
    press.text(1, m + 0.20, m + 0.145, where, 0.045, "serif-bold", fit=0.66, element="team")
    press.text(0, m + 0.04, m + 0.205, f"Home: {player.home}", 0.036, "sans", fit=0.4)
    born = f"Born: {player.born}   Ht: {player.height}   Wt: {player.weight}   Bats: {player.bats}"
    press.text(0, right - 0.04, m + 0.205, born, 0.036, "sans", "rm", fit=0.5, element="vitals")
    press.box(1, m + 0.04, m + 0.228, right - 0.04, m + 0.233)
    past, life = player.table("full")[-2:]
    head = player.table("full")[0]
    table = foot - 0.2
    press.paragraph(
        0, m + 0.045, m + 0.245, right - 0.045, table - 0.03, player.sentences, 0.047, "serif", element="biography"
    )
    rows = (("", "", *head[2:]), ("PAST YEAR", "", *past[2:]), ("LIFETIME", "", *life[2:]))
    press.box(1, m + 0.04, table, right - 0.04, table + 0.145, 0.22)
    press.box(0, m + 0.04, table + 0.145, right - 0.04, table + 0.149)
    press.table(0, m + 0.055, table, right - 0.045, table + 0.145, rows, rules=0)
    press.text(0, 0.5, foot - 0.034, "© GREENLEAF CHEWING GUM. PRTD. IN THE VALLEY", 0.024, "fine", "mm")


def halves(press: Press, player: Player, rng: random.Random):
    """Two panels: number, name and biography at the left, a cartoon with its caption over the table at the right."""
    m, right, foot, accent = press.margin, press.right, press.foot, press.accent
    middle = 0.46
    press.box(1, m, m, middle, foot, 0.30)
    press.box(1, m, m, middle, m + 0.16)
    badge(press, m + 0.075, m + 0.08, 0.062, player.number, "diamond", 0, under=1)
    press.text(1, m + 0.16, m + 0.052, player.first.upper(), 0.048, "sans", tone=0, fit=middle - m - 0.17)
    press.text(1, m + 0.16, m + 0.108, player.last.upper(), 0.072, tone=0, fit=middle - m - 0.17, element="name")
    where = f"{player.town} {player.team}".upper()
    press.text(0, m + 0.02, m + 0.195, where, 0.044, "serif-bold", fit=middle - m - 0.04, element="team")
    press.text(0, m + 0.02, m + 0.24, player.position.upper(), 0.036, fit=middle - m - 0.04)
    press.paragraph(
        0, m + 0.02, m + 0.27, middle - 0.02, foot - 0.10, player.sentences, 0.044, "serif", element="biography"
    )
    hands = f"BATS {player.bats}   THROWS {player.throws}   HT {player.height}   WT {player.weight}"
    press.text(0, m + 0.02, foot - 0.07, hands, 0.032, fit=middle - m - 0.04, element="vitals")
    born = f"BORN {player.born}   HOME {player.home.upper()}"
    press.text(0, m + 0.02, foot - 0.03, born, 0.032, fit=middle - m - 0.04)
    left, rows = middle + 0.02, player.table("narrow")
    table = foot - 0.03 - 0.042 * len(rows)
    press.box(0, left, m, right, table - 0.02, line=0.005)
    press.box(accent, left + 0.005, m + 0.005, right - 0.005, table - 0.025, 0.18 if accent == 1 else 0.5)
    side = max(0.03, min(table - m - 0.09, 0.4))
    cartoon(press, rng, (left + right - side) / 2, m + 0.015, side, tint=accent, scene=True)
    caption = table - 0.05
    press.text(0, (left + right) / 2, caption, player.doodle, 0.04, "italic", "mm", fit=right - left - 0.04)
    press.table(0, left, table, right, foot - 0.025, rows, rules=0)
    press.text(0, right, foot - 0.01, "© QUILL & ANCHOR", 0.02, "fine", "rm")


def marquee(press: Press, player: Player, rng: random.Random):
    """Vitals in a header band, the name in a second one, a big ball, the record, and a quiz along the foot."""
    m, right, foot, accent = press.margin, press.right, press.foot, press.accent
    born = f"HT {player.height}   WT {player.weight}   BATS {player.bats}   THROWS {player.throws}"
    press.box(0, m, m, right, m + 0.055)
    press.text(0, (m + right) / 2, m + 0.029, f"{born}   BORN {player.born}   HOME {player.home.upper()}", 0.036,
               anchor="mm", tone=0, fit=right - m - 0.03, element="vitals")  # fmt: skip
    press.box(accent, m, m + 0.07, right, m + 0.19, 0.45)
    ball(press, right - 0.085, m + 0.13, 0.08, player.number, under=accent)
    press.text(0, m + 0.02, m + 0.11, player.name.upper(), 0.082, fit=0.66, element="name")
    where = f"{player.town} {player.team} - {player.position}".upper()
    press.text(0, m + 0.02, m + 0.165, where, 0.038, fit=0.66, element="team")
    rows = player.table("full")
    quiz = foot - 0.115
    end = min(quiz - 0.015, max(quiz - 0.11, m + 0.215 + 0.036 * len(rows)), m + 0.215 + 0.055 * len(rows))
    press.table(0, m, m + 0.215, right, end, rows, rules=1, head_tone=1, ruled=1)
    press.paragraph(0, m, end + 0.012, right, quiz - 0.01, player.sentences, 0.037, "sans", element="biography")
    press.box(1, m, quiz, right, foot, line=0.004)
    question, answer = player.trivia
    press.text(1, m + 0.015, quiz + 0.03, "QUIZ:", 0.036)
    press.text(0, m + 0.105, quiz + 0.03, question, 0.036, "sans", fit=right - m - 0.125)
    press.text(0, right - 0.015, quiz + 0.082, f"Ans: {answer}", 0.032, "sans", "rm", fit=0.6, turned=True)
    press.text(0, m + 0.015, quiz + 0.085, "© HALF MOON PRESS", 0.02, "fine")
    press.mark("trivia", m, quiz, right, foot)
