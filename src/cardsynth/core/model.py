"""Builds the net: a diffusers `UNet2DModel` for any height, width, channels and number of classes."""

from diffusers import UNet2DModel

from cardsynth.cards.number_planes import PLANES
from cardsynth.core.config import TrainingConfig


def check_size(height: int, width: int, levels: int, patch_size: int = 1) -> None:
    """Raises ValueError, naming the nearest sizes that fit, unless a net of `levels` levels takes (height, width)."""
    multiple = patch_size * 2 ** (levels - 1)
    if height % multiple == 0 and width % multiple == 0:
        return
    nearest = [
        " or ".join(str(n) for n in sorted({side // multiple * multiple, -(-side // multiple) * multiple}) if n)
        for side in (height, width)
    ]
    raise ValueError(
        f"a net of {levels} levels with patch_size {patch_size} takes heights and widths that are multiples of"
        f" {multiple}; {height}x{width} is not: take height {nearest[0]}, width {nearest[1]}, or fewer levels"
    )


def build_unet(config: TrainingConfig, channels: int = 3, num_classes: int = 0) -> UNet2DModel:
    """Builds a net for cards of the settings' (height, width).

    With a `patch_size` p, blocks of p x p pixels are folded into channels: the net works on
    (channels * p * p, height / p, width / p). Two more input planes hold each of the settings' `conditions`.

    Args:
        config: settings of the run.
        channels: 3 (RGB) or 4 (RGB and mask).
        num_classes: number of classes; the net has one embedding more, which stands for "no label" in guidance.

    Raises:
        ValueError: the size does not fit the net's levels; nothing is allocated then.
    """
    levels, patch = len(config.block_out_channels), config.patch_size
    check_size(config.height, config.width, levels, patch)
    attention = [level in config.attention_levels for level in range(levels)]
    return UNet2DModel(
        sample_size=(config.height // patch, config.width // patch),
        in_channels=channels * patch**2 + PLANES * len(config.conditions),
        out_channels=channels * patch**2,
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        down_block_types=tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attention),
        up_block_types=tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attention)),
        attention_head_dim=config.attention_head_dim,
        norm_num_groups=config.norm_num_groups,
        act_fn=config.act_fn,
        dropout=config.dropout,
        resnet_time_scale_shift=config.resnet_time_scale_shift,
        num_class_embeds=num_classes + 1 if num_classes else None,
    )
