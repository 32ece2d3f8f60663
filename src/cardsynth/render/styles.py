"""Styles of drawn cards: layouts, type, card stocks, inks and light, so that gaps between domains can be studied."""

from dataclasses import dataclass

Colour = tuple[int, int, int]
Range = tuple[float, float]

# name: (colour, how speckled it is)
STOCKS: dict[str, tuple[Colour, float]] = {
    "grey": ((182, 177, 163), 1.3),
    "kraft": ((193, 163, 121), 1.2),
    "cream": ((230, 216, 184), 0.7),
    "buff": ((214, 195, 158), 0.9),
    "white": ((227, 223, 211), 0.5),
}
# name: (ink of the plate for text, ink of the plate for bands, and where there is a third plate, its tint)
INKS: dict[str, tuple[Colour, ...]] = {
    "black and red": ((38, 34, 36), (186, 48, 40)),
    "red and green": ((158, 38, 34), (46, 112, 74)),
    "black and gold": ((40, 36, 32), (198, 146, 40)),
    "dark and light green": ((28, 74, 50), (70, 138, 92)),
    "black and brick": ((42, 34, 32), (170, 82, 54)),
    "navy and red": ((32, 44, 94), (190, 56, 50)),
    "navy and blue": ((34, 42, 84), (74, 126, 178)),
    "purple and orange": ((74, 40, 88), (214, 116, 48)),
    "black, red and yellow": ((38, 34, 36), (192, 50, 42), (238, 198, 64)),
    "black, green and orange": ((36, 36, 34), (54, 120, 78), (226, 132, 60)),
    "navy, red and pink": ((32, 42, 92), (188, 52, 52), (228, 150, 150)),
}


@dataclass(frozen=True)
class Style:
    """What cards of one style are made of, and the light that they are scanned in.

    layouts, stocks, inks: names. faces: the font file of each use. grounds: what the card lies on. All ranges are
    (least, most): slip, standard deviation of the plates' places in card widths; wear of the edges, toning and
    unevenness of the ink, shares; light, slope of brightness across the card, share; blur, standard deviation in card
    widths; quality of the JPEG.
    """

    layouts: tuple[str, ...]
    stocks: tuple[str, ...]
    inks: tuple[str, ...]
    faces: dict[str, str]
    grounds: tuple[Colour, ...]
    slip: float
    wear: Range
    toning: Range
    unevenness: Range
    light: Range
    blur: Range
    quality: tuple[int, int]


# No layout is in both a and c.
STYLES = {
    "a": Style(
        layouts=("banner", "pennant", "sidebar"),
        stocks=("grey", "cream", "white"),
        inks=("dark and light green", "navy and blue"),
        faces={
            "bold": "DejaVuSans-Bold",
            "sans": "DejaVuSans",
            "serif": "DejaVuSerif",
            "serif-bold": "DejaVuSerif-Bold",
            "italic": "DejaVuSerif-BoldItalic",
            "roman": "STIXGeneralBol",
            "fine": "DejaVuSans",
        },
        grounds=((30, 30, 33), (58, 60, 66), (44, 38, 36)),
        slip=0.003,
        wear=(0.0, 0.3),
        toning=(0.0, 0.10),
        unevenness=(0.03, 0.06),
        light=(0.0, 0.03),
        blur=(0.0004, 0.0009),
        quality=(90, 96),
    ),
    "b": Style(
        layouts=("comic", "ledger", "pennant", "leaders", "wirephoto", "funnies", "halves", "marquee"),
        stocks=("kraft", "cream", "grey"),
        inks=(
            "red and green",
            "black and gold",
            "black and red",
            "purple and orange",
            "black, red and yellow",
            "black, green and orange",
        ),
        faces={
            "bold": "DejaVuSans-Bold",
            "sans": "cmss10",
            "serif": "STIXGeneral",
            "serif-bold": "STIXGeneralBol",
            "italic": "DejaVuSans-BoldOblique",
            "roman": "DejaVuSerif-Bold",
            "fine": "DejaVuSans",
        },
        grounds=((30, 30, 33), (14, 14, 15), (74, 62, 52)),
        slip=0.005,
        wear=(0.1, 0.8),
        toning=(0.05, 0.25),
        unevenness=(0.05, 0.11),
        light=(0.0, 0.06),
        blur=(0.0006, 0.0015),
        quality=(78, 92),
    ),
    "c": Style(
        layouts=("reverse", "framed", "checklist", "gazette", "autograph", "annual"),
        stocks=("buff", "white", "grey"),
        inks=("black and brick", "navy and red", "dark and light green", "navy, red and pink"),
        faces={
            "bold": "cmb10",
            "sans": "STIXGeneral",
            "serif": "cmr10",
            "serif-bold": "DejaVuSerif-Bold",
            "italic": "STIXGeneralBolIta",
            "roman": "STIXGeneralBol",
            "fine": "STIXGeneral",
        },
        grounds=((232, 232, 230), (176, 174, 170), (58, 60, 66)),
        slip=0.004,
        wear=(0.1, 1.0),
        toning=(0.05, 0.3),
        unevenness=(0.04, 0.09),
        light=(0.02, 0.10),
        blur=(0.0008, 0.0020),
        quality=(68, 88),
    ),
}
