"""Factors of a sweep: a setting with several values, or settings that always change together."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from cardsynth.studies.sweeps.config import Sweep, SweepRun


def value_text(value: object) -> str:
    """Returns the short form of a setting's value for names and tables."""
    if isinstance(value, tuple | list):
        return "-".join(map(value_text, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)


def changes_text(changes: Mapping[str, Any]) -> str:
    """Returns settings in one line, such as `beta_schedule=linear, act_fn=gelu`; `base` without any change."""
    return ", ".join(f"{key}={value_text(value)}" for key, value in changes.items()) or "base"


@dataclass(frozen=True)
class Factor:
    """Settings that always change together.

    Args:
        keys: Names of the settings. Without keys, the values are whole sets of changes, of runs that differ from every
            other run in more than one factor and are compared with the base instead.
        values: Values as text; the reference value comes first.
    """

    keys: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name in tables."""
        return ", ".join(self.keys) or "several settings"

    def value_of(self, run: SweepRun) -> str | None:
        """Returns the value of a run; None if the factor does not compare it."""
        if self.keys:
            return _values(run, self.keys)
        text = changes_text(run.changes)
        return text if text in self.values else None


def _values(run: SweepRun, keys: Sequence[str]) -> str:
    return " x ".join(value_text(run.data if key == "data" else getattr(run.config, key, None)) for key in keys)


def factors_of(sweep: Sweep) -> list[Factor]:
    """Returns the factors of a sweep; settings that always change together make one factor."""
    keys = dict.fromkeys(key for run in sweep.runs for key in run.changes)
    together: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for key in keys:
        numbers, values = pd.factorize(pd.Series([_values(run, [key]) for run in sweep.runs]))
        if len(values) > 1:
            together[tuple(numbers)].append(key)
    factors = [_factor(sweep, keys) for keys in together.values()]
    alone = _without_partner(sweep, factors)
    base = changes_text({})
    if alone and any(not run.changes for run in sweep.runs):
        factors.append(Factor((), (base, *(text for text in alone if text != base))))
    return factors


def _factor(sweep: Sweep, keys: Sequence[str]) -> Factor:
    first = next(iter(sweep.sources))
    base = SweepRun("base", {}, sweep.base.seed, sweep.base, first)
    values = dict.fromkeys(_values(run, keys) for run in sweep.runs)
    return Factor(tuple(keys), tuple(sorted(values, key=lambda value: value != _values(base, keys))))


def _without_partner(sweep: Sweep, factors: Sequence[Factor]) -> list[str]:
    """Returns the changes of runs without a partner that differs in one factor only."""
    table = pd.DataFrame(
        {factor.name: factor.value_of(run) for factor in factors}
        | {"seed": run.seed, "changes": changes_text(run.changes)}
        for run in sweep.runs
    )
    paired = pd.Series(False, table.index)
    for factor in factors:
        others = ["seed", *(other.name for other in factors if other != factor)]
        paired |= table.groupby(others)[factor.name].transform("nunique") > 1
    changes = table["changes"]
    return list(changes[~changes.isin(changes[paired])].unique())
