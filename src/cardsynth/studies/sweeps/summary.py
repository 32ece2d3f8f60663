"""What a sweep shows of each setting: its values compared, all else and the seed alike, with intervals of 95 %."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from cardsynth.evaluation.metrics import Figure
from cardsynth.studies.sweeps.factors import Factor
from cardsynth.studies.sweeps.rows import MEASURES, SweepRow

MAIN = "KID"
ASIDE = ("recall", "class accuracy", "mask IoU", "near-copies")  # said of a setting where they differ for sure


@dataclass(frozen=True)
class Effect:
    """How a factor's value changes a measure against its first value, over `pairs` of runs that agree otherwise.

    by_cards: there are too few runs to know how far seeds differ, and the interval holds the spread of cards alone.
    """

    factor: Factor
    value: str
    measure: str
    difference: Figure
    pairs: int
    by_cards: bool

    @property
    def sure(self) -> int:
        """1 where the value is better for sure, -1 where it is worse, else 0."""
        if self.difference.low <= 0 <= self.difference.high:
            return 0
        return MEASURES[self.measure].better * (1 if self.difference.value > 0 else -1)

    def text(self) -> str:
        """The difference with its interval."""
        factor, unit = (100, " points") if MEASURES[self.measure].share else (1, "")
        value, low, high = (factor * one for one in (self.difference.value, self.difference.low, self.difference.high))
        digits = 1 if unit else 3
        return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]{unit}"


def effects(factors: Sequence[Factor], rows: Sequence[SweepRow], measure: str) -> list[Effect]:
    """Every value of every factor against its first one, on a measure; those without a pair are left out.

    Runs that agree in the other settings and the seed make a block. The interval is Student's, with what is left of the
    spread once each block and each value has its mean (randomised blocks: Montgomery 2017, section 4.1), so that it
    knows how far seeds differ, and where an effect is not the same in all blocks. With one seed alone it holds the
    spread of cards; and a difference of shares is never surer than so few cards make it, however alike the seeds are.
    """
    found = []
    for factor in factors:
        family = family_of(factor, factors, rows, measure)
        spread, freedom = left_over(family)
        reference = family.get(factor.values[0], {})
        for value in factor.values[1:]:
            own = family.get(value, {})
            both = sorted(own.keys() & reference.keys())
            if not both:
                continue
            one, other = ([of[block] for block in both] for of in (own, reference))
            figure = mean_figure_of(one, spread, freedom, MEASURES[measure].share, less=other)
            found.append(Effect(factor, value, measure, figure, len(both), not freedom))
    return found


def family_of(
    factor: Factor, factors: Sequence[Factor], rows: Sequence[SweepRow], measure: str
) -> dict[str, dict[str, Figure]]:
    """Figures by value of a factor and by block, of blocks in which there are two values at least."""
    blocks: dict[str, dict[str, Figure]] = defaultdict(dict)
    for row in rows:
        value = factor.value_of(row.run)
        if measure in row.figures and value is not None:
            blocks[factor.block_of(row.run, factors)][value] = row.figures[measure]
    family: dict[str, dict[str, Figure]] = defaultdict(dict)
    for block, values in blocks.items():
        if len(values) > 1:
            for value, figure in values.items():
                family[value][block] = figure
    return family


def left_over(family: dict[str, dict[str, Figure]]) -> tuple[float, int]:
    """Standard deviation that is left once every value and every block has its mean, and its degrees of freedom."""
    values = list(family)
    blocks = sorted({block for of in family.values() for block in of})
    cells = [
        (values.index(value), blocks.index(block), of[block].value) for value, of in family.items() for block in of
    ]
    if not cells:
        return math.nan, 0
    design = np.zeros((len(cells), len(values) + len(blocks)))
    for row, (value, block, _) in enumerate(cells):
        design[row, [value, len(values) + block]] = 1
    measured = np.array([figure for *_, figure in cells])
    fitted, _, rank, _ = np.linalg.lstsq(design, measured, rcond=None)
    freedom = len(cells) - int(rank)
    squares = float(np.square(measured - design @ fitted).sum())
    return math.sqrt(squares / freedom) if freedom else math.nan, freedom


def spread_of_cards(figures: Sequence[Figure], less: Sequence[Figure] = ()) -> tuple[float, float]:
    """How far down and up the mean of figures, less the mean of others, may lie off by their own intervals.

    From the reaches of each interval (MOVER: Zou and Donner 2008, https://doi.org/10.1002/sim.3095).
    """
    ends = [(one.value - one.low, one.high - one.value, len(figures)) for one in figures]
    ends += [(one.high - one.value, one.value - one.low, len(less)) for one in less]
    return math.hypot(*(down / count for down, _, count in ends)), math.hypot(*(up / count for _, up, count in ends))


def mean_figure_of(
    figures: Sequence[Figure], spread: float, freedom: int, share: bool, less: Sequence[Figure] = ()
) -> Figure:
    """The mean of figures, less the mean of others, with its interval.

    Student's, of a standard deviation `spread` with `freedom` degrees of freedom; the spread of cards where there are
    none. With `share` never narrower than the spread of cards.
    """
    mean = float(np.mean([one.value for one in figures]) - (np.mean([one.value for one in less]) if less else 0))
    reach = 0.0
    if freedom:
        inverse = sum(1 / len(of) for of in (figures, less) if of)
        reach = float(stats.t.ppf(0.975, freedom)) * spread * math.sqrt(inverse)
    down, up = spread_of_cards(figures, less) if share or not freedom else (0.0, 0.0)
    return Figure(mean, mean - max(reach, down), mean + max(reach, up))


def within_share(figure: Figure) -> Figure:
    """The figure of a share, with an interval that ends at 0 and 1."""
    return Figure(figure.value, max(0.0, figure.low), min(1.0, figure.high))


def mean_over_seeds(figures: Sequence[Figure], share: bool = False) -> Figure:
    """The mean of runs that differ in their seed alone, with its interval (Student's t); of one run its own figure.

    share: whether the figures are shares, whose interval ends at 0 and 1, and is no narrower than so few cards make it.
    """
    if len(figures) == 1:
        return figures[0]
    spread = float(np.std([figure.value for figure in figures], ddof=1))
    mean = mean_figure_of(figures, spread, len(figures) - 1, share)
    return within_share(mean) if share else mean


def what_it_shows(factors: Sequence[Factor], rows: Sequence[SweepRow]) -> list[str]:
    """A sentence for each factor: which values are better or worse for sure, or that no difference is shown."""
    found = {measure: effects(factors, rows, measure) for measure in (MAIN, *ASIDE)}
    sentences = [_sentence(factor, found, rows) for factor in factors]
    compared = sum(map(len, found.values()))
    if compared:
        sentences.append(
            f"{compared} differences were looked at, at 95 % each: about {max(1, round(compared / 20))} of them would"
            " seem sure by chance alone."
        )
    return sentences


def _sentence(factor: Factor, found: dict[str, list[Effect]], rows: Sequence[SweepRow]) -> str:
    own = [one for one in found[MAIN] if one.factor == factor]
    start = f"{factor.name}, against {factor.values[0]}"
    if own:
        pairs = sorted({one.pairs for one in own})
        start += f" ({MAIN}, {'-'.join(map(str, pairs))} pair{'s' * (pairs[-1] > 1)} of runs)"
    parts = [f"{one.value} is {_said(one)}" for one in own if one.sure]
    alike = [f"{one.value} ({one.text()})" for one in own if not one.sure]
    if alike:
        parts.append(f"no difference is shown for {', '.join(alike)}")
    for measure in ASIDE:
        surely = [one for one in found[measure] if one.factor == factor and one.sure]
        parts += [f"{measure} of {one.value} is {_said(one)}" for one in surely]
    for value in factor.values:
        of_value = [row for row in rows if factor.value_of(row.run) == value]
        if of_value and all(row.failed for row in of_value):
            parts.append(f"every run of {value} failed")
    if not parts:
        parts.append("there is nothing to compare yet")
    by_cards = " There is one seed alone, so a difference may be the seed's." if own and own[0].by_cards else ""
    return f"{start}: {'; '.join(parts)}.{by_cards}"


def _said(one: Effect) -> str:
    return f"{'better' if one.sure > 0 else 'worse'} ({one.text()})"
