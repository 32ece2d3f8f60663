"""Halftone screens: dots in a rotated grid that print a tone between bare paper and full ink."""

import math
from functools import lru_cache

import numpy as np
from PIL import Image

DOTS = 150  # across the card's shorter side: 60 lines per inch
MINIMUM_CELL = 2.6  # pixels; tones of a finer screen are printed flat
ANGLES = (45, 75, 15)  # degrees, one per plate


@lru_cache(maxsize=6)
def _thresholds(canvas: tuple[int, int], cell: tuple[float, float], angle: int) -> Image.Image:
    """For each sample the smallest tone, 1 to 254, at which it is inked."""
    across = np.arange(canvas[0], dtype=np.float32)[None, :] * (2 * math.pi / cell[0])
    down = np.arange(canvas[1], dtype=np.float32)[:, None] * (2 * math.pi / cell[1])
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    spot = np.cos(across * cosine + down * sine) + np.cos(down * cosine - across * sine)
    # Thresholds are ranks among all samples, so that each tone inks its own fraction of them.
    edges = np.quantile(spot[:256, :256], np.linspace(0, 1, 255)[1:-1]).astype(np.float32)
    return Image.fromarray((254 - np.searchsorted(edges, spot.ravel())).astype(np.uint8).reshape(spot.shape))


@lru_cache(maxsize=12)
def screen(canvas: tuple[int, int], cell: tuple[float, float], plate: int, tone: int) -> Image.Image:
    """The dots of one tone: an image with 255 where ink is printed.

    Args:
        canvas: (width, height) of the image, in samples.
        cell: Distance of the dots across and down, in samples.
        plate: Number of the plate, which decides the angle.
        tone: 1 to 254.
    """
    return _thresholds(canvas, cell, ANGLES[plate]).point([255 * (level <= tone) for level in range(256)])
