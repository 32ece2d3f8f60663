"""Styles of drawn cards: layouts, type, card stock, inks and light, so that domain gaps can be studied.

The values are in `styles.toml`.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

Colour = tuple[int, int, int]
Range = tuple[float, float]


@dataclass(frozen=True)
class Stock:
    """A card stock.

    Attributes:
        colour: Red, green and blue, 0 to 255.
        speckle: Strength of the paper's texture; 1 is average.
    """

    colour: Colour
    speckle: float


@dataclass(frozen=True)
class Style:
    """Materials of a card and the light that it is scanned in. All ranges are (minimum, maximum).

    Attributes:
        layouts: Names of the layouts.
        stocks: Names of the card stocks.
        inks: Names of the ink sets.
        grounds: Colours of the surface behind the card.
        slip: Standard deviation of the misregistration of the plates, in card widths.
        wear: Wear of the edges, 0 to 1.
        toning: Yellowing of the paper, 0 to 1.
        unevenness: Variation of the ink's density, as a fraction.
        light: Change of brightness across the card, as a fraction.
        blur: Standard deviation of the scanner's blur, in card widths.
        quality: JPEG quality.
        faces: Font file of each typeface, without its suffix.
    """

    layouts: tuple[str, ...]
    stocks: tuple[str, ...]
    inks: tuple[str, ...]
    grounds: tuple[Colour, ...]
    slip: float
    wear: Range
    toning: Range
    unevenness: Range
    light: Range
    blur: Range
    quality: tuple[int, int]
    faces: dict[str, str]


_DATA = tomllib.loads(Path(__file__).with_name("styles.toml").read_text(encoding="utf-8"))
STOCKS = {name: Stock(**values) for name, values in _DATA["stocks"].items()}
INKS: dict[str, list[Colour]] = _DATA["inks"]
STYLES = {name: Style(**values) for name, values in _DATA["styles"].items()}
