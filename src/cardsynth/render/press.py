"""The press: ink plates of a card with type, tables and line drawing in relative units, tones in halftone dots."""

import importlib.util
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

DOTS = 150  # of the screen across the card's shorter side: 60 lines an inch
SMALLEST_CELL = 2.6  # pixels: finer dots than these are printed as a flat tone
SCREEN_ANGLES = (45, 75, 15)  # degrees, one for each ink


@lru_cache(maxsize=1)
def _font_folder() -> Path:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("cards are set in fonts that matplotlib ships: install matplotlib")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


@lru_cache(maxsize=1024)
def _font(file: str, pixels: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_folder() / f"{file}.ttf", pixels, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=16384)
def _figure(file: str, pixels: int, text: str) -> tuple[Image.Image, int, int]:
    """A short text set once and kept, with its width of advance and the offset of its top from the base line."""
    font = _font(file, pixels)
    left, top, right, bottom = font.getbbox(text, anchor="ls")
    left = min(left, 0)
    bitmap = Image.new("L", (right - left + 1, bottom - top + 1), 0)
    ImageDraw.Draw(bitmap).text((-left, -top), text, fill=255, font=font, anchor="ls")
    return bitmap, right, top


@lru_cache(maxsize=6)
def _threshold(canvas: tuple[int, int], cell: tuple[float, float], angle: int) -> Image.Image:
    """The screen of one ink: for each sample the tone, 1 to 254, from which on it is inked."""
    across = np.arange(canvas[0], dtype=np.float32)[None, :] * (2 * math.pi / cell[0])
    down = np.arange(canvas[1], dtype=np.float32)[:, None] * (2 * math.pi / cell[1])
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    spot = np.cos(across * cosine + down * sine) + np.cos(down * cosine - across * sine)
    # A tone must ink its own share of the samples: thresholds are ranks among all of them.
    edges = np.quantile(spot[:256, :256], np.linspace(0, 1, 255)[1:-1]).astype(np.float32)
    return Image.fromarray((254 - np.searchsorted(edges, spot.ravel())).astype(np.uint8).reshape(spot.shape))


@lru_cache(maxsize=12)
def _screen(canvas: tuple[int, int], cell: tuple[float, float], angle: int, tone: int) -> Image.Image:
    return _threshold(canvas, cell, angle).point([255 * (level <= tone) for level in range(256)])


