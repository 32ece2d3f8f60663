"""Settings of a damage finder."""

from typing import Annotated, ClassVar

from cardsynth.cards.fitting import Fit
from cardsynth.cards.reading import Reading
from cardsynth.core.base_config import BaseConfig
from cardsynth.util.settings import (
    CountFromZero,
    Ints,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Share,
    about,
    settings,
)

# Settings that a resumed run may change; all others make another run.
MAY_CHANGE = frozenset({
    "cpu", "mixed_precision", "save_steps", "checkpoints_total_limit", "push_to_hub", "hub_model_id",
    "hub_private_repo",
})  # fmt: skip


@settings
class FinderConfig(BaseConfig):
    """Settings of a damage finder; sizes are (height, width) in pixels.

    Raises:
        ValueError: a value has the wrong type or is out of range; the message names the field and what it takes.
    """

    may_change: ClassVar[frozenset[str]] = MAY_CHANGE

    height: Annotated[PositiveInt, about("Height in pixels at which it looks at cards.")] = 160
    width: Annotated[PositiveInt, about("Width in pixels.")] = 128
    fit: Annotated[Fit, about("How a picture of another shape fits: pad, cover and crop, or stretch.")] = "pad"
    portrait: Annotated[bool, about("Turn landscape pictures to portrait, by 90 degrees.")] = True
    architecture: Annotated[str, about("Architecture of segmentation-models-pytorch.")] = "Unet"
    encoder_name: Annotated[str, about("Its encoder; tu-NAME is one of timm's.")] = "resnet18"
    encoder_weights: Annotated[
        str | None, about("Initial weights of the encoder: a file, or imagenet (cached); none: random.")
    ] = None
    encoder_depth: Annotated[PositiveInt, about("Stages of the encoder, each half as large as the one before.")] = 4
    decoder_channels: Annotated[Ints, about("Channels of the decoder, one for each stage.")] = (64, 48, 32, 16)
    max_train_steps: Annotated[PositiveInt, about("Optimiser steps.")] = 1200
    train_batch_size: Annotated[PositiveInt, about("Cards in a batch.")] = 16
    learning_rate: Annotated[PositiveFloat, about("Highest learning rate of AdamW's one cycle.")] = 1e-3
    weight_decay: Annotated[NonNegativeFloat, about("Weight decay of AdamW.")] = 1e-2
    flips: Annotated[bool, about("Train on cards mirrored and upside down too.")] = True
    synthetic_share: Annotated[Share, about("Share of each batch that is synthetic, if there are such cards.")] = 0.5
    anneal: Annotated[bool, about("Reduce that share to nothing over the last half of the steps.")] = True
    seed: Annotated[CountFromZero, about("Seed of weights, data order and augmentation.")] = 0
    save_steps: Annotated[PositiveInt, about("Steps between checkpoints.")] = 500

    def __post_init__(self) -> None:
        BaseConfig.__post_init__(self)
        if len(self.decoder_channels) != self.encoder_depth:
            raise ValueError(
                f"decoder_channels has {len(self.decoder_channels)} numbers, and encoder_depth is {self.encoder_depth};"
                " give one for each stage"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    @property
    def reading(self) -> Reading:
        """How cards are read: `read_cards(source, config.reading)`."""
        return Reading(self.size, self.fit, self.portrait)

    def is_checkpoint_due(self, step: int, epoch: int, epoch_ends: bool) -> bool:
        """Whether a checkpoint is saved after a step; one is also saved at the end."""
        return step % self.save_steps == 0
