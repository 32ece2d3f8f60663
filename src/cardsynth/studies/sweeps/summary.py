"""Effects of a sweep's factors: values compared while other settings and the seed agree, with 95% intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import pandas as pd

from cardsynth.studies.report import render
from cardsynth.studies.sweeps.factors import Factor
from cardsynth.studies.sweeps.rows import MEASURES, SweepRow
from cardsynth.util.intervals import Figure, critical_value

MAIN = "KID"
ASIDE = ("recall", "class accuracy", "mask IoU", "near-copies")  # mentioned where they differ with certainty


@dataclass(frozen=True)
class Effect:
    """Effect of a factor's value on a measure, compared with the factor's reference value.

    Args:
        factor: The factor.
        value: The value compared with `factor.values[0]`.
        measure: Name of the measure.
        difference: Mean difference with its interval.
        pairs: Number of pairs of runs that agree in everything else.
        by_cards: Whether there are too few runs to estimate the spread over seeds, so that the interval holds only the
            spread of cards.
    """

    factor: Factor
    value: str
    measure: str
    difference: Figure
    pairs: int
    by_cards: bool

    @property
    def sure(self) -> int:
        """1 if the value is better with certainty, -1 if it is worse, 0 if the interval includes no difference."""
        if self.difference.low <= 0 <= self.difference.high:
            return 0
        return MEASURES[self.measure].better * (1 if self.difference.value > 0 else -1)

    def text(self) -> str:
        """Returns the difference with its interval."""
        scale, digits, unit = (100, 1, " points") if MEASURES[self.measure].share else (1, 3, "")
        ends = (self.difference.value, self.difference.low, self.difference.high)
        value, low, high = (f"{scale * end:+.{digits}f}" for end in ends)
        return f"{value} [{low}, {high}]{unit}"

    @property
    def verdict(self) -> str:
        """`better` or `worse` with the difference, for an effect that is certain."""
        return f"{'better' if self.sure > 0 else 'worse'} ({self.text()})"


def effects(factors: Sequence[Factor], rows: Sequence[SweepRow], measure: str) -> list[Effect]:
    """Compares every value of every factor with the factor's reference value.

    Runs that agree in all other settings and in the seed form a block. The interval uses Student's t and the residual
    spread of a model with one mean per block and one per value (randomised blocks: Montgomery 2017, section 4.1), so it
    includes the spread over seeds and effects that differ between blocks. With a single seed it holds the spread of
    cards only. A difference of shares never gets a narrower interval than the number of cards allows.

    Args:
        factors: All factors of the sweep.
        rows: Results of its runs.
        measure: Name of a measure in `MEASURES`.

    Returns:
        One effect per value; values without a pair are left out.
    """
    compared = []
    for factor in factors:
        blocks = blocks_of(factor, factors, rows, measure)
        spread, freedom = residual_spread(blocks)
        blocks = blocks.reindex(columns=list(factor.values))
        for value in factor.values[1:]:
            pairs = blocks[[value, factor.values[0]]].dropna()
            if pairs.empty:
                continue
            figures, references = pairs.to_numpy().T
            difference = mean_figure_of(figures, spread, freedom, MEASURES[measure].share, less=references)
            compared.append(Effect(factor, value, measure, difference, len(pairs), not freedom))
    return compared


def blocks_of(factor: Factor, factors: Sequence[Factor], rows: Sequence[SweepRow], measure: str) -> pd.DataFrame:
    """Tabulates the figures of runs that differ in one factor.

    Args:
        factor: The factor.
        factors: All factors of the sweep.
        rows: Results of its runs.
        measure: Name of a measure.

    Returns:
        One row per block of runs that agree in the seed and the other factors, one column per value, with a `Figure` or
        NaN in each cell. Blocks with a single figure are left out.
    """
    others = [other for other in factors if factor.keys and other.keys and other != factor]
    cells = pd.DataFrame(
        {
            "seed": row.run.seed,
            **{other.name: other.value_of(row.run) for other in others},
            "value": factor.value_of(row.run),
            "figure": row.figures.get(measure),
        }
        for row in rows
    )
    index = ["seed", *(other.name for other in others)]
    blocks = cells.dropna().pivot(index=index, columns="value", values="figure")
    return blocks[blocks.count(axis="columns") > 1].dropna(axis="columns", how="all").reset_index(drop=True)


def residual_spread(blocks: pd.DataFrame) -> tuple[float, int]:
    """Returns the standard deviation around the means of blocks and values, and its degrees of freedom."""
    cells = blocks.stack().dropna().map(attrgetter("value")).astype(float)
    if cells.empty:
        return math.nan, 0
    design = np.hstack([pd.get_dummies(cells.index.get_level_values(level), dtype=float) for level in (1, 0)])
    fitted, _, rank, _ = np.linalg.lstsq(design, cells.to_numpy(), rcond=None)
    freedom = len(cells) - int(rank)
    squares = float(np.square(cells.to_numpy() - design @ fitted).sum())
    return math.sqrt(squares / freedom) if freedom else math.nan, freedom


def spread_of_cards(figures: Sequence[Figure], less: Sequence[Figure] = ()) -> tuple[float, float]:
    """Combines the intervals of single figures by MOVER (Zou and Donner 2008, https://doi.org/10.1002/sim.3095).

    Args:
        figures: Figures to average.
        less: Figures whose mean is subtracted.

    Returns:
        Reach of the interval below and above the mean difference.
    """
    ends = [(figure.value - figure.low, figure.high - figure.value, len(figures)) for figure in figures]
    ends += [(figure.high - figure.value, figure.value - figure.low, len(less)) for figure in less]
    return math.hypot(*(down / count for down, _, count in ends)), math.hypot(*(up / count for _, up, count in ends))


def mean_figure_of(
    figures: Sequence[Figure], spread: float, freedom: int, share: bool, less: Sequence[Figure] = ()
) -> Figure:
    """Estimates the mean of figures, less the mean of others.

    Args:
        figures: Figures to average.
        spread: Standard deviation of a figure over runs.
        freedom: Degrees of freedom of `spread`, for Student's t; 0 takes the spread of cards instead.
        share: Whether the figures are shares, whose interval is at least as wide as the spread of cards.
        less: Figures whose mean is subtracted.
    """
    groups = [group for group in (figures, less) if len(group)]
    means = [np.mean([figure.value for figure in group]) for group in groups]
    mean, reach = float(means[0] - sum(means[1:])), 0.0
    if freedom:
        reach = critical_value(freedom) * spread * math.sqrt(sum(1 / len(group) for group in groups))
    down, up = spread_of_cards(figures, less) if share or not freedom else (0.0, 0.0)
    return Figure(mean, mean - max(reach, down), mean + max(reach, up))


def mean_over_seeds(figures: Sequence[Figure], share: bool = False) -> Figure:
    """Averages the figures of runs that differ in their seed only; a single figure is returned as it is.

    Args:
        figures: One figure per run.
        share: Whether the figures are shares. Their interval ends at 0 and 1, and is at least as wide as the spread of
            cards.
    """
    if len(figures) == 1:
        return figures[0]
    spread = float(np.std([figure.value for figure in figures], ddof=1))
    mean = mean_figure_of(figures, spread, len(figures) - 1, share)
    return mean.within(0.0, 1.0) if share else mean


def what_it_shows(factors: Sequence[Factor], rows: Sequence[SweepRow]) -> list[str]:
    """Returns a sentence for each factor, naming the values that are better or worse, and one about chance."""
    compared = [effect for measure in (MAIN, *ASIDE) for effect in effects(factors, rows, measure)]
    failed = {}
    for factor in factors:
        states = pd.DataFrame([(factor.value_of(row.run), bool(row.failed)) for row in rows]).groupby(0)[1].all()
        failed[factor.name] = [value for value in factor.values if states.get(value, False)]
    by_chance = max(1, round(len(compared) / 20))
    text = render(
        "sweep_sentences.md", factors=factors, effects=compared, measure=MAIN, failed=failed, by_chance=by_chance
    )
    return text.splitlines()
