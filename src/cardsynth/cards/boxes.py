"""Bounding boxes of damage masks."""

from typing import cast

import numpy as np
from scipy import ndimage


def mask_boxes(mask: np.ndarray) -> list[list[int]]:
    """Bounding boxes of a mask's 8-connected components, from top to bottom.

    Args:
        mask: (H, W) of any type; every value but zero is damage.

    Returns:
        Boxes [x, y, width, height] in pixels.
    """
    labelled = ndimage.label(np.asarray(mask) != 0, structure=np.ones((3, 3)))
    components, _ = cast(tuple[np.ndarray, int], labelled)  # a number only with `output`
    return [
        [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
        for rows, columns in ndimage.find_objects(components)
    ]
