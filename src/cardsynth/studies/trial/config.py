"""Settings of a trial, and its arms: the cards that damage finders learn from."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from cardsynth.core.config import TrainingConfig
from cardsynth.finder.config import FinderConfig
from cardsynth.models import get_preset
from cardsynth.util.settings import about


@dataclass(frozen=True)
class Arm:
    """An arm of a trial: what its damage finders learn from.

    Args:
        text: Description in tables.
        real: Whether it learns from real cards.
        clean: Whether it learns from additional undamaged pictures.
        kinds: Kinds of synthetic cards that it learns from.
    """

    text: str
    real: bool = True
    clean: bool = False
    kinds: tuple[str, ...] = ()


ARMS = {
    "real": Arm("real cards only"),
    "clean": Arm("real cards, and further clean ones", clean=True),
    "pasted": Arm("the same, and real damage pasted on clean cards", clean=True, kinds=("pasted",)),
    "painted": Arm("the same, and damage painted by the model on clean cards", clean=True, kinds=("painted",)),
    "drawn_only": Arm("drawn cards only", False, kinds=("drawn",)),
    "generated_only": Arm("generated cards only", False, kinds=("generated",)),
    "drawn": Arm("real and drawn cards", kinds=("drawn",)),
    "generated": Arm("real and generated cards", kinds=("generated",)),
    "filtered": Arm("real cards, and generated ones that a judge does not doubt", kinds=("filtered",)),
    "all": Arm(
        "all of these, the synthetic ones in equal parts", True, True, ("pasted", "painted", "drawn", "generated")
    ),
}
GENERATED = {"generated", "painted"}  # kinds that a trained generator makes
FILTERED_FROM = 2  # generated cards per card that the filter keeps
# A small net learns more from few cards than a large one, and trains quickly.
SMALL_FINDER = FinderConfig(
    height=80,
    width=64,
    encoder_name="tu-test_resnet",
    decoder_channels=(48, 32, 24, 16),
    max_train_steps=2400,
    train_batch_size=8,
)


@dataclass(frozen=True)
class TrialConfig:
    """Settings of a trial.

    Raises:
        ValueError: An arm is unknown, or a number is below 1.
    """

    arms: Annotated[tuple[Literal[tuple(ARMS)], ...], about("What finders learn from; `real` is always there.")] = (
        *ARMS,
    )
    counts: Annotated[tuple[int, ...], about("Real cards of each class.")] = (10, 25, 50, 100, 200)
    ratios: Annotated[tuple[int, ...], about("Synthetic cards for each real one.")] = (1, 4, 16)
    draws: Annotated[int, about("How often real cards are drawn, and each arm trained on them.")] = 5
    generator_steps: Annotated[int, about("Optimiser steps of each generator (the demo preset's net).")] = 1000
    finder: FinderConfig = field(default_factory=lambda: SMALL_FINDER)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.arms) - set(ARMS))
        if unknown:
            raise ValueError(f"there is no arm {', '.join(unknown)}; the arms are {', '.join(ARMS)}")
        if min((*self.counts, *self.ratios, self.draws, self.generator_steps), default=0) < 1:
            raise ValueError("counts, ratios, draws and generator_steps must be 1 or more")
        object.__setattr__(self, "arms", tuple(dict.fromkeys(("real", *self.arms))))

    @property
    def generator(self) -> TrainingConfig:
        """Settings of a generator: the demo preset at the trial's size and number of steps, saved only at its end."""
        return get_preset("demo").replace(
            height=self.finder.height,
            width=self.finder.width,
            fit=self.finder.fit,
            portrait=self.finder.portrait,
            max_train_steps=self.generator_steps,
            lr_warmup_steps=min(100, self.generator_steps // 10),
            save_image_epochs=10**6,
            save_model_epochs=10**6,
        )
