"""What lies within four corners of a page, brought upright: the card, its mask, its boxes.

Places on a page are x and y in pixels, whole numbers at pixel centres; corners go clockwise from the card's top left.
"""

import math
from collections.abc import Sequence

import numpy as np

from cardsynth.scans.outlines import cv2

CARD_SIZE = (700, 500)


def to_card(corners: np.ndarray, size: tuple[int, int] = CARD_SIZE) -> np.ndarray:
    """The homography, float64 (3, 3), from page pixels to those of a card of (height, width) that the corners fill.

    Both count whole numbers at pixel centres, so the card's own corners are at -0.5 and at height or width - 0.5.
    """
    height, width = size
    ends = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32) - 0.5
    return cv2.getPerspectiveTransform(np.asarray(corners, np.float32), ends)


def rectify(page: np.ndarray, corners: np.ndarray, size: tuple[int, int] = CARD_SIZE) -> np.ndarray:
    """The upright, cropped, undistorted card within four corners.

    page: uint8 (H, W, 3) or (H, W); corners: (4, 2) from the card's top left clockwise; size: (height, width).
    Large cards are averaged down. Returns uint8 (height, width, 3) or (height, width).
    """
    height, width = size
    lengths = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    finer = max(1, math.ceil(max(lengths[0], lengths[2]) / width - 0.25))
    matrix = to_card(corners, (height * finer, width * finer))
    large = cv2.warpPerspective(
        page, matrix, (width * finer, height * finer), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA) if finer > 1 else large


def rectify_mask(mask: np.ndarray, corners: np.ndarray, size: tuple[int, int] = CARD_SIZE) -> np.ndarray:
    """The part of a page's mask within a card, uint8 (height, width) of 0 and 255; mask: uint8 (H, W)."""
    marked = np.where(mask >= 128, 255, 0).astype(np.uint8)
    return np.where(rectify(marked, corners, size) >= 128, 255, 0).astype(np.uint8)


def boxes_on_card(
    boxes: Sequence[Sequence[float]], corners: np.ndarray, size: tuple[int, int] = CARD_SIZE
) -> list[tuple[int, list[float]]]:
    """Boxes of a page brought onto a card: (which box, [x, y, width, height] in card pixels) of those that lie on it.

    boxes: [x, y, width, height] in page pixels, x and y of their outer edge. A turned box becomes the upright box about
    it, cut to the card; boxes with their centre off the card are left out.
    """
    matrix = to_card(corners, size)
    on_card = []
    for index, (x, y, width, height) in enumerate(boxes):
        points = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]]) * [width, height] + [x - 0.5, y - 0.5]
        points = cv2.perspectiveTransform(points[None], matrix)[0] + 0.5
        limit = np.array([size[1], size[0]], np.float64)
        if ((points[4] < 0) | (points[4] > limit)).any():
            continue
        low, high = np.clip(points[:4].min(axis=0), 0, limit), np.clip(points[:4].max(axis=0), 0, limit)
        on_card.append((index, [round(float(value), 2) for value in (*low, *(high - low))]))
    return on_card
