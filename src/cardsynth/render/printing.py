"""Prints clean cards: layout, stock and inks from a seed, misregistration, uneven ink, off-centre cut, light, scan."""

import io
import random
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageFilter

from cardsynth.render.layouts import LAYOUTS, Layout
from cardsynth.render.paper import CORE, Paper, places
from cardsynth.render.players import invent_player
from cardsynth.render.press import Press
from cardsynth.render.styles import INKS, STOCKS, STYLES, Style

SMALLEST_JPEG = 100  # pixels of the shorter side: the blocks of a JPEG would hide what smaller cards show
TONING = (0.22, 0.42, 0.80)  # of red, green and blue light that old paper takes


def print_card(seed: int, size: tuple[int, int], styles: Sequence[str]) -> tuple[np.ndarray, np.ndarray, dict]:
    """Print the clean card of a seed at (height, width) pixels, in one of the styles.

    Returns the picture, uint8 (H, W, 3); the card's own coverage of it, float32 (H, W) in 0 to 1; and what was printed:
    style, layout, decade, stock, inks, orientation, turned (degrees counter-clockwise from upright print), player,
    centering (shares of the borders in percent: left_right and top_bottom, each of two that add up to 100), misregister
    (x, y of the other plates against the first, pixels), wear, toning, light, blur (pixels), jpeg_quality (None where
    not compressed) and elements (names, and boxes [x, y, width, height] in pixels).
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
    shifts = _shifts(design, style, press)
    plates = [np.rot90(plate, turned // 90) for plate in _pull(press, shifts, design, paper, style, turned)]
    light, lamp = _light(design, style, size)
    picture = _expose(design, style, paper, area, depth, plates, (STOCKS[stock], INKS[inks]), (wear, toning), lamp)
    blur = design.uniform(*style.blur) * size[1]
    quality = design.randint(*style.quality)
    picture = _scan(picture, blur, quality if min(size) >= SMALLEST_JPEG else None)
    about = {
        "style": name,
        "layout": layout.name,
        "decade": layout.decade,
        "stock": stock,
        "inks": inks,
        "orientation": "landscape" if layout.landscape else "portrait",
        "turned": turned,
        "player": {"name": player.name, "team": player.team, "position": player.position, "number": player.number},
        "centering": _centering(press, layout, shifts, borders, turned, size),
        "misregister": [
            [round((a - b) / factor, 2) for a, b, factor in zip(shift, shifts[0], press.factors, strict=True)]
            for shift in shifts[1:]
        ],
        "wear": round(wear, 3),
        "toning": round(toning, 3),
        "light": light,
        "blur": round(blur, 3),
        "jpeg_quality": quality if min(size) >= SMALLEST_JPEG else None,
        "elements": _elements(press, shifts[0], turned, size),
    }
    return picture, area, about


def _shifts(design: random.Random, style: Style, press: Press) -> list[tuple[int, int]]:
    """Where each plate was printed off its place, in samples (x, y) of the plates."""
    short = min(press.height, press.width)
    center = [_near(design, 0.009) * short for _ in range(2)]
    slips = [[_near(design, style.slip) * short for _ in range(2)] for _ in press.plates[1:]]
    return [press.samples((center[0] + x, center[1] + y)) for x, y in ([0, 0], *slips)]


def _near(design: random.Random, deviation: float) -> float:
    return min(max(-2.5 * deviation, design.gauss(0, deviation)), 2.5 * deviation)


def _pull(press: Press, shifts, design: random.Random, paper: Paper, style: Style, turned: int):
    """Each plate's ink on the paper, float32 in 0 to 1, still upright: spread, uneven, broken by the paper's fibres."""
    spread, gain = design.uniform(0.0005, 0.0011) * min(paper.size), design.uniform(0.05, 0.25)
    for number, shift in enumerate(shifts):
        ink = press.coverage(number, shift, spread)
        ink += gain * ink * (1 - ink)
        density, uneven = design.uniform(0.88, 1.0), design.uniform(*style.unevenness)
        flecks = np.roll(paper.pulp, 17 * number, 1) + 0.5 * paper.fine
        body = density - uneven * np.clip(0.6 * flecks + 0.5 * paper.cloud * (-1) ** number, -1, 2.2)
        yield ink * np.rot90(np.clip(body, 0, 1), -turned // 90)


def _light(design: random.Random, style: Style, size: tuple[int, int]) -> tuple[dict, np.ndarray]:
    """The light of the scan, as said in metadata and as brightness float32 (H, W, 1) about 1."""
    slope = [design.choice((-1, 1)) * design.uniform(*style.light) / 2 for _ in range(2)]
    brightness = 1 + design.uniform(-1, 0.5) * style.light[1] / 2
    x, y = places(size)
    lamp = brightness * (1 + slope[0] * (2 * x - 1) + slope[1] * (2 * y * size[1] / size[0] - 1))
    return {"slope": [round(value, 4) for value in slope], "brightness": round(brightness, 4)}, lamp


def _expose(design, style: Style, paper: Paper, area, depth, plates, materials, age, lamp) -> np.ndarray:
    """The card on its ground under the lamp: float32 (H, W, 3) in 0 to 255."""
    ((colour, speckle), inks), (wear, toning) = materials, age
    ground = design.choice(style.grounds)
    shade = paper.shade(speckle)
    worn = paper.worn(depth, wear)
    aged = toning * (0.3 + np.exp(np.minimum(-depth / 0.05, 0)) * (1 + 0.3 * paper.cloud))
    intact = 1 - worn
    plates = [plate * intact for plate in plates]
    picture = np.empty((*paper.size, 3), np.float32)
    for channel in range(3):
        light = shade * (colour[channel] + (CORE[channel] - colour[channel]) * 0.7 * worn)
        light *= 1 - TONING[channel] * aged
        for plate, ink in zip(plates, inks, strict=True):
            light *= 1 - plate * (1 - ink[channel] / 255)
        behind = ground[channel] + 2 * paper.fine
        picture[..., channel] = (behind + area * (light - behind)) * lamp
    return picture


def _scan(picture: np.ndarray, blur: float, quality: int | None) -> np.ndarray:
    """The scanner's picture, uint8 (H, W, 3): softened by `blur` pixels and through a JPEG of the quality, if any."""
    image = Image.fromarray(np.clip(picture + 0.5, 0, 255).astype(np.uint8))
    if blur > 0.2:
        image = image.filter(ImageFilter.GaussianBlur(blur))
    if quality:
        stream = io.BytesIO()
        image.save(stream, format="JPEG", quality=quality)
        image = Image.open(stream)
    return np.array(image)


