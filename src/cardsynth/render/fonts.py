"""Fonts that matplotlib ships, and short texts rendered once and cached."""

import importlib.util
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont


@lru_cache(maxsize=1)
def _font_folder() -> Path:
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("drawing cards needs the fonts that matplotlib ships: install matplotlib")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


@lru_cache(maxsize=1024)
def load_font(file: str, pixels: int) -> ImageFont.FreeTypeFont:
    """Loads a font file of matplotlib, named without its suffix, at a size in pixels."""
    return ImageFont.truetype(_font_folder() / f"{file}.ttf", pixels, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=16384)
def render_word(file: str, pixels: int, text: str) -> tuple[Image.Image, int, int]:
    """Renders a short text: its bitmap, its advance width, and the offset of its top from the baseline, in pixels."""
    font = load_font(file, pixels)
    left, top, right, bottom = font.getbbox(text, anchor="ls")
    left = min(left, 0)
    bitmap = Image.new("L", (right - left + 1, bottom - top + 1), 0)
    ImageDraw.Draw(bitmap).text((-left, -top), text, fill=255, font=font, anchor="ls")
    return bitmap, right, top
