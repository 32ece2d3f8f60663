"""Agreement of raters with each other, and of metrics with raters."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

SIGNS = {"mse": -1, "lpips": -1, "ssim": 1, "cosine": 1}  # -1: a distance, which falls as similarity rises
LEVEL = 0.05  # of significance


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation between a metric and mean ratings, with the metric oriented as a similarity.

    Attributes:
        metric: Name of the metric.
        value: The correlation.
        low: Lower end of the 95% interval.
        high: Upper end of the 95% interval.
        p_value: Probability of an equally strong correlation, of either sign, between independent rankings; adjusted
            for `tested`.
        count: Number of pairs.
        as_distance: Whether the metric is a distance, whose sign was inverted.
        tested: Number of metrics tested together.
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
        """Returns a line with all figures and the verdict."""
        kind = "a distance, turned round" if self.as_distance else "a similarity"
        trials = f" for {self.tested} metrics tried" if self.tested > 1 else ""
        return (
            f"{self.metric} ({kind}): {self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}], {self.count} pairs,"
            f" p = {self.p_value:.2g}{trials}: {self.verdict}"
        )

    @property
    def verdict(self) -> str:
        """Whether the metric significantly ranks pairs with the raters, against them, or neither."""
        if self.p_value >= LEVEL:
            return "nothing shown"
        return "ranks with the raters" if self.value > 0 else "ranks against the raters"


@dataclass(frozen=True)
class RaterAgreement:
    """Krippendorff's alpha of `raters` raters over `items` items with two or more ratings, and its 95% interval."""

    alpha: float
    low: float
    high: float
    raters: int
    items: int

    def text(self) -> str:
        """Returns a line with all figures."""
        return f"alpha {self.alpha:.2f} [{self.low:.2f}, {self.high:.2f}], {self.raters} raters, {self.items} pairs"


def krippendorff_alpha(ratings: ArrayLike) -> float:
    """Computes the agreement of raters on an interval scale (Krippendorff 2011, part C).

    Args:
        ratings: Shape (raters, items); None or NaN marks a missing rating.

    Returns:
        1 for full agreement, 0 for agreement by chance.

    Raises:
        ValueError: Fewer than two items have two ratings, or all ratings are equal.
    """
    return float(_alpha(_item_sums(ratings)))


def rater_agreement(ratings: ArrayLike, resamples: int = 9999, seed: int = 0) -> RaterAgreement:
    """Computes Krippendorff's alpha with an interval, by bootstrap of the items (Efron & Tibshirani 1993, chapter 13).

    The interval concerns these raters and other items, not other raters.

    Args:
        ratings: Shape (raters, items); None or NaN marks a missing rating.
        resamples: Number of bootstrap samples.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: As for `krippendorff_alpha`.
    """
    sums = _item_sums(ratings)
    items = sums.shape[1]
    chosen = np.random.default_rng(seed).integers(0, items, (resamples, items))
    low, high = np.nanpercentile(_alpha(sums[:, chosen]), (2.5, 97.5))
    return RaterAgreement(float(_alpha(sums)), float(low), float(high), len(ratings), items)


def _item_sums(ratings: ArrayLike) -> np.ndarray:
    """Returns count, sum, sum of squares and disagreement of the ratings of each item rated twice, (4, items)."""
    table = np.array(ratings, float, order="C")
    if table.ndim != 2 or len(table) < 2:
        raise ValueError("agreement requires at least two raters, each with a rating, or None, for every item")
    table = table[:, (~np.isnan(table)).sum(axis=0) > 1]
    if table.shape[1] < 2:
        raise ValueError(f"agreement requires at least two items with two ratings, and there are {table.shape[1]}")
    if np.nanmin(table) == np.nanmax(table):
        raise ValueError("all ratings are equal, so agreement cannot be distinguished from chance")
    table = table - np.nanmean(table)
    count, total, squares = (~np.isnan(table)).sum(axis=0), np.nansum(table, axis=0), np.nansum(table**2, axis=0)
    return np.stack([count, total, squares, (count * squares - total**2) / (count - 1)])


