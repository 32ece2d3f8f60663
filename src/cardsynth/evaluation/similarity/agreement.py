"""How far people agree with each other on the likeness of pictures, and metrics with people."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

SIGNS = {"mse": -1, "lpips": -1, "ssim": 1, "cosine": 1}  # -1: a distance, which falls with likeness
LEVEL = 0.05  # of p-values, below which a correlation is said to be shown


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of a metric's likeness with people's, of `count` pairs, and its interval of 95 %.

    p_value: how often so strong a correlation, of either sign, comes from rankings that have nothing to do with each
    other; where `tested` metrics were tried together, adjusted for that. as_distance: whether the metric was turned
    round, being a distance.
    """

    metric: str
    value: float
    low: float
    high: float
    p_value: float
    count: int
    as_distance: bool
    tested: int = 1

    def text(self) -> str:
        """A line that says what it shows."""
        turned = "a distance, turned round" if self.as_distance else "a similarity"
        trials = f" for {self.tested} metrics tried" if self.tested > 1 else ""
        return (
            f"{self.metric} ({turned}): {self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}], {self.count} pairs,"
            f" p = {self.p_value:.2g}{trials}: {self.verdict}"
        )

    @property
    def verdict(self) -> str:
        """Whether it is shown that the metric ranks pairs with the raters, against them, or neither."""
        if self.p_value >= LEVEL:
            return "nothing shown"
        return "ranks with the raters" if self.value > 0 else "ranks against the raters"


@dataclass(frozen=True)
class RaterAgreement:
    """Krippendorff's alpha of `raters` people over `items` that two or more rated, and its interval of 95 %."""

    alpha: float
    low: float
    high: float
    raters: int
    items: int

    def text(self) -> str:
        """A line that says what it is."""
        return f"alpha {self.alpha:.2f} [{self.low:.2f}, {self.high:.2f}], {self.raters} raters, {self.items} pairs"


def krippendorff_alpha(ratings: Sequence[Sequence[float | None]]) -> float:
    """Agreement of raters on an interval scale, 1 for full agreement and 0 for chance (Krippendorff 2011, part C).

    ratings: a row a rater, a column an item, None or NaN where a rater left one out. Raises ValueError where fewer than
    two items have two ratings, or all ratings are the same.
    """
    return float(_alpha(_item_sums(ratings)))


def rater_agreement(ratings: Sequence[Sequence[float | None]], resamples: int = 9999, seed: int = 0) -> RaterAgreement:
    """Krippendorff's alpha with its interval, by bootstrap of the items (Efron & Tibshirani 1993, chapter 13).

    ratings, errors raised: as for `krippendorff_alpha`. The interval is about these raters and other items like these,
    not about other raters.
    """
    sums = _item_sums(ratings)
    items = sums.shape[1]
    chosen = np.random.default_rng(seed).integers(0, items, (resamples, items))
    low, high = np.nanpercentile(_alpha(sums[:, chosen]), (2.5, 97.5))
    return RaterAgreement(float(_alpha(sums)), float(low), float(high), len(ratings), items)


def _item_sums(ratings: Sequence[Sequence[float | None]]) -> np.ndarray:
    """Of each item that two rated: count, sum and sum of squares of its ratings, their disagreement; (4, items)."""
    table = np.array([[math.nan if value is None else value for value in row] for row in ratings], float)
    if table.ndim != 2 or len(table) < 2:
        raise ValueError("agreement takes two raters or more, each with a rating, or None, for every item")
    table = table[:, (~np.isnan(table)).sum(axis=0) > 1]
    if table.shape[1] < 2:
        raise ValueError(f"agreement takes two items that two people rated, and there are {table.shape[1]}")
    if np.nanmin(table) == np.nanmax(table):
        raise ValueError("all ratings are the same, so agreement cannot be told from chance")
    table = table - np.nanmean(table)
    count, total, squares = (~np.isnan(table)).sum(axis=0), np.nansum(table, axis=0), np.nansum(table**2, axis=0)
    return np.stack([count, total, squares, (count * squares - total**2) / (count - 1)])


def _alpha(sums: np.ndarray) -> np.ndarray:
    """Alpha over the last axis of `_item_sums`; NaN where all ratings are the same."""
    count, total, squares, observed = sums.sum(axis=-1)
    expected = (count * squares - total**2) / (count - 1)
    return 1 - observed / np.where(expected > 1e-12 * count * squares, expected, math.nan)


def rank_correlation(
    metric: str, values: Sequence[float], people: Sequence[float], resamples: int = 9999, seed: int = 0
) -> RankCorrelation:
    """Spearman's correlation of a metric with people's mean ratings of likeness, its sign put right for distances.

    metric: one of SIGNS, or a name with `-distance` or `-similarity` at its end. Interval: bootstrap of the pairs
    (percentiles; Efron & Tibshirani 1993, chapter 13); p-value: by permutation. Raises ValueError for another metric,
    fewer than four pairs, values that are no numbers, and values that are all the same.
    """
    sign = sign_of(metric)
    one, other = sign * np.asarray(values, float), np.asarray(people, float)
    if len(one) != len(other) or len(one) < 4:
        raise ValueError(f"a rank correlation takes four pairs or more, and there are {len(one)} and {len(other)}")
    for name, found in ((metric, one), ("the mean ratings", other)):
        if not np.isfinite(found).all():
            raise ValueError(f"{name}: some values are missing or no numbers; leave those pairs out")
        if (found == found[0]).all():
            raise ValueError(f"{name}: all {len(found)} values are the same, so there is nothing to rank by")
    rng = np.random.default_rng(seed)
    value = float(_spearman(one, other))
    chosen = rng.integers(0, len(one), (resamples, len(one)))
    low, high = np.nanpercentile(_spearman(one[chosen], other[chosen]), (2.5, 97.5))
    by_chance = _spearman(one, rng.permuted(np.tile(other, (resamples, 1)), axis=1))
    p_value = (1 + int((np.abs(by_chance) >= abs(value) - 1e-12).sum())) / (resamples + 1)
    return RankCorrelation(metric, value, float(low), float(high), p_value, len(one), sign < 0)


def correlations(metrics: Mapping[str, Sequence[float]], people: Sequence[float]) -> list[RankCorrelation]:
    """Each metric's rank correlation with people, the highest first; p-values adjusted for their number (Holm 1979).

    Raises ValueError as `rank_correlation` does.
    """
    found = sorted(
        (rank_correlation(name, values, people) for name, values in metrics.items()), key=lambda one: one.p_value
    )
    adjusted, least = [], 0.0
    for place, one in enumerate(found):
        least = max(least, min(1.0, (len(found) - place) * one.p_value))
        adjusted.append(replace(one, p_value=least, tested=len(found)))
    return sorted(adjusted, key=lambda one: -one.value)


def sign_of(metric: str) -> int:
    """-1 for a distance, 1 for a similarity, by the metric's name; raises ValueError where that does not tell."""
    if metric in SIGNS:
        return SIGNS[metric]
    for ending, sign in (("-distance", -1), ("-similarity", 1)):
        if metric.endswith(ending):
            return sign
    raise ValueError(
        f"whether {metric!r} is a distance or a similarity is not known; known are {', '.join(SIGNS)}, or a name that"
        " ends in -distance or -similarity"
    )


def _spearman(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the ranks along the last axis, ties sharing theirs; NaN where all are equal."""
    first, second = stats.rankdata(one, axis=-1), stats.rankdata(other, axis=-1)
    first, second = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (first, second))
    scale = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    return (first * second).sum(axis=-1) / np.where(scale > 0, scale, math.nan)
