"""Settings of a training run: one frozen dataclass, its presets, and its JSON form."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import tyro

CLASSES = ("CLEAN", "FULL_CARD", "LIGHT", "SMALL", "WHITE_MARKS")
EXTRA_CLASSES = ("WAX_STAIN", "RESIDUE", "TONING", "CREASE", "SCRATCH", "WATER_RING", "HICKEY", "PEN_MARK")

Fit = Literal["crop", "pad", "stretch"]
BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]
PredictionType = Literal["epsilon", "sample", "v_prediction"]
LossWeighting = Literal["none", "min_snr"]
Sampler = Literal["dpmsolver++", "sde-dpmsolver++", "unipc", "ddim", "ddpm"]
Condition = Literal["covered", "darkness"]
Precision = Literal["auto", "no", "fp16", "bf16"]
CompileMode = Literal["auto", "no", "default", "reduce-overhead", "max-autotune"]
Settings = TypeVar("Settings")  # a dataclass of settings with `replace`


def _help(text: str) -> Any:
    return tyro.conf.arg(help=text)


def check_interval(guidance_interval: tuple[float, float]) -> None:
    """Raise ValueError unless it is two shares of the schedule, the lower first."""
    if len(guidance_interval) != 2 or not 0 <= guidance_interval[0] < guidance_interval[1] <= 1:
        raise ValueError(f"guidance_interval must be two shares in 0 to 1, lower first, and is {guidance_interval}")


@dataclass(frozen=True)
class TrainingConfig:
    """All settings of a training run; sizes are (height, width) in pixels, and every field has a default.

    Raises ValueError, naming the field and what it takes, when a value is out of range.
    """

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    # Data
    height: Annotated[int, _help("Height of a card in pixels.")] = 160
    width: Annotated[int, _help("Width of a card in pixels.")] = 128
    fit: Annotated[Fit, _help("How a picture of another shape fits: cover and crop, pad, or stretch.")] = "crop"
    portrait: Annotated[bool, _help("Turn landscape pictures to portrait (a quarter turn).")] = True
    horizontal_flip: Annotated[bool, _help("Mirror half of the cards at random (mirrors their text too).")] = False
    use_masks: Annotated[bool, _help("Learn the damage mask as a fourth channel where the data has masks.")] = True
    use_labels: Annotated[bool, _help("Learn the damage class where the data has labels.")] = True
    only_labels: Annotated[tuple[str, ...], _help("Train on these classes alone; none given: all.")] = ()
    balance_classes: Annotated[bool, _help("See every class equally often, however few cards it has.")] = False
    conditions: Annotated[
        tuple[Condition, ...],
        _help("Numbers to learn, to ask for cards by: covered share (of masks), darkness (of the rows)."),
    ] = ()
    skip_bad: Annotated[bool, _help("Leave unreadable pictures out, and say which, instead of stopping.")] = False
    # Net
    patch_size: Annotated[int, _help("Side of the pixel blocks folded into channels before the net; 1: none.")] = 1
    block_out_channels: Annotated[tuple[int, ...], _help("Channels of each level of the U-Net.")] = (
        *(128, 128, 256, 256, 512, 512),
    )
    layers_per_block: Annotated[int, _help("ResNet layers in each level.")] = 2
    attention_levels: Annotated[tuple[int, ...], _help("Levels with self-attention, counted from 0 at the top.")] = (4,)
    attention_head_dim: Annotated[int, _help("Channels of an attention head.")] = 8
    norm_num_groups: Annotated[int, _help("Groups of the group norm.")] = 32
    act_fn: Annotated[Literal["silu", "gelu", "relu", "mish"], _help("Activation function.")] = "silu"
    resnet_time_scale_shift: Annotated[
        Literal["default", "scale_shift"], _help("How time and class act on a layer: added, or as scale and shift.")
    ] = "default"
    dropout: Annotated[float, _help("Dropout probability inside the net.")] = 0.0
    # Diffusion
    num_train_timesteps: Annotated[int, _help("Steps of the noise schedule.")] = 1000
    beta_schedule: Annotated[BetaSchedule, _help("Noise schedule; squaredcos_cap_v2 is cosine.")] = "linear"
    prediction_type: Annotated[PredictionType, _help("What the net predicts: noise, the card, or velocity.")] = (
        "epsilon"
    )
    loss_weighting: Annotated[LossWeighting, _help("Weights of the loss by timestep.")] = "none"
    snr_gamma: Annotated[float, _help("Gamma of min-SNR weights (Hang et al. 2023 use 5).")] = 5.0
    snr_floor: Annotated[float, _help("Least min-SNR weight of the image's error, at high noise.")] = 0.0
    mask_weight: Annotated[float, _help("Weight of the mask channel's error beside a colour channel's.")] = 1.0
    label_dropout: Annotated[float, _help("Share of labels hidden in training, which guidance needs.")] = 0.1
    # Optimisation
    num_epochs: Annotated[int, _help("Passes over the data.")] = 100
    max_train_steps: Annotated[int | None, _help("Number of optimiser steps; overrides num_epochs.")] = None
    train_batch_size: Annotated[int, _help("Cards in a batch, on each process.")] = 16
    gradient_accumulation_steps: Annotated[int, _help("Batches added up for one optimiser step.")] = 1
    learning_rate: Annotated[float, _help("Highest learning rate of AdamW.")] = 1e-4
    lr_warmup_steps: Annotated[int, _help("Steps from 0 to the highest learning rate.")] = 500
    lr_scheduler: Annotated[Literal["cosine", "linear", "constant_with_warmup"], _help("Decay after warm-up.")] = (
        "cosine"
    )
    weight_decay: Annotated[float, _help("Weight decay of AdamW.")] = 1e-2
    adam_beta2: Annotated[float, _help("Second beta of AdamW.")] = 0.999
    max_grad_norm: Annotated[float, _help("Gradients are clipped to this norm.")] = 1.0
    ema_decay: Annotated[float, _help("Highest decay of the averaged weights that are saved and sampled.")] = 0.9999
    other_ema_decays: Annotated[tuple[float, ...], _help("Further averages that are kept, to choose from later.")] = ()
    mixed_precision: Annotated[Precision, _help("auto: bf16 where the hardware has it, else float32.")] = "auto"
    compile_mode: Annotated[
        CompileMode, _help("torch.compile; reduce-overhead also records CUDA graphs; auto: default on a GPU.")
    ] = "auto"
    gradient_checkpointing: Annotated[bool, _help("Less memory for more time.")] = False
    cpu: Annotated[bool, _help("Train on the CPU even where there is a GPU.")] = False
    seed: Annotated[int, _help("Seed of weights, data order, noise and sample grids.")] = 0
    # Saving
    save_image_epochs: Annotated[int, _help("Draw a sample grid every so many epochs.")] = 10
    save_model_epochs: Annotated[int, _help("Save model and checkpoint every so many epochs.")] = 10
    checkpoints_total_limit: Annotated[int, _help("Checkpoints kept; the oldest go first.")] = 2
    eval_batch_size: Annotated[int, _help("Cards in a sample grid.")] = 16
    kid_epochs: Annotated[int, _help("Measure KID by held-out cards every so many epochs; 0: never.")] = 0
    kid_cards: Annotated[int, _help("Cards held out for it, a fifth at most; of under 200 cards: none.")] = 100
    sampler: Annotated[Sampler, _help("Sampler in sample grids, and by default in sampling.")] = "dpmsolver++"
    num_inference_steps: Annotated[int, _help("Net calls a card in sample grids, and by default in sampling.")] = 50
    guidance_scale: Annotated[float, _help("Guidance in sample grids, and by default in sampling; 1: none.")] = 1.0
    negative_label: Annotated[
        str | None, _help("Class that guidance leads away from in sampling; none: from cards without a label.")
    ] = None
    guidance_limit: Annotated[float | None, _help("Longest step of guidance, root mean square; none: any.")] = None
    guidance_interval: Annotated[
        tuple[float, float], _help("Where guidance acts: shares of the schedule, from the card (0) to noise (1).")
    ] = (0.0, 1.0)
    # Hub
    push_to_hub: Annotated[bool, _help("Push the run to the Hugging Face Hub when it is done.")] = False
    hub_model_id: Annotated[str | None, _help("Repository on the Hub, like name/model.")] = None
    hub_private_repo: Annotated[bool, _help("Make the repository private.")] = False

    def __post_init__(self) -> None:
        tuples = "block_out_channels attention_levels only_labels conditions other_ema_decays guidance_interval"
        for name in tuples.split():
            object.__setattr__(self, name, tuple(getattr(self, name)))
        positive = "height width patch_size layers_per_block attention_head_dim norm_num_groups num_train_timesteps"
        positive += " mask_weight num_epochs train_batch_size gradient_accumulation_steps learning_rate max_grad_norm"
        positive += " save_image_epochs save_model_epochs checkpoints_total_limit eval_batch_size num_inference_steps"
        for name in positive.split():
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, and is {getattr(self, name)}")
        for name in ("dropout", "label_dropout", "ema_decay", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, and is {getattr(self, name)}")
        known = get_args(Condition)
        if len(set(self.conditions)) < len(self.conditions) or not set(self.conditions) <= set(known):
            raise ValueError(f"conditions must be some of {', '.join(known)}, each once, and are {self.conditions}")
        if any(not 0 <= decay < 1 or decay == self.ema_decay for decay in self.other_ema_decays):
            raise ValueError(
                f"other_ema_decays must be at least 0, below 1 and not ema_decay, and are {self.other_ema_decays}"
            )
        if self.max_train_steps is not None and self.max_train_steps <= 0:
            raise ValueError(f"max_train_steps must be above 0 or left out, and is {self.max_train_steps}")
        if not 0 <= self.snr_floor <= self.snr_gamma:
            raise ValueError(f"snr_floor must lie in 0 to snr_gamma ({self.snr_gamma}), and is {self.snr_floor}")
        if min(self.lr_warmup_steps, self.seed, self.weight_decay, self.kid_epochs) < 0:
            raise ValueError("lr_warmup_steps, seed, weight_decay and kid_epochs must not be negative")
        if not self.block_out_channels or any(c <= 0 or c % self.norm_num_groups for c in self.block_out_channels):
            raise ValueError(
                f"block_out_channels must be multiples of norm_num_groups ({self.norm_num_groups}),"
                f" and are {self.block_out_channels}"
            )
        levels = len(self.block_out_channels)
        if any(not 0 <= level < levels for level in self.attention_levels):
            raise ValueError(f"attention_levels must lie in 0 to {levels - 1}, and are {self.attention_levels}")
        if self.guidance_limit is not None and self.guidance_limit <= 0:
            raise ValueError(f"guidance_limit must be above 0 or left out, and is {self.guidance_limit}")
        check_interval(self.guidance_interval)
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError("push_to_hub needs hub_model_id, like name/model")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a card in pixels."""
        return self.height, self.width

    def replace(self, **changes: Any) -> "TrainingConfig":
        """A copy with other values; raises TypeError for a name that is no setting."""
        return dataclasses.replace(self, **changes)


