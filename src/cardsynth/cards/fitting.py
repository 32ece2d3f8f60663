"""Pictures of any kind brought to upright RGB, and to one size without distortion."""

import io
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cardsynth.cards.folder import CardError

Fit = Literal["crop", "pad", "stretch"]  # how a picture of another shape is brought to a size
MAX_PIXELS = Image.MAX_IMAGE_PIXELS  # what Pillow warns of as a decompression bomb


def read_image(file: str | Path | io.BytesIO, name: str = "") -> Image.Image:
    """A picture as upright RGB, whatever its mode: EXIF turned, alpha laid on white, 16 bits brought to 8, first frame.

    Raises CardError, naming the file, when it cannot be decoded whole or is too large to be a scan.
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
    """PNG bytes of a uint8 picture (H, W, 3) or mask (H, W)."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def fit_image(
    image: Image.Image, size: tuple[int, int], fit: Fit = "crop", portrait: bool = True, is_mask: bool = False
) -> np.ndarray:
    """A picture brought to (height, width): covered and cropped about its centre, padded with white, or stretched.

    With `portrait`, a landscape picture meant for a portrait size takes a quarter turn first. Returns uint8 (H, W, 3),
    or for a mask, which is padded with 0, (H, W) of 0 and 255.
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
    """Maps of a fitted picture, float (C, H, W), laid back on the picture of `size` (height, width) that was fitted.

    The inverse of `fit_image`, scaled bilinearly; what was cropped off takes the value of the nearest pixel that was
    kept. Returns float32 (C, *size).
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
