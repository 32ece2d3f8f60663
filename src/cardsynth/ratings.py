"""How far people agree with each other on the likeness of pictures, and metrics with people."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

SIGNS = {"mse": -1, "lpips": -1, "ssim": 1, "cosine": 1}  # -1: a distance, which falls with likeness


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of a metric's likeness with people's, of `count` pairs, and its interval of 95 %.

    p_value: how often so strong a correlation, of either sign, comes from rankings that have nothing to do with each
    other. as_distance: whether the metric was turned round, being a distance.
    """

    metric: str
    value: float
    low: float
    high: float
    p_value: float
    count: int
    as_distance: bool

    def text(self) -> str:
        """A line that says what it shows."""
        turned = "a distance, turned round" if self.as_distance else "a similarity"
        line = f"{self.metric} ({turned}): {self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}], {self.count} pairs"
        if self.low > 0:
            return f"{line}: agrees with people"
        return f"{line}: ranks against people" if self.high < 0 else f"{line}: nothing shown"


def krippendorff_alpha(ratings: Sequence[Sequence[float | None]]) -> float:
    """Agreement of raters on an interval scale, 1 for full agreement and 0 for chance (Krippendorff 2011, part C).

    ratings: a row a rater, a column an item, None or NaN where a rater left one out. Raises ValueError where fewer than
    two items have two ratings, or all ratings are the same.
    """
    table = np.array([[math.nan if value is None else value for value in row] for row in ratings], float)
    if table.ndim != 2 or len(table) < 2:
        raise ValueError("agreement takes two raters or more, each with a rating, or None, for every item")
    columns = [column[~np.isnan(column)] for column in table.T]
    columns = [column for column in columns if len(column) > 1]
    if len(columns) < 2:
        raise ValueError(f"agreement takes two items that two people rated, and there are {len(columns)}")
    pooled = np.concatenate(columns)
    expected = _pair_sum(pooled) / (len(pooled) - 1)
    if expected == 0:
        raise ValueError("all ratings are the same, so agreement cannot be told from chance")
    observed = sum(_pair_sum(column) / (len(column) - 1) for column in columns)
    return float(1 - observed / expected)


def _pair_sum(values: np.ndarray) -> float:
    """Squared differences of all ordered pairs, added up."""
    return 2 * float(len(values) * (values**2).sum() - values.sum() ** 2)


def rank_correlation(
    metric: str, values: Sequence[float], people: Sequence[float], resamples: int = 9999, seed: int = 0
) -> RankCorrelation:
    """Spearman's correlation of a metric with people's mean ratings of likeness, its sign put right for distances.

    metric: one of SIGNS, or a name with `-distance` or `-similarity` at its end. Interval: bootstrap of the pairs
    (percentiles; Efron & Tibshirani 1993, chapter 13); p-value: by permutation. Raises ValueError for another metric,
    or fewer than four pairs.
    """
    sign = _sign_of(metric)
    one, other = sign * np.asarray(values, float), np.asarray(people, float)
    if len(one) != len(other) or len(one) < 4:
        raise ValueError(f"a rank correlation takes four pairs or more, and there are {len(one)} and {len(other)}")
    rng = np.random.default_rng(seed)
    value = _spearman(one, other)
    chosen = rng.integers(0, len(one), (resamples, len(one)))
    found = np.array([_spearman(one[rows], other[rows]) for rows in chosen])
    low, high = np.nanpercentile(found, (2.5, 97.5))
    by_chance = _permuted(one, other, resamples, rng)
    p_value = (1 + int((np.abs(by_chance) >= abs(value) - 1e-12).sum())) / (resamples + 1)
    return RankCorrelation(metric, value, float(low), float(high), p_value, len(one), sign < 0)


def _sign_of(metric: str) -> int:
    if metric in SIGNS:
        return SIGNS[metric]
    for ending, sign in (("-distance", -1), ("-similarity", 1)):
        if metric.endswith(ending):
            return sign
    raise ValueError(
        f"whether {metric!r} is a distance or a similarity is not known; known are {', '.join(SIGNS)}, or a name that"
        " ends in -distance or -similarity"
    )


def _permuted(one: np.ndarray, other: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return np.array([_spearman(one, rng.permutation(other)) for _ in range(count)])


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of the ranks, ties sharing theirs; NaN where all are equal."""
    first, second = stats.rankdata(one), stats.rankdata(other)
    first, second = first - first.mean(), second - second.mean()
    scale = math.sqrt((first**2).sum() * (second**2).sum())
    return float(first @ second / scale) if scale else math.nan


def correlations(
    metrics: Mapping[str, Sequence[float]], people: Sequence[float], measure: Callable = rank_correlation
) -> list[RankCorrelation]:
    """Each metric's rank correlation with people, the strongest first."""
    return sorted((measure(name, values, people) for name, values in metrics.items()), key=lambda one: -one.value)
