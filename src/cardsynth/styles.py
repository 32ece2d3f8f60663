"""Styles of drawn cards: sets of layouts, card stocks and inks, so that gaps between domains can be studied."""

from dataclasses import dataclass

Colour = tuple[int, int, int]

# name: (colour, how speckled it is)
STOCKS: dict[str, tuple[Colour, float]] = {
    "grey": ((190, 186, 174), 1.3),
    "kraft": ((197, 167, 124), 1.2),
    "cream": ((232, 219, 188), 0.7),
    "buff": ((220, 201, 164), 0.8),
    "white": ((226, 223, 213), 0.5),
}
# name: (ink of the plate for text, ink of the plate for bands)
INKS: dict[str, tuple[Colour, Colour]] = {
    "black and red": ((38, 34, 36), (186, 48, 40)),
    "red and green": ((158, 38, 34), (46, 112, 74)),
    "black and gold": ((40, 36, 32), (198, 146, 40)),
    "green and green": ((28, 74, 50), (70, 138, 92)),
    "black and brick": ((42, 34, 32), (170, 82, 54)),
    "navy and red": ((32, 44, 94), (190, 56, 50)),
    "navy and blue": ((34, 42, 84), (74, 126, 178)),
}


@dataclass(frozen=True)
class Style:
    """What cards of one style are made of: names of layouts, card stocks and pairs of inks."""

    layouts: tuple[str, ...]
    stocks: tuple[str, ...]
    inks: tuple[str, ...]


# No layout is in both a and c.
STYLES = {
    "a": Style(
        layouts=("banner", "pennant", "sidebar"),
        stocks=("grey", "cream", "white"),
        inks=("black and red", "green and green", "navy and blue"),
    ),
    "b": Style(
        layouts=("comic", "ledger", "pennant"),
        stocks=("kraft", "cream", "grey"),
        inks=("red and green", "black and gold", "black and red"),
    ),
    "c": Style(
        layouts=("reverse", "framed"),
        stocks=("buff", "white"),
        inks=("black and brick", "navy and red", "green and green"),
    ),
}
