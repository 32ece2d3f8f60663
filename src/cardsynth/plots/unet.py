"""Draws a U-Net from the net itself: its blocks, their channels and sizes, attention layers and skip connections."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers import UNet2DModel
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from cardsynth.plots.cards import DARK, LIGHT, WARNING, NotebookFigure

BOX = (1.44, 0.6)  # width and height of a block
ARROW_GAP = 0.04  # between a block and an arrow
LEFT, MIDDLE, RIGHT = 0.6, 4.5, 8.4  # x of the first block, the middle and the last block
SLOPE = 3.0  # distance by which the lowest blocks are shifted towards the middle

Places = dict[tuple[str, int], tuple[float, float]]  # x and y of each block, by side and level


@dataclass(frozen=True)
class Block:
    """One block of a U-Net, as observed in a forward pass.

    Attributes:
        side: `down`, `middle` or `up`.
        level: 0 for the largest feature maps.
        channels: Number of channels of its output.
        height: Height of its feature maps.
        width: Width of its feature maps.
        resnets: Number of ResNet layers.
        attentions: Number of attention layers.
        skips: Number of skip connections from the down side.
    """

    side: str
    level: int
    channels: int
    height: int
    width: int
    resnets: int
    attentions: int
    skips: int


@torch.inference_mode()
def read_blocks(unet: UNet2DModel) -> list[Block]:
    """Returns the blocks of a net in the order of a forward pass, observed in one.

    Args:
        unet: The net.
    """
    stages = [("down", level, block) for level, block in enumerate(unet.down_blocks)]
    lowest = len(unet.down_blocks) - 1
    stages += [("middle", lowest, unet.mid_block)]
    stages += [("up", lowest - index, block) for index, block in enumerate(unet.up_blocks)]
    shapes: list[torch.Size] = []

    def record(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        shapes.append(output.shape[1:])

    hooks = [block.resnets[-1].register_forward_hook(record) for _, _, block in stages]
    images = torch.zeros(1, unet.config.in_channels, *_size(unet), device=unet.device)
    classes = None if unet.class_embedding is None else torch.zeros(1, dtype=torch.long, device=unet.device)
    try:
        unet(images, 0, class_labels=classes)
    finally:
        for hook in hooks:
            hook.remove()
    blocks = []
    for (side, level, block), shape in zip(stages, shapes, strict=True):
        attentions = [layer for layer in getattr(block, "attentions", ()) or () if layer is not None]
        skips = len(block.resnets) if side == "up" else 0
        blocks.append(Block(side, level, *shape, len(block.resnets), len(attentions), skips))
    return blocks


def _size(unet: UNet2DModel) -> tuple[int, int]:
    side = unet.config.sample_size
    return (side, side) if isinstance(side, int) else tuple(side)


def draw_unet(unet: UNet2DModel, patch_size: int = 1) -> Figure:
    """Draws a net: feature maps shrink down the left side and grow up the right side.

    Args:
        unet: The net.
        patch_size: Side, in pixels, of the patches folded into channels before the net.
    """
    blocks = read_blocks(unet)
    levels = 1 + max(block.level for block in blocks)
    figure = NotebookFigure(figsize=(9.5, 1.05 * (levels + 1) + 0.9), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set(xlim=(-1.25, 10.25), ylim=(-levels - 0.45, 1.0))
    places: Places = {("middle", levels - 1): (MIDDLE, -float(levels))}
    for level in range(levels):
        shift = SLOPE / levels * level
        places["down", level], places["up", level] = (LEFT + shift, -float(level)), (RIGHT - shift, -float(level))
    for block in blocks:
        _draw_block(axes, block, *places[block.side, block.level])
        if block.side == "up":
            _draw_skips(axes, block, places)
    path = [places[block.side, block.level] for block in blocks]
    for (x, y), (next_x, next_y) in pairwise(path):
        edge = BOX[1] / 2 + ARROW_GAP if next_y > y else -BOX[1] / 2 - ARROW_GAP
        _arrow(axes, (x, y + edge), (next_x, next_y - edge), DARK)
    _draw_ends(axes, unet, patch_size)
    return figure


def _draw_block(axes: Axes, block: Block, x: float, y: float) -> None:
    colour = WARNING if block.attentions else DARK
    corner, style = (x - BOX[0] / 2, y - BOX[1] / 2), "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, *BOX, boxstyle=style, facecolor="white", edgecolor=colour, linewidth=1.6))
    axes.text(x, y + 0.13, f"{block.channels} ch, {block.height}x{block.width}", ha="center", va="center", fontsize=9)
    layers = f"{block.resnets} ResNet" + (f" + {block.attentions} attention" if block.attentions else "")
    axes.text(x, y - 0.13, layers, ha="center", va="center", fontsize=7, color=colour)


def _draw_skips(axes: Axes, block: Block, places: Places) -> None:
    (left, y), (right, _) = places["down", block.level], places["up", block.level]
    edge = BOX[0] / 2 + ARROW_GAP
    _arrow(axes, (left + edge, y), (right - edge, y), LIGHT, dashed=True)
    text = f"{block.skips} skips"
    axes.text((left + right) / 2, y + 0.06, text, ha="center", va="bottom", fontsize=8, color="#555555")


def _draw_ends(axes: Axes, unet: UNet2DModel, patch_size: int) -> None:
    size = "x".join(map(str, _size(unet)))
    size += f"\n({patch_size}x{patch_size} pixels folded)" if patch_size > 1 else ""
    _arrow(axes, (LEFT, 0.58), (LEFT, 0.34), DARK)
    _arrow(axes, (RIGHT, 0.34), (RIGHT, 0.58), DARK)
    dimension, classes = unet.time_embedding.linear_2.out_features, (unet.config.num_class_embeds or 1) - 1
    condition = f"the timestep and the class ({classes}, or none)" if classes else "the timestep"
    texts = {
        LEFT: (f"noisy: {unet.config.in_channels} ch, {size}", 9),
        MIDDLE: (f"every ResNet block receives {condition},\nas a sum of embeddings of {dimension} numbers", 8),
        RIGHT: (f"prediction: {unet.config.out_channels} ch, {size}", 9),
    }
    for x, (text, font_size) in texts.items():
        axes.text(x, 0.62, text, ha="center", va="bottom", fontsize=font_size)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, dashed: bool = False) -> None:
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.4, "linestyle": "--" if dashed else "-"}
    axes.annotate("", xy=end, xytext=start, arrowprops={**style, "shrinkA": 0, "shrinkB": 0})
