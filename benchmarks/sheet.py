"""Draws a sheet of card backs of all styles, some of them damaged, as one PNG to look at."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from cardsynth.cards.labels import CLASSES
from cardsynth.render.draw import draw_card
from cardsynth.render.styles import STYLES

GAP = 8  # pixels between cards
GROUND = (96, 96, 98)


def draw_sheet(
    count: int, size: tuple[int, int], columns: int, seed: int, damaged: float, styles: tuple[str, ...], upright: bool
) -> Image.Image:
    """A sheet of `count` cards of (height, width) pixels with seeds from `seed` on; a share of them is damaged.

    damaged: 0 to 1; the classes take turns. upright: turn cards that lie on their side so that their print is upright.
    """
    pictures = []
    for place in range(count):
        hurt = int((place + 1) * damaged) > int(place * damaged)
        label = CLASSES[1 + int(place * damaged) % (len(CLASSES) - 1)] if hurt else CLASSES[0]
        card = draw_card(seed + place, label, size, styles)
        pictures.append(np.rot90(card.image, -card.row["turned"] // 90) if upright else card.image)
    side = max(size) if upright else None
    cell = (side or size[0], side or size[1])
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * (cell[1] + GAP) + GAP, rows * (cell[0] + GAP) + GAP), GROUND)
    for place, picture in enumerate(pictures):
        left = GAP + place % columns * (cell[1] + GAP) + (cell[1] - picture.shape[1]) // 2
        top = GAP + place // columns * (cell[0] + GAP) + (cell[0] - picture.shape[0]) // 2
        sheet.paste(Image.fromarray(np.ascontiguousarray(picture)), (left, top))
    return sheet


def main() -> None:
    """Draw the sheet that the arguments describe and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="PNG file to write")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--size", type=int, nargs=2, default=(320, 256), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--columns", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--damaged", type=float, default=0.5, help="share of the cards that is damaged, 0 to 1")
    parser.add_argument("--style", nargs="+", default=list(STYLES), choices=list(STYLES))
    parser.add_argument("--upright", action="store_true", help="turn all print upright")
    chosen = parser.parse_args()
    sheet = draw_sheet(
        chosen.count,
        tuple(chosen.size),
        chosen.columns,
        chosen.seed,
        chosen.damaged,
        tuple(chosen.style),
        chosen.upright,
    )
    sheet.save(chosen.out)
    print(f"{chosen.out}: {chosen.count} cards of {chosen.size[0]}x{chosen.size[1]} (height x width)")


if __name__ == "__main__":
    main()
