"""Settings of a diffusion model's training run: data, net, noise schedule, loss, optimiser, sampling."""

from typing import Annotated, Literal

from pydantic import Field

from cardsynth.core.base_config import SAMPLING_FIELDS, RunConfig, SamplingConfig
from cardsynth.util.settings import (
    CountFromZero,
    Floats,
    Ints,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ShareBelowOne,
    about,
    settings,
)

BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]
PredictionType = Literal["epsilon", "sample", "v_prediction"]
LossWeighting = Literal["none", "min_snr"]
Condition = Literal["covered", "darkness"]
CompileMode = Literal["auto", "no", "default", "reduce-overhead", "max-autotune"]


@settings
class TrainingConfig(RunConfig, SamplingConfig):
    """All settings of a run that trains a diffusion model.

    Raises:
        ValueError: a value has the wrong type or is out of range; the message names the field and what it takes.
    """

    conditions: Annotated[
        Annotated[tuple[Condition, ...], Field(strict=False)],
        about(
            "Numbers to learn with each card, to ask for later: covered (share under masks), darkness (of the rows)."
        ),
    ] = ()
    # Net
    patch_size: Annotated[PositiveInt, about("Side of the pixel blocks folded into channels before the net.")] = 1
    block_out_channels: Annotated[Ints, about("Channels of each level of the U-Net.")] = (
        *(128, 128, 256, 256, 512, 512),
    )
    layers_per_block: Annotated[PositiveInt, about("ResNet layers in each level.")] = 2
    attention_levels: Annotated[Ints, about("Levels with self-attention, counted from 0 at the top.")] = (4,)
    attention_head_dim: Annotated[PositiveInt, about("Channels of an attention head.")] = 8
    norm_num_groups: Annotated[PositiveInt, about("Groups of the group norm.")] = 32
    act_fn: Annotated[Literal["silu", "gelu", "relu", "mish"], about("Activation function.")] = "silu"
    resnet_time_scale_shift: Annotated[
        Literal["default", "scale_shift"], about("How time and class act on a layer: added, or as scale and shift.")
    ] = "default"
    dropout: Annotated[ShareBelowOne, about("Dropout probability inside the net.")] = 0.0
    # Diffusion
    num_train_timesteps: Annotated[PositiveInt, about("Timesteps of the noise schedule.")] = 1000
    beta_schedule: Annotated[BetaSchedule, about("Noise schedule; squaredcos_cap_v2 is cosine.")] = "linear"
    prediction_type: Annotated[PredictionType, about("What the net predicts: noise, the card, or velocity.")] = (
        "epsilon"
    )
    loss_weighting: Annotated[LossWeighting, about("Loss weight by timestep.")] = "none"
    snr_gamma: Annotated[NonNegativeFloat, about("Gamma of min-SNR weights (Hang et al. 2023 use 5).")] = 5.0
    snr_floor: Annotated[NonNegativeFloat, about("Least min-SNR weight of the image error, at high noise.")] = 0.0
    mask_weight: Annotated[PositiveFloat, about("Weight of the mask channel's error relative to a colour's.")] = 1.0
    label_dropout: Annotated[ShareBelowOne, about("Share of labels hidden in training, which guidance needs.")] = 0.1
    # Optimisation
    gradient_accumulation_steps: Annotated[PositiveInt, about("Batches summed for one optimiser step.")] = 1
    learning_rate: Annotated[PositiveFloat, about("Highest learning rate of AdamW.")] = 1e-4
    lr_warmup_steps: Annotated[CountFromZero, about("Steps from 0 to the highest learning rate.")] = 500
    lr_scheduler: Annotated[Literal["cosine", "linear", "constant_with_warmup"], about("Decay after warm-up.")] = (
        "cosine"
    )
    weight_decay: Annotated[NonNegativeFloat, about("Weight decay of AdamW.")] = 1e-2
    adam_beta2: Annotated[ShareBelowOne, about("Second beta of AdamW.")] = 0.999
    max_grad_norm: Annotated[PositiveFloat, about("Gradients are clipped to this norm.")] = 1.0
    other_ema_decays: Annotated[Floats, about("Further averages of the weights to keep, to choose from later.")] = ()
    compile_mode: Annotated[
        CompileMode, about("torch.compile; reduce-overhead also records CUDA graphs; auto: default on a GPU.")
    ] = "auto"
    gradient_checkpointing: Annotated[bool, about("Less memory for more time.")] = False

    def __post_init__(self) -> None:
        RunConfig.__post_init__(self)
        SamplingConfig.__post_init__(self)
        if len(set(self.conditions)) < len(self.conditions):
            raise ValueError(f"conditions must differ, and are {self.conditions}")
        if any(not 0 <= decay < 1 or decay == self.ema_decay for decay in self.other_ema_decays):
            raise ValueError(
                f"other_ema_decays must be at least 0, below 1 and not ema_decay, and are {self.other_ema_decays}"
            )
        if self.snr_floor > self.snr_gamma:
            raise ValueError(f"snr_floor must lie in 0 to snr_gamma ({self.snr_gamma}), and is {self.snr_floor}")
        if not self.block_out_channels or any(c <= 0 or c % self.norm_num_groups for c in self.block_out_channels):
            raise ValueError(
                f"block_out_channels must be multiples of norm_num_groups ({self.norm_num_groups}),"
                f" and are {self.block_out_channels}"
            )
        levels = len(self.block_out_channels)
        if any(not 0 <= level < levels for level in self.attention_levels):
            raise ValueError(f"attention_levels must lie in 0 to {levels - 1}, and are {self.attention_levels}")

    @property
    def cards_per_process(self) -> int:
        """Number of cards that each process sees in an optimiser step."""
        return self.train_batch_size * self.gradient_accumulation_steps

    @property
    def sampling(self) -> SamplingConfig:
        """The sampling settings among these."""
        return SamplingConfig(**{name: getattr(self, name) for name in SAMPLING_FIELDS})
