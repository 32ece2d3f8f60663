"""Upright layouts of card backs, each a function that prints an invented player on the plates of a press."""

import random

from cardsynth.render.ornaments import badge, ball, cartoon, trivia
from cardsynth.render.players import NICKNAMES, TOWNS, Player, invent_name
from cardsynth.render.press import Press


def banner(press: Press, player: Player, rng: random.Random):
    """A solid band with the name knocked out, biography beside an oval cartoon, a short table."""
    bottom = press.bottom
    press.box(1, 0.05, 0.05, 0.95, 0.235)
    press.text(1, 0.29, 0.115, player.name.upper(), 0.105, fit=0.63, tone=0, element="name")
    press.text(1, 0.29, 0.195, f"{player.town} {player.team} - {player.position}", 0.052, "sans", tone=0, fit=0.62)
    ball(press, 0.165, 0.1425, 0.105, player.number)
    press.text(0, 0.5, 0.275, player.vitals_line, 0.048, "sans", "mm", fit=0.9, element="vitals")
    press.box(0, 0.05, 0.31, 0.95, 0.316)
    press.paragraph(0, 0.05, 0.34, 0.56, 0.36 + 0.41 * bottom, player.sentences, 0.056, "serif", element="biography")
    middle = 0.34 + 0.21 * bottom
    press.ellipse(1, 0.77, middle, 0.18, 0.24 * bottom * 0.95, tone=0.32)
    press.ellipse(1, 0.77, middle, 0.16, 0.22 * bottom * 0.95, tone=0)
    cartoon(press, rng, 0.635, middle - 0.15, 0.27, skin=0.4)
    press.table(0, 0.05, bottom - 0.35, 0.95, bottom - 0.12, player.table("middle"), rules=1, head_tone=1)
    press.text(0, 0.5, bottom - 0.085, "NO. SERIES. PRINTED IN THE VALLEY", 0.034, "fine", "mm")
    press.box(0, 0.05, press.foot - 0.006, 0.95, press.foot)


def pennant(press: Press, player: Player, rng: random.Random):
    """A pennant with the team across the top, a round number and a toned did-you-know panel."""
    bottom = press.bottom
    press.polygon(1, [(0.05, 0.05), (0.80, 0.15), (0.05, 0.25)])
    press.text(1, 0.08, 0.15, player.team.upper(), 0.085, "roman", tone=0, fit=0.46, element="team")
    press.ellipse(0, 0.85, 0.15, 0.10)
    press.text(0, 0.85, 0.15, str(player.number), 0.095, anchor="mm", tone=0, fit=0.15)
    press.mark("number", 0.75, 0.05, 0.95, 0.25)
    press.text(0, 0.05, 0.315, player.name.upper(), 0.10, "serif-bold", fit=0.9, element="name")
    press.text(0, 0.05, 0.385, player.vitals_line, 0.046, "sans", fit=0.9, element="vitals")
    press.box(1, 0.05, 0.415, 0.95, 0.423)
    press.table(0, 0.05, 0.44, 0.95, 0.63 * bottom, player.table("middle"), rules=1)
    press.box(1, 0.05, 0.67 * bottom, 0.95, press.foot, 0.28, radius=0.03)
    press.text(1, 0.08, 0.67 * bottom + 0.055, "DID YOU KNOW?", 0.062)
    press.paragraph(
        0, 0.08, 0.67 * bottom + 0.095, 0.62, press.foot - 0.01, player.sentences, 0.054, element="biography"
    )
    side = 0.33 * bottom - 0.13
    cartoon(press, rng, 0.92 - side, 0.67 * bottom + 0.03, side)


def sidebar(press: Press, player: Player, rng: random.Random):
    """A coloured column with number and vitals, the table and biography to its right."""
    bottom = press.bottom
    press.box(1, 0.05, 0.05, 0.29, press.foot, radius=0.03)
    press.ellipse(1, 0.17, 0.17, 0.095, tone=0)
    press.text(0, 0.17, 0.17, str(player.number), 0.10, anchor="mm", fit=0.15)
    press.mark("number", 0.075, 0.075, 0.265, 0.265)
    for line, (label, value) in enumerate(player.vitals):
        press.text(1, 0.17, 0.34 + line * 0.145 * bottom, label, 0.042, "sans", "mm", tone=0)
        press.text(1, 0.17, 0.39 + line * 0.145 * bottom, value, 0.062, anchor="mm", tone=0, fit=0.2)
    press.mark("vitals", 0.07, 0.31, 0.27, 0.43 + 4 * 0.145 * bottom)
    press.text(0, 0.33, 0.09, player.first.upper(), 0.07, "sans")
    press.text(0, 0.33, 0.175, player.last.upper(), 0.110, fit=0.62, element="name")
    press.text(1, 0.33, 0.258, f"{player.team} - {player.position}".upper(), 0.052, fit=0.62, element="team")
    press.box(0, 0.33, 0.29, 0.95, 0.298)
    press.table(0, 0.33, 0.31, 0.95, 0.62 * bottom, player.table("narrow"), rules=1, head_tone=0.35)
    press.paragraph(0, 0.33, 0.65 * bottom, 0.95, bottom - 0.13, player.sentences, 0.058, element="biography")
    press.text(1, 0.95, bottom - 0.09, "LANTERN GUM CO.", 0.036, anchor="rm")
    press.box(0, 0.33, press.foot - 0.008, 0.95, press.foot)


