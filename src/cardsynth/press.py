"""The press: two ink plates with type and line drawing in relative units, and the invented player who is printed."""

import importlib.util
import math
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FACES = {
    "sans": "DejaVuSans.ttf",
    "bold": "DejaVuSans-Bold.ttf",
    "serif": "DejaVuSerif.ttf",
    "serif-bold": "DejaVuSerif-Bold.ttf",
    "italic": "DejaVuSerif-BoldItalic.ttf",
    "roman": "STIXGeneralBol.ttf",
}
FIRST_NAMES = (
    "Abner Bix Clem Dov Egan Fitz Gil Hob Ike Jory Kip Lute Milo Ned Orrin Pike Quin Rafe Sully Tobe Ugo Vern Wick Zeb"
)
NAME_HEADS = "Bram Corl Dun Ferr Gand Hask Jarr Kell Lomb Mard Norr Pell Quar Rusk Stad Tarn Vand Wex Yarr Zell"
NAME_TAILS = "aby ander berg dock ero field ginski hew inello jack kin low moor nardo ock pool quist rove sby tino wick"
TOWNS = "Ansel Brackwater Cobbleton Dunmere Eastlow Farrow Grindell Harrowgate Inkwell Kestrel Lowmoor Marlbank"
NICKNAMES = "Anvils Badgers Comets Drovers Foundrymen Herons Kites Lamplighters Otters Ploughmen Quarrymen Weavers"
POSITIONS = "Pitcher Catcher Shortstop Outfield"
SENTENCES = (
    "{last} joined the {team} after two strong summers in the lower leagues.",
    "A steady hand at the plate, he led the club in doubles last season.",
    "Off the field {first} restores old radios and keeps bees.",
    "His throw from deep center ended the longest game of the year.",
    "{first} hit safely in nineteen games running and took it calmly.",
    "The {team} count on his quick glove and his good humor.",
    "He learned the game on a farm field near {town}.",
    "Once walked nine miles through snow to reach spring training.",
    "Bats best in light rain.",
    "Came to the {team} in a trade for two pitchers.",
    "Has never missed a team bus.",
    "Signed out of high school.",
    "{first} led all rookies in assists.",
    "Plays the cornet.",
)
DOODLES = ("Keeps bees in winter.", "Runs for the early train!", "Can whistle any tune.", "Likes a long fly ball.")
STATISTICS = ("YR", "CLUB", "G", "AB", "R", "H", "HR", "RBI", "AVG")


@dataclass(frozen=True)
class Player:
    """An invented player: everything the back of a card says about him; statistics are rows of text, totals last."""

    first: str
    last: str
    team: str
    town: str
    position: str
    number: int
    vitals: str
    sentences: tuple[str, ...]
    doodle: str
    statistics: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"


def invent_player(rng: random.Random, decade: int, seasons: int) -> Player:
    """Invent a player with `seasons` rows of plausible batting figures that end in the given decade (1950 to 1980)."""
    last = rng.choice(NAME_HEADS.split()) + rng.choice(NAME_TAILS.split())
    first, town = rng.choice(FIRST_NAMES.split()), rng.choice(TOWNS.split())
    team = rng.choice(NICKNAMES.split())
    year = decade - 1900 + rng.randrange(9)
    skill = rng.uniform(0.23, 0.32)
    rows, totals = [], [0] * 6
    for season in range(seasons):
        games = rng.randrange(60, 160)
        at_bats = int(games * rng.uniform(2.6, 4.0))
        hits = int(at_bats * rng.gauss(skill, 0.018))
        home_runs = int(hits * rng.uniform(0.02, 0.16))
        runs = int(hits * rng.uniform(0.4, 0.6))
        line = (games, at_bats, runs, hits, home_runs, home_runs + int(hits * rng.uniform(0.25, 0.45)))
        totals = [total + value for total, value in zip(totals, line, strict=True)]
        rows.append((f"{year - seasons + season:02d}", town[:3].upper(), *map(str, line), f"{hits / at_bats:.3f}"[1:]))
    rows.append(("TOTALS", "", *map(str, totals), f"{totals[3] / totals[1]:.3f}"[1:]))
    feet, inches = divmod(rng.randrange(67, 78), 12)
    vitals = (
        f"HT {feet}-{inches}   WT {rng.randrange(155, 225)}   "
        f"BATS {rng.choice(('R', 'L'))}   THROWS {rng.choice(('R', 'L'))}   BORN {rng.randrange(1, 13)}-{year - 26}"
    )
    sentences = tuple(text.format(first=first, last=last, team=team, town=town) for text in rng.sample(SENTENCES, 9))
    position = rng.choice(POSITIONS.split())
    number, doodle = rng.randrange(1, 660), rng.choice(DOODLES)
    return Player(first, last, team, town, position, number, vitals, sentences, doodle, tuple(rows))


