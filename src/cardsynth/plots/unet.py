"""A figure of a U-Net, drawn from the net itself: its blocks, their channels and sizes, attention, and skips."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from diffusers import UNet2DModel
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from cardsynth.plots.cards import DARK, LIGHT, WARNING, NotebookFigure


@dataclass(frozen=True)
class Block:
    """One block of a U-Net, as its feature maps are seen to pass.

    side: `down`, `middle` or `up`; level: 0 where maps are largest; resnets, attentions: how many layers of each;
    skips: how many maps of the way down are joined to its own.
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
    """The blocks of a net in the order that maps pass through them, by passing some through it."""
    stages = [("down", level, block) for level, block in enumerate(unet.down_blocks)]
    stages.append(("middle", len(unet.down_blocks) - 1, unet.mid_block))
    stages += [("up", len(unet.up_blocks) - 1 - place, block) for place, block in enumerate(unet.up_blocks)]
    shapes: dict[int, tuple[int, ...]] = {}

    def remember(place: int):
        def hook(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
            shapes[place] = tuple(output.shape)

        return hook

    hooks = [block.resnets[-1].register_forward_hook(remember(place)) for place, (_, _, block) in enumerate(stages)]
    side = unet.config.sample_size
    height, width = (side, side) if isinstance(side, int) else side
    images = torch.zeros(1, unet.config.in_channels, height, width, device=unet.device)
    classes = None if unet.class_embedding is None else torch.zeros(1, dtype=torch.long, device=unet.device)
    try:
        unet(images, 0, class_labels=classes)
    finally:
        for hook in hooks:
            hook.remove()
    found = []
    for place, (side, level, block) in enumerate(stages):
        attentions = [layer for layer in getattr(block, "attentions", ()) or () if layer is not None]
        skips = len(block.resnets) if side == "up" else 0
        found.append(Block(side, level, *shapes[place][1:], len(block.resnets), len(attentions), skips))
    return found


def draw_unet(unet: UNet2DModel, patch_size: int = 1) -> Figure:
    """A figure of a net: down its left side maps shrink and channels grow, on its right side they come back.

    patch_size: pixels that were folded into channels before the net, to a side.
    """
    blocks = read_blocks(unet)
    levels = 1 + max(block.level for block in blocks)
    figure = NotebookFigure(figsize=(9.5, 1.05 * (levels + 1) + 0.9), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.set(xlim=(-1.25, 10.25), ylim=(-levels - 0.45, 1.0))
    step = 3.0 / max(1, levels)
    places = {}
    for block in blocks:
        if block.side == "middle":
            where = (4.5, -block.level - 1.0)
        else:
            where = (0.6 + step * block.level, -float(block.level))
            where = where if block.side == "down" else (9.0 - where[0], where[1])
        places[block.side, block.level] = where
        _draw_block(axes, block, *where)
    _draw_ways(axes, blocks, places, levels)
    _draw_ends(axes, unet, patch_size, places)
    return figure


def _draw_block(axes: Axes, block: Block, x: float, y: float) -> None:
    colour = WARNING if block.attentions else DARK
    box = FancyBboxPatch(
        (x - 0.72, y - 0.3), 1.44, 0.6, boxstyle="round,pad=0,rounding_size=0.08", facecolor="white", edgecolor=colour
    )
    box.set_linewidth(1.6)
    axes.add_patch(box)
    axes.text(x, y + 0.13, f"{block.channels} ch, {block.height}x{block.width}", ha="center", va="center", fontsize=9)
    layers = f"{block.resnets} ResNet"
    if block.attentions:
        layers += f" + {block.attentions} attention"
    axes.text(x, y - 0.13, layers, ha="center", va="center", fontsize=7, color=colour)


def _draw_ways(axes: Axes, blocks: list[Block], places: dict, levels: int) -> None:
    for level in range(levels):
        (left, y), (right, _) = places["down", level], places["up", level]
        skips = next(block.skips for block in blocks if (block.side, block.level) == ("up", level))
        _arrow(axes, (left + 0.76, y), (right - 0.76, y), LIGHT, dashed=True)
        axes.text((left + right) / 2, y + 0.06, f"{skips} skips", ha="center", va="bottom", fontsize=8, color="#555555")
    down = [places["down", level] for level in range(levels)] + [places["middle", levels - 1]]
    up = [places["middle", levels - 1]] + [places["up", level] for level in reversed(range(levels))]
    for (x, y), (to_x, to_y) in [*pairwise(down), *pairwise(up)]:
        lower = -0.34 if to_y < y else 0.34
        _arrow(axes, (x, y + lower), (to_x, to_y - lower), DARK)


def _draw_ends(axes: Axes, unet: UNet2DModel, patch_size: int, places: dict) -> None:
    config, (left, _), (right, _) = unet.config, places["down", 0], places["up", 0]
    side = config.sample_size
    height, width = (side, side) if isinstance(side, int) else side
    size = f"{height}x{width}"
    folded = f"\n({patch_size}x{patch_size} pixels folded)" if patch_size > 1 else ""
    _arrow(axes, (left, 0.58), (left, 0.34), DARK)
    _arrow(axes, (right, 0.34), (right, 0.58), DARK)
    axes.text(left, 0.62, f"noisy: {config.in_channels} ch, {size}{folded}", ha="center", va="bottom", fontsize=9)
    axes.text(right, 0.62, f"answer: {config.out_channels} ch, {size}{folded}", ha="center", va="bottom", fontsize=9)
    dimension = unet.time_embedding.linear_2.out_features
    classes = (config.num_class_embeds or 1) - 1
    told = f"the timestep and the class ({classes}, or none)" if classes else "the timestep"
    text = f"every ResNet block is told {told},\nas a sum of embeddings of {dimension} numbers"
    axes.text(4.5, 0.62, text, ha="center", va="bottom", fontsize=8)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, dashed: bool = False) -> None:
    style = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.4, "linestyle": "--" if dashed else "-"}
    axes.annotate("", xy=end, xytext=start, arrowprops={**style, "shrinkA": 0, "shrinkB": 0})
