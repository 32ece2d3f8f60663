"""Upright layouts of card backs: each function prints an invented player on the plates of a press.

Coordinates are card widths from the top left corner. `bottom` is the height of the card, `foot` the end of the print.
"""

import random

from cardsynth.render.cartoons import cartoon
from cardsynth.render.ornaments import badge, ball, trivia
from cardsynth.render.players import WORDS, Player, invent_name
from cardsynth.render.press import BAND, BARE, KEY, Press

LEFT, TOP, RIGHT = 0.05, 0.05, 0.95  # where the print of upright cards ends
LEADER_SUBJECTS = ("HOME RUNS", "BASE HITS", "RUNS BATTED IN", "STOLEN BASES", "STRIKEOUTS", "GAMES PLAYED")


def banner(press: Press, player: Player, rng: random.Random) -> None:
    """A solid band with the name knocked out, the biography beside an oval cartoon, and a short table."""
    bottom, foot = press.bottom, press.foot
    press.box(BAND, (LEFT, TOP, RIGHT, 0.235))
    press.text(BAND, (0.29, 0.115), player.name.upper(), 0.105, fit=0.63, tone=BARE, element="name")
    press.text(BAND, (0.29, 0.195), f"{player.town} {player.role}", 0.052, "sans", tone=BARE, fit=0.62)
    ball(press, (0.165, 0.1425), 0.105, player.number)
    press.text(KEY, (0.5, 0.275), player.vitals_line(), 0.048, "sans", anchor="mm", fit=0.9, element="vitals")
    press.box(KEY, (LEFT, 0.31, RIGHT, 0.316))
    press.paragraph((LEFT, 0.34, 0.56, 0.36 + 0.41 * bottom), player.sentences, 0.056, "serif", element="biography")
    oval = (0.77, 0.34 + 0.21 * bottom)
    press.ellipse(BAND, oval, 0.18, 0.24 * bottom * 0.95, tone=0.32)
    press.ellipse(BAND, oval, 0.16, 0.22 * bottom * 0.95, tone=BARE)
    cartoon(press, rng, (0.635, oval[1] - 0.15, 0.27), skin=0.4, scene=False)
    press.table((LEFT, bottom - 0.35, RIGHT, bottom - 0.12), player.table("middle"), rules=BAND, head_tone=1)
    press.text(KEY, (0.5, bottom - 0.085), "NO. SERIES. PRINTED IN THE VALLEY", 0.034, "fine", anchor="mm")
    press.box(KEY, (LEFT, foot - 0.006, RIGHT, foot))


def pennant(press: Press, player: Player, rng: random.Random) -> None:
    """A pennant with the team across the top, a round number, and a toned did-you-know panel."""
    bottom, foot = press.bottom, press.foot
    press.polygon(BAND, [(LEFT, TOP), (0.80, 0.15), (LEFT, 0.25)])
    press.text(BAND, (0.08, 0.15), player.team.upper(), 0.085, "roman", tone=BARE, fit=0.46, element="team")
    press.ellipse(KEY, (0.85, 0.15), 0.10)
    press.text(KEY, (0.85, 0.15), str(player.number), 0.095, anchor="mm", tone=BARE, fit=0.15)
    press.mark("number", (0.75, 0.05, 0.95, 0.25))
    press.text(KEY, (LEFT, 0.315), player.name.upper(), 0.10, "serif-bold", fit=0.9, element="name")
    press.text(KEY, (LEFT, 0.385), player.vitals_line(), 0.046, "sans", fit=0.9, element="vitals")
    press.box(BAND, (LEFT, 0.415, RIGHT, 0.423))
    press.table((LEFT, 0.44, RIGHT, 0.63 * bottom), player.table("middle"), rules=BAND)
    panel = 0.67 * bottom
    press.box(BAND, (LEFT, panel, RIGHT, foot), tone=0.28, radius=0.03)
    press.text(BAND, (0.08, panel + 0.055), "DID YOU KNOW?", 0.062)
    press.paragraph((0.08, panel + 0.095, 0.62, foot - 0.01), player.sentences, 0.054, element="biography")
    side = 0.33 * bottom - 0.13
    cartoon(press, rng, (0.92 - side, panel + 0.03, side), scene=False)