def turn_box(box, turned: int, width: float, height: float) -> tuple[float, float, float, float]:
    """A box (left, top, right, bottom) of an upright sheet, turned with it by 0, 90 or 270 degrees counter-clockwise.

    width, height: those of the upright sheet, in the units of the box.
    """
    left, top, right, bottom = box
    if turned == 90:
        return top, width - right, bottom, width - left
    if turned == 270:
        return height - bottom, left, height - top, right
    return box


def _centering(press: Press, layout: Layout, shifts, borders, turned: int, size: tuple[int, int]) -> dict:
    """Shares in percent of the borders between the printed frame and the edges that the card was cut to."""
    x, y = (value / factor for value, factor in zip(shifts[layout.frame], press.factors, strict=True))
    frame = [side * press.width for side in (press.margin, press.margin, press.right, press.foot)]
    frame = (frame[0] + x, frame[1] + y, frame[2] + x, frame[3] + y)
    left, top, right, bottom = turn_box(frame, turned, press.width, press.height)
    height, width = size
    borders = [border * width for border in borders]
    shares = {}
    for name, first, second in (
        ("left_right", left - borders[0], width - borders[2] - right),
        ("top_bottom", top - borders[1], height - borders[3] - bottom),
    ):
        share = round(100 * first / (first + second), 1)
        shares[name] = [share, round(100 - share, 1)]
    return shares


def _elements(press: Press, shift: tuple[int, int], turned: int, size: tuple[int, int]) -> dict:
    """What was marked on the press, as names and boxes [x, y, width, height] in whole pixels of the picture."""
    names, boxes = [], []
    x, y = (value / factor for value, factor in zip(shift, press.factors, strict=True))
    for name, *box in press.elements:
        left, top, right, bottom = (side * press.width + (x, y)[axis % 2] for axis, side in enumerate(box))
        left, top, right, bottom = turn_box((left, top, right, bottom), turned, press.width, press.height)
        left, top = max(0, int(left)), max(0, int(top))
        right, bottom = min(size[1], int(np.ceil(right))), min(size[0], int(np.ceil(bottom)))
        if right > left and bottom > top:
            names.append(name)
            boxes.append([left, top, right - left, bottom - top])
    return {"name": names, "bbox": boxes}
