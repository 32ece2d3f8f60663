"""The dials of a model that learned numbers with its cards: what is asked of each card, checked."""

import warnings
from collections.abc import Sequence
from numbers import Real

from cardsynth.cards.numbers import LIMITS, Numbers
from cardsynth.core.runs import TrainedModel


def choose_numbers(
    model: TrainedModel, labels: Sequence[str | None], **asked: float | Sequence[float | None] | None
) -> list[Numbers]:
    """What each card is asked to be: `covered` and `darkness`, one value for all, or one for each; None leaves it open.

    Warns of a value beyond those of the class's training cards. Raises ValueError for a number that the model did not
    learn or that cannot be, for damage on cards of a class that has none, and for another number of values than cards.
    """
    numbers: list[dict[str, float]] = [{} for _ in labels]
    beyond = set()
    for name, given in asked.items():
        if given is None:
            continue
        if name not in model.config.conditions:
            learned = ", ".join(model.config.conditions) or "none"
            raise ValueError(f"{model.name} was trained without {name} (its conditions: {learned}), so it takes none")
        values = [given] * len(labels) if isinstance(given, Real) else list(given)
        if len(values) != len(labels):
            raise ValueError(f"there are {len(labels)} cards and {len(values)} values of {name}; give one for each")
        for card, label, value in zip(numbers, labels, values, strict=True):
            if value is None:
                continue
            if not 0 <= value <= LIMITS[name]:
                raise ValueError(f"{name} takes 0 to {LIMITS[name]:g}, and is {value:g}")
            kind = label or "all"
            least, most = model.number_ranges.get(name, {}).get(kind, (0, LIMITS[name]))
            if most == 0 < value:
                raise ValueError(f"{kind} cards have no damage, so {name} is 0; ask for another label, or leave it out")
            if not least <= value <= most:
                beyond.add(f"{name} {value:g} (training cards of {kind}: {least:g} to {most:g})")
            card[name] = float(value)
    if beyond:
        warnings.warn(f"{model.name} never saw {', '.join(sorted(beyond))}", stacklevel=2)
    return numbers
