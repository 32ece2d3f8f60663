"""Distances between two sets of features, with intervals: Fréchet distance, KID, precision, recall, density, coverage.

Features are float (N, F), a row a card; best in the order of their classes: every twentieth card makes a group, and
leaving a group out should not leave a class out. All is computed over all rows and nothing is drawn at random, so that
the same features give the same figures. Intervals are of 95 %, from the delete-group jackknife over both sets (Efron &
Tibshirani 1993, chapter 11): a bootstrap would put a card beside itself, which nearest neighbours and KID do not bear.
Where there is no distance at all, KID's interval is half as wide again as it need be: it errs to the side of doubt.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

GROUPS = 20  # of cards, one of which is left out at a time
NORMAL_95 = 1.96  # standard errors to each side of an interval
NEIGHBOURS = 5  # of Naeem et al. 2020; Kynkäänniemi et al. 2019 take 3


class TooFewCards(ValueError):
    """A figure would mean nothing: says how many cards there are, and how many it takes."""


@dataclass(frozen=True)
class Figure:
    """A figure with its interval of 95 %: `low` to `high`."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 3) -> str:
        """Like `0.041 [0.032, 0.050]`."""
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def percent(self) -> str:
        """Like `98.2 % [97.1, 99.0]`, of a share in 0 to 1."""
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def frechet_distance(one: torch.Tensor, other: torch.Tensor) -> Figure:
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
    one, other = one.double(), other.double()
    groups, other_groups = _groups(len(one)), _groups(len(other))
    without = [_frechet(one[groups != group], other) for group in range(GROUPS)]
    without_other = [_frechet(one, other[other_groups != group]) for group in range(GROUPS)]
    return jackknife(_frechet(one, other), without, without_other)


def _frechet(one: torch.Tensor, other: torch.Tensor) -> float:
    first, second = torch.cov(one.T), torch.cov(other.T)
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    means = (one.mean(dim=0) - other.mean(dim=0)).square().sum()
    return max(0.0, float(means + first.trace() + second.trace() - 2 * shared))


def kernel_distance(
    one: torch.Tensor,
    other: torch.Tensor,
    classes: torch.Tensor | None = None,
    other_classes: torch.Tensor | None = None,
) -> Figure:
    """KID: unbiased squared maximum mean discrepancy under the kernel (x.y / F + 1)^3 (Binkowski et al. 2018).

    classes: int64 (N,) and (M,) where the sets were put together class by class, as generated cards are. The plain
    estimate would then be too small, since cards whose classes take turns have fewer pairs of one class than cards of
    random classes; so the mean over pairs is taken by pair of classes first. Raises TooFewCards for fewer than two
    cards a group.
    """
    if min(len(one), len(other)) < 2 * GROUPS:
        raise TooFewCards(f"KID takes {2 * GROUPS} cards on each side, and there are {len(one)} and {len(other)}")
    one, other = one.double(), other.double()
    first, second = _cells(len(one), classes), _cells(len(other), other_classes)
    own = _block_sums(_kernel(one, one).fill_diagonal_(0), first, first)
    others = _block_sums(_kernel(other, other).fill_diagonal_(0), second, second)
    between = _block_sums(_kernel(one, other), first, second)
    kept = torch.ones(GROUPS, dtype=torch.float64)

    def mmd(rows: torch.Tensor, columns: torch.Tensor) -> float:
        """Gretton et al. 2012, equation 3, over the groups that are kept of either set."""
        n, m = first.sum(dim=0) @ rows, second.sum(dim=0) @ columns
        within = _mean(own, rows, rows, n, n, same=True) + _mean(others, columns, columns, m, m, same=True)
        return within - 2 * _mean(between, rows, columns, n, m, same=False)

    but_one = [kept - torch.eye(GROUPS, dtype=torch.float64)[group] for group in range(GROUPS)]
    return jackknife(mmd(kept, kept), [mmd(rows, kept) for rows in but_one], [mmd(kept, rows) for rows in but_one])