def sidebar(press: Press, player: Player, rng: random.Random) -> None:
    """A coloured column with number and vitals, and the table and biography to its right."""
    bottom, foot = press.bottom, press.foot
    press.box(BAND, (LEFT, TOP, 0.29, foot), radius=0.03)
    press.ellipse(BAND, (0.17, 0.17), 0.095, tone=BARE)
    press.text(KEY, (0.17, 0.17), str(player.number), 0.10, anchor="mm", fit=0.15)
    press.mark("number", (0.075, 0.075, 0.265, 0.265))
    for line, (label, value) in enumerate(player.vitals.items()):
        press.text(BAND, (0.17, 0.34 + line * 0.145 * bottom), label, 0.042, "sans", anchor="mm", tone=BARE)
        press.text(BAND, (0.17, 0.39 + line * 0.145 * bottom), value, 0.062, anchor="mm", tone=BARE, fit=0.2)
    press.mark("vitals", (0.07, 0.31, 0.27, 0.43 + 4 * 0.145 * bottom))
    column = 0.33
    press.text(KEY, (column, 0.09), player.first.upper(), 0.07, "sans")
    press.text(KEY, (column, 0.175), player.last.upper(), 0.110, fit=0.62, element="name")
    press.text(BAND, (column, 0.258), player.role.upper(), 0.052, fit=0.62, element="team")
    press.box(KEY, (column, 0.29, RIGHT, 0.298))
    press.table((column, 0.31, RIGHT, 0.62 * bottom), player.table("narrow"), rules=BAND, head_tone=0.35)
    press.paragraph((column, 0.65 * bottom, RIGHT, bottom - 0.13), player.sentences, 0.058, element="biography")
    press.text(BAND, (RIGHT, bottom - 0.09), "LANTERN GUM CO.", 0.036, anchor="rm")
    press.box(KEY, (column, foot - 0.008, RIGHT, foot))


def comic(press: Press, player: Player, rng: random.Random) -> None:
    """A cartoon panel over the upper half; name, biography and a short table beneath."""
    bottom, accent = press.bottom, press.accent
    split = 0.47 * bottom
    press.box(KEY, (LEFT, TOP, RIGHT, split), line=0.010)
    press.box(accent, (0.060, 0.060, 0.940, split - 0.010), tone=0.40)
    cartoon(press, rng, (0.10, 0.09, split - 0.16), tint=accent)
    x, y = bubble = 0.71, 0.26 * bottom - 0.03
    for ink, tone in ((accent, BARE), (KEY, 1.0)):
        press.polygon(ink, [(x - 0.12, y + 0.05), (x - 0.26, y + 0.17), (x - 0.02, y + 0.10)], tone=tone)
        press.ellipse(ink, bubble, 0.21, 0.125 * bottom, tone=tone, line=0.008 * tone)
    press.paragraph((0.54, y - 0.075, 0.88, 0.40 * bottom), (player.doodle,), 0.060, "bold", centered=True)
    press.box(BAND, (LEFT, split + 0.02, RIGHT, split + 0.15))
    press.text(BAND, (0.08, split + 0.085), player.name.upper(), 0.105, fit=0.66, tone=BARE, element="name")
    number = f"#{player.number}"
    press.text(BAND, (0.92, split + 0.085), number, 0.09, anchor="rm", tone=BARE, fit=0.18, element="number")
    press.text(KEY, (LEFT, split + 0.185), player.vitals_line(), 0.045, fit=0.9, element="vitals")
    table = bottom - 0.08 - 0.052 * (len(player.seasons) + 2)
    press.paragraph((LEFT, split + 0.22, RIGHT, table - 0.01), player.sentences, 0.054, "serif", element="biography")
    press.table((LEFT, table, RIGHT, bottom - 0.085), player.table("middle"))
    press.text(KEY, (RIGHT, press.foot - 0.014), "© ORCHARD CONFECTIONS", 0.028, "fine", anchor="rm")


def ledger(press: Press, player: Player, rng: random.Random) -> None:
    """The career table, which fills the card beneath a corner badge and the name."""
    bottom = press.bottom
    press.polygon(BAND, [(LEFT, TOP), (0.27, TOP), (0.27, 0.19), (0.16, 0.25), (LEFT, 0.19)])
    press.text(BAND, (0.16, 0.13), str(player.number), 0.11, anchor="mm", tone=BARE, fit=0.19)
    press.mark("number", (LEFT, TOP, 0.27, 0.25))
    press.text(KEY, (0.31, 0.095), player.name.upper(), 0.095, fit=0.64, element="name")
    press.text(BAND, (0.31, 0.17), f"{player.position} - {player.team}".upper(), 0.06, fit=0.64, element="team")
    press.text(KEY, (0.31, 0.22), player.vitals_line(), 0.044, fit=0.64, element="vitals")
    table = (LEFT, 0.265, RIGHT, bottom - 0.235)
    press.box(BAND, table, tone=0.2)
    press.table(table, player.table("full"), rules=BAND, head_tone=1, lines="rows")
    press.paragraph((LEFT, bottom - 0.22, RIGHT, bottom - 0.1), player.sentences, 0.052, element="biography")
    press.box(BAND, (LEFT, bottom - 0.088, RIGHT, press.foot))
    maker = "© FAIRWEATHER CARD WORKS. PRTD. IN THE VALLEY"
    press.text(BAND, (0.5, bottom - 0.069), maker, 0.03, "fine", anchor="mm", tone=BARE)


