"""Brings scans of any size, their masks and painted damage to a model's size and back."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from scipy import ndimage

Window = tuple[slice, slice]

SMOOTHING = 0.6  # pixels; rounds the steps of an enlarged mask's outline and keeps lines of one pixel


@dataclass(frozen=True)
class Frame:
    """How a scan lies in a picture of the model's size: whole, undistorted and centred.

    Attributes:
        size: (height, width) of the scan.
        model_size: (height, width) of the model's pictures.
        turned: Whether the scan is turned counterclockwise by a quarter turn, as for a landscape card and a portrait
            model.
    """

    size: tuple[int, int]
    model_size: tuple[int, int]
    turned: bool = False

    @cached_property
    def window(self) -> Window:
        """The rows and columns of the model's picture that the scan fills."""
        size = np.array(self.size[::-1] if self.turned else self.size)
        limit = np.array(self.model_size)
        sides = np.clip(np.rint(size * (limit / size).min()), 1, limit).astype(int)
        (top, left), (height, width) = ((limit - sides) // 2).tolist(), sides.tolist()
        return slice(top, top + height), slice(left, left + width)

    def shrink_scan(self, scan: np.ndarray) -> np.ndarray:
        """Brings the scan to the model's size; its edges are repeated into the margins.

        Args:
            scan: uint8 (H, W, 3).

        Returns:
            uint8 (h, w, 3).
        """
        return self._shrink(scan, Image.Resampling.LANCZOS, "edge")

    def shrink_mask(self, mask: np.ndarray) -> np.ndarray:
        """Brings the scan's mask to the model's size: pixels at least half covered are damage.

        Args:
            mask: bool (H, W).

        Returns:
            bool (h, w).
        """
        return self._shrink(mask.astype(np.uint8) * 255, Image.Resampling.BOX, "constant") >= 128

    def _shrink(self, picture: np.ndarray, method: Image.Resampling, margin_mode: str) -> np.ndarray:
        image = Image.fromarray(np.rot90(picture) if self.turned else picture)
        sides = [part.stop - part.start for part in self.window]
        margins = [(part.start, limit - part.stop) for part, limit in zip(self.window, self.model_size, strict=True)]
        small = np.asarray(image.resize(sides[::-1], method))
        return np.pad(small, margins + [(0, 0)] * (picture.ndim - 2), margin_mode)

    def enlarge(self, values: torch.Tensor, part: Window) -> np.ndarray:
        """Interpolates values of the model's size at the scan's size.

        Args:
            values: float32 (C, h, w).
            part: Rows and columns of the scan to return.

        Returns:
            float32 (H, W, C) of that part.
        """
        inside = values[:, *self.window]
        if self.turned:
            inside = inside.rot90(-1, (1, 2))
        return F.interpolate(inside[None], self.size, mode="bicubic")[0][:, *part].permute(1, 2, 0).numpy()

    def within_reach(self, mask: np.ndarray, small_mask: np.ndarray) -> np.ndarray:
        """Drops details of the scan's mask that are too fine for the model: they are not painted, nor labelled.

        Args:
            mask: bool (H, W) of the scan.
            small_mask: bool (h, w), the mask at the model's size.

        Returns:
            bool (H, W), the part of `mask` in or next to pixels of `small_mask`.
        """
        near = ndimage.maximum_filter(small_mask, 3)[self.window]
        near = np.rot90(near, -1) if self.turned else near
        return mask & np.asarray(Image.fromarray(near).resize(self.size[::-1], Image.Resampling.NEAREST))


def fit_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Fits a mask of any size to a scan.

    The mask is turned by a quarter turn if only one of the two is landscape, and stretched if the aspects differ, so
    that no damage is lost. The outline of an enlarged mask stays smooth.

    Args:
        mask: uint8 (h, w); 128 and more is damage.
        size: (height, width) of the scan.

    Returns:
        bool (height, width).
    """
    if (mask.shape[0] < mask.shape[1]) != (size[0] < size[1]):
        mask = np.rot90(mask)
    image, method = Image.fromarray(mask), Image.Resampling.BOX
    if mask.shape[0] < size[0]:
        image, method = image.filter(ImageFilter.GaussianBlur(SMOOTHING)), Image.Resampling.BICUBIC
    return np.asarray(image.resize(size[::-1], method)) >= 128


def feather(mask: np.ndarray, width: float) -> np.ndarray:
    """Returns a soft mask that rises from the outline of a mask to 255.

    Args:
        mask: bool (H, W).
        width: Width of the transition in pixels.

    Returns:
        uint8 (H, W), above 0 exactly where `mask` is true.
    """
    if mask.all():  # the distance to an empty background is undefined
        return np.full(mask.shape, 255, np.uint8)
    depth = np.minimum(1, ndimage.distance_transform_edt(mask) / max(1, width))
    return np.ceil(255 * depth * depth * (3 - 2 * depth)).astype(np.uint8)


def lay_veil(scan: np.ndarray, frame: Frame, gain: torch.Tensor, light: torch.Tensor, soft: np.ndarray) -> np.ndarray:
    """Lays a veil (see `veils.Veil`) over a scan, weighted by a soft mask.

    Args:
        scan: uint8 (H, W, 3).
        frame: How the scan lies in the model's picture.
        gain: float32 (3, h, w) at the model's size.
        light: float32 (3, h, w) at the model's size.
        soft: uint8 (H, W), not empty; where it is 0, the scan stays exactly the same.

    Returns:
        uint8 (H, W, 3).
    """
    rows, columns = (np.flatnonzero(soft.any(axis=axis)) for axis in (1, 0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    card, share = scan[part].astype(np.float32), soft[part][..., None] / np.float32(255)
    seen = frame.enlarge(gain, part) * card + frame.enlarge(light, part)
    damaged = scan.copy()
    damaged[part] = np.clip(card + share * (seen - card) + 0.5, 0, 255)
    return damaged
