"""Distances between two sets of features, with intervals: Fréchet distance, KID, precision, recall, density, coverage.

Features are float64 (N, F), a row a card. All is computed over all rows, nothing is drawn at random, so that the same
features give the same figures. Intervals are from the delete-group jackknife (Efron & Tibshirani 1993, chapter 11).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

GROUPS = 20  # of cards that follow each other, one of which is left out at a time
NORMAL_95 = 1.96  # standard errors to each side of an interval of 95 %


class TooFewCards(ValueError):
    """A figure would mean nothing: says how many cards there are, and how many it takes."""


@dataclass(frozen=True)
class Figure:
    """A figure with its interval of 95 %: `low` to `high`."""

    value: float
    low: float
    high: float


def frechet_distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Squared Fréchet distance of the Gaussians with the means and covariances of two sets (Heusel et al. 2017, eq. 6).

    Raises TooFewCards where either set has fewer than twice as many cards as features: covariances of fewer are so far
    off that equal sets look far apart.
    """
    least = 2 * one.shape[1]
    if min(len(one), len(other)) < least:
        raise TooFewCards(
            f"a Fréchet distance of {one.shape[1]} features takes {least} cards on each side, and there are"
            f" {len(one)} and {len(other)}"
        )
    return _frechet(one.double(), other.double())


def _frechet(one: torch.Tensor, other: torch.Tensor) -> float:
    first, second = torch.cov(one.T), torch.cov(other.T)
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    means = (one.mean(dim=0) - other.mean(dim=0)).square().sum()
    return max(0.0, float(means + first.trace() + second.trace() - 2 * shared))


def kernel_distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """KID: unbiased squared maximum mean discrepancy under the kernel (x.y / F + 1)^3 (Binkowski et al. 2018).

    Raises TooFewCards for fewer than two cards on a side.
    """
    if min(len(one), len(other)) < 2:
        raise TooFewCards(f"KID takes two cards on each side, and there are {len(one)} and {len(other)}")
    return _mmd(_kernel(one, one), _kernel(other, other), _kernel(one, other))


def _kernel(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one.double() @ other.double().T / one.shape[1] + 1) ** 3


def _mmd(within: torch.Tensor, within_other: torch.Tensor, between: torch.Tensor) -> float:
    """Gretton et al. 2012, equation 3, from the kernel's values."""
    n, m = between.shape
    first = (within.sum() - within.trace()) / (n * (n - 1))
    second = (within_other.sum() - within_other.trace()) / (m * (m - 1))
    return float(first + second - 2 * between.mean())


@dataclass(frozen=True)
class Manifold:
    """How far two sets lie within each other, all in 0 to 1 but density, which may exceed 1.

    precision: share of generated cards within the real ones' neighbourhoods; recall: share of real cards within those
    of the generated ones (Kynkäänniemi et al. 2019, k nearest neighbours). density: how many real neighbourhoods hold
    a generated card, over k; coverage: share of real neighbourhoods that hold one (Naeem et al. 2020).
    """

    precision: float
    recall: float
    density: float
    coverage: float


def manifold(generated: torch.Tensor, real: torch.Tensor, k: int = 5) -> Manifold:
    """Precision, recall, density and coverage with neighbourhoods that reach to the k-th nearest card of the same set.

    Raises TooFewCards for k cards or fewer on a side.
    """
    if min(len(generated), len(real)) <= k:
        raise TooFewCards(f"neighbourhoods of {k} take {k + 1} cards on each side: {len(generated)} and {len(real)}")
    real_radius, generated_radius = _radius(real, k), _radius(generated, k)
    between = torch.cdist(real.double(), generated.double())
    in_real = between < real_radius[:, None]
    in_generated = between < generated_radius[None, :]
    return Manifold(
        precision=float(in_real.any(dim=0).double().mean()),
        recall=float(in_generated.any(dim=1).double().mean()),
        density=float(in_real.sum(dim=0).double().mean()) / k,
        coverage=float((between.min(dim=1).values < real_radius).double().mean()),
    )


def _radius(features: torch.Tensor, k: int) -> torch.Tensor:
    """Distance of each card to its k-th nearest other, (N,)."""
    return torch.cdist(features.double(), features.double()).kthvalue(k + 1, dim=1).values


def with_interval(
    measure: Callable[[torch.Tensor, torch.Tensor], float], one: torch.Tensor, other: torch.Tensor, groups: int = GROUPS
) -> Figure:
    """A measure of two sets with its interval, from what it is when a group of either is left out."""
    value, variance = measure(one, other), 0.0
    for side, features in enumerate((one, other)):
        group_of = torch.arange(len(features)) * groups // len(features)
        found = []
        for group in range(groups):
            kept = features[group_of != group]
            found.append(measure(kept, other) if side == 0 else measure(one, kept))
        variance += (groups - 1) * float(np.var(found))
    reach = NORMAL_95 * math.sqrt(variance)
    return Figure(value, value - reach, value + reach)


def share_with_interval(count: int, total: int) -> Figure:
    """A share of `total` with its interval (Wilson 1927), which also holds for shares near 0 and 1."""
    if total < 1:
        raise TooFewCards("a share takes one card at the least")
    share, square = count / total, NORMAL_95**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    reach = NORMAL_95 / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return Figure(share, max(0.0, middle - reach), min(1.0, middle + reach))
