"""Prints clean cards: a design from a seed, misregistered plates, uneven ink, an off-centre cut, light, and a scan."""

import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from cardsynth.render.damage.shapes import Size, grid
from cardsynth.render.layouts import LAYOUTS
from cardsynth.render.paper import CORE, Borders, Paper
from cardsynth.render.players import invent_player
from cardsynth.render.press import Box, Press
from cardsynth.render.styles import INKS, STOCKS, STYLES, Colour, Stock, Style

MINIMUM_JPEG = 100  # pixels of the shorter side; on smaller cards the blocks of a JPEG would hide too much
MINIMUM_BLUR = 0.2  # pixels; less has no effect
YELLOWING = (0.22, 0.42, 0.80)  # fraction of red, green and blue light that fully toned paper absorbs
OFF_CENTRE = 0.009  # standard deviation of the shift of the whole print, in lengths of the card's shorter side
LIMIT = 2.5  # standard deviations; larger shifts are clipped

Shift = tuple[int, int]  # (x, y) in samples of the plates
InkedPlate = tuple[np.ndarray, Colour]


@dataclass(frozen=True)
class Sheet:
    """An upright print, and how it lies in the picture.

    Attributes:
        press: The plates.
        turned: 0, 90 or 270 degrees counter-clockwise.
        shifts: Misregistration of each plate.
    """

    press: Press
    turned: int
    shifts: list[Shift]

    @property
    def size(self) -> Size:
        """Height and width of the picture in pixels."""
        size = self.press.height, self.press.width
        return size[::-1] if self.turned else size

    def in_picture(self, box: Box, plate: int = 0) -> Box:
        """Converts a box of the upright print, in card widths, to pixels of the picture."""
        press = self.press
        offset = [value / factor for value, factor in zip(self.shifts[plate], press.factors, strict=True)]
        upright = tuple(side * press.width + offset[axis % 2] for axis, side in enumerate(box))
        return turn_box(upright, self.turned, press.width, press.height)

    def misregister(self) -> list[list[float]]:
        """Shifts (x, y) of the other plates against the first, in pixels."""
        return [
            [round((a - b) / factor, 2) for a, b, factor in zip(shift, self.shifts[0], self.press.factors, strict=True)]
            for shift in self.shifts[1:]
        ]

    def centering(self, frame_plate: int, borders: Borders) -> dict[str, list[float]]:
        """Percentages of the borders between the printed frame and the edges that the card was cut to."""
        frame = (self.press.margin, self.press.margin, self.press.right, self.press.foot)
        left, top, right, bottom = self.in_picture(frame, frame_plate)
        height, width = self.size
        cut = [border * width for border in borders]
        percentages = {}
        for name, first, second in (
            ("left_right", left - cut[0], width - cut[2] - right),
            ("top_bottom", top - cut[1], height - cut[3] - bottom),
        ):
            share = round(100 * first / (first + second), 1)
            percentages[name] = [share, round(100 - share, 1)]
        return percentages

    def elements(self) -> dict[str, list[Any]]:
        """Names and boxes [x, y, width, height], in whole pixels of the picture, of the marked elements."""
        names, boxes = [], []
        height, width = self.size
        for name, *box in self.press.elements:
            left, top, right, bottom = self.in_picture(box)
            left, top = max(0, int(left)), max(0, int(top))
            right, bottom = min(width, int(np.ceil(right))), min(height, int(np.ceil(bottom)))
            if right > left and bottom > top:
                names.append(name)
                boxes.append([left, top, right - left, bottom - top])
        return {"name": names, "bbox": boxes}