def comic(press: Press, player: Player, rng: random.Random):
    """A cartoon panel over the upper half, name, biography and a short table beneath."""
    bottom = press.bottom
    split = 0.47 * bottom
    press.box(0, 0.05, 0.05, 0.95, split, line=0.010)
    press.box(press.accent, 0.060, 0.060, 0.940, split - 0.010, 0.40)
    cartoon(press, rng, 0.10, 0.09, split - 0.16, tint=press.accent, scene=True)
    x, y = 0.71, 0.26 * bottom - 0.03
    for ink, tone in ((press.accent, 0), (0, 1)):
        press.polygon(ink, [(x - 0.12, y + 0.05), (x - 0.26, y + 0.17), (x - 0.02, y + 0.10)], tone)
        press.ellipse(ink, x, y, 0.21, 0.125 * bottom, tone=tone, line=0.008 * tone)
    press.paragraph(0, 0.54, y - 0.075, 0.88, 0.40 * bottom, (player.doodle,), 0.060, "bold", True)
    press.box(1, 0.05, split + 0.02, 0.95, split + 0.15)
    press.text(1, 0.08, split + 0.085, player.name.upper(), 0.105, fit=0.66, tone=0, element="name")
    press.text(1, 0.92, split + 0.085, f"#{player.number}", 0.09, anchor="rm", tone=0, fit=0.18, element="number")
    press.text(0, 0.05, split + 0.185, player.vitals_line, 0.045, fit=0.9, element="vitals")
    table = bottom - 0.08 - 0.052 * (len(player.seasons) + 2)
    press.paragraph(0, 0.05, split + 0.22, 0.95, table - 0.01, player.sentences, 0.054, "serif", element="biography")
    press.table(0, 0.05, table, 0.95, bottom - 0.085, player.table("middle"), rules=0)
    press.text(0, 0.95, press.foot - 0.014, "© ORCHARD CONFECTIONS", 0.028, "fine", "rm")


def ledger(press: Press, player: Player, rng: random.Random):
    """The career table that fills the card beneath a corner badge and the name."""
    bottom = press.bottom
    press.polygon(1, [(0.05, 0.05), (0.27, 0.05), (0.27, 0.19), (0.16, 0.25), (0.05, 0.19)])
    press.text(1, 0.16, 0.13, str(player.number), 0.11, anchor="mm", tone=0, fit=0.19)
    press.mark("number", 0.05, 0.05, 0.27, 0.25)
    press.text(0, 0.31, 0.095, player.name.upper(), 0.095, fit=0.64, element="name")
    press.text(1, 0.31, 0.17, f"{player.position} - {player.team}".upper(), 0.06, fit=0.64, element="team")
    press.text(0, 0.31, 0.22, player.vitals_line, 0.044, "bold", fit=0.64, element="vitals")
    press.box(1, 0.05, 0.265, 0.95, bottom - 0.235, 0.2)
    rows = player.table("full")
    press.table(0, 0.05, 0.265, 0.95, bottom - 0.235, rows, rules=1, head_tone=1, ruled=1)
    press.paragraph(0, 0.05, bottom - 0.22, 0.95, bottom - 0.1, player.sentences, 0.052, element="biography")
    press.box(1, 0.05, bottom - 0.088, 0.95, press.foot)
    press.text(1, 0.5, bottom - 0.069, "© FAIRWEATHER CARD WORKS. PRTD. IN THE VALLEY", 0.03, "fine", "mm", tone=0)


