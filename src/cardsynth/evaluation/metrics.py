"""Distances between two sets of feature vectors: Fréchet distance, KID, precision, recall, density and coverage.

Features have shape (N, F), one row per card. The functions use all rows and draw no random numbers, so equal features
give equal figures. The 95% intervals come from the delete-group jackknife over both sets (Efron & Tibshirani 1993,
chapter 11). A bootstrap would duplicate samples, which biases nearest-neighbour metrics and KID. Card i belongs to
group i modulo 20; sort the cards by class, so that every group contains every class. At distance zero the interval of
KID is about 1.5 times too wide, which is conservative.
"""

from dataclasses import dataclass

import torch

from cardsynth.util.intervals import Figure, TooFewSamplesError, jackknife

GROUPS = 20  # of cards; the jackknife leaves out one at a time
NEIGHBOURS = 5  # as in Naeem et al. 2020; Kynkäänniemi et al. 2019 use 3


def frechet_distance(first: torch.Tensor, second: torch.Tensor) -> Figure:
    """Computes the squared Fréchet distance between Gaussians fitted to two sets (Heusel et al. 2017, equation 6).

    Args:
        first: Features of shape (N, F).
        second: Features of shape (M, F).

    Raises:
        TooFewSamplesError: N or M is below 2F. The estimated covariances would be so inaccurate that samples of equal
            distributions look far apart.
    """
    required = 2 * first.shape[1]
    if min(len(first), len(second)) < required:
        raise TooFewSamplesError(
            f"a Fréchet distance of {first.shape[1]} features requires {required} cards on each side, and there are"
            f" {len(first)} and {len(second)}"
        )
    first, second = first.double(), second.double()
    return jackknife(
        _frechet(first, second),
        [_frechet(first[kept], second) for kept in _without_group(len(first))],
        [_frechet(first, second[kept]) for kept in _without_group(len(second))],
    )


