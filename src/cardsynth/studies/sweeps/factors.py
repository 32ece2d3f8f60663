"""What differs between the runs of a sweep: factors, each a setting or settings that change together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cardsynth.studies.sweeps.config import Sweep, SweepRun


def value_text(value: Any) -> str:
    """A setting's value, short, as names and tables have it."""
    if isinstance(value, tuple | list):
        return "-".join(map(value_text, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)


def changes_text(changes: Mapping[str, Any]) -> str:
    """Settings in a line, like `beta_schedule=linear, act_fn=gelu`; `base` where nothing is changed."""
    return ", ".join(f"{key}={value_text(value)}" for key, value in changes.items()) or "base"


@dataclass(frozen=True)
class Factor:
    """Settings that always change together, and their values as text, the one to compare with first.

    Without `keys` its values are whole changes, of runs that no setting alone compares with another run.
    """

    keys: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return ", ".join(self.keys) or "several settings"

    def value_of(self, run: SweepRun) -> str | None:
        """A run's value; None for one that it does not compare."""
        if self.keys:
            return _values(run, self.keys)
        said = changes_text(run.changes)
        return said if said in self.values else None

    def block_of(self, run: SweepRun, factors: Sequence["Factor"]) -> str:
        """What runs that differ in this factor alone have in common: seed, and the values of all others."""
        others = (
            [str(factor.value_of(run)) for factor in factors if factor.keys and factor != self] if self.keys else []
        )
        return "\0".join([str(run.seed), *others])


def _values(run: SweepRun, keys: Sequence[str]) -> str:
    own = [run.data if key == "data" else getattr(run.config, key, None) for key in keys]
    return " x ".join(map(value_text, own))


def factors_of(sweep: Sweep) -> list[Factor]:
    """The factors of a sweep: settings with several values, those that change together as one."""
    runs = sweep.runs
    keys = list(dict.fromkeys(key for run in runs for key in run.changes))
    together: dict[tuple[int, ...], list[str]] = {}
    for key in keys:
        values = [_values(run, [key]) for run in runs]
        numbers = {value: number for number, value in enumerate(dict.fromkeys(values))}
        together.setdefault(tuple(numbers[value] for value in values), []).append(key)
    factors = [_factor(sweep, of) for parts, of in together.items() if len(set(parts)) > 1]
    paired: set[str] = set()
    for factor in factors:
        blocks: dict[str, dict[str, str]] = defaultdict(dict)
        for run in runs:
            blocks[factor.block_of(run, factors)][factor.value_of(run)] = changes_text(run.changes)
        paired.update(said for of in blocks.values() if len(of) > 1 for said in of.values())
    alone = [said for said in dict.fromkeys(changes_text(run.changes) for run in runs) if said not in paired]
    base = changes_text({})
    if alone and any(not run.changes for run in runs):
        factors.append(Factor((), (base, *(said for said in alone if said != base))))
    return factors


def _factor(sweep: Sweep, keys: Sequence[str]) -> Factor:
    values = list(dict.fromkeys(_values(run, keys) for run in sweep.runs))
    usual = [next(iter(sweep.sources)) if key == "data" else getattr(sweep.base, key, None) for key in keys]
    reference = " x ".join(map(value_text, usual))
    return Factor(tuple(keys), tuple(sorted(values, key=lambda value: value != reference)))
