"""Contact sheets of pages: every page small, with the outlines found on it, their numbers and confidences."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cardsynth.cards.fitting import encode_png
from cardsynth.scans.find import FoundCard
from cardsynth.util.files import write_atomically

TILE = (420, 320)  # height and width of a page on a sheet
CAPTION = 54
ACROSS, DOWN = 4, 3
GREEN, ORANGE, RED, GREY = (20, 150, 60), (225, 125, 0), (200, 30, 30), (120, 120, 120)


def draw_page(page: np.ndarray, cards: Sequence[tuple[FoundCard, str]], sure: float, review: float) -> bytes:
    """PNG of a page with its outlines: green in the card folder, orange to review, red turned down, with the reason.

    page: uint8 (H, W, 3), RGB; cards with their numbers; sure and review: the confidences from which they are taken.
    """
    zoom = min((TILE[0] - CAPTION) / page.shape[0], TILE[1] / page.shape[1])
    size = max(1, round(page.shape[1] * zoom)), max(1, round(page.shape[0] * zoom))
    image = Image.new("RGB", (TILE[1], TILE[0]), "white")
    left = (TILE[1] - size[0]) // 2
    image.paste(Image.fromarray(page).resize(size, Image.Resampling.BILINEAR, reducing_gap=2), (left, 0))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    lines = []
    for card, number in cards:
        colour = GREEN if card.confidence >= sure else ORANGE if card.confidence >= review else RED
        points = [(left + x * zoom, y * zoom) for x, y in card.corners]
        pen.line([*points, points[0]], fill=colour, width=2)
        text = f"{number} {card.confidence:.2f}".strip()
        middle = np.mean(points, axis=0)
        box = pen.textbbox(tuple(middle), text, font=font, anchor="mm")
        pen.rectangle((box[0] - 2, box[1] - 1, box[2] + 2, box[3] + 1), fill="white")
        pen.text(tuple(middle), text, fill=colour, font=font, anchor="mm")
        if card.confidence < sure:
            lines.append((f"{text}: {card.reason}", colour))
    taken = sum(card.confidence >= review for card, _ in cards)
    lines = lines or ([("no card found", RED)] if not taken else [])
    small = ImageFont.load_default(10)
    for place, (text, colour) in enumerate(lines[:2]):
        pen.text((4, TILE[0] - CAPTION + 16 + 12 * place), text[:62], fill=colour, font=small)
    if len(lines) > 2:
        pen.text((4, TILE[0] - 14), f"and {len(lines) - 2} more", fill=GREY, font=small)
    return encode_png(np.asarray(image))


def write_sheets(pictures: Sequence[tuple[str, Path]], folder: Path) -> list[Path]:
    """Contact sheets `sheet_001.png` and so on of (page name, picture of `draw_page`), twelve pages a sheet."""
    written, font = [], ImageFont.load_default(11)
    for start in range(0, len(pictures), ACROSS * DOWN):
        shown = pictures[start : start + ACROSS * DOWN]
        across, down = min(ACROSS, len(shown)), -(-len(shown) // ACROSS)
        sheet = Image.new("RGB", (across * (TILE[1] + 8), down * (TILE[0] + 8)), (225, 225, 225))
        pen = ImageDraw.Draw(sheet)
        for place, (name, path) in enumerate(shown):
            corner = (place % ACROSS) * (TILE[1] + 8) + 4, (place // ACROSS) * (TILE[0] + 8) + 4
            with Image.open(path) as picture:
                sheet.paste(picture, corner)
            pen.text((corner[0] + 4, corner[1] + TILE[0] - CAPTION + 2), name[-56:], fill="black", font=font)
        written.append(folder / f"sheet_{len(written) + 1:03d}.png")
        write_atomically(written[-1], encode_png(np.asarray(sheet)))
    return written
