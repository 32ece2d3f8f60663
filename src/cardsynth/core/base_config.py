"""Settings that every kind of training run has: data, length, saving and the Hub; and those of sampling."""

import dataclasses
from typing import Annotated, ClassVar, Literal

import tyro
from pydantic import Field

from cardsynth.cards.fitting import Fit
from cardsynth.cards.reading import Reading
from cardsynth.util.settings import (
    CountFromZero,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Precision,
    Replaceable,
    ShareBelowOne,
    Texts,
    about,
    settings,
)

Sampler = Literal["dpmsolver++", "sde-dpmsolver++", "unipc", "ddim", "ddpm"]

# Settings that a resumed run may change; all others make another run.
MAY_CHANGE = frozenset({
    "preset", "num_epochs", "max_train_steps", "save_image_epochs", "save_model_epochs", "checkpoints_total_limit",
    "sampler", "num_inference_steps", "guidance_scale", "negative_label", "guidance_limit",
    "guidance_interval", "compile_mode", "gradient_checkpointing", "cpu", "mixed_precision", "skip_bad",
    "push_to_hub", "hub_model_id", "hub_private_repo",
})  # fmt: skip


@settings
class BaseConfig(Replaceable):
    """Settings of any training: device, seed, checkpoints and the Hub; a subclass adds those of its model."""

    may_change: ClassVar[frozenset[str]] = frozenset()  # settings that a resumed run may change

    mixed_precision: Annotated[Precision, about("auto: bf16 if the hardware supports it, else float32.")] = "auto"
    cpu: Annotated[bool, about("Train on the CPU even if there is a GPU.")] = False
    seed: Annotated[CountFromZero, about("Seed of weights, data order, noise and sample grids.")] = 0
    checkpoints_total_limit: Annotated[PositiveInt, about("Number of checkpoints kept; the oldest go first.")] = 2
    push_to_hub: Annotated[bool, about("Push the run to the Hugging Face Hub at the end.")] = False
    hub_model_id: Annotated[str | None, about("Repository on the Hub, like name/model.")] = None
    hub_private_repo: Annotated[bool, about("Make the repository private.")] = False

    def __post_init__(self) -> None:
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError("push_to_hub needs hub_model_id, like name/model")

    def is_grid_due(self, step: int, epoch: int, epoch_ends: bool) -> bool:
        """Whether a sample grid is drawn after a step; one is also drawn at the end."""
        return False

    def is_checkpoint_due(self, step: int, epoch: int, epoch_ends: bool) -> bool:
        """Whether a checkpoint is saved after a step; one is also saved at the end."""
        return False

    def grid_name(self, step: int, epoch: int) -> str:
        """File name of a sample grid, without suffix."""
        return f"step_{step:06d}"


