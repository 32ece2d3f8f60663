"""Scans of any size, their masks and what was painted for them: brought to a model's size and back."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from scipy import ndimage

Window = tuple[slice, slice]

SMOOTHING = 0.6  # pixels of a mask that is enlarged: rounds the steps of its outline, and keeps lines of one pixel


@dataclass(frozen=True)
class Frame:
    """How a scan lies in a picture of a model's size, both (height, width): whole, undistorted, in the middle.

    turned: whether it takes a quarter turn, counterclockwise, as a card on its side does where cards stand upright.
    """

    size: tuple[int, int]
    model_size: tuple[int, int]
    turned: bool = False

    @cached_property
    def window(self) -> Window:
        """The rows and columns of the model's picture that the scan fills."""
        size = self.size[::-1] if self.turned else self.size
        scale = min(most / side for side, most in zip(size, self.model_size, strict=True))
        sides = [max(1, min(most, round(side * scale))) for side, most in zip(size, self.model_size, strict=True)]
        starts = [(most - side) // 2 for side, most in zip(sides, self.model_size, strict=True)]
        rows, columns = (slice(start, start + side) for start, side in zip(starts, sides, strict=True))
        return rows, columns

    def shrink_scan(self, scan: np.ndarray) -> np.ndarray:
        """The scan, uint8 (H, W, 3), at the model's size; its edges are continued to where it does not reach."""
        return self._shrink(scan, Image.Resampling.LANCZOS, "edge")

    def shrink_mask(self, mask: np.ndarray) -> np.ndarray:
        """The scan's mask, bool (H, W), at the model's size: the pixels at least half of which it covers."""
        return self._shrink(mask.astype(np.uint8) * 255, Image.Resampling.BOX, "constant") >= 128

    def _shrink(self, picture: np.ndarray, method: Image.Resampling, beyond: str) -> np.ndarray:
        image = Image.fromarray(np.rot90(picture) if self.turned else picture)
        sides = [part.stop - part.start for part in self.window]
        margins = [(part.start, most - part.stop) for part, most in zip(self.window, self.model_size, strict=True)]
        small = np.asarray(image.resize(sides[::-1], method))
        return np.pad(small, margins + [(0, 0)] * (picture.ndim - 2), beyond)

    def enlarge(self, values: torch.Tensor, part: Window) -> np.ndarray:
        """Values of the model's size, float32 (C, h, w), smoothly at the scan's, of a part of it: float32 (H, W, C)."""
        inside = values[:, *self.window]
        if self.turned:
            inside = inside.rot90(-1, (1, 2))
        return F.interpolate(inside[None], self.size, mode="bicubic")[0][:, *part].permute(1, 2, 0).numpy()

    def within_reach(self, mask: np.ndarray, small_mask: np.ndarray) -> np.ndarray:
        """The parts of the scan's mask, bool (H, W), that its mask at the model's size has, or lies next to.

        What is finer than that size shows is not painted, and must not be in a label.
        """
        near = ndimage.maximum_filter(small_mask, 3)[self.window]
        near = np.rot90(near, -1) if self.turned else near
        return mask & np.asarray(Image.fromarray(near).resize(self.size[::-1], Image.Resampling.NEAREST))


def fit_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A mask of any size, uint8 (h, w), damage from 128 on, fitted to a scan of (height, width): bool (H, W).

    It takes a quarter turn where only one of both lies on its side, and is stretched where its shape is another, so
    that none of it is lost; enlarged, its outline stays smooth.
    """
    if (mask.shape[0] < mask.shape[1]) != (size[0] < size[1]):
        mask = np.rot90(mask)
    image, method = Image.fromarray(mask), Image.Resampling.BOX
    if mask.shape[0] < size[0]:
        image, method = image.filter(ImageFilter.GaussianBlur(SMOOTHING)), Image.Resampling.BICUBIC
    return np.asarray(image.resize(size[::-1], method)) >= 128


def feather(mask: np.ndarray, width: float) -> np.ndarray:
    """A soft mask, uint8 (H, W), above 0 where `mask`, bool, is true: it rises to 255 within so many pixels."""
    if mask.all():  # distances to nothing are not defined
        return np.full(mask.shape, 255, np.uint8)
    depth = np.minimum(1, ndimage.distance_transform_edt(mask) / max(1, width))
    return np.ceil(255 * depth * depth * (3 - 2 * depth)).astype(np.uint8)


def lay_veil(scan: np.ndarray, frame: Frame, gain: torch.Tensor, light: torch.Tensor, soft: np.ndarray) -> np.ndarray:
    """A scan, uint8 (H, W, 3), seen through a veil (see `veils.Veil`) as far as a soft mask, uint8 (H, W), lets it.

    gain, light: float32 (3, h, w), of the card as its frame gives it. Where the soft mask is 0, the scan stays as it is
    to the bit.
    """
    rows, columns = (np.flatnonzero(soft.any(axis=axis)) for axis in (1, 0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    card, share = scan[part].astype(np.float32), soft[part][..., None] / np.float32(255)
    seen = frame.enlarge(gain, part) * card + frame.enlarge(light, part)
    damaged = scan.copy()
    damaged[part] = np.clip(card + share * (seen - card) + 0.5, 0, 255)
    return damaged