def leaders(press: Press, player: Player, rng: random.Random):
    """The all-time leaders of a club: a ranked and ruled list of names and figures under a band."""
    bottom, accent = press.bottom, press.accent
    press.box(0, 0.05, 0.05, 0.95, press.foot, line=0.007)
    press.box(accent, 0.057, 0.057, 0.943, press.foot - 0.007, 0.22)
    press.box(1, 0.08, 0.08, 0.92, 0.27)
    press.text(1, 0.32, 0.135, player.team.upper(), 0.085, tone=0, fit=0.57, element="team")
    subject = rng.choice(("HOME RUNS", "BASE HITS", "RUNS BATTED IN", "STOLEN BASES", "STRIKEOUTS", "GAMES PLAYED"))
    press.text(1, 0.32, 0.215, f"ALL-TIME {subject}", 0.062, tone=0, fit=0.57, element="title")
    ball(press, 0.195, 0.175, 0.085, player.number)
    count = max(4, min(14, int((bottom - 0.5) / 0.058)))
    value, lead = rng.randrange(250, 420), (bottom - 0.5) / count
    for place in range(count):
        first, last = invent_name(rng)
        y = 0.31 + (place + 0.5) * lead
        height = min(0.062, lead * 0.8)
        press.text(0, 0.155, y, f"{place + 1}.", height, anchor="rm")
        press.text(0, 0.18, y, f"{first} {last}", height, "serif", fit=0.54)
        press.text(0, 0.90, y, str(value), height, anchor="rm")
        press.box(1, 0.10, y + lead / 2 - 0.0015, 0.90, y + lead / 2)
        value -= rng.randrange(1, 24)
    press.mark("table", 0.10, 0.31, 0.90, 0.31 + count * lead)
    figures = f"The {player.team} of {player.town} have kept these figures since 19{rng.randrange(10, 30)}."
    press.paragraph(0, 0.10, bottom - 0.19, 0.90, press.foot - 0.03, (figures,), 0.044, "sans", True)
    press.text(0, 0.5, press.foot - 0.022, "© ORCHARD CONFECTIONS", 0.026, "fine", "mm")


def reverse(press: Press, player: Player, rng: random.Random):
    """A fully inked ground with panels knocked out to bare stock."""
    bottom = press.bottom
    press.box(1, 0.05, 0.05, 0.95, press.foot, 0.85)
    press.box(1, 0.09, 0.09, 0.66, 0.27, 0)
    press.text(0, 0.12, 0.145, player.last.upper(), 0.105, fit=0.51, element="name")
    press.text(0, 0.12, 0.225, f"{player.first} - {player.position}", 0.056, "serif", fit=0.51)
    ball(press, 0.80, 0.18, 0.105, player.number)
    press.text(1, 0.5, 0.31, player.vitals_line, 0.046, "bold", "mm", tone=0, fit=0.82, element="vitals")
    rows = player.table("middle")
    table = bottom - 0.15 - 0.055 * len(rows)
    press.box(1, 0.09, 0.35, 0.91, table - 0.04, 0)
    press.paragraph(0, 0.12, 0.37, 0.88, table - 0.05, player.sentences, 0.056, "serif", element="biography")
    press.box(1, 0.09, table, 0.91, bottom - 0.145, 0)
    press.table(0, 0.10, table, 0.90, bottom - 0.15, rows)
    team = f"{player.town} {player.team}".upper()
    press.text(1, 0.5, bottom - 0.10, team, 0.06, "roman", "mm", tone=0, fit=0.8, element="team")


def framed(press: Press, player: Player, rng: random.Random):
    """A thick frame around a bare panel, the name on a plaque that overlaps it."""
    bottom = press.bottom
    press.box(0, 0.05, 0.05, 0.95, press.foot, line=0.035, radius=0.05)
    press.box(1, 0.098, 0.098, 0.902, bottom - 0.098, line=0.008, radius=0.02)
    for ink in (0, 1):
        press.box(ink, 0.13, 0.05, 0.87, 0.25, tone=1 - ink, radius=0.05)
    press.box(0, 0.142, 0.062, 0.858, 0.238, tone=0, radius=0.04)
    press.text(0, 0.5, 0.125, player.name, 0.095, "italic", "mm", fit=0.66, element="name")
    where = f"{player.position}, {player.town} {player.team}"
    press.text(1, 0.5, 0.195, where, 0.052, "serif-bold", "mm", fit=0.66, element="team")
    rows = player.table("middle")
    table = bottom - 0.31 - 0.05 * len(rows)
    press.paragraph(0, 0.14, 0.28, 0.86, table - 0.02, player.sentences, 0.054, "serif", element="biography")
    press.table(0, 0.13, table, 0.87, bottom - 0.31, rows, rules=1)
    press.text(0, 0.14, bottom - 0.24, player.vitals_line.split("   BORN")[0], 0.042, "sans", fit=0.5, element="vitals")
    press.text(0, 0.14, bottom - 0.19, f"BORN {player.born}   HOME: {player.home.upper()}", 0.042, "sans", fit=0.5)
    press.text(0, 0.14, bottom - 0.14, "SET OF 660. GOLDEN BOUGH", 0.032, "fine", fit=0.5)
    ball(press, 0.76, bottom - 0.20, 0.085, player.number)


