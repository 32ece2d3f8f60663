"""Settings that every kind of training run has: data, length, saving and the Hub."""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

import tyro

Fit = Literal["crop", "pad", "stretch"]
Precision = Literal["auto", "no", "fp16", "bf16"]


def about(text: str) -> Any:
    """What `--help` says of a setting."""
    return tyro.conf.arg(help=text)


def check_positive(config: Any, names: str) -> None:
    """Raise ValueError unless the settings of these names, with blanks between them, are above 0."""
    for name in names.split():
        if getattr(config, name) <= 0:
            raise ValueError(f"{name} must be above 0, and is {getattr(config, name)}")


def check_shares(config: Any, names: str) -> None:
    """Raise ValueError unless the settings of these names, with blanks between them, are shares below 1."""
    for name in names.split():
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 0 and below 1, and is {getattr(config, name)}")


@dataclass(frozen=True)
class RunConfig:
    """Settings of any training run; sizes are (height, width) in pixels, and every field has a default.

    Raises ValueError, naming the field and what it takes, when a value is out of range.
    """

    preset: Annotated[str, tyro.conf.Suppress] = "custom"
    # Data
    height: Annotated[int, about("Height of a card in pixels.")] = 160
    width: Annotated[int, about("Width of a card in pixels.")] = 128
    fit: Annotated[Fit, about("How a picture of another shape fits: cover and crop, pad, or stretch.")] = "crop"
    portrait: Annotated[bool, about("Turn landscape pictures to portrait (a quarter turn).")] = True
    horizontal_flip: Annotated[bool, about("Mirror half of the cards at random (mirrors their text too).")] = False
    use_masks: Annotated[bool, about("Learn the damage mask as a fourth channel where the data has masks.")] = True
    use_labels: Annotated[bool, about("Learn the damage class where the data has labels.")] = True
    only_labels: Annotated[tuple[str, ...], about("Train on these classes alone; none given: all.")] = ()
    balance_classes: Annotated[bool, about("See every class equally often, however few cards it has.")] = False
    skip_bad: Annotated[bool, about("Leave unreadable pictures out, and say which, instead of stopping.")] = False
    # Length
    num_epochs: Annotated[int, about("Passes over the data.")] = 100
    max_train_steps: Annotated[int | None, about("Number of optimiser steps; overrides num_epochs.")] = None
    train_batch_size: Annotated[int, about("Cards in a batch, on each process.")] = 16
    ema_decay: Annotated[float, about("Highest decay of the averaged weights that are saved and sampled.")] = 0.9999
    mixed_precision: Annotated[Precision, about("auto: bf16 where the hardware has it, else float32.")] = "auto"
    cpu: Annotated[bool, about("Train on the CPU even where there is a GPU.")] = False
    seed: Annotated[int, about("Seed of weights, data order, noise and sample grids.")] = 0
    # Saving
    save_image_epochs: Annotated[int, about("Draw a sample grid every so many epochs.")] = 10
    save_model_epochs: Annotated[int, about("Save model and checkpoint every so many epochs.")] = 10
    checkpoints_total_limit: Annotated[int, about("Checkpoints kept; the oldest go first.")] = 2
    eval_batch_size: Annotated[int, about("Cards in a sample grid.")] = 16
    kid_epochs: Annotated[int, about("Measure KID by held-out cards every so many epochs; 0: never.")] = 0
    kid_cards: Annotated[int, about("Cards held out for it, a fifth at most; of under 200 cards: none.")] = 100
    # Hub
    push_to_hub: Annotated[bool, about("Push the run to the Hugging Face Hub when it is done.")] = False
    hub_model_id: Annotated[str | None, about("Repository on the Hub, like name/model.")] = None
    hub_private_repo: Annotated[bool, about("Make the repository private.")] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "only_labels", tuple(self.only_labels))
        positive = "height width num_epochs train_batch_size save_image_epochs save_model_epochs"
        check_positive(self, f"{positive} checkpoints_total_limit eval_batch_size")
        check_shares(self, "ema_decay")
        if self.max_train_steps is not None and self.max_train_steps <= 0:
            raise ValueError(f"max_train_steps must be above 0 or left out, and is {self.max_train_steps}")
        if min(self.seed, self.kid_epochs) < 0:
            raise ValueError("seed and kid_epochs must not be negative")
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError("push_to_hub needs hub_model_id, like name/model")

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a card in pixels."""
        return self.height, self.width

    @property
    def cards_per_process(self) -> int:
        """Cards that each process sees in an optimiser step."""
        return self.train_batch_size

    def replace(self, **changes: Any) -> Self:
        """A copy with other values; raises TypeError for a name that is no setting."""
        return dataclasses.replace(self, **changes)
