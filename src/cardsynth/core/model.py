"""The net: a diffusers UNet2DModel for any height, width, channels and number of classes."""

from diffusers import UNet2DModel

from cardsynth.cards.number_planes import PLANES
from cardsynth.core.config import TrainingConfig


def check_size(height: int, width: int, levels: int, patch_size: int = 1) -> None:
    """Raise ValueError, naming the nearest sizes that fit, unless a net of so many levels takes (height, width)."""
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
    """A net for cards of `channels` (3: RGB, 4: RGB and mask) at the settings' (height, width).

    With classes it has one embedding more than `num_classes`: the last stands for "no label" and is what guidance
    compares with. A `patch_size` p folds p x p pixels into channels: the net works on (channels * p * p, height / p,
    width / p), and behind these it takes two planes for each of the settings' `conditions`. Raises ValueError for a
    size that does not fit the net's levels, before anything is allocated.
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