def _alpha(sums: np.ndarray) -> np.ndarray:
    """Returns alpha over the last axis of `_item_sums`; NaN if all ratings are equal."""
    count, total, squares, observed = sums.sum(axis=-1)
    expected = (count * squares - total**2) / (count - 1)
    return 1 - observed / np.where(expected > 1e-12 * count * squares, expected, math.nan)


def rank_correlation(
    metric: str, values: Sequence[float], people: Sequence[float], resamples: int = 9999, seed: int = 0
) -> RankCorrelation:
    """Computes Spearman's correlation between a metric, oriented as a similarity, and mean ratings.

    The interval is a percentile bootstrap of the pairs (Efron & Tibshirani 1993, chapter 13). The p-value comes from a
    permutation test.

    Args:
        metric: One of SIGNS, or a name that ends in `-distance` or `-similarity`.
        values: Values of the metric, (N,).
        people: Mean ratings, (N,).
        resamples: Number of bootstrap samples and of permutations.
        seed: Seed of both.

    Raises:
        ValueError: The metric is unknown, there are fewer than four pairs, or values are missing or all equal.
    """
    sign = sign_of(metric)
    similarity, ratings = sign * np.asarray(values, float), np.asarray(people, float)
    if len(similarity) != len(ratings) or len(similarity) < 4:
        raise ValueError(
            f"a rank correlation requires at least four pairs, and there are {len(similarity)} and {len(ratings)}"
        )
    for name, numbers in ((metric, similarity), ("the mean ratings", ratings)):
        if not np.isfinite(numbers).all():
            raise ValueError(f"{name}: some values are missing or are not numbers; leave out those pairs")
        if (numbers == numbers[0]).all():
            raise ValueError(f"{name}: all {len(numbers)} values are equal, so they define no ranking")
    rng = np.random.default_rng(seed)
    value = float(_spearman(similarity, ratings))
    chosen = rng.integers(0, len(ratings), (resamples, len(ratings)))
    low, high = np.nanpercentile(_spearman(similarity[chosen], ratings[chosen]), (2.5, 97.5))
    by_chance = _spearman(similarity, rng.permuted(np.tile(ratings, (resamples, 1)), axis=1))
    p_value = (1 + int((np.abs(by_chance) >= abs(value) - 1e-12).sum())) / (resamples + 1)
    return RankCorrelation(metric, value, float(low), float(high), p_value, len(ratings), sign < 0)


def correlations(metrics: Mapping[str, Sequence[float]], people: Sequence[float]) -> list[RankCorrelation]:
    """Computes the rank correlation of each metric with ratings, with p-values adjusted for multiple tests (Holm 1979).

    Args:
        metrics: Values of each metric, (N,), by name.
        people: Mean ratings, (N,).

    Returns:
        The correlations, highest first.

    Raises:
        ValueError: As for `rank_correlation`.
    """
    ordered = [rank_correlation(name, values, people) for name, values in metrics.items()]
    ordered.sort(key=lambda correlation: correlation.p_value)
    count = len(ordered)
    adjusted = [min(1.0, (count - rank) * correlation.p_value) for rank, correlation in enumerate(ordered)]
    p_values = np.maximum.accumulate(adjusted).tolist()
    tested = [replace(entry, p_value=p_value, tested=count) for entry, p_value in zip(ordered, p_values, strict=True)]
    return sorted(tested, key=lambda correlation: -correlation.value)


def sign_of(metric: str) -> int:
    """Returns -1 for a distance and 1 for a similarity, by the metric's name.

    Raises:
        ValueError: The name does not determine the sign.
    """
    if metric in SIGNS:
        return SIGNS[metric]
    for ending, sign in (("-distance", -1), ("-similarity", 1)):
        if metric.endswith(ending):
            return sign
    raise ValueError(
        f"whether {metric!r} is a distance or a similarity is unknown; use {', '.join(SIGNS)}, or a name that ends in"
        " -distance or -similarity"
    )


def _spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns Pearson's correlation of the ranks along the last axis, ties averaged; NaN if all values are equal."""
    ranks = (stats.rankdata(values, axis=-1) for values in (first, second))
    first, second = (values - values.mean(axis=-1, keepdims=True) for values in ranks)
    scale = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    return (first * second).sum(axis=-1) / np.where(scale > 0, scale, math.nan)