@settings
class RunConfig(BaseConfig):
    """Settings of a run that trains a model of cards; sizes are (height, width) in pixels.

    Raises:
        ValueError: a value has the wrong type or is out of range; the message names the field and what it takes.
    """

    may_change: ClassVar[frozenset[str]] = MAY_CHANGE

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    # Data
    height: Annotated[PositiveInt, about("Height of a card in pixels.")] = 160
    width: Annotated[PositiveInt, about("Width of a card in pixels.")] = 128
    fit: Annotated[Fit, about("How a picture of another shape fits: cover and crop, pad, or stretch.")] = "crop"
    portrait: Annotated[bool, about("Turn landscape pictures to portrait, by 90 degrees.")] = True
    horizontal_flip: Annotated[bool, about("Mirror half of the cards at random (mirrors their text too).")] = False
    use_masks: Annotated[bool, about("Learn the damage mask as a fourth channel if the data has masks.")] = True
    use_labels: Annotated[bool, about("Learn the damage class if the data has labels.")] = True
    only_labels: Annotated[Texts, about("Train on these classes only; empty: all.")] = ()
    balance_classes: Annotated[bool, about("Sample every class equally often, whatever its number of cards.")] = False
    skip_bad: Annotated[bool, about("Leave out unreadable pictures and name them, instead of stopping.")] = False
    # Length
    num_epochs: Annotated[PositiveInt, about("Passes over the data.")] = 100
    max_train_steps: Annotated[PositiveInt | None, about("Number of optimiser steps; overrides num_epochs.")] = None
    train_batch_size: Annotated[PositiveInt, about("Batch size on each process.")] = 16
    ema_decay: Annotated[ShareBelowOne, about("Highest decay of the averaged weights (EMA), which are saved.")] = 0.9999
    # Saving
    save_image_epochs: Annotated[PositiveInt, about("Epochs between sample grids.")] = 10
    save_model_epochs: Annotated[PositiveInt, about("Epochs between checkpoints.")] = 10
    eval_batch_size: Annotated[PositiveInt, about("Number of cards in a sample grid.")] = 16
    kid_epochs: Annotated[CountFromZero, about("Epochs between KID measurements on held-out cards; 0: never.")] = 0
    kid_cards: Annotated[
        CountFromZero, about("Cards held out for KID, a fifth of the data at most; none of fewer than 200 cards.")
    ] = 100

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a card in pixels."""
        return self.height, self.width

    @property
    def reading(self) -> Reading:
        """How cards are read for this run: `read_cards(source, config.reading)`."""
        names = (field.name for field in dataclasses.fields(Reading) if field.name != "size")
        return Reading(size=self.size, **{name: getattr(self, name) for name in names})

    @property
    def cards_per_process(self) -> int:
        """Number of cards that each process sees in an optimiser step."""
        return self.train_batch_size

    def is_grid_due(self, step: int, epoch: int, epoch_ends: bool) -> bool:
        """Whether a sample grid is drawn after a step."""
        return epoch_ends and epoch % self.save_image_epochs == 0

    def is_checkpoint_due(self, step: int, epoch: int, epoch_ends: bool) -> bool:
        """Whether a checkpoint is saved after a step."""
        return epoch_ends and epoch % self.save_model_epochs == 0

    def grid_name(self, step: int, epoch: int) -> str:
        """File name of a sample grid, without suffix."""
        return f"epoch_{epoch:04d}"


@settings
class SamplingConfig(Replaceable):
    """How cards are sampled: in sample grids, and by default in all later sampling.

    Every field stands in the metadata of a generated card. Guidance leads away from what the net draws under the
    negative label, or else without a label (Ho & Salimans 2022); `guidance_limit` bounds its step (Sadat et al. 2024),
    and only timesteps within `guidance_interval` are guided, the others cost half (Kynkaanniemi et al. 2024).
    """

    sampler: Annotated[Sampler, about("Sampler; unipc and dpmsolver++ take about 20 steps, ddim 50, ddpm all.")] = (
        "dpmsolver++"
    )
    num_inference_steps: Annotated[PositiveInt, about("Calls of the net for each card.")] = 50
    guidance_scale: Annotated[NonNegativeFloat, about("Classifier-free guidance; 1: none.")] = 1.0
    negative_label: Annotated[
        str | None, about("Class that guidance leads away from, instead of from cards without a label.")
    ] = None
    guidance_limit: Annotated[PositiveFloat | None, about("Longest step of guidance, root mean square.")] = None
    guidance_interval: Annotated[
        Annotated[tuple[float, float], Field(strict=False)],
        about("Part of the schedule that guidance acts in, from the card (0) to noise (1)."),
    ] = (0.0, 1.0)
    mixed_precision: Annotated[Precision, about("auto: bf16 if the hardware supports it, else float32.")] = "auto"

    def __post_init__(self) -> None:
        low, high = self.guidance_interval
        if not 0 <= low < high <= 1:
            raise ValueError(f"guidance_interval must be two shares in 0 to 1, lower first, and is {low, high}")


SAMPLING_FIELDS = tuple(field.name for field in dataclasses.fields(SamplingConfig))