def _kernel(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return (one @ other.T / one.shape[1] + 1) ** 3


def _cells(count: int, classes: torch.Tensor | None) -> torch.Tensor:
    """Which class and group each card is of, as ones: float64 (N, C, GROUPS)."""
    classes = torch.zeros(count, dtype=torch.long) if classes is None else classes
    order = classes.argsort(stable=True)
    cells = torch.zeros(count, int(classes.max()) + 1, GROUPS, dtype=torch.float64)
    cells[order, classes[order], _groups(count)] = 1
    return cells


def _block_sums(kernel: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Sums of a kernel's values by the cells of its rows and columns, (C, GROUPS, D, GROUPS)."""
    return (rows.flatten(1).T @ kernel @ columns.flatten(1)).view(*rows.shape[1:], *columns.shape[1:])


def _mean(
    sums: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, n: torch.Tensor, m: torch.Tensor, same: bool
) -> float:
    """A kernel's mean over the kept groups, by pair of classes first; n, m: how many cards are kept of each class.

    same: both sides are one set, whose cards make no pairs with themselves.
    """
    sums = torch.einsum("cgdh,g,h->cd", sums, rows, columns)
    pairs = torch.outer(n, m) - (torch.diag(n) if same else 0)
    weights = torch.outer(n, m) * (pairs > 0)
    return float((sums / pairs.clamp(min=1) * weights).sum() / weights.sum())


@dataclass(frozen=True)
class Manifold:
    """How far two sets lie within each other, all in 0 to 1 but density, which may exceed 1.

    precision: share of generated cards within the real ones' neighbourhoods; recall: share of real cards within those
    of the generated ones (Kynkäänniemi et al. 2019). density: how many real neighbourhoods hold a generated card, over
    k; coverage: share of real neighbourhoods that hold one (Naeem et al. 2020).
    """

    precision: Figure
    recall: Figure
    density: Figure
    coverage: Figure


def manifold(generated: torch.Tensor, real: torch.Tensor, k: int = NEIGHBOURS) -> Manifold:
    """Precision, recall, density and coverage with neighbourhoods that reach to the k-th nearest card of the same set.

    Raises TooFewCards for fewer than k + 2 cards, or two a group, on a side.
    """
    least = max(2 * GROUPS, k + 2)
    if min(len(generated), len(real)) < least:
        raise TooFewCards(
            f"neighbourhoods of {k} take {least} cards on each side, and there are {len(generated)} and {len(real)}"
        )
    generated, real = generated.double(), real.double()
    apart, real_apart = torch.cdist(generated, generated), torch.cdist(real, real)
    between = torch.cdist(real, generated)
    radius, real_radius = _radius(apart, k), _radius(real_apart, k)
    value = _manifold(between, radius, real_radius, k)
    without, without_real = [], []
    for group in range(GROUPS):
        kept = torch.nonzero(_groups(len(generated)) != group).flatten()
        without.append(_manifold(between[:, kept], _radius(apart[kept][:, kept], k), real_radius, k))
        kept = torch.nonzero(_groups(len(real)) != group).flatten()
        without_real.append(_manifold(between[kept], radius, _radius(real_apart[kept][:, kept], k), k))
    columns = zip(value, zip(*without, strict=True), zip(*without_real, strict=True), strict=True)
    precision, recall, density, coverage = (jackknife(*column) for column in columns)
    return Manifold(_share(precision), _share(recall), density, _share(coverage))


def _share(figure: Figure) -> Figure:
    """A figure whose interval ends at 0 and 1, as the figure itself must."""
    return Figure(figure.value, max(0.0, figure.low), min(1.0, figure.high))


def _radius(apart: torch.Tensor, k: int) -> torch.Tensor:
    """Distance of each card to its k-th nearest other, (N,), from all distances (N, N)."""
    return apart.topk(k + 1, dim=1, largest=False).values[:, k]


def _manifold(between: torch.Tensor, radius: torch.Tensor, real_radius: torch.Tensor, k: int) -> tuple[float, ...]:
    in_real = between < real_radius[:, None]
    return (
        float((between <= real_radius[:, None]).any(dim=0).double().mean()),
        float((between <= radius[None, :]).any(dim=1).double().mean()),
        float(in_real.sum(dim=0).double().mean()) / k,
        float(in_real.any(dim=1).double().mean()),
    )


def _groups(count: int) -> torch.Tensor:
    """The group of each of `count` cards."""
    return torch.arange(count) % GROUPS


def jackknife(value: float, *left_out: Sequence[float]) -> Figure:
    """A figure with its interval, from what it is when a group of either set is left out."""
    reach = NORMAL_95 * math.sqrt(sum((len(found) - 1) * float(np.var(found)) for found in left_out))
    return Figure(value, value - reach, value + reach)


def mean_figure(values: torch.Tensor) -> Figure:
    """The mean of values (N,), NaN left out, with its interval; raises TooFewCards for fewer than two."""
    values = values[~values.isnan()].double()
    if len(values) < 2:
        raise TooFewCards(f"a mean with an interval takes two cards, and there are {len(values)}")
    mean, reach = float(values.mean()), NORMAL_95 * float(values.std()) / math.sqrt(len(values))
    return Figure(mean, mean - reach, mean + reach)


def share_figure(count: int, total: int) -> Figure:
    """A share of `total` with its interval (Wilson 1927), which also holds for shares near 0 and 1.

    Raises TooFewCards where there is none to share.
    """
    if total < 1:
        raise TooFewCards("a share takes one card at the least")
    share, square = count / total, NORMAL_95**2
    middle = (share + square / (2 * total)) / (1 + square / total)
    reach = NORMAL_95 / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return Figure(share, max(0.0, middle - reach), min(1.0, middle + reach))


def verdict(figure: Figure | None, real: Figure | None, smaller_is_better: bool = False) -> str:
    """Whether a figure differs from that of real cards by more than both intervals leave open."""
    if figure is None or real is None:
        return ""
    reach = (((figure.high - figure.low) / 2) ** 2 + ((real.high - real.low) / 2) ** 2) ** 0.5
    if abs(figure.value - real.value) <= reach:
        return "no difference shown"
    return "better" if (figure.value < real.value) == smaller_is_better else "worse"