@lru_cache(maxsize=1)
def _font_folder() -> Path:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("cards are set in fonts that matplotlib ships: install matplotlib")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


@lru_cache(maxsize=512)
def _font(face: str, pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_folder() / FACES[face], pixels, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=16384)
def _figure(face: str, pixels: int, text: str) -> tuple[Image.Image, int, int]:
    """A short text set once and kept, with its width of advance and the offset of its top from the base line."""
    font = _font(face, pixels)
    left, top, right, bottom = font.getbbox(text, anchor="ls")
    left = min(left, 0)
    bitmap = Image.new("L", (right - left + 1, bottom - top + 1), 0)
    ImageDraw.Draw(bitmap).text((-left, -top), text, fill=255, font=font, anchor="ls")
    return bitmap, right, top


class Press:
    """Two ink plates of a card of size (height, width), drawn in relative units.

    Across, x runs from 0 to 1; down, y runs from 0 to `bottom` (height / width), so that both are card widths.
    Plates are supersampled half as finely again across as down: on reduction all type is squeezed to two thirds of its
    width, the condensed look of the trade. `tone` is the ink's coverage, 0 to 1; 0 knocks print out to bare stock.
    """

    def __init__(self, size: tuple[int, int]):
        self.height, self.width = size
        fine = 2 * max(1, math.ceil(160 / self.height))
        self.factors = (fine * 3 // 2, fine)
        self.bottom = self.height / self.width
        self.across = self.width * self.factors[0]
        self.down = self.width * self.factors[1]
        self.pad = max(2, round(0.03 * self.width)) * self.factors[0]
        canvas = (self.across + 2 * self.pad, self.height * self.factors[1] + 2 * self.pad)
        self.plates = [Image.new("L", canvas, 0) for _ in range(2)]
        self._draws = [ImageDraw.Draw(plate) for plate in self.plates]
        for draw in self._draws:
            draw.fontmode = "L"

    def _points(self, points) -> list[tuple[float, float]]:
        return [(self.pad + x * self.across, self.pad + y * self.down) for x, y in points]

    def box(self, ink, left, top, right, bottom, tone=1.0, line=0.0, radius=0.0):
        """A rectangle: filled with `tone`, or only a line of the given width; corners rounded by `radius`."""
        (x0, y0), (x1, y1) = self._points(((left, top), (right, bottom)))
        draw, fill = self._draws[ink], round(255 * tone)
        if radius:
            draw.rounded_rectangle((x0, y0, x1, y1), radius * self.down, fill=fill)
        else:
            draw.rectangle((x0, y0, x1, y1), fill=fill)
        if line:
            inner = max(radius - line, 0)
            self.box(ink, left + line, top + line, right - line, bottom - line, 0, 0, inner)

    def ellipse(self, ink, x, y, radius_x, radius_y=None, tone=1.0, line=0.0):
        """An ellipse (a circle without `radius_y`): filled with `tone`, or only a line of the given width."""
        radius_y = radius_y or radius_x
        corners = self._points(((x - radius_x, y - radius_y), (x + radius_x, y + radius_y)))
        self._draws[ink].ellipse([*corners[0], *corners[1]], fill=round(255 * tone))
        if line:
            self.ellipse(ink, x, y, radius_x - line, radius_y - line, 0)

    def polygon(self, ink, points, tone=1.0):
        """A filled polygon."""
        self._draws[ink].polygon(self._points(points), fill=round(255 * tone))

    def stroke(self, ink, points, line=0.008, tone=1.0):
        """A line through the points with round joints."""
        width = max(1, round(line * (self.across + self.down) / 2))
        self._draws[ink].line(self._points(points), fill=round(255 * tone), width=width, joint="curve")

    def text(self, ink, x, y, text, height, face="bold", anchor="lm", tone=1.0, fit=None):
        """One line of type of the given height (card widths), made smaller where it would be wider than `fit`."""
        font = _font(face, max(4, round(height * self.down)))
        if fit:
            excess = font.getlength(text) / (fit * self.across)
            if excess > 1:
                font = _font(face, max(4, int(height * self.down / excess)))
        self._draws[ink].text(self._points(((x, y),))[0], text, fill=round(255 * tone), font=font, anchor=anchor)

    def paragraph(self, ink, left, top, right, bottom, sentences, height, face="sans", centered=False):
        """Lines of type that fill a box from its top: those whole sentences that it holds."""
        pixels = max(4, round(height * self.down))
        full, space = (right - left) * self.across, 0.3 * pixels
        room = max(1, int((bottom - top) / (1.22 * height)))
        lines: list[list[tuple[float, str]]] = []
        end = full
        for sentence in sentences:
            longer, stop = lines.copy(), end
            for word in sentence.split():
                advance = _figure(face, pixels, word)[1]
                if stop + space + advance > full:
                    longer.append([])
                    stop = -space
                longer[-1] = [*longer[-1], (stop + space, word)]
                stop += space + advance
            if len(longer) <= room or not lines:
                lines, end = longer[:room], stop
        for number, line in enumerate(lines):
            y = self.pad + (top + (number + 0.5) * 1.22 * height) * self.down + 0.36 * pixels
            x, last = line[-1]
            indent = (full - x - _figure(face, pixels, last)[1]) / 2 if centered else 0
            for x, word in line:
                self._set(ink, self.pad + left * self.across + indent + x, y, word, face, pixels)

    def _set(self, ink, x, y, text, face, pixels, tone=255, flush_right=False):
        bitmap, advance, rise = _figure(face, pixels, text)
        self._draws[ink].bitmap((int(x - advance * flush_right), int(y + rise)), bitmap, fill=tone)

    def table(self, ink, left, top, right, bottom, rows, names=STATISTICS, face="bold", rules=0, head_tone=0.0):
        """The ruled statistics table: head, seasons and totals in the named columns.

        `rules` is the ink of its lines, and of the head's band where `head_tone` is not 0; on a full tone the head is
        knocked out.
        """
        chosen = [STATISTICS.index(name) for name in names]
        rows = [tuple(row[index] for index in chosen) for row in (STATISTICS, *rows)]
        lead = (bottom - top) / len(rows)
        if head_tone:
            self.box(rules, left, top, right, top + lead, head_tone)
        for line in (top + lead, bottom - lead, bottom):
            self.box(rules, left, line - 0.0025, right, line + 0.0025)
        letters = [max(len(text) for text in column) for column in zip(*rows, strict=True)]
        letters[0] = 2
        room = (right - left - 0.03) / (sum(letters) + len(letters) - 1)
        pixels = max(4, round(min(lead * 0.86, 0.055, room / 0.48) * self.down))
        for number, row in enumerate(rows):
            y = self.pad + (top + (number + 0.5) * lead) * self.down + 0.36 * pixels
            end = left + 0.015 - room
            plate, tone = (rules, 0) if number == 0 and head_tone == 1 else (ink, 255)
            for column, (text, width) in enumerate(zip(row, letters, strict=True)):
                start, end = end + room, end + room + width * room
                if text:
                    x = self.pad + (start if column < 2 else end) * self.across
                    self._set(plate, x, y, text, face, pixels, tone, flush_right=column >= 2)

    def coverage(self, plate: int, shift: tuple[float, float]) -> np.ndarray:
        """A plate's ink at card size: float32 (H, W) in 0 to 1, printed `shift` = (x, y) card widths off its place.

        No plate slips further than its margin, 0.03 card widths.
        """
        x = min(max(0, self.pad - round(shift[0] * self.across)), 2 * self.pad)
        y = min(max(0, self.pad - round(shift[1] * self.down)), 2 * self.pad)
        box = (x, y, x + self.across, y + self.height * self.factors[1])
        return np.asarray(self.plates[plate].reduce(self.factors, box), np.float32) / 255
