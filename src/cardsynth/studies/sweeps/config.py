"""Contents of a sweep: the cards to train on and to judge by, as files declare them, and the runs that result."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from cardsynth.cards.folder import CardError, find_cards
from cardsynth.cards.labels import CLASSES
from cardsynth.core.config import TrainingConfig
from cardsynth.evaluation.metrics import GROUPS
from cardsynth.render.draw import ALL_CLASSES
from cardsynth.render.styles import STYLES
from cardsynth.studies.sweeps.grounds import Ground, inner_size

HELD_OUT_SEED, LEARN_SEED = 1_000_000, 2_000_000  # first seeds of drawn cards that no model is trained on
STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)
Size = tuple[PositiveInt, PositiveInt]


class CardSource(BaseModel):
    """Cards to train on or to judge by: those of a folder, or drawn cards.

    Args:
        folder: Card folder; None draws the cards instead.
        count: Number of cards, at least 2. A folder's first `count` cards are taken in an order drawn from `seed`;
            None takes all of them. Drawn cards require a count.
        seed: Seed of the order; for drawn cards, the seed of the first card.
        size: (height, width) in pixels at which cards are drawn; None takes the largest size of the runs that train
            on them.
        styles: Styles of drawn cards.
        classes: Damage classes of drawn cards.
        damages: Least and largest number of damages on a drawn card.
        severity: Severity of drawn damage; 1 is usual.
        ground: Background around drawn cards; None leaves no room around them.
        margin: Width of the background on each side, as a share of the picture, at least 0 and below 0.4.
        augmented: Number of altered copies added for each card, moved by up to two pixels and relit by up to 10%.

    Raises:
        ValueError: A value is out of range, options of drawn cards are combined with a folder, or the folder is
            missing or empty.
    """

    model_config = STRICT

    folder: str | None = None
    count: int | None = Field(None, ge=2)
    seed: NonNegativeInt = 0
    size: Size | None = None
    styles: tuple[Literal[tuple(STYLES)], ...] = Field(tuple(STYLES), min_length=1)
    classes: tuple[Literal[ALL_CLASSES], ...] = Field(CLASSES, min_length=1)
    damages: tuple[int, int] = (1, 1)
    severity: float = 1.0
    ground: Ground | None = None
    margin: float = Field(0.15, ge=0, lt=0.4)
    augmented: NonNegativeInt = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.folder is None:
            if self.count is None:
                raise ValueError("give a folder of cards, or a count of cards to draw")
            return self
        changed = {name for name, field in type(self).model_fields.items() if getattr(self, name) != field.default}
        only_drawn = sorted(changed - {"folder", "count", "seed", "augmented"})
        if only_drawn:
            raise ValueError(f"{', '.join(only_drawn)} apply to drawn cards only, and folder names existing cards")
        if not Path(self.folder).is_dir():
            raise CardError(f"{Path(self.folder).absolute()} is no folder; give the cards' folder, or draw cards")
        if not find_cards(self.folder):
            raise CardError(f"{self.folder} has no cards in it")
        return self

    @property
    def drawing(self) -> dict[str, Any]:
        """Options of `render_cards` that settle how each card is drawn, whatever lies around it."""
        return {name: getattr(self, name) for name in ("styles", "classes", "damages", "severity")}

    def card_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns height and width of the card within pictures of `size`."""
        return inner_size(size, self.margin) if self.ground else size


class Judging(BaseModel):
    """How all models of a sweep are judged: by the same cards and the same net.

    Args:
        count: Number of generated cards per model, at least 40.
        size: (height, width) in pixels at which all cards are judged; None takes the size of the smallest model.
        labels: Classes to generate and to judge by; empty for all.
        held_out: Cards to compare generated cards with. None draws fresh cards like the training cards, or holds a
            fifth of the training folder out from every run.
        learn_from: Cards that the judging net learns from. None draws fresh cards, or takes the rest of the folder.

    Raises:
        ValueError: A value is out of range.
    """

    model_config = STRICT

    count: int = Field(200, ge=2 * GROUPS)
    size: Size | None = None
    labels: tuple[str, ...] = ()
    held_out: CardSource | None = None
    learn_from: CardSource | None = None


@dataclass(frozen=True)
class SweepRun:
    """One training run of a sweep.

    Args:
        name: Name of its folder.
        changes: Settings that differ from the sweep's base, `data` and `preset` included.
        seed: Seed of the training.
        config: Resolved settings.
        data: Name of the card source to train on.
    """

    name: str
    changes: dict[str, Any]
    seed: int
    config: TrainingConfig
    data: str


@dataclass(frozen=True)
class Sweep:
    """A sweep: its runs, ordered by seed, and what they share.

    Args:
        name: Name of the sweep; by default also of its folder.
        question: The question that it answers.
        base: Settings without any change.
        runs: All runs, seed by seed.
        sources: Card sources by name; the first one belongs to the base.
        judging: How the models are judged.
        seconds: Training time of each run in seconds; None if the settings give the number of steps.
    """

    name: str
    question: str
    base: TrainingConfig
    runs: tuple[SweepRun, ...]
    sources: dict[str, CardSource]
    judging: Judging = field(default_factory=Judging)
    seconds: float | None = None

    @property
    def judged_size(self) -> tuple[int, int]:
        """Height and width in pixels at which all cards are judged."""
        sizes = [self.sources[run.data].card_size(run.config.size) for run in self.runs]
        return self.judging.size or min(sizes, key=_area)

    def source_of(self, data: str) -> CardSource:
        """Returns a source, with the size at which its cards are drawn."""
        source = self.sources[data]
        if source.folder or source.size:
            return source
        largest = max((run.config.size for run in self.runs if run.data == data), key=_area)
        return source.model_copy(update={"size": largest})

    def judged_by(self) -> dict[str, CardSource]:
        """Returns the sources of the `held_out` and `learn_from` cards.

        Raises:
            ValueError: The sweep trains on several kinds of cards and does not choose those to judge by.
        """
        chosen = {"held_out": self.judging.held_out, "learn_from": self.judging.learn_from}
        if all(chosen.values()):
            return chosen
        first, *others = self.sources.values()
        if any((source.folder, source.drawing) != (first.folder, first.drawing) for source in others):
            raise ValueError(
                "the data differ in how cards are drawn or in their folder: name the cards to judge by, as held_out"
                " and learn_from of judge"
            )
        default = {"augmented": 0, "ground": None, "margin": 0.15}
        if first.folder:
            default |= {"count": None, "seed": 0}
            return {name: source or first.model_copy(update=default) for name, source in chosen.items()}
        default["size"] = self.judged_size
        drawn = {"held_out": {"count": 500, "seed": HELD_OUT_SEED}, "learn_from": {"count": 1500, "seed": LEARN_SEED}}
        return {name: source or first.model_copy(update=default | drawn[name]) for name, source in chosen.items()}


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]