def _frechet(first: torch.Tensor, second: torch.Tensor) -> float:
    first_covariance, second_covariance = torch.cov(first.T), torch.cov(second.T)
    values, vectors = torch.linalg.eigh(first_covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    trace_of_root = torch.linalg.eigvalsh(root @ second_covariance @ root).clamp(min=0).sqrt().sum()
    means = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    return max(0.0, float(means + first_covariance.trace() + second_covariance.trace() - 2 * trace_of_root))


def kernel_distance(
    first: torch.Tensor,
    second: torch.Tensor,
    first_classes: torch.Tensor | None = None,
    second_classes: torch.Tensor | None = None,
) -> Figure:
    """Computes KID: the unbiased squared maximum mean discrepancy with kernel (x.y / F + 1)^3 (Binkowski et al. 2018).

    Generated cards have fixed class counts. Cards of fixed class counts form fewer pairs of the same class than cards
    of random classes do, which biases the plain estimate downwards. Given the classes, the function therefore averages
    the kernel for each pair of classes first.

    Args:
        first: Features of shape (N, F).
        second: Features of shape (M, F).
        first_classes: Classes, int64 (N,), if the class counts of the first set were fixed.
        second_classes: Classes, int64 (M,), if those of the second set were.

    Raises:
        TooFewSamplesError: N or M is below two cards per group.
    """
    if min(len(first), len(second)) < 2 * GROUPS:
        raise TooFewSamplesError(
            f"KID requires {2 * GROUPS} cards on each side, and there are {len(first)} and {len(second)}"
        )
    first, second = first.double(), second.double()
    first_cells, second_cells = _cells(len(first), first_classes), _cells(len(second), second_classes)
    within_first = _cell_sums(_kernel(first, first).fill_diagonal_(0), first_cells, first_cells)
    within_second = _cell_sums(_kernel(second, second).fill_diagonal_(0), second_cells, second_cells)
    between = _cell_sums(_kernel(first, second), first_cells, second_cells)

    def discrepancy(first_groups: torch.Tensor, second_groups: torch.Tensor) -> float:
        """Gretton et al. 2012, equation 3; the weights (GROUPS,) are 0 for groups that are left out."""
        n, m = first_cells.sum(dim=0) @ first_groups, second_cells.sum(dim=0) @ second_groups
        return (
            _mean_by_class(within_first, first_groups, first_groups, n, n, same_set=True)
            + _mean_by_class(within_second, second_groups, second_groups, m, m, same_set=True)
            - 2 * _mean_by_class(between, first_groups, second_groups, n, m, same_set=False)
        )

    all_groups = torch.ones(GROUPS, dtype=torch.float64)
    without_one = all_groups - torch.eye(GROUPS, dtype=torch.float64)
    return jackknife(
        discrepancy(all_groups, all_groups),
        [discrepancy(groups, all_groups) for groups in without_one],
        [discrepancy(all_groups, groups) for groups in without_one],
    )


def _kernel(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first @ second.T / first.shape[1] + 1) ** 3


def _cells(count: int, classes: torch.Tensor | None) -> torch.Tensor:
    """Returns a one-hot code of the class and group of each card, float64 (N, C, GROUPS)."""
    classes = torch.zeros(count, dtype=torch.long) if classes is None else classes
    order = classes.argsort(stable=True)
    cells = torch.zeros(count, int(classes.max()) + 1, GROUPS, dtype=torch.float64)
    cells[order, classes[order], _groups(count)] = 1
    return cells


def _cell_sums(kernel: torch.Tensor, row_cells: torch.Tensor, column_cells: torch.Tensor) -> torch.Tensor:
    """Sums a kernel (N, M) over the cells of its rows and columns; shape (C, GROUPS, D, GROUPS)."""
    sums = row_cells.flatten(1).T @ kernel @ column_cells.flatten(1)
    return sums.view(*row_cells.shape[1:], *column_cells.shape[1:])


def _mean_by_class(
    sums: torch.Tensor,
    row_groups: torch.Tensor,
    column_groups: torch.Tensor,
    row_counts: torch.Tensor,
    column_counts: torch.Tensor,
    same_set: bool,
) -> float:
    """Averages a kernel for each pair of classes, then over the pairs of classes.

    Args:
        sums: Kernel sums from `_cell_sums`.
        row_groups: Weight of each group of rows, (GROUPS,), 0 or 1.
        column_groups: Weight of each group of columns, (GROUPS,), 0 or 1.
        row_counts: Remaining cards of each class, (C,).
        column_counts: Remaining cards of each class, (D,).
        same_set: Whether rows and columns are the same cards; a card forms no pair with itself.
    """
    sums = torch.einsum("cgdh,g,h->cd", sums, row_groups, column_groups)
    pairs = torch.outer(row_counts, column_counts)
    other_pairs = pairs - torch.diag(row_counts) if same_set else pairs
    weights = pairs * (other_pairs > 0)
    return float((sums / other_pairs.clamp(min=1) * weights).sum() / weights.sum())


@dataclass(frozen=True)
class Manifold:
    """How far the neighbourhoods of two sets of cards overlap.

    Attributes:
        precision: Share of generated cards inside a neighbourhood of a real card (Kynkäänniemi et al. 2019).
        recall: Share of real cards inside a neighbourhood of a generated card.
        density: Mean number of real neighbourhoods that contain a generated card, divided by k (Naeem et al. 2020);
            may exceed 1.
        coverage: Share of real neighbourhoods that contain a generated card.
    """

    precision: Figure
    recall: Figure
    density: Figure
    coverage: Figure


def manifold(generated: torch.Tensor, real: torch.Tensor, k: int = NEIGHBOURS) -> Manifold:
    """Computes precision, recall, density and coverage.

    Args:
        generated: Features of shape (N, F).
        real: Features of shape (M, F).
        k: The neighbourhood of a card extends to its k-th nearest neighbour in its own set.

    Raises:
        TooFewSamplesError: N or M is below k + 2, or below two cards per group.
    """
    required = max(2 * GROUPS, k + 2)
    if min(len(generated), len(real)) < required:
        raise TooFewSamplesError(
            f"neighbourhoods of {k} require {required} cards on each side, and there are {len(generated)} and"
            f" {len(real)}"
        )
    generated, real = generated.double(), real.double()
    among_generated, among_real = torch.cdist(generated, generated), torch.cdist(real, real)
    between = torch.cdist(real, generated)
    radii, real_radii = _radii(among_generated, k), _radii(among_real, k)
    values = _manifold(between, radii, real_radii, k)
    without_generated = [
        _manifold(between[:, kept], _radii(among_generated[kept][:, kept], k), real_radii, k)
        for kept in _without_group(len(generated))
    ]
    without_real = [
        _manifold(between[kept], radii, _radii(among_real[kept][:, kept], k), k) for kept in _without_group(len(real))
    ]
    figures = zip(values, zip(*without_generated, strict=True), zip(*without_real, strict=True), strict=True)
    precision, recall, density, coverage = (jackknife(*figure) for figure in figures)
    return Manifold(precision.within(0.0, 1.0), recall.within(0.0, 1.0), density, coverage.within(0.0, 1.0))


def _radii(distances: torch.Tensor, k: int) -> torch.Tensor:
    """Returns the distance from each card to its k-th nearest neighbour, (N,), given all distances (N, N)."""
    return distances.topk(k + 1, dim=1, largest=False).values[:, k]


def _manifold(between: torch.Tensor, radii: torch.Tensor, real_radii: torch.Tensor, k: int) -> tuple[float, ...]:
    inside_real = between < real_radii[:, None]
    return (
        float((between <= real_radii[:, None]).any(dim=0).double().mean()),
        float((between <= radii[None, :]).any(dim=1).double().mean()),
        float(inside_real.sum(dim=0).double().mean()) / k,
        float(inside_real.any(dim=1).double().mean()),
    )


def _groups(count: int) -> torch.Tensor:
    """Returns the jackknife group of each card, int64 (N,)."""
    return torch.arange(count) % GROUPS


def _without_group(count: int) -> list[torch.Tensor]:
    """Returns the indices of the cards outside each group."""
    return [torch.nonzero(_groups(count) != group).flatten() for group in range(GROUPS)]


def verdict(figure: Figure | None, real: Figure | None, smaller_is_better: bool = False) -> str:
    """Compares a figure of generated cards with that of real cards.

    Args:
        figure: Figure of generated cards; None if it is unknown.
        real: Figure of real cards.
        smaller_is_better: Whether a smaller figure is better.

    Returns:
        "better" or "worse" if the difference exceeds its 95% interval, else "no difference shown"; empty if a figure
        is None.
    """
    if figure is None or real is None:
        return ""
    reach = (((figure.high - figure.low) / 2) ** 2 + ((real.high - real.low) / 2) ** 2) ** 0.5
    if abs(figure.value - real.value) <= reach:
        return "no difference shown"
    return "better" if (figure.value < real.value) == smaller_is_better else "worse"
