"""Settings of a fine-tuning run of Stable Diffusion on captioned cards."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cardsynth.core.base_config import BaseConfig
from cardsynth.util.settings import (
    CountFromZero,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Precision,
    ShareBelowOne,
    Texts,
    about,
    settings,
)

BASE_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"  # a mirror of 1.5, whose original repository is gone
# Settings that a resumed run may change; all others make another run.
MAY_CHANGE = frozenset({
    "max_train_steps", "gradient_checkpointing", "cpu", "mixed_precision", "validation_prompts", "validation_steps",
    "validation_images", "num_inference_steps", "guidance_scale", "save_steps", "checkpoints_total_limit",
    "push_to_hub", "hub_model_id", "hub_private_repo",
})  # fmt: skip


@settings
class TextConfig(BaseConfig):
    """Settings of a text-to-card run; the defaults fit version 1.5 at 512x512 on one GPU.

    Raises:
        ValueError: a value has the wrong type or is out of range; the message names the field and what it takes.
    """

    may_change: ClassVar[frozenset[str]] = MAY_CHANGE

    base_model: Annotated[str, about("Stable Diffusion 1.x, 2.x or XL: a diffusers folder or a Hub id.")] = BASE_MODEL
    base_revision: Annotated[str | None, about("Branch, tag or commit of it on the Hub.")] = None
    # Data
    trigger: Annotated[str, about("Word of the captions that stands for your cards; prompts start from it.")] = "crdbck"
    resolution: Annotated[
        PositiveInt | None, about("Pictures keep the area of a square of this side; none: the model's.")
    ] = None
    fit: Annotated[Literal["crop", "pad"], about("How a picture fits its bucket: cover and crop, or pad.")] = "crop"
    prior_prompt: Annotated[
        str | None, about("Prior preservation: prompt that the model must not forget, like 'a trading card back'.")
    ] = None
    prior_images: Annotated[PositiveInt, about("Pictures of it that the base model draws first.")] = 100
    prior_weight: Annotated[NonNegativeFloat, about("Weight of their loss, relative to that of the cards.")] = 1.0
    # Trained weights
    method: Annotated[Literal["lora", "full"], about("Low-rank adapters of the attention, or all of the U-Net.")] = (
        "lora"
    )
    lora_rank: Annotated[PositiveInt, about("Rank of the adapters.")] = 16
    train_text_encoder: Annotated[bool, about("Train the text encoder too.")] = False
    # Optimisation
    max_train_steps: Annotated[PositiveInt, about("Number of optimiser steps.")] = 1000
    train_batch_size: Annotated[PositiveInt, about("Pictures in a batch.")] = 1
    gradient_accumulation_steps: Annotated[PositiveInt, about("Batches for each optimiser step.")] = 1
    learning_rate: Annotated[PositiveFloat, about("Highest learning rate of AdamW; 1e-5 suits method full.")] = 1e-4
    lr_warmup_steps: Annotated[CountFromZero, about("Steps from 0 to the highest learning rate.")] = 0
    lr_scheduler: Annotated[Literal["cosine", "linear", "constant_with_warmup"], about("Decay after warm-up.")] = (
        "constant_with_warmup"
    )
    weight_decay: Annotated[NonNegativeFloat, about("Weight decay of AdamW.")] = 1e-2
    adam_beta2: Annotated[ShareBelowOne, about("Second beta of AdamW.")] = 0.999
    max_grad_norm: Annotated[PositiveFloat, about("Gradients are clipped to this norm.")] = 1.0
    ema_decay: Annotated[ShareBelowOne, about("Method full: highest decay of the averaged weights.")] = 0.999
    mixed_precision: Annotated[Precision, about("auto: bf16 where the hardware has it, else fp16 on a GPU.")] = "auto"
    gradient_checkpointing: Annotated[bool, about("Less memory for more time.")] = False
    seed: Annotated[CountFromZero, about("Seed of adapters, data order, noise and validation pictures.")] = 0
    # Validation and saving
    validation_prompts: Annotated[
        Texts, about("Prompts of the sample grids; none: the trigger, and two captions.")
    ] = ()
    validation_steps: Annotated[PositiveInt, about("Steps between sample grids.")] = 200
    validation_images: Annotated[PositiveInt, about("Pictures of each prompt, from seeds 0, 1, ...")] = 4
    num_inference_steps: Annotated[PositiveInt, about("Sampler steps of a picture, also by default later.")] = 30
    guidance_scale: Annotated[
        Annotated[float, Field(ge=1)], about("Guidance towards the prompt, also by default later; 1: none.")
    ] = 7.5
    save_steps: Annotated[PositiveInt, about("Steps between checkpoints.")] = 200
    checkpoints_total_limit: Annotated[PositiveInt, about("Checkpoints kept; the oldest go first.")] = 3

    def __post_init__(self) -> None:
        BaseConfig.__post_init__(self)
        for name in ("trigger", "base_model"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} must not be empty")
        if self.prior_prompt is not None and not self.prior_prompt.strip():
            raise ValueError("prior_prompt must not be empty; leave it out for no prior preservation")

    def is_grid_due(self, step: int, epoch: int, epoch_ends: bool) -> bool:
        """Whether the validation prompts are drawn after a step; step 0 is the base model."""
        return step % self.validation_steps == 0

    def is_checkpoint_due(self, step: int, epoch: int, epoch_ends: bool) -> bool:
        """Whether a checkpoint is saved after a step."""
        return step % self.save_steps == 0
