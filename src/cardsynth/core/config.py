"""Settings of a diffusion model's training run, the presets of every kind of run, and their JSON form."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from cardsynth.baselines.config import BASELINE_PRESETS, BaselineConfig
from cardsynth.core.base_config import RunConfig, about, check_positive, check_shares

CLASSES = ("CLEAN", "FULL_CARD", "LIGHT", "SMALL", "WHITE_MARKS")
EXTRA_CLASSES = ("WAX_STAIN", "RESIDUE", "TONING", "CREASE", "SCRATCH", "WATER_RING", "HICKEY", "PEN_MARK")

BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]
PredictionType = Literal["epsilon", "sample", "v_prediction"]
LossWeighting = Literal["none", "min_snr"]
Sampler = Literal["dpmsolver++", "sde-dpmsolver++", "unipc", "ddim", "ddpm"]
Condition = Literal["covered", "darkness"]
CompileMode = Literal["auto", "no", "default", "reduce-overhead", "max-autotune"]
Settings = TypeVar("Settings")  # a dataclass of settings with `replace`


def check_interval(guidance_interval: tuple[float, float]) -> None:
    """Raise ValueError unless it is two shares of the schedule, the lower first."""
    if len(guidance_interval) != 2 or not 0 <= guidance_interval[0] < guidance_interval[1] <= 1:
        raise ValueError(f"guidance_interval must be two shares in 0 to 1, lower first, and is {guidance_interval}")


@dataclass(frozen=True)
class TrainingConfig(RunConfig):
    """All settings of a run that trains a diffusion model.

    Raises ValueError, naming the field and what it takes, when a value is out of range.
    """

    conditions: Annotated[
        tuple[Condition, ...],
        about("Numbers to learn, to ask for cards by: covered share (of masks), darkness (of the rows)."),
    ] = ()
    # Net
    patch_size: Annotated[int, about("Side of the pixel blocks folded into channels before the net; 1: none.")] = 1
    block_out_channels: Annotated[tuple[int, ...], about("Channels of each level of the U-Net.")] = (
        *(128, 128, 256, 256, 512, 512),
    )
    layers_per_block: Annotated[int, about("ResNet layers in each level.")] = 2
    attention_levels: Annotated[tuple[int, ...], about("Levels with self-attention, counted from 0 at the top.")] = (4,)
    attention_head_dim: Annotated[int, about("Channels of an attention head.")] = 8
    norm_num_groups: Annotated[int, about("Groups of the group norm.")] = 32
    act_fn: Annotated[Literal["silu", "gelu", "relu", "mish"], about("Activation function.")] = "silu"
    resnet_time_scale_shift: Annotated[
        Literal["default", "scale_shift"], about("How time and class act on a layer: added, or as scale and shift.")
    ] = "default"
    dropout: Annotated[float, about("Dropout probability inside the net.")] = 0.0
    # Diffusion
    num_train_timesteps: Annotated[int, about("Steps of the noise schedule.")] = 1000
    beta_schedule: Annotated[BetaSchedule, about("Noise schedule; squaredcos_cap_v2 is cosine.")] = "linear"
    prediction_type: Annotated[PredictionType, about("What the net predicts: noise, the card, or velocity.")] = (
        "epsilon"
    )
    loss_weighting: Annotated[LossWeighting, about("Weights of the loss by timestep.")] = "none"
    snr_gamma: Annotated[float, about("Gamma of min-SNR weights (Hang et al. 2023 use 5).")] = 5.0
    snr_floor: Annotated[float, about("Least min-SNR weight of the image's error, at high noise.")] = 0.0
    mask_weight: Annotated[float, about("Weight of the mask channel's error beside a colour channel's.")] = 1.0
    label_dropout: Annotated[float, about("Share of labels hidden in training, which guidance needs.")] = 0.1
    # Optimisation
    gradient_accumulation_steps: Annotated[int, about("Batches added up for one optimiser step.")] = 1
    learning_rate: Annotated[float, about("Highest learning rate of AdamW.")] = 1e-4
    lr_warmup_steps: Annotated[int, about("Steps from 0 to the highest learning rate.")] = 500
    lr_scheduler: Annotated[Literal["cosine", "linear", "constant_with_warmup"], about("Decay after warm-up.")] = (
        "cosine"
    )
    weight_decay: Annotated[float, about("Weight decay of AdamW.")] = 1e-2
    adam_beta2: Annotated[float, about("Second beta of AdamW.")] = 0.999
    max_grad_norm: Annotated[float, about("Gradients are clipped to this norm.")] = 1.0
    other_ema_decays: Annotated[tuple[float, ...], about("Further averages that are kept, to choose from later.")] = ()
    compile_mode: Annotated[
        CompileMode, about("torch.compile; reduce-overhead also records CUDA graphs; auto: default on a GPU.")
    ] = "auto"
    gradient_checkpointing: Annotated[bool, about("Less memory for more time.")] = False
    # Sampling
    sampler: Annotated[Sampler, about("Sampler in sample grids, and by default in sampling.")] = "dpmsolver++"
    num_inference_steps: Annotated[int, about("Net calls a card in sample grids, and by default in sampling.")] = 50
    guidance_scale: Annotated[float, about("Guidance in sample grids, and by default in sampling; 1: none.")] = 1.0
    negative_label: Annotated[
        str | None, about("Class that guidance leads away from in sampling; none: from cards without a label.")
    ] = None
    guidance_limit: Annotated[float | None, about("Longest step of guidance, root mean square; none: any.")] = None
    guidance_interval: Annotated[
        tuple[float, float], about("Where guidance acts: shares of the schedule, from the card (0) to noise (1).")
    ] = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("block_out_channels", "attention_levels", "conditions", "other_ema_decays", "guidance_interval"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        positive = "patch_size layers_per_block attention_head_dim norm_num_groups num_train_timesteps mask_weight"
        check_positive(self, f"{positive} gradient_accumulation_steps learning_rate max_grad_norm num_inference_steps")
        check_shares(self, "dropout label_dropout adam_beta2")
        known = get_args(Condition)
        if len(set(self.conditions)) < len(self.conditions) or not set(self.conditions) <= set(known):
            raise ValueError(f"conditions must be some of {', '.join(known)}, each once, and are {self.conditions}")
        if any(not 0 <= decay < 1 or decay == self.ema_decay for decay in self.other_ema_decays):
            raise ValueError(
                f"other_ema_decays must be at least 0, below 1 and not ema_decay, and are {self.other_ema_decays}"
            )
        if not 0 <= self.snr_floor <= self.snr_gamma:
            raise ValueError(f"snr_floor must lie in 0 to snr_gamma ({self.snr_gamma}), and is {self.snr_floor}")
        if min(self.lr_warmup_steps, self.weight_decay) < 0:
            raise ValueError("lr_warmup_steps and weight_decay must not be negative")
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

    @property
    def cards_per_process(self) -> int:
        """Cards that each process sees in an optimiser step."""
        return self.train_batch_size * self.gradient_accumulation_steps


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

PRESETS: dict[str, RunConfig] = {
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
    **BASELINE_PRESETS,
}
PRESETS = {name: config.replace(preset=name) for name, config in PRESETS.items()}


def get_preset(name: str) -> RunConfig:
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
    if base is None:
        others = BaselineConfig() if "kind" in values else TrainingConfig()
        base = PRESETS.get(values.get("preset", ""), others)
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(base)})
    if unknown:
        raise ValueError(f"{path} has settings that do not exist: {', '.join(unknown)}")
    try:
        return base.replace(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
