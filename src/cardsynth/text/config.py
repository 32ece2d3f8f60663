"""Settings of a fine-tuning run of Stable Diffusion on captioned cards."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from cardsynth.util.settings import Precision, about, check_positive, check_shares

BASE_MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"  # the maintained mirror of 1.5; its first home is gone
# Settings that a resumed run may change; all others make another run.
MAY_CHANGE = {
    "max_train_steps", "gradient_checkpointing", "cpu", "mixed_precision", "validation_prompts", "validation_steps",
    "validation_images", "num_inference_steps", "guidance_scale", "save_steps", "checkpoints_total_limit",
    "push_to_hub", "hub_model_id", "hub_private_repo",
}  # fmt: skip


@dataclass(frozen=True)
class TextConfig:
    """All settings of a run of text to card; every field has a default, for 1.5 at 512x512 on one GPU.

    Raises ValueError, naming the field and what it takes, when a value is out of range.
    """

    base_model: Annotated[str, about("Stable Diffusion 1.x, 2.x or XL: a diffusers folder or a Hub id.")] = BASE_MODEL
    base_revision: Annotated[str | None, about("Branch, tag or commit of it on the Hub.")] = None
    # Data
    trigger: Annotated[str, about("Word of the captions that stands for your cards; prompts start from it.")] = "crdbck"
    resolution: Annotated[int | None, about("Pictures keep the area of a square of this side; none: the model's.")] = (
        None
    )
    fit: Annotated[Literal["crop", "pad"], about("How a picture fits its bucket: cover and crop, or pad.")] = "crop"
    prior_prompt: Annotated[
        str | None, about("Prior preservation: what the base model shall not forget, like 'a trading card back'.")
    ] = None
    prior_images: Annotated[int, about("Pictures that the base model draws of it first.")] = 100
    prior_weight: Annotated[float, about("Weight of their loss beside the cards'.")] = 1.0
    # What is trained
    method: Annotated[Literal["lora", "full"], about("Low-rank adapters of the attention, or all of the U-Net.")] = (
        "lora"
    )
    lora_rank: Annotated[int, about("Rank of the adapters.")] = 16
    train_text_encoder: Annotated[bool, about("Train the text encoder too.")] = False
    # Optimisation
    max_train_steps: Annotated[int, about("Number of optimiser steps.")] = 1000
    train_batch_size: Annotated[int, about("Pictures in a batch.")] = 1
    gradient_accumulation_steps: Annotated[int, about("Batches added up for one optimiser step.")] = 1
    learning_rate: Annotated[float, about("Highest learning rate of AdamW; of method full rather 1e-5.")] = 1e-4
    lr_warmup_steps: Annotated[int, about("Steps from 0 to the highest learning rate.")] = 0
    lr_scheduler: Annotated[Literal["cosine", "linear", "constant_with_warmup"], about("Decay after warm-up.")] = (
        "constant_with_warmup"
    )
    weight_decay: Annotated[float, about("Weight decay of AdamW.")] = 1e-2
    adam_beta2: Annotated[float, about("Second beta of AdamW.")] = 0.999
    max_grad_norm: Annotated[float, about("Gradients are clipped to this norm.")] = 1.0
    ema_decay: Annotated[float, about("Method full: highest decay of the averaged weights that are saved.")] = 0.999
    mixed_precision: Annotated[Precision, about("auto: bf16 where the hardware has it, else fp16 on a GPU.")] = "auto"
    gradient_checkpointing: Annotated[bool, about("Less memory for more time.")] = False
    cpu: Annotated[bool, about("Train on the CPU even where there is a GPU.")] = False
    seed: Annotated[int, about("Seed of adapters, data order, noise and validation pictures.")] = 0
    # Validation and saving
    validation_prompts: Annotated[
        tuple[str, ...], about("Prompts drawn as training goes on; none given: of the trigger, and two captions.")
    ] = ()
    validation_steps: Annotated[int, about("Draw them every so many steps.")] = 200
    validation_images: Annotated[int, about("Pictures of each prompt, from seeds 0, 1, ...")] = 4
    num_inference_steps: Annotated[int, about("Sampler steps a picture, also later by default.")] = 30
    guidance_scale: Annotated[float, about("Guidance towards the prompt, also later by default; 1: none.")] = 7.5
    save_steps: Annotated[int, about("Save weights and checkpoint every so many steps.")] = 200
    checkpoints_total_limit: Annotated[int, about("Checkpoints kept; the oldest go first.")] = 3
    # Hub
    push_to_hub: Annotated[bool, about("Push the run to the Hugging Face Hub when it is done.")] = False
    hub_model_id: Annotated[str | None, about("Repository on the Hub, like name/model.")] = None
    hub_private_repo: Annotated[bool, about("Make the repository private.")] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "validation_prompts", tuple(self.validation_prompts))
        positive = "prior_images lora_rank max_train_steps train_batch_size gradient_accumulation_steps learning_rate"
        positive += " max_grad_norm validation_steps validation_images num_inference_steps save_steps"
        positive += " checkpoints_total_limit"
        check_positive(self, positive)
        if self.resolution is not None and self.resolution <= 0:
            raise ValueError(f"resolution must be above 0 or left out, and is {self.resolution}")
        check_shares(self, "ema_decay adam_beta2")
        if min(self.lr_warmup_steps, self.seed, self.weight_decay, self.prior_weight) < 0:
            raise ValueError("lr_warmup_steps, seed, weight_decay and prior_weight must not be negative")
        if self.guidance_scale < 1:
            raise ValueError(f"guidance_scale must be 1 (none) or more, and is {self.guidance_scale}")
        for name in ("trigger", "base_model"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} must not be empty")
        if self.prior_prompt is not None and not self.prior_prompt.strip():
            raise ValueError("prior_prompt must not be empty; leave it out for no prior preservation")
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError("push_to_hub needs hub_model_id, like name/model")

    def replace(self, **changes: Any) -> "TextConfig":
        """A copy with other values; raises TypeError for a name that is no setting."""
        return dataclasses.replace(self, **changes)
