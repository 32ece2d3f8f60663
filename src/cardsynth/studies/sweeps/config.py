"""What a sweep file says, checked: cards to train on, settings to combine, seeds, and how the models are judged."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from cardsynth.cards.folder import CardError, find_cards
from cardsynth.cards.labels import CLASSES
from cardsynth.core.config import TrainingConfig
from cardsynth.evaluation.metrics import GROUPS
from cardsynth.render.draw import ALL_CLASSES
from cardsynth.render.styles import STYLES
from cardsynth.studies.sweeps.grounds import Ground, inner_size

HELD_OUT_SEED, LEARN_SEED = 1_000_000, 2_000_000  # first seeds of drawn cards that no model is trained on


@dataclass(frozen=True)
class CardSource:
    """Cards to train on or to judge by: a folder's, or drawn ones. Raises ValueError for what cannot be.

    folder: a card folder; without one, cards are drawn. count: of a folder the first so many of an order that the seed
    draws (default: all), or how many to draw. seed: of drawn cards the first one's. size: (height, width) at which they
    are drawn; default: the largest that trains on them. ground, margin: lay drawn cards on white or on noise, with so
    much room on each side, as a share of the picture. augmented: how many changed copies of each card are added: moved
    by up to two pixels and relit by up to a tenth.
    """

    folder: str | None = None
    count: int | None = None
    seed: int = 0
    size: tuple[int, int] | None = None
    styles: tuple[str, ...] = tuple(STYLES)
    classes: tuple[str, ...] = CLASSES
    damages: tuple[int, int] = (1, 1)
    severity: float = 1.0
    ground: Ground | None = None
    margin: float = 0.15
    augmented: int = 0

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 2:
            raise ValueError(f"count must be 2 or more, and is {self.count}")
        if self.folder is not None:
            given = [one.name for one in fields(self) if getattr(self, one.name) != one.default]
            of_drawn = sorted(set(given) - {"folder", "count", "seed", "augmented"})
            if of_drawn:
                raise ValueError(f"{', '.join(of_drawn)} are for drawn cards, and folder names cards that are there")
        elif self.count is None:
            raise ValueError("name a folder of cards, or a count of cards to draw")
        for what, names, known in (("style", self.styles, STYLES), ("class", self.classes, ALL_CLASSES)):
            if not names or not set(names) <= set(known):
                raise ValueError(f"there is no {what} {', '.join(names) or '(none given)'}; take {', '.join(known)}")
        if not 0 <= self.margin < 0.4:
            raise ValueError(f"margin must be at least 0 and below 0.4, and is {self.margin}")
        if min(self.seed, self.augmented) < 0:
            raise ValueError("seed and augmented must be 0 or more")

    @property
    def drawing(self) -> dict[str, Any]:
        """What drawn cards of one kind have in common: how each is drawn, whatever lies around it."""
        return {name: getattr(self, name) for name in ("styles", "classes", "damages", "severity")}

    def card_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the card in pictures of `size`."""
        return inner_size(size, self.margin) if self.ground else size

    def check_there(self) -> None:
        """Raise CardError where a folder is gone or empty."""
        if self.folder is None:
            return
        if not Path(self.folder).is_dir():
            raise CardError(f"{Path(self.folder).absolute()} is no folder; name the cards' folder, or draw some")
        if not find_cards(self.folder):
            raise CardError(f"{self.folder} has no cards in it")


@dataclass(frozen=True)
class Judging:
    """How the models of a sweep are judged: all by the same cards and the same net.

    count: generated cards of each. size: (height, width) at which all are judged; default: that of the smallest model.
    labels: classes to generate and to judge by; none: all. held_out: cards that they are held against; learn_from:
    cards that the judge learns from. Defaults: freshly drawn like the training cards, or of a folder a fifth, on which
    nothing is trained, and the others. Raises ValueError for what cannot be.
    """

    count: int = 200
    size: tuple[int, int] | None = None
    labels: tuple[str, ...] = ()
    held_out: CardSource | None = None
    learn_from: CardSource | None = None

    def __post_init__(self) -> None:
        if self.count < 2 * GROUPS:
            raise ValueError(f"count of the cards to judge must be {2 * GROUPS} or more, and is {self.count}")


@dataclass(frozen=True)
class SweepRun:
    """One run: its name, the settings in which it differs from the base (data and preset among them), seed, config."""

    name: str
    changes: dict[str, Any]
    seed: int
    config: TrainingConfig
    data: str


@dataclass(frozen=True)
class Sweep:
    """A sweep: its runs, seed by seed, and all that they share.

    seconds: training time of each run, measured before; None: the settings say how many steps.
    """

    name: str
    question: str
    base: TrainingConfig
    runs: tuple[SweepRun, ...]
    sources: dict[str, CardSource]
    judging: Judging = field(default_factory=Judging)
    seconds: float | None = None

    def of_data(self, data: str) -> list[SweepRun]:
        """The runs that are trained on these cards."""
        return [run for run in self.runs if run.data == data]

    @property
    def judged_size(self) -> tuple[int, int]:
        """Height and width at which all are judged."""
        sizes = [self.sources[run.data].card_size(run.config.size) for run in self.runs]
        return self.judging.size or min(sizes, key=lambda size: size[0] * size[1])

    def source_of(self, data: str) -> CardSource:
        """A source with the size at which its cards are drawn."""
        source = self.sources[data]
        largest = max((run.config.size for run in self.of_data(data)), key=lambda size: size[0] * size[1])
        return source if source.folder or source.size else replace(source, size=largest)

    def judged_by(self) -> dict[str, CardSource]:
        """The sources of `held_out` and `learn_from` cards; raises ValueError where they must be named."""
        found = {"held_out": self.judging.held_out, "learn_from": self.judging.learn_from}
        if all(found.values()):
            return found
        first, *others = self.sources.values()
        alike = all((one.folder, one.drawing) == (first.folder, first.drawing) for one in others)
        if not alike:
            raise ValueError(
                "data differ in how they are drawn or where they lie: name the cards to judge by, as held_out and"
                " learn_from of judge"
            )
        if first.folder:
            usual = dict.fromkeys(found, CardSource(first.folder))
        else:
            drawn = {"held_out": (500, HELD_OUT_SEED), "learn_from": (1500, LEARN_SEED)}
            usual = {
                name: CardSource(count=count, seed=seed, size=self.judged_size, **first.drawing)
                for name, (count, seed) in drawn.items()
            }
        return {name: source or usual[name] for name, source in found.items()}