def checklist(press: Press, player: Player, rng: random.Random):
    """A checklist of the set: two columns of numbers, boxes and names under a band."""
    press.box(0, 0.05, 0.05, 0.95, press.foot, line=0.006)
    press.box(1, 0.07, 0.07, 0.93, 0.20)
    lead = 0.041
    count = max(3, int((press.foot - 0.30) / lead))
    first = 1 + 2 * count * rng.randrange(10)
    press.box(1, 0.09, 0.09, 0.23, 0.18, 0)
    press.text(0, 0.16, 0.136, str(player.number), 0.075, anchor="mm", fit=0.11)
    press.mark("number", 0.09, 0.09, 0.23, 0.18)
    press.text(1, 0.58, 0.112, "CHECKLIST", 0.075, anchor="mm", tone=0, fit=0.6, element="title")
    press.text(1, 0.58, 0.170, f"CARDS {first} TO {first + 2 * count - 1}", 0.045, "sans", "mm", tone=0, fit=0.6)
    for column, left in enumerate((0.075, 0.515)):
        for place in range(count):
            y = 0.235 + (place + 0.5) * lead
            press.box(0, left, y - 0.012, left + 0.024, y + 0.012, line=0.003)
            press.text(0, left + 0.105, y, str(first + column * count + place), 0.038, "sans", "rm")
            press.text(
                0, left + 0.12, y, " ".join(invent_name(rng)), 0.040, "bold" if place % 7 == 0 else "sans", fit=0.29
            )
    press.box(1, 0.50, 0.23, 0.502, 0.235 + count * lead)
    press.mark("table", 0.075, 0.235, 0.925, 0.235 + count * lead)
    press.text(0, 0.5, press.foot - 0.035, "MARK THE BOXES WITH A SOFT PENCIL", 0.032, "fine", "mm")


def wirephoto(press: Press, player: Player, rng: random.Random):
    """A header of big type, a quiz with its answer upside down beside a cartoon, a ruled table at the foot."""
    accent = press.accent
    badge(press, 0.15, 0.15, 0.10, player.number, rng.choice(("star", "shield", "diamond")), 1)
    press.text(0, 0.28, 0.09, player.name.upper(), 0.09, fit=0.67, element="name")
    press.box(1, 0.28, 0.135, 0.95, 0.195)
    press.text(1, 0.30, 0.166, f"{player.team} - {player.position}".upper(), 0.052, tone=0, fit=0.63, element="team")
    press.text(0, 0.28, 0.225, player.vitals_line, 0.042, "bold", fit=0.67, element="vitals")
    rows = player.table("full")
    table = press.foot - 0.036 - 0.05 * len(rows)
    height = max(0.02, table - 0.285)
    split = 0.265 + 0.56 * height
    press.box(0, 0.05, 0.265, 0.50, split, line=0.005)
    trivia(press, 0.07, 0.28, 0.48, split - 0.015, *player.trivia, 0.055, 0, 1, "serif")
    press.paragraph(
        0,
        0.05,
        split + 0.015,
        0.50,
        table - 0.02,
        player.sentences,
        0.048,
        "serif",
        element="biography",
    )
    press.box(accent, 0.53, 0.265, 0.95, table - 0.02, 0.25)
    side = min(0.38, max(0.02, height - 0.10))
    cartoon(press, rng, 0.74 - side / 2, 0.265 + (height - 0.04 - side) / 2, side, tint=accent, scene=True)
    press.text(0, 0.74, table - 0.05, player.doodle, 0.044, "italic", "mm", fit=0.39)
    press.table(0, 0.05, table, 0.95, press.foot - 0.03, rows, rules=1, head_tone=0.35, ruled=2)
    press.text(0, 0.05, press.foot - 0.012, "© QUILL & ANCHOR. LITHO IN THE VALLEY", 0.024, "fine")
    press.text(
        0,
        0.95,
        press.foot - 0.012,
        f"LOOK FOR THE {rng.choice(TOWNS.split()).upper()} {rng.choice(NICKNAMES.split()).upper()}",
        0.024,
        "fine",
        "rm",
    )