def leaders(press: Press, player: Player, rng: random.Random) -> None:
    """The all-time leaders of a club: a ranked and ruled list of names and figures under a band."""
    bottom, foot = press.bottom, press.foot
    press.box(KEY, (LEFT, TOP, RIGHT, foot), line=0.007)
    press.box(press.accent, (0.057, 0.057, 0.943, foot - 0.007), tone=0.22)
    press.box(BAND, (0.08, 0.08, 0.92, 0.27))
    press.text(BAND, (0.32, 0.135), player.team.upper(), 0.085, tone=BARE, fit=0.57, element="team")
    title = f"ALL-TIME {rng.choice(LEADER_SUBJECTS)}"
    press.text(BAND, (0.32, 0.215), title, 0.062, tone=BARE, fit=0.57, element="title")
    ball(press, (0.195, 0.175), 0.085, player.number)
    top, left, right = 0.31, 0.10, 0.90
    count = max(4, min(14, int((bottom - 0.5) / 0.058)))
    value, lead = rng.randrange(250, 420), (bottom - 0.5) / count
    height = min(0.062, lead * 0.8)
    for rank in range(count):
        y = top + (rank + 0.5) * lead
        press.text(KEY, (0.155, y), f"{rank + 1}.", height, anchor="rm")
        press.text(KEY, (0.18, y), " ".join(invent_name(rng)), height, "serif", fit=0.54)
        press.text(KEY, (right, y), str(value), height, anchor="rm")
        press.box(BAND, (left, y + lead / 2 - 0.0015, right, y + lead / 2))
        value -= rng.randrange(1, 24)
    press.mark("table", (left, top, right, top + count * lead))
    note = f"The {player.team} of {player.town} have kept these figures since 19{rng.randrange(10, 30)}."
    press.paragraph((left, bottom - 0.19, right, foot - 0.03), (note,), 0.044, centered=True)
    press.text(KEY, (0.5, foot - 0.022), "© ORCHARD CONFECTIONS", 0.026, "fine", anchor="mm")


def reverse(press: Press, player: Player, rng: random.Random) -> None:
    """A fully inked ground with panels knocked out to bare stock."""
    bottom = press.bottom
    press.box(BAND, (LEFT, TOP, RIGHT, press.foot), tone=0.85)
    press.box(BAND, (0.09, 0.09, 0.66, 0.27), tone=BARE)
    press.text(KEY, (0.12, 0.145), player.last.upper(), 0.105, fit=0.51, element="name")
    press.text(KEY, (0.12, 0.225), f"{player.first} - {player.position}", 0.056, "serif", fit=0.51)
    ball(press, (0.80, 0.18), 0.105, player.number)
    press.text(BAND, (0.5, 0.31), player.vitals_line(), 0.046, anchor="mm", tone=BARE, fit=0.82, element="vitals")
    rows = player.table("middle")
    table = bottom - 0.15 - 0.055 * len(rows)
    press.box(BAND, (0.09, 0.35, 0.91, table - 0.04), tone=BARE)
    press.paragraph((0.12, 0.37, 0.88, table - 0.05), player.sentences, 0.056, "serif", element="biography")
    press.box(BAND, (0.09, table, 0.91, bottom - 0.145), tone=BARE)
    press.table((0.10, table, 0.90, bottom - 0.15), rows)
    team = (0.5, bottom - 0.10)
    press.text(BAND, team, player.club.upper(), 0.06, "roman", anchor="mm", tone=BARE, fit=0.8, element="team")


def framed(press: Press, player: Player, rng: random.Random) -> None:
    """A thick frame around a bare panel, and a plaque with the name that overlaps it."""
    bottom, left, right = press.bottom, 0.14, 0.86
    press.box(KEY, (LEFT, TOP, RIGHT, press.foot), line=0.035, radius=0.05)
    press.box(BAND, (0.098, 0.098, 0.902, bottom - 0.098), line=0.008, radius=0.02)
    for ink, tone in ((KEY, 1.0), (BAND, BARE)):
        press.box(ink, (0.13, TOP, 0.87, 0.25), tone=tone, radius=0.05)
    press.box(KEY, (0.142, 0.062, 0.858, 0.238), tone=BARE, radius=0.04)
    press.text(KEY, (0.5, 0.125), player.name, 0.095, "italic", anchor="mm", fit=0.66, element="name")
    team = f"{player.position}, {player.club}"
    press.text(BAND, (0.5, 0.195), team, 0.052, "serif-bold", anchor="mm", fit=0.66, element="team")
    rows = player.table("middle")
    table = bottom - 0.31 - 0.05 * len(rows)
    press.paragraph((left, 0.28, right, table - 0.02), player.sentences, 0.054, "serif", element="biography")
    press.table((0.13, table, 0.87, bottom - 0.31), rows, rules=BAND)
    vitals = player.vitals_line("HT", "WT", "BATS", "THROWS")
    press.text(KEY, (left, bottom - 0.24), vitals, 0.042, "sans", fit=0.5, element="vitals")
    born = f"{player.vitals_line('BORN')}   HOME: {player.home.upper()}"
    press.text(KEY, (left, bottom - 0.19), born, 0.042, "sans", fit=0.5)
    press.text(KEY, (left, bottom - 0.14), "SET OF 660. GOLDEN BOUGH", 0.032, "fine", fit=0.5)
    ball(press, (0.76, bottom - 0.20), 0.085, player.number)