class Press:
    """The ink plates of a card of size (height, width), drawn in relative units.

    Across, x runs from 0 to 1; down, y runs from 0 to `bottom` (height / width), so that both are card widths.
    Print keeps within `margin` card widths of the edges, and `right` and `foot` are where it ends.
    Plates are supersampled half as finely again across as down: on reduction all type is squeezed to two thirds of its
    width, the condensed look of the trade. `tone` is the ink's coverage, 0 to 1; 0 knocks print out to bare stock.
    faces: font files by their use (bold, sans, serif, serif-bold, italic, roman, fine). inks: 2 or 3; `accent` is the
    last of them. `elements` collects what was marked, as (name, left, top, right, bottom) in card widths.
    """

    def __init__(self, size: tuple[int, int], faces: Mapping[str, str], inks: int = 2):
        self.height, self.width = size
        self.faces = faces
        fine = 2 * max(1, math.ceil(160 / max(size)))
        self.factors = (fine * 3 // 2, fine)
        self.bottom = self.height / self.width
        self.margin = 0.05 * min(1.0, self.bottom)
        self.right, self.foot = 1 - self.margin, self.bottom - self.margin
        self.accent = inks - 1
        self.across = self.width * self.factors[0]
        self.down = self.width * self.factors[1]
        self.pad = max(2, round(0.03 * self.width)) * self.factors[0]
        self.canvas = (self.across + 2 * self.pad, self.height * self.factors[1] + 2 * self.pad)
        cell = min(size) / DOTS
        self._cell = (cell * self.factors[0], cell * self.factors[1]) if cell >= SMALLEST_CELL else None
        self.plates = [Image.new("L", self.canvas, 0) for _ in range(inks)]
        self._draws = [ImageDraw.Draw(plate) for plate in self.plates]
        self.elements: list[tuple[str, float, float, float, float]] = []

    def mark(self, name, left, top, right, bottom):
        """Say that an element of this name lies in the box (card widths)."""
        self.elements.append((name, left, top, right, bottom))

    def _points(self, points) -> list[tuple[float, float]]:
        return [(self.pad + x * self.across, self.pad + y * self.down) for x, y in points]

    def _fill(self, ink, kind, points, tone, **how):
        """Fill a shape that ImageDraw knows; a tone between bare and full is filled with the dots of a screen."""
        points = self._points(points)
        x, y = zip(*points, strict=True)
        if kind != "polygon" and (x[1] < x[0] or y[1] < y[0]):
            return  # no room for it on a card of these proportions
        if self._cell is None or tone in (0, 1):
            getattr(self._draws[ink], kind)(points, fill=round(255 * tone), **how)
            return
        left, top = max(0, int(min(x))), max(0, int(min(y)))
        right, bottom = min(self.canvas[0], int(max(x)) + 2), min(self.canvas[1], int(max(y)) + 2)
        if right <= left or bottom <= top:
            return
        shape = Image.new("L", (right - left, bottom - top), 0)
        getattr(ImageDraw.Draw(shape), kind)([(x - left, y - top) for x, y in points], fill=255, **how)
        dots = _screen(self.canvas, self._cell, SCREEN_ANGLES[ink], round(254 * tone))
        self.plates[ink].paste(dots.crop((left, top, right, bottom)), (left, top), shape)

    def box(self, ink, left, top, right, bottom, tone=1.0, line=0.0, radius=0.0):
        """A rectangle: filled with `tone`, or only a line of the given width; corners rounded by `radius`."""
        how = {"radius": radius * self.down} if radius else {}
        kind = "rounded_rectangle" if radius else "rectangle"
        self._fill(ink, kind, ((left, top), (right, bottom)), tone, **how)
        if line:
            inner = max(radius - line, 0)
            self.box(ink, left + line, top + line, right - line, bottom - line, 0, 0, inner)

    def ellipse(self, ink, x, y, radius_x, radius_y=None, tone=1.0, line=0.0):
        """An ellipse (a circle without `radius_y`): filled with `tone`, or only a line of the given width."""
        radius_y = radius_y or radius_x
        self._fill(ink, "ellipse", ((x - radius_x, y - radius_y), (x + radius_x, y + radius_y)), tone)
        if line:
            self.ellipse(ink, x, y, radius_x - line, radius_y - line, 0)

    def polygon(self, ink, points, tone=1.0):
        """A filled polygon."""
        self._fill(ink, "polygon", points, tone)

    def stroke(self, ink, points, line=0.008, tone=1.0):
        """A line through the points with round joints."""
        width = max(1, round(line * (self.across + self.down) / 2))
        self._draws[ink].line(self._points(points), fill=round(255 * tone), width=width, joint="curve")

    def text(self, ink, x, y, text, height, face="bold", anchor="lm", tone=1.0, fit=None, element=None, turned=False):
        """One line of type of the given height (card widths), made smaller where it would be wider than `fit`.

        `turned` sets it upside down about its middle. `element` is the name to mark it with.
        """
        file = self.faces[face]
        font = _font(file, max(4, round(height * self.down)))
        if fit:
            excess = font.getlength(text) / (max(fit, 0.01) * self.across)
            if excess > 1:
                font = _font(file, max(4, int(height * self.down / excess)))
        place = self._points(((x, y),))[0]
        box = font.getbbox(text, anchor=anchor)
        corners = [round(place[axis % 2] + box[axis]) for axis in range(4)]
        if turned:
            bitmap = Image.new("L", (max(1, corners[2] - corners[0]), max(1, corners[3] - corners[1])), 0)
            ImageDraw.Draw(bitmap).text((-box[0], -box[1]), text, fill=255, font=font, anchor=anchor)
            bitmap = bitmap.transpose(Image.Transpose.ROTATE_180)
            self._draws[ink].bitmap((corners[0], corners[1]), bitmap, fill=round(255 * tone))
        else:
            self._draws[ink].text(place, text, fill=round(255 * tone), font=font, anchor=anchor)
        if element:
            x0, y0, x1, y1 = (value - self.pad for value in corners)
            self.mark(element, x0 / self.across, y0 / self.down, x1 / self.across, y1 / self.down)

    def paragraph(
        self, ink, left, top, right, bottom, sentences, height, face="sans", centered=False, tone=1.0, element=None
    ):
        """Lines of type that fill a box from its top: those whole sentences that it holds."""
        file, pixels = self.faces[face], max(4, round(height * self.down))
        full, space = (right - left) * self.across, 0.3 * pixels
        room = int((bottom - top) / (1.22 * height) + 0.01)
        lines: list[list[tuple[float, str]]] = []
        end = full
        for sentence in sentences:
            longer, stop = lines.copy(), end
            for word in sentence.split():
                advance = _figure(file, pixels, word)[1]
                if stop + space + advance > full:
                    longer.append([])
                    stop = -space
                longer[-1] = [*longer[-1], (stop + space, word)]
                stop += space + advance
            if len(longer) <= room:
                lines, end = longer, stop
        for number, line in enumerate(lines):
            y = self.pad + (top + (number + 0.5) * 1.22 * height) * self.down + 0.36 * pixels
            x, last = line[-1]
            indent = (full - x - _figure(file, pixels, last)[1]) / 2 if centered else 0
            for x, word in line:
                self._set(ink, self.pad + left * self.across + indent + x, y, word, file, pixels, round(255 * tone))
        if element and lines:
            self.mark(element, left, top, right, top + len(lines) * 1.22 * height)

    def _set(self, ink, x, y, text, file, pixels, tone=255, flush_right=False):
        bitmap, advance, rise = _figure(file, pixels, text)
        self._draws[ink].bitmap((int(x - advance * flush_right), int(y + rise)), bitmap, fill=tone)

    def table(
        self, ink, left, top, right, bottom, rows: Sequence[Sequence[str]], face="bold", rules=0, head_tone=0.0, ruled=0
    ):
        """The ruled statistics table: rows of text, head first and totals last.

        `rules` is the ink of its lines, and of the head's band where `head_tone` is not 0; on a full tone the head is
        knocked out. `ruled` is 1 for lines between all rows, 2 for lines between the columns as well.
        """
        lead = (bottom - top) / len(rows)
        if lead <= 0:
            return
        if head_tone:
            self.box(rules, left, top, right, top + lead, head_tone)
        thin = 0.0012
        for line in range(2, len(rows) - 1) if ruled else ():
            self.box(rules, left, top + line * lead - thin, right, top + line * lead + thin)
        for line in (top + lead, bottom - lead, bottom):
            self.box(rules, left, line - 0.0025, right, line + 0.0025)
        letters = [max(len(text) for text in column) for column in zip(*rows, strict=True)]
        letters[0] = max(len(row[0]) for row in rows[:-1])
        room = (right - left - 0.03) / (sum(letters) + len(letters) - 1)
        file = self.faces[face]
        pixels = max(4, round(min(lead * 0.82, 0.055, room / (0.54 if ruled == 2 else 0.48)) * self.down))
        ends = [left + 0.015 + sum(letters[: column + 1]) * room + column * room for column in range(len(letters))]
        for end in ends[1:-1] if ruled == 2 else ():
            self.box(rules, end + 0.5 * room - thin, top + lead, end + 0.5 * room + thin, bottom)
        for number, row in enumerate(rows):
            y = self.pad + (top + (number + 0.5) * lead) * self.down + 0.36 * pixels
            plate, tone = (rules, 0) if number == 0 and head_tone == 1 else (ink, 255)
            for column, (text, width) in enumerate(zip(row, letters, strict=True)):
                x = self.pad + (ends[column] - (width * room if column < 2 else 0)) * self.across
                self._set(plate, x, y, text, file, pixels, tone, flush_right=column >= 2)
        self.mark("table", left, top, right, bottom)

    def samples(self, shift: tuple[float, float]) -> tuple[int, int]:
        """A shift (x, y) in pixels as whole samples of the plates, no further than their margin, 0.03 card widths."""
        return tuple(
            min(max(-self.pad, round(way * factor)), self.pad) for way, factor in zip(shift, self.factors, strict=True)
        )

    def coverage(self, plate: int, shift: tuple[int, int], spread: float = 0.0) -> np.ndarray:
        """A plate's ink at card size: float32 (H, W) in 0 to 1, printed `shift` = (x, y) samples off its place.

        spread: how far ink runs into the paper at the edges of print, pixels; nothing is seen of less than a third.
        """
        x, y = (self.pad - way for way in shift)
        ink = self.plates[plate].reduce(self.factors, (x, y, x + self.across, y + self.height * self.factors[1]))
        if spread > 0.3:
            ink = ink.filter(ImageFilter.GaussianBlur(spread))
        return np.asarray(ink, np.float32) / 255
