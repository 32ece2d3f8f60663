"""Validates the numbers that are asked of generated cards, such as the damaged share of the card."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cardsynth.cards.numbers import LIMITS, Numbers


@dataclass(frozen=True)
class Dials:
    """The numbers that a model learned with its cards.

    Attributes:
        name: the model's name, for messages.
        conditions: names of the numbers, such as `covered`.
        ranges: least and most of each number among the training cards, by class ("all" without classes).
    """

    name: str
    conditions: Sequence[str] = ()
    ranges: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)

    def choose(self, labels: Sequence[str | None], **requested: float | Sequence[float | None] | None) -> list[Numbers]:
        """Validates the conditioning values requested for each card; warns of values that training never saw.

        Args:
            labels: class of each card.
            requested: `covered` (0 to 1) and `darkness` (0 to 255): one value for all cards, or one for each; None
                leaves it open.

        Returns:
            For each card the values by name.

        Raises:
            ValueError: the model did not learn a number, a value is out of range, a class without damage is asked for
                damage, or there are not as many values as cards.
        """
        numbers: list[Numbers] = [{} for _ in labels]
        unseen = set()
        for name, given in requested.items():
            if given is None:
                continue
            if name not in self.conditions:
                learned = ", ".join(self.conditions) or "none"
                raise ValueError(
                    f"{self.name} was trained without {name} (its conditions: {learned}), so it takes none"
                )
            values = list(given) if isinstance(given, Iterable) else [given] * len(labels)
            if len(values) != len(labels):
                raise ValueError(f"there are {len(labels)} cards and {len(values)} values of {name}; give one for each")
            for card, label, value in zip(numbers, labels, values, strict=True):
                if value is not None:
                    unseen |= self._check(name, label, value)
                    card[name] = float(value)
        if unseen:
            warnings.warn(f"{self.name} never saw {', '.join(sorted(unseen))}", stacklevel=3)
        return numbers

    def _check(self, name: str, label: str | None, value: float) -> set[str]:
        """Raises ValueError for a value that cannot be; returns a description of one beyond the training cards'."""
        if not 0 <= value <= LIMITS[name]:
            raise ValueError(f"{name} takes 0 to {LIMITS[name]:g}, and is {value:g}")
        kind = label or "all"
        least, most = self.ranges.get(name, {}).get(kind, (0, LIMITS[name]))
        if most == 0 < value:
            raise ValueError(f"{kind} cards have no damage, so {name} is 0; ask for another label, or leave it out")
        if least <= value <= most:
            return set()
        return {f"{name} {value:g} (training cards of {kind}: {least:g} to {most:g})"}
