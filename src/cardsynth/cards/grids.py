"""Sample grids: cards side by side in one picture, each with its mask."""

import torch
from PIL import Image
from torchvision.utils import make_grid

GRID_PADDING = 2  # pixels between the cards of a grid


def grid_columns(count: int) -> int:
    """Number of columns that makes a grid of `count` cards about as wide as high."""
    return max(1, round(count**0.5))


def card_grid(pixels: torch.Tensor, columns: int, with_masks: bool = True, zoom: int = 1) -> Image.Image:
    """Lays out cards uint8 (N, C, H, W) in rows of `columns`, each with its mask to its right if it has one."""
    shown = pixels[:, :3]
    if with_masks and pixels.shape[1] == 4:
        shown = torch.cat([shown, pixels[:, 3:].expand(-1, 3, -1, -1)], dim=3)
    grid = make_grid(shown, nrow=columns, padding=GRID_PADDING, pad_value=128)
    image = Image.fromarray(grid.permute(1, 2, 0).numpy())
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
