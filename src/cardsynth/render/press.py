"""The press: the ink plates of a card, with shapes, type and tables in relative units."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from cardsynth.render import halftone
from cardsynth.render.fonts import load_font, render_word

Strings = Sequence[str]
Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom

KEY, BAND = 0, 1  # the plate of the text, and the plate of bands and other colour
BARE = 0.0  # the tone that knocks print out to bare stock
LEADING = 1.22  # distance of a paragraph's baselines, in heights of its type
BASELINE = 0.36  # of a line of type below its middle, in heights
MINIMUM_TYPE = 4  # pixels
THIN, RULE = 0.0012, 0.0025  # half the width of a table's lines, in card widths
CELL_PADDING = 0.015  # at either side of a table's rows, in card widths


class Press:
    """The ink plates of one card, drawn in card widths.

    x runs from 0 to 1 and y from 0 to `bottom` = height / width. Plates are supersampled by `factors` = (across, down),
    more across than down: when they are reduced to the size of the card, all type becomes two thirds as wide, as the
    condensed type of real cards. Methods that draw take the number of the plate as `ink`, and as `tone` the coverage
    with ink, 0 to 1, where BARE removes what was printed before.

    Attributes:
        margin: Distance of the print from the edges; `right` and `foot` are the coordinates where it ends.
        accent: Number of the last plate: the tint of three-colour cards, else BAND.
        pad: Samples around the card on each plate, so that print can shift.
        elements: Names and boxes (left, top, right, bottom), in card widths, of the marked elements.
    """

    def __init__(self, size: tuple[int, int], faces: Mapping[str, str], inks: int = 2) -> None:
        """Prepares blank plates.

        Args:
            size: (height, width) of the upright print in pixels.
            faces: Font file of each typeface (bold, sans, serif, serif-bold, italic, roman, fine).
            inks: Number of plates, 2 or 3.
        """
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
        cell = min(size) / halftone.DOTS
        self._cell = (cell * self.factors[0], cell * self.factors[1]) if cell >= halftone.MINIMUM_CELL else None
        self.plates = [Image.new("L", self.canvas, 0) for _ in range(inks)]
        self._draws = [ImageDraw.Draw(plate) for plate in self.plates]
        self.elements: list[tuple[str, float, float, float, float]] = []

    def mark(self, name: str, box: Box) -> None:
        """Records the box of an element for the card's metadata."""
        self.elements.append((name, *box))

    def _points(self, points: Sequence[Point]) -> list[Point]:
        return [(self.pad + x * self.across, self.pad + y * self.down) for x, y in points]

    def _fill(self, ink: int, shape: str, points: Sequence[Point], tone: float, **options: float) -> None:
        """Fills a shape that ImageDraw knows, flat or with the dots of a halftone screen."""
        points = self._points(points)
        x, y = zip(*points, strict=True)
        if shape != "polygon" and (x[1] < x[0] or y[1] < y[0]):
            return  # the card is too small for it
        if self._cell is None or tone in (0, 1):
            getattr(self._draws[ink], shape)(points, fill=round(255 * tone), **options)
            return
        left, top = max(0, int(min(x))), max(0, int(min(y)))
        right, bottom = min(self.canvas[0], int(max(x)) + 2), min(self.canvas[1], int(max(y)) + 2)
        if right <= left or bottom <= top:
            return
        stencil = Image.new("L", (right - left, bottom - top), 0)
        getattr(ImageDraw.Draw(stencil), shape)([(x - left, y - top) for x, y in points], fill=255, **options)
        dots = halftone.screen(self.canvas, self._cell, ink, round(254 * tone))
        self.plates[ink].paste(dots.crop((left, top, right, bottom)), (left, top), stencil)

    def box(self, ink: int, box: Box, *, tone: float = 1.0, line: float = 0.0, radius: float = 0.0) -> None:
        """Fills a rectangle, or outlines it if `line`, a width, is not 0; `radius` rounds its corners."""
        left, top, right, bottom = box
        shape, options = ("rounded_rectangle", {"radius": radius * self.down}) if radius else ("rectangle", {})
        self._fill(ink, shape, ((left, top), (right, bottom)), tone, **options)
        if line:
            inside = (left + line, top + line, right - line, bottom - line)
            self.box(ink, inside, tone=BARE, radius=max(radius - line, 0))

    def ellipse(
        self, ink: int, center: Point, radius_x: float, radius_y: float = 0.0, *, tone: float = 1.0, line: float = 0.0
    ) -> None:
        """Fills an ellipse, or outlines it if `line`, a width, is not 0; without `radius_y` it is a circle."""
        (x, y), radius_y = center, radius_y or radius_x
        self._fill(ink, "ellipse", ((x - radius_x, y - radius_y), (x + radius_x, y + radius_y)), tone)
        if line:
            self.ellipse(ink, center, radius_x - line, radius_y - line, tone=BARE)

    def polygon(self, ink: int, points: Sequence[Point], *, tone: float = 1.0) -> None:
        """Fills a polygon."""
        self._fill(ink, "polygon", points, tone)

    def stroke(self, ink: int, points: Sequence[Point], *, line: float, tone: float = 1.0) -> None:
        """Draws a line of width `line` through the points, with round joints."""
        width = max(1, round(line * (self.across + self.down) / 2))
        self._draws[ink].line(self._points(points), fill=round(255 * tone), width=width, joint="curve")

    def text(
        self,
        ink: int,
        at: Point,
        text: str,
        height: float,
        face: str = "bold",
        *,
        anchor: str = "lm",
        tone: float = 1.0,
        fit: float = math.inf,
        element: str | None = None,
        turned: bool = False,
    ) -> None:
        """Sets one line of type.

        Args:
            ink: Number of the plate.
            at: Position of the anchor.
            text: The text.
            height: Height of the type in card widths.
            face: Name of the typeface.
            anchor: Pillow's name of the anchor: "lm" is left and middle.
            tone: Coverage with ink, 0 to 1.
            fit: Maximum width; wider text is set smaller.
            element: Name to mark the text with.
            turned: Sets the text upside down about its middle.
        """
        file = self.faces[face]
        font = load_font(file, max(MINIMUM_TYPE, round(height * self.down)))
        excess = font.getlength(text) / (max(fit, 0.01) * self.across)
        if excess > 1:
            font = load_font(file, max(MINIMUM_TYPE, int(height * self.down / excess)))
        origin = self._points((at,))[0]
        box = font.getbbox(text, anchor=anchor)
        left, top, right, bottom = (round(origin[axis % 2] + side) for axis, side in enumerate(box))
        if turned:
            bitmap = Image.new("L", (max(1, right - left), max(1, bottom - top)), 0)
            ImageDraw.Draw(bitmap).text((-box[0], -box[1]), text, fill=255, font=font, anchor=anchor)
            bitmap = bitmap.transpose(Image.Transpose.ROTATE_180)
            self._draws[ink].bitmap((left, top), bitmap, fill=round(255 * tone))
        else:
            self._draws[ink].text(origin, text, fill=round(255 * tone), font=font, anchor=anchor)
        if element:
            scales = (self.across, self.down) * 2
            sides = zip((left, top, right, bottom), scales, strict=True)
            self.mark(element, tuple((side - self.pad) / scale for side, scale in sides))

    def _word(self, ink: int, at: Point, text: str, file: str, pixels: int, fill: int = 255, flush: int = 0) -> None:
        """Sets a word with its baseline at a point of the plate, in samples; flush right if `flush` is 1."""
        bitmap, advance, rise = render_word(file, pixels, text)
        x, y = at
        self._draws[ink].bitmap((int(x - advance * flush), int(y + rise)), bitmap, fill=fill)

    def paragraph(
        self, box: Box, sentences: Strings, height: float, face: str = "sans", centered: bool = False, element: str = ""
    ) -> None:
        """Fills a box with sentences, from its top. A sentence that does not fit whole is left out.

        Args:
            box: Left, top, right and bottom.
            sentences: The sentences in order.
            height: Height of the type in card widths.
            face: Name of the typeface.
            centered: Centres the lines.
            element: Name to mark the paragraph with.
        """
        left, top, right, bottom = box
        file, pixels = self.faces[face], max(MINIMUM_TYPE, round(height * self.down))
        full, space = (right - left) * self.across, 0.3 * pixels
        room = int((bottom - top) / (LEADING * height) + 0.01)
        lines: list[list[tuple[float, str]]] = []  # words and where they start
        end = full
        for sentence in sentences:
            longer, stop = lines.copy(), end
            for word in sentence.split():
                advance = render_word(file, pixels, word)[1]
                if stop + space + advance > full:
                    longer.append([])
                    stop = -space
                longer[-1] = [*longer[-1], (stop + space, word)]
                stop += space + advance
            if len(longer) <= room:
                lines, end = longer, stop
        for number, line in enumerate(lines):
            y = self.pad + (top + (number + 0.5) * LEADING * height) * self.down + BASELINE * pixels
            start, last = line[-1]
            indent = (full - start - render_word(file, pixels, last)[1]) / 2 if centered else 0
            for start, word in line:
                self._word(KEY, (self.pad + left * self.across + indent + start, y), word, file, pixels)
        if element and lines:
            self.mark(element, (left, top, right, top + len(lines) * LEADING * height))

    def table(
        self, box: Box, rows: Sequence[Strings], *, rules: int = KEY, head_tone: float = 0.0, lines: str = ""
    ) -> None:
        """Sets the table of statistics, its first two columns flush left and the others flush right.

        Args:
            box: Left, top, right and bottom.
            rows: Rows of text, head first and totals last.
            rules: Plate of the lines and of the head's band.
            head_tone: Tone of the head's band; at 1 the head is knocked out.
            lines: "rows" for lines between all rows, "both" for lines between the columns as well.
        """
        left, top, right, bottom = box
        lead = (bottom - top) / len(rows)
        if lead <= 0:
            return
        if head_tone:
            self.box(rules, (left, top, right, top + lead), tone=head_tone)
        for row in range(2, len(rows) - 1) if lines else ():
            self.box(rules, (left, top + row * lead - THIN, right, top + row * lead + THIN))
        for y in (top + lead, bottom - lead, bottom):
            self.box(rules, (left, y - RULE, right, y + RULE))
        letters = [max(len(text) for text in column) for column in zip(*rows, strict=True)]
        letters[0] = max(len(row[0]) for row in rows[:-1])
        letter = (right - left - 2 * CELL_PADDING) / (sum(letters) + len(letters) - 1)
        file = self.faces["bold"]
        type_height = min(lead * 0.82, 0.055, letter / (0.54 if lines == "both" else 0.48))
        pixels = max(MINIMUM_TYPE, round(type_height * self.down))
        ends = [left + CELL_PADDING + sum(letters[: i + 1]) * letter + i * letter for i in range(len(letters))]
        for end in ends[1:-1] if lines == "both" else ():
            self.box(rules, (end + 0.5 * letter - THIN, top + lead, end + 0.5 * letter + THIN, bottom))
        for number, row in enumerate(rows):
            y = self.pad + (top + (number + 0.5) * lead) * self.down + BASELINE * pixels
            ink, fill = (rules, 0) if number == 0 and head_tone == 1 else (KEY, 255)
            for column, (text, width) in enumerate(zip(row, letters, strict=True)):
                x = self.pad + (ends[column] - (width * letter if column < 2 else 0)) * self.across
                self._word(ink, (x, y), text, file, pixels, fill, flush=column >= 2)
        self.mark("table", box)

    def samples(self, shift: Point) -> tuple[int, int]:
        """Converts a shift (x, y) in pixels into whole samples of the plates, at most `pad` of them."""
        return tuple(
            min(max(-self.pad, round(way * factor)), self.pad) for way, factor in zip(shift, self.factors, strict=True)
        )

    def coverage(self, plate: int, shift: tuple[int, int], spread: float = 0.0) -> np.ndarray:
        """Prints a plate at the size of the card.

        Args:
            plate: Number of the plate.
            shift: Misregistration (x, y) in samples.
            spread: Standard deviation of the ink's spread into the paper, in pixels; below 0.3 it has no effect.

        Returns:
            The ink, float32 (H, W) in 0 to 1.
        """
        x, y = (self.pad - way for way in shift)
        ink = self.plates[plate].reduce(self.factors, (x, y, x + self.across, y + self.height * self.factors[1]))
        if spread > 0.3:
            ink = ink.filter(ImageFilter.GaussianBlur(spread))
        return np.asarray(ink, np.float32) / 255
