"""Figures with 95% confidence intervals: means, paired differences, shares and jackknife estimates."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

NORMAL_95 = 1.96  # standard errors on each side of a 95% interval of the normal distribution


class TooFewSamplesError(ValueError):
    """A figure would be meaningless; the message gives the number of samples and the number required."""


@dataclass(frozen=True)
class Figure:
    """A figure with its 95% confidence interval, from `low` to `high`."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 3) -> str:
        """Returns text such as `0.041 [0.032, 0.050]`."""
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def percent(self) -> str:
        """Returns text such as `98.2 % [97.1, 99.0]` for a share in 0 to 1."""
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"

    def within(self, lowest: float, highest: float) -> "Figure":
        """Returns the figure with its interval cut off at the limits of the quantity."""
        return Figure(self.value, max(lowest, self.low), min(highest, self.high))


def critical_value(freedom: int | None = None) -> float:
    """Returns the number of standard errors on each side of a 95% interval.

    Args:
        freedom: Degrees of freedom of Student's t distribution; None selects the normal distribution.
    """
    return NORMAL_95 if freedom is None else float(stats.t.ppf(0.975, freedom))


def standard_error(values: ArrayLike) -> np.ndarray:
    """Returns the standard error of the mean over the last axis, shape (...); NaN for a single value.

    Args:
        values: Shape (..., N).
    """
    values = np.asarray(values)
    count = values.shape[-1]
    if count < 2:
        return np.full(values.shape[:-1], np.nan)
    return values.std(axis=-1, ddof=1) / count**0.5


def mean_figure(values: ArrayLike, student: bool = False) -> Figure:
    """Estimates a mean.

    Args:
        values: Shape (N,); NaN marks a missing value.
        student: Use Student's t distribution, for few values, instead of the normal distribution.

    Returns:
        The mean of the known values with its interval.

    Raises:
        TooFewSamplesError: Fewer than two values are known.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    count = len(values)
    if count < 2:
        raise TooFewSamplesError(f"the interval of a mean requires at least two values, and there are {count}")
    mean = float(values.mean())
    reach = critical_value(count - 1 if student else None) * float(values.std(ddof=1)) / math.sqrt(count)
    return Figure(mean, mean - reach, mean + reach)


def paired_difference(values: Mapping[Hashable, float], others: Mapping[Hashable, float]) -> Figure | None:
    """Estimates the mean difference between paired values, by Student's t distribution.

    Args:
        values: Values by pair.
        others: Values to subtract, by pair.

    Returns:
        The mean of `values[pair] - others[pair]` over the shared pairs; None for fewer than two.
    """
    shared = sorted(values.keys() & others.keys())
    differences = [values[pair] - others[pair] for pair in shared]
    return mean_figure(differences, student=True) if len(differences) > 1 else None


def share_figure(count: int, total: int) -> Figure:
    """Estimates a share by the score interval (Wilson 1927), which remains valid near 0 and 1.

    Args:
        count: Number of successes.
        total: Number of samples.

    Raises:
        TooFewSamplesError: `total` is 0.
    """
    if total < 1:
        raise TooFewSamplesError("a share requires at least one sample, and there are 0")
    share, square = count / total, NORMAL_95**2
    center = (share + square / (2 * total)) / (1 + square / total)
    reach = NORMAL_95 / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return Figure(share, center - reach, center + reach).within(0.0, 1.0)


def jackknife(value: float, *without_group: Sequence[float]) -> Figure:
    """Estimates the interval of a figure by the delete-group jackknife (Efron & Tibshirani 1993, chapter 11).

    Args:
        value: The figure of all samples.
        without_group: For each independent set of samples, the figures recomputed without each group of that set.
    """
    variance = sum((len(values) - 1) * float(np.var(values)) for values in without_group)
    reach = NORMAL_95 * math.sqrt(variance)
    return Figure(value, value - reach, value + reach)
