"""Deterministic building blocks of augmentation; the callers draw the random numbers."""

import torch
import torch.nn.functional as F


def shifted_crop(pixels: torch.Tensor, top: int, left: int, margin: int) -> torch.Tensor:
    """Shifts cards by cropping them from a copy that is padded with repeated edges.

    Args:
        pixels: Cards of shape (N, C, H, W).
        top: Upper edge of the crop in the padded cards, 0 to 2 * margin; `margin` leaves the cards in place.
        left: Left edge of the crop, 0 to 2 * margin.
        margin: Padding on each side in pixels.

    Returns:
        The shifted cards, float (N, C, H, W).
    """
    height, width = pixels.shape[2:]
    padded = F.pad(pixels.float(), (margin,) * 4, mode="replicate")
    return padded[:, :, top : top + height, left : left + width]