def checklist(press: Press, player: Player, rng: random.Random) -> None:
    """A checklist of the set: two columns of numbers, boxes and names under a band."""
    foot, lead, top = press.foot, 0.041, 0.235
    press.box(KEY, (LEFT, TOP, RIGHT, foot), line=0.006)
    press.box(BAND, (0.07, 0.07, 0.93, 0.20))
    count = max(3, int((foot - 0.30) / lead))
    first = 1 + 2 * count * rng.randrange(10)
    panel = (0.09, 0.09, 0.23, 0.18)
    press.box(BAND, panel, tone=BARE)
    press.text(KEY, (0.16, 0.136), str(player.number), 0.075, anchor="mm", fit=0.11)
    press.mark("number", panel)
    press.text(BAND, (0.58, 0.112), "CHECKLIST", 0.075, anchor="mm", tone=BARE, fit=0.6, element="title")
    cards = f"CARDS {first} TO {first + 2 * count - 1}"
    press.text(BAND, (0.58, 0.170), cards, 0.045, "sans", anchor="mm", tone=BARE, fit=0.6)
    for column, left in enumerate((0.075, 0.515)):
        for row in range(count):
            y = top + (row + 0.5) * lead
            press.box(KEY, (left, y - 0.012, left + 0.024, y + 0.012), line=0.003)
            press.text(KEY, (left + 0.105, y), str(first + column * count + row), 0.038, "sans", anchor="rm")
            face = "sans" if row % 7 else "bold"
            press.text(KEY, (left + 0.12, y), " ".join(invent_name(rng)), 0.040, face, fit=0.29)
    press.box(BAND, (0.50, 0.23, 0.502, top + count * lead))
    press.mark("table", (0.075, top, 0.925, top + count * lead))
    press.text(KEY, (0.5, foot - 0.035), "MARK THE BOXES WITH A SOFT PENCIL", 0.032, "fine", anchor="mm")


def wirephoto(press: Press, player: Player, rng: random.Random) -> None:
    """A header of big type, a quiz with its answer upside down beside a cartoon, and a ruled table at the foot."""
    accent, foot, top = press.accent, press.foot, 0.265
    badge(press, (0.15, 0.15), 0.10, player.number, rng.choice(("star", "shield", "diamond")), (BAND,))
    press.text(KEY, (0.28, 0.09), player.name.upper(), 0.09, fit=0.67, element="name")
    press.box(BAND, (0.28, 0.135, RIGHT, 0.195))
    press.text(BAND, (0.30, 0.166), player.role.upper(), 0.052, tone=BARE, fit=0.63, element="team")
    press.text(KEY, (0.28, 0.225), player.vitals_line(), 0.042, fit=0.67, element="vitals")
    rows = player.table("full")
    table = foot - 0.036 - 0.05 * len(rows)
    height = max(0.02, table - 0.285)
    split = top + 0.56 * height
    press.box(KEY, (LEFT, top, 0.50, split), line=0.005)
    trivia(press, (0.07, 0.28, 0.48, split - 0.015), *player.trivia, height=0.055, head=BAND)
    press.paragraph((LEFT, split + 0.015, 0.50, table - 0.02), player.sentences, 0.048, "serif", element="biography")
    press.box(accent, (0.53, top, RIGHT, table - 0.02), tone=0.25)
    side = min(0.38, max(0.02, height - 0.10))
    cartoon(press, rng, (0.74 - side / 2, top + (height - 0.04 - side) / 2, side), tint=accent)
    press.text(KEY, (0.74, table - 0.05), player.doodle, 0.044, "italic", anchor="mm", fit=0.39)
    press.table((LEFT, table, RIGHT, foot - 0.03), rows, rules=BAND, head_tone=0.35, lines="both")
    press.text(KEY, (LEFT, foot - 0.012), "© QUILL & ANCHOR. LITHO IN THE VALLEY", 0.024, "fine")
    other_club = f"{rng.choice(WORDS['towns'])} {rng.choice(WORDS['nicknames'])}".upper()
    press.text(KEY, (RIGHT, foot - 0.012), f"LOOK FOR THE {other_club}", 0.024, "fine", anchor="rm")
