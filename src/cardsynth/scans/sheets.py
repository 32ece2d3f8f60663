"""Draws contact sheets of pages: each page small, with the outlines found on it, their numbers and confidences."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cardsynth.cards.fitting import encode_png
from cardsynth.scans.find import FoundCard
from cardsynth.util.files import write_atomically

TILE = (420, 320)  # height and width of a page on a sheet, with its caption
CAPTION = 54  # height of the caption at the bottom of a tile
MARGIN = 4  # pixels on each side of a tile
COLUMNS, ROWS = 4, 3
REASONS = 2  # lines of the caption that explain low confidences
GREEN, ORANGE, RED, GREY = (20, 150, 60), (225, 125, 0), (200, 30, 30), (120, 120, 120)


def draw_page(page: np.ndarray, cards: Sequence[tuple[FoundCard, str]], confidence: float, review: float) -> bytes:
    """Draws a page and its outlines: green for the card folder, orange for review, red for rejected outlines.

    Args:
        page: uint8 (H, W, 3), RGB.
        cards: The outlines, each with its number or an empty text.
        confidence: Confidence from which a card goes to the card folder.
        review: Confidence from which a card goes to the review folder.

    Returns:
        A PNG of `TILE` pixels. Its caption gives the reasons for low confidences; its first line is left blank.
    """
    height, width = TILE
    zoom = min((height - CAPTION) / page.shape[0], width / page.shape[1])
    size = max(1, round(page.shape[1] * zoom)), max(1, round(page.shape[0] * zoom))
    image = Image.new("RGB", (width, height), "white")
    left = (width - size[0]) // 2
    image.paste(Image.fromarray(page).resize(size, Image.Resampling.BILINEAR, reducing_gap=2), (left, 0))
    pen, font, small_font = ImageDraw.Draw(image), ImageFont.load_default(12), ImageFont.load_default(10)
    reasons = []
    for card, number in cards:
        colour = GREEN if card.confidence >= confidence else ORANGE if card.confidence >= review else RED
        points = [(left + x * zoom, y * zoom) for x, y in card.corners]
        pen.line([*points, points[0]], fill=colour, width=2)
        text, centre = f"{number} {card.confidence:.2f}".strip(), tuple(np.mean(points, axis=0))
        box = pen.textbbox(centre, text, font=font, anchor="mm")
        pen.rectangle((box[0] - 2, box[1] - 1, box[2] + 2, box[3] + 1), fill="white")
        pen.text(centre, text, fill=colour, font=font, anchor="mm")
        if card.confidence < confidence:
            reasons.append((f"{text}: {card.reason}", colour))
    if not cards:
        reasons.append(("no card found", RED))
    for line, (text, colour) in enumerate(reasons[:REASONS]):
        pen.text((4, height - CAPTION + 16 + 12 * line), text[:62], fill=colour, font=small_font)
    if len(reasons) > REASONS:
        pen.text((4, height - 14), f"and {len(reasons) - REASONS} more", fill=GREY, font=small_font)
    return encode_png(np.asarray(image))


def write_sheets(pictures: Sequence[tuple[str, Path]], folder: Path) -> None:
    """Writes contact sheets `sheet_001.png` and so on, with twelve pages each.

    Args:
        pictures: Name of each page and the file that holds its picture of `draw_page`.
        folder: Where the sheets go.
    """
    font, per_sheet = ImageFont.load_default(11), COLUMNS * ROWS
    tile_height, tile_width = TILE[0] + 2 * MARGIN, TILE[1] + 2 * MARGIN
    for start in range(0, len(pictures), per_sheet):
        pages = pictures[start : start + per_sheet]
        columns, rows = min(COLUMNS, len(pages)), -(-len(pages) // COLUMNS)
        sheet = Image.new("RGB", (columns * tile_width, rows * tile_height), (225, 225, 225))
        pen = ImageDraw.Draw(sheet)
        for index, (name, path) in enumerate(pages):
            row, column = divmod(index, COLUMNS)
            x, y = column * tile_width + MARGIN, row * tile_height + MARGIN
            with Image.open(path) as picture:
                sheet.paste(picture, (x, y))
            pen.text((x + 4, y + TILE[0] - CAPTION + 2), name[-56:], fill="black", font=font)
        write_atomically(folder / f"sheet_{start // per_sheet + 1:03d}.png", encode_png(np.asarray(sheet)))