def print_card(seed: int, size: Size, styles: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    """Prints the clean card of a seed.

    Args:
        seed: Decides everything about the card; a seed is the same design at every size.
        size: (height, width) in pixels.
        styles: Names of the styles to choose from.

    Returns:
        The picture, uint8 (H, W, 3); the coverage of its pixels by the card, float32 (H, W) in 0 to 1; and the
        metadata: style, layout, decade, stock, inks, orientation, turned (degrees counter-clockwise from upright
        print), player, centering (percentages of the left and right, and of the top and bottom border), misregister
        (x, y of the other plates against the first, in pixels), wear, toning, light, blur (pixels), jpeg_quality
        (None if not compressed) and elements (names, and boxes [x, y, width, height] in pixels).
    """
    design = random.Random(f"cardsynth {seed}")
    name = design.choice(list(styles))
    style = STYLES[name]
    layout = LAYOUTS[design.choice(style.layouts)]
    stock, inks = design.choice(style.stocks), design.choice(style.inks)
    player = invent_player(design, layout.decade, design.randint(*layout.seasons))
    turned = design.choice((90, 270)) if layout.landscape else 0
    press = Press(size[::-1] if layout.landscape else size, style.faces, len(INKS[inks]))
    layout.draw(press, player, design)

    paper = Paper(np.random.default_rng([seed, 1]), size)
    wear, toning = design.uniform(*style.wear), design.uniform(*style.toning)
    area, depth, borders = paper.cut(design, wear)
    sheet = Sheet(press, turned, _misregister(design, style, press))
    plates = list(_print_plates(sheet, design, paper, style))
    light, lamp = _light(design, style, size)
    ground = design.choice(style.grounds)
    card = _mix_colours(paper, depth, list(zip(plates, INKS[inks], strict=True)), STOCKS[stock], wear, toning)
    behind = np.array(ground, np.float32) + 2 * paper.fine[..., None]
    picture = (behind + area[..., None] * (card - behind)) * lamp
    blur, quality = design.uniform(*style.blur) * size[1], design.randint(*style.quality)
    compression = quality if min(size) >= MINIMUM_JPEG else None
    about = {
        "style": name,
        "layout": layout.name,
        "decade": layout.decade,
        "stock": stock,
        "inks": inks,
        "orientation": "landscape" if layout.landscape else "portrait",
        "turned": turned,
        "player": {"name": player.name, "team": player.team, "position": player.position, "number": player.number},
        "centering": sheet.centering(layout.frame, borders),
        "misregister": sheet.misregister(),
        "wear": round(wear, 3),
        "toning": round(toning, 3),
        "light": light,
        "blur": round(blur, 3),
        "jpeg_quality": compression,
        "elements": sheet.elements(),
    }
    return _scan(picture, blur, compression), area, about


def _misregister(design: random.Random, style: Style, press: Press) -> list[Shift]:
    """Draws the shift of each plate: that of the whole print, plus its own for all but the first."""
    short = min(press.height, press.width)

    def draw(deviation: float) -> list[float]:
        limit = LIMIT * deviation
        return [min(max(-limit, design.gauss(0, deviation)), limit) * short for _ in range(2)]

    center = draw(OFF_CENTRE)
    slips = [[0, 0], *(draw(style.slip) for _ in press.plates[1:])]
    return [press.samples((center[0] + x, center[1] + y)) for x, y in slips]


def _print_plates(sheet: Sheet, design: random.Random, paper: Paper, style: Style) -> Iterator[np.ndarray]:
    """Yields the ink of each plate on the paper, float32 (H, W) in 0 to 1: spread, uneven, broken by fibres."""
    spread, gain = design.uniform(0.0005, 0.0011) * min(paper.size), design.uniform(0.05, 0.25)
    for number, shift in enumerate(sheet.shifts):
        ink = sheet.press.coverage(number, shift, spread)
        ink += gain * ink * (1 - ink)  # dots grow on paper
        density, uneven = design.uniform(0.88, 1.0), design.uniform(*style.unevenness)
        flecks = np.roll(paper.pulp, 17 * number, 1) + 0.5 * paper.fine
        body = density - uneven * np.clip(0.6 * flecks + 0.5 * paper.cloud * (-1) ** number, -1, 2.2)
        yield np.rot90(ink, sheet.turned // 90) * np.clip(body, 0, 1)


def _light(design: random.Random, style: Style, size: Size) -> tuple[dict[str, Any], np.ndarray]:
    """Draws the light of the scan: its metadata, and the brightness, float32 (H, W, 1), about 1."""
    slope = [design.choice((-1, 1)) * design.uniform(*style.light) / 2 for _ in range(2)]
    brightness = 1 + design.uniform(-1, 0.5) * style.light[1] / 2
    x, y = grid(size)
    lamp = brightness * (1 + slope[0] * (2 * x - 1) + slope[1] * (2 * y * size[1] / size[0] - 1))
    return {"slope": [round(value, 4) for value in slope], "brightness": round(brightness, 4)}, lamp[..., None]


def _mix_colours(
    paper: Paper, depth: np.ndarray, plates: list[InkedPlate], stock: Stock, wear: float, toning: float
) -> np.ndarray:
    """Multiplies the light that paper and inks reflect: float32 (H, W, 3) in 0 to 255."""
    shade, worn = paper.shade(stock.speckle), paper.worn(depth, wear)
    aged = toning * (0.3 + np.exp(np.minimum(-depth / 0.05, 0)) * (1 + 0.3 * paper.cloud))
    card = np.empty((*paper.size, 3), np.float32)
    inks = [(plate * (1 - worn), colour) for plate, colour in plates]
    for channel in range(3):
        bare = stock.colour[channel]
        light = shade * (bare + (CORE[channel] - bare) * 0.7 * worn)
        light *= 1 - YELLOWING[channel] * aged
        for plate, colour in inks:
            light *= 1 - plate * (1 - colour[channel] / 255)
        card[..., channel] = light
    return card


def _scan(picture: np.ndarray, blur: float, quality: int | None) -> np.ndarray:
    """Scans the card: uint8 (H, W, 3), blurred by `blur` pixels, and compressed as JPEG if `quality` is set."""
    image = Image.fromarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
    if blur > MINIMUM_BLUR:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    if quality:
        stream = io.BytesIO()
        image.save(stream, format="JPEG", quality=quality)
        image = Image.open(stream)
    return np.array(image)


def turn_box(box: Box, turned: int, width: float, height: float) -> Box:
    """Turns a box together with the upright sheet that it lies on.

    Args:
        box: Left, top, right and bottom.
        turned: 0, 90 or 270 degrees counter-clockwise.
        width: Width of the upright sheet, in the units of the box.
        height: Height of the upright sheet.
    """
    left, top, right, bottom = box
    if turned == 90:
        return top, width - right, bottom, width - left
    if turned == 270:
        return height - bottom, left, height - top, right
    return box
