"""Straightens the part of a page within four corners: the card, its mask and its boxes.

Page coordinates are x and y in pixels; whole numbers are pixel centres. Corners run clockwise from the card's top left.
"""

import math
from collections.abc import Sequence

import numpy as np

from cardsynth.scans.outlines import cv2

CARD_SIZE = (700, 500)


def to_card(corners: np.ndarray, size: tuple[int, int] = CARD_SIZE) -> np.ndarray:
    """Returns the homography from page pixels to card pixels.

    Pixel centres are whole numbers on both sides, so the corners of the card lie at -0.5 and at height or width - 0.5.

    Args:
        corners: (4, 2), x and y on the page.
        size: (height, width) of the straightened card.

    Returns:
        float64 (3, 3).
    """
    height, width = size
    ends = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    return cv2.getPerspectiveTransform(np.asarray(corners, np.float32), ends)


def rectify(page: np.ndarray, corners: np.ndarray, size: tuple[int, int] = CARD_SIZE) -> np.ndarray:
    """Crops and straightens a card; cards that are larger on the page are averaged down.

    Args:
        page: uint8 (H, W, 3) or (H, W).
        corners: (4, 2), x and y on the page.
        size: (height, width) of the straightened card.

    Returns:
        uint8 (height, width, 3) or (height, width).
    """
    height, width = size
    lengths = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    oversampling = max(1, math.ceil(max(lengths[0], lengths[2]) / width - 0.25))
    large_size = (width * oversampling, height * oversampling)
    homography = to_card(corners, large_size[::-1])
    large = cv2.warpPerspective(page, homography, large_size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA) if oversampling > 1 else large


def rectify_mask(mask: np.ndarray, corners: np.ndarray, size: tuple[int, int] = CARD_SIZE) -> np.ndarray:
    """Crops and straightens the part of a page's mask that lies on a card.

    Args:
        mask: uint8 (H, W) of the page; 128 and more is damage.
        corners: (4, 2), x and y on the page.
        size: (height, width) of the straightened card.

    Returns:
        uint8 (height, width), 0 or 255.
    """
    binary = np.where(mask >= 128, 255, 0).astype(np.uint8)
    return np.where(rectify(binary, corners, size) >= 128, 255, 0).astype(np.uint8)


def boxes_on_card(
    boxes: Sequence[Sequence[float]], corners: np.ndarray, size: tuple[int, int] = CARD_SIZE
) -> list[tuple[int, list[float]]]:
    """Transforms the boxes of a page to the pixels of one of its cards.

    A rotated box becomes its upright bounding box, clipped to the card. Boxes whose centre lies off the card are
    dropped.

    Args:
        boxes: [x, y, width, height] each, in page pixels; x and y are those of the outer edge.
        corners: (4, 2), x and y on the page.
        size: (height, width) of the straightened card.

    Returns:
        (index in `boxes`, [x, y, width, height] in card pixels) of each box on the card.
    """
    homography, limit = to_card(corners, size), np.array([size[1], size[0]], np.float64)
    on_card = []
    for index, (x, y, width, height) in enumerate(boxes):
        points = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]]) * [width, height] + [x - 0.5, y - 0.5]
        *ends, centre = cv2.perspectiveTransform(points[None], homography)[0] + 0.5
        if ((centre >= 0) & (centre <= limit)).all():
            low, high = np.clip(np.min(ends, axis=0), 0, limit), np.clip(np.max(ends, axis=0), 0, limit)
            on_card.append((index, [round(float(value), 2) for value in (*low, *(high - low))]))
    return on_card