_OURS = TrainingConfig(
    height=160,
    width=128,
    block_out_channels=(64, 128, 192, 256, 384),
    attention_levels=(3, 4),
    attention_head_dim=64,
    beta_schedule="squaredcos_cap_v2",
    prediction_type="v_prediction",
    loss_weighting="min_snr",
    learning_rate=2e-4,
    adam_beta2=0.99,
    num_inference_steps=20,
    guidance_scale=1.5,
)

PRESETS: dict[str, TrainingConfig] = {
    # The five published runs: the Hugging Face training tutorial's net and recipe.
    "cards": TrainingConfig(height=128, width=128),
    "all_gum_stain_cards": TrainingConfig(num_epochs=200),
    "higher_res_gum_stain_cards": TrainingConfig(height=320, width=256, train_batch_size=8),
    "full_gum_stain_cards": TrainingConfig(num_epochs=150, lr_warmup_steps=750, only_labels=("FULL_CARD",)),
    "white_or_marks_gum_stain_cards": TrainingConfig(
        num_epochs=150, lr_warmup_steps=750, only_labels=("WHITE_MARKS",), train_batch_size=24
    ),
    # Ours: card, mask and class together.
    "demo": _OURS.replace(
        height=80,
        width=64,
        patch_size=2,
        block_out_channels=(32, 48, 64, 96),
        layers_per_block=1,
        attention_levels=(2, 3),
        attention_head_dim=32,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        # Folded pixels leave a narrow net no room to pass the noise on, as the other predictions must (Li & He 2025).
        prediction_type="sample",
        snr_floor=0.1,
        mask_weight=2.0,
        train_batch_size=8,
        learning_rate=9e-4,
        lr_warmup_steps=100,
        max_train_steps=2600,
        save_image_epochs=4,
        save_model_epochs=1,
        ema_decay=0.997,
        eval_batch_size=15,
        sampler="unipc",
        num_inference_steps=15,
        guidance_scale=2.0,
        negative_label="CLEAN",
        guidance_limit=0.05,
        guidance_interval=(0.2, 0.9),
    ),
    "card": _OURS.replace(num_epochs=200, kid_epochs=10),
    "card_large": _OURS.replace(
        height=320,
        width=256,
        block_out_channels=(64, 128, 192, 256, 384, 512),
        attention_levels=(4, 5),
        kid_epochs=10,
    ),
    # For tests: seconds.
    "smoke": _OURS.replace(
        height=40,
        width=32,
        patch_size=2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        attention_levels=(1,),
        attention_head_dim=8,
        norm_num_groups=4,
        lr_warmup_steps=2,
        max_train_steps=8,
        train_batch_size=4,
        save_image_epochs=1,
        save_model_epochs=1,
        eval_batch_size=4,
        num_inference_steps=3,
    ),
}
PRESETS = {name: config.replace(preset=name) for name, config in PRESETS.items()}


def get_preset(name: str) -> TrainingConfig:
    """The settings of a preset; raises ValueError that lists the presets when there is none of that name."""
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]


def save_config(config: Any, path: str | Path) -> None:
    """Write settings, a dataclass, as flat JSON."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n")
    temporary.replace(path)


def load_config(path: str | Path, base: Settings | None = None) -> Settings:
    """Settings from a JSON file, whose fields replace those of `base` (default: the preset it names, or the defaults).

    Raises FileNotFoundError, or ValueError that names the file and what is wrong in it.
    """
    path = Path(path)
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} must hold one JSON object of settings")
    base = base or (PRESETS.get(values.get("preset", ""), TrainingConfig()))
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(base)})
    if unknown:
        raise ValueError(f"{path} has settings that do not exist: {', '.join(unknown)}")
    try:
        return base.replace(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
