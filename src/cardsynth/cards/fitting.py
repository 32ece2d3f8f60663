"""Reads pictures of any mode as upright RGB, and fits them to one size."""

import io
import sys
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cardsynth.cards.folder import CardError

Fit = Literal["crop", "pad", "stretch"]  # how a picture of another shape is brought to a size
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or sys.maxsize  # what Pillow warns of as a decompression bomb


def read_image(file: str | Path | io.BytesIO, name: str = "") -> Image.Image:
    """Reads the first frame of a picture as upright RGB: EXIF orientation applied, alpha on white, 16 bits scaled to 8.

    Args:
        file: path, or the file's bytes.
        name: name of the file for messages.

    Raises:
        CardError: the picture cannot be decoded whole or is too large; the message names the file.
    """
    name = name or str(file)
    try:
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise CardError(f"{name} is gigantic ({image.height}x{image.width} pixels); scale it down")
            image.load()
            return _upright_rgb(image)
    except CardError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise CardError(f"{name} is gigantic; scale it down") from error
    except FileNotFoundError as error:
        raise CardError(f"{name} does not exist; restore it or remove its metadata row") from error
    except UnidentifiedImageError as error:
        raise CardError(f"{name} is empty, damaged or no picture; scan or copy it again, or remove it") from error
    except Exception as error:  # a decoder may raise anything on damaged bytes
        raise CardError(f"{name} cannot be read ({error}); scan or copy it again, or remove it") from error


def _upright_rgb(image: Image.Image) -> Image.Image:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.float32)
        image = Image.fromarray((values / 257).round().clip(0, 255).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def encode_png(pixels: np.ndarray) -> bytes:
    """Encodes a uint8 picture (H, W, 3) or mask (H, W) as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def fit_image(
    image: Image.Image, size: tuple[int, int], fit: Fit = "crop", portrait: bool = True, is_mask: bool = False
) -> np.ndarray:
    """Fits a picture to a size.

    Args:
        image: the picture.
        size: (height, width) in pixels.
        fit: `crop` covers the size and crops about the centre, `pad` adds white (0 for a mask), `stretch` distorts.
        portrait: first turn a landscape picture by 90 degrees if the size is portrait.
        is_mask: average areas, and return 0 or 255.

    Returns:
        uint8 (H, W, 3), or (H, W) for a mask.
    """
    height, width = size
    if portrait and height >= width and image.width > image.height:
        image = image.transpose(Image.Transpose.ROTATE_90)
    method = Image.Resampling.BOX if is_mask else Image.Resampling.LANCZOS
    if image.size != (width, height):
        if fit == "crop":
            image = ImageOps.fit(image, (width, height), method)
        elif fit == "pad":
            image = ImageOps.pad(image, (width, height), method, color=0 if is_mask else (255, 255, 255))
        else:
            image = image.resize((width, height), method)
    values = np.asarray(image)
    return np.where(values >= 128, 255, 0).astype(np.uint8) if is_mask else values


def unfit(values: np.ndarray, size: tuple[int, int], fit: Fit = "crop", portrait: bool = True) -> np.ndarray:
    """Maps values of a fitted picture back to the picture before fitting: the inverse of `fit_image`, bilinear.

    Args:
        values: float (C, H, W) of the fitted picture.
        size: (height, width) of the picture before fitting.
        fit: how it was fitted.
        portrait: whether landscape pictures were turned.

    Returns:
        float32 (C, *size); a pixel that was cropped off takes the value of the nearest one that was kept.
    """
    fitted, (height, width) = values.shape[1:], size
    turned = portrait and fitted[0] >= fitted[1] and width > height
    if turned:
        height, width = width, height
    scales = fitted[0] / height, fitted[1] / width
    if fit != "stretch":
        scales = (max(scales) if fit == "crop" else min(scales),) * 2
    # Of the picture's pixel centres, where they lie on the fitted picture.
    rows, columns = (
        ((np.arange(side) + 0.5 - side / 2) * scale + across / 2 - 0.5).clip(0, across - 1)
        for side, scale, across in zip((height, width), scales, fitted, strict=True)
    )
    below, right = np.floor(rows).astype(int), np.floor(columns).astype(int)
    down, along = (rows - below)[:, None].astype(np.float32), (columns - right)[None].astype(np.float32)
    under, beyond = np.minimum(below + 1, fitted[0] - 1), np.minimum(right + 1, fitted[1] - 1)
    top = values[:, below][:, :, right] * (1 - along) + values[:, below][:, :, beyond] * along
    bottom = values[:, under][:, :, right] * (1 - along) + values[:, under][:, :, beyond] * along
    back = (top * (1 - down) + bottom * down).astype(np.float32)
    return np.rot90(back, -1, axes=(1, 2)) if turned else back
