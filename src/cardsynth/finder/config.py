"""Settings of a damage finder."""

from dataclasses import dataclass
from typing import Annotated

from cardsynth.cards.fitting import Fit
from cardsynth.cli.options import Text
from cardsynth.util.settings import check_positive


@dataclass(frozen=True)
class FinderConfig:
    """Settings of a damage finder; sizes are (height, width) in pixels. Raises ValueError for values out of range."""

    height: Annotated[int, Text(help="Height in pixels at which it looks at cards.")] = 160
    width: Annotated[int, Text(help="Width in pixels.")] = 128
    fit: Annotated[Fit, Text(help="How a picture of another shape fits: pad, cover and crop, or stretch.")] = "pad"
    portrait: Annotated[bool, Text(help="Turn landscape pictures to portrait (a quarter turn).")] = True
    architecture: Annotated[str, Text(help="Architecture of segmentation-models-pytorch.")] = "Unet"
    encoder_name: Annotated[str, Text(help="Its encoder; tu-NAME is one of timm's.")] = "resnet18"
    encoder_weights: Annotated[
        str | None, Text(help="Weights to start the encoder from: a file on disk, or imagenet (cached); none: scratch.")
    ] = None
    encoder_depth: Annotated[int, Text(help="Stages of the encoder, each half as large as the one before.")] = 4
    decoder_channels: Annotated[tuple[int, ...], Text(help="Channels of the decoder, one for each stage.")] = (
        *(64, 48, 32, 16),
    )
    max_train_steps: Annotated[int, Text(help="Optimiser steps.")] = 1200
    train_batch_size: Annotated[int, Text(help="Cards in a batch.")] = 16
    learning_rate: Annotated[float, Text(help="Highest learning rate of AdamW's one cycle.")] = 1e-3
    weight_decay: Annotated[float, Text(help="Weight decay of AdamW.")] = 1e-2
    flips: Annotated[bool, Text(help="Show cards mirrored and upside down too.")] = True
    synthetic_share: Annotated[
        float, Text(help="Share of each batch that is synthetic, where there are such cards.")
    ] = 0.5
    anneal: Annotated[bool, Text(help="Let that share go to nothing over the last half of the steps.")] = True
    seed: Annotated[int, Text(help="Seed of weights, order and augmentation.")] = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "decoder_channels", tuple(self.decoder_channels))
        check_positive(self, "height width encoder_depth max_train_steps train_batch_size learning_rate")
        if len(self.decoder_channels) != self.encoder_depth:
            raise ValueError(
                f"decoder_channels has {len(self.decoder_channels)} numbers, and encoder_depth is {self.encoder_depth};"
                " give one for each stage"
            )
        if not 0 <= self.synthetic_share <= 1:
            raise ValueError(f"synthetic_share must lie in 0 to 1, and is {self.synthetic_share}")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width
