"""Metrics against the published formulas worked another way, other libraries, and known distances."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from cardsynth.evaluation.metrics import (
    GROUPS,
    frechet_distance,
    kernel_distance,
    manifold,
    verdict,
)
from cardsynth.util.intervals import NORMAL_95, Figure, TooFewSamplesError


def normal(count, features=8, seed=0, shift=0.0, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(count, features, generator=generator, dtype=torch.float64) + shift


def test_frechet_distance_equals_the_formula_and_torchmetrics():
    one, other = normal(300, seed=1), normal(400, seed=2, shift=0.3, spread=1.4)
    first, second = np.cov(one.T), np.cov(other.T)
    root = scipy.linalg.sqrtm(first @ second).real
    known = float(((one.mean(0) - other.mean(0)) ** 2).sum()) + np.trace(first + second - 2 * root)
    assert frechet_distance(one, other).value == pytest.approx(known, rel=1e-6)
    theirs = _compute_fid(one.mean(0), one.T.cov(), other.mean(0), other.T.cov())
    assert frechet_distance(one, other).value == pytest.approx(float(theirs), rel=1e-4)


def test_kernel_distance_equals_torchmetrics_and_torch_fidelity_on_the_same_cards():
    one, other = normal(120, seed=1), normal(120, seed=2, shift=0.2)
    found = kernel_distance(one, other).value
    assert found == pytest.approx(float(poly_mmd(one, other)), rel=1e-4)
    # Subsets of all cards are the same cards in another order: the estimator over all of them, ten times over.
    theirs = kid_features_to_metric(
        one, other, kid_subsets=10, kid_subset_size=120, kid_kernel="poly", kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1, rng_seed=0, verbose=False,
    )  # fmt: skip
    assert found == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-4)


def test_intervals_are_those_of_leaving_groups_out_one_by_one():
    """KID's jackknife goes by sums over groups; here the cards themselves are left out."""
    one, other = normal(100, seed=3), normal(140, seed=4, shift=0.1)
    found = kernel_distance(one, other)
    variance = 0.0
    for side in (0, 1):
        values = []
        for group in range(GROUPS):
            kept = [one, other]
            kept[side] = kept[side][torch.arange(len(kept[side])) % GROUPS != group]
            (n, f), m = kept[0].shape, len(kept[1])
            kernels = [(a @ b.T / f + 1) ** 3 for a, b in ((kept[0], kept[0]), (kept[1], kept[1]), (kept[0], kept[1]))]
            within = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in kernels[:2]]
            values.append(float(within[0] + within[1] - 2 * kernels[2].sum() / (n * m)))
        variance += (GROUPS - 1) * np.var(values)
    assert found.high - found.value == pytest.approx(NORMAL_95 * variance**0.5, rel=1e-9)


def in_turns(count, seed, shift=0.0):
    """Features of five classes that take turns and lie far apart, and the classes."""
    classes = torch.arange(count) % 5
    return normal(count, 4, seed, shift) + 2 * classes[:, None], classes


def test_cards_made_class_by_class_are_neither_too_near_nor_too_sure():
    """The plain estimate is too small for them; the one by classes is right on average, and its interval too."""
    found, plain = [], []
    for seed in range(12):
        (one, classes), (other, other_classes) = in_turns(100, seed), in_turns(200, 1000 + seed)
        found.append(kernel_distance(one, other, classes, other_classes))
        plain.append(kernel_distance(one, other).value)
    values = np.array([figure.value for figure in found])
    error = values.std(ddof=1) / 12**0.5
    assert abs(values.mean()) < 2.2 * error
    assert np.mean(plain) < -3 * error
    reach = np.mean([figure.high - figure.value for figure in found]) / 1.96
    assert 0.4 < reach / values.std(ddof=1) < 2.5
    (far, classes), (other, other_classes) = in_turns(100, 0, shift=1), in_turns(200, 1000)
    assert kernel_distance(far, other, classes, other_classes).low > max(figure.high for figure in found)


def test_the_order_of_cards_has_no_say():
    (one, classes), (other, other_classes) = in_turns(100, 1), in_turns(120, 2)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    found = kernel_distance(one, other, classes, other_classes)
    mixed = kernel_distance(one[order], other, classes[order], other_classes)
    assert mixed.value == pytest.approx(found.value, rel=1e-9)
    assert mixed.high - mixed.value == pytest.approx(found.high - found.value, rel=0.5)


def test_one_class_gives_the_plain_estimate_and_a_class_with_one_card_no_error():
    one, other, none = normal(60, seed=1), normal(50, seed=2), torch.zeros(60, dtype=torch.long)
    assert kernel_distance(one, other, none, none[:50]) == kernel_distance(one, other)
    lonely = none.clone()
    lonely[7] = 1
    assert np.isfinite(kernel_distance(one, other, lonely, none[:50]).value)


def test_a_set_has_no_distance_from_itself():
    features = normal(200)
    assert frechet_distance(features, features).value == pytest.approx(0, abs=1e-9)
    # Each card is left out of its own side's mean, and so the unbiased estimate of a set against itself lies below 0.
    assert kernel_distance(features, features).value <= 0
    whole = manifold(features, features)
    assert whole.precision.value == whole.recall.value == whole.coverage.value == 1
    assert whole.density.value == pytest.approx(1, abs=0.25)


def test_known_distances_lie_within_their_intervals():
    known = 8 * 0.5**2
    found = frechet_distance(normal(2000, seed=3), normal(2000, seed=4, shift=0.5))
    assert found.low < known < found.high
    none = kernel_distance(normal(500, seed=5), normal(500, seed=6))
    assert none.low < 0 < none.high


def test_intervals_hold_as_often_as_they_say():
    """38 of 40 intervals of 95 % should hold what is true, and 33 or more will; nor are they far too wide."""
    for shift, widest in ((0.0, 4), (0.5, 2.6)):
        truth = kernel_distance(normal(4000, seed=1), normal(4000, seed=2, shift=shift)).value if shift else 0
        found = [kernel_distance(normal(100, seed=100 + i), normal(100, seed=200 + i, shift=shift)) for i in range(40)]
        assert sum(one.low <= truth <= one.high for one in found) >= 33
        assert np.mean([one.high - one.value for one in found]) < widest * np.std([one.value for one in found])


def test_precision_and_recall_equal_torch_fidelity():
    generated, real = normal(200, 4, seed=7, shift=0.4, spread=0.8), normal(150, 4, seed=8)
    found = manifold(generated, real, 3)
    theirs = prc_features_to_metric(
        generated.float(), real.float(), prc_neighborhood=3, prc_batch_size=64, verbose=False
    )
    assert found.precision.value == pytest.approx(theirs["precision"], rel=1e-4)
    assert found.recall.value == pytest.approx(theirs["recall"], rel=1e-4)


def test_manifold_equals_the_formulas_card_by_card():
    generated, real, k = normal(40, 3, seed=7, shift=0.5), normal(50, 3, seed=8), 4

    def radius(features, index):
        others = [float((features[index] - other).norm()) for j, other in enumerate(features) if j != index]
        return sorted(others)[k - 1]

    reach = [radius(real, index) for index in range(len(real))]
    reach_generated = [radius(generated, index) for index in range(len(generated))]
    far = [[float((g - r).norm()) for r in real] for g in generated]
    precision = np.mean([any(far[i][j] < reach[j] for j in range(50)) for i in range(40)])
    recall = np.mean([any(far[i][j] < reach_generated[i] for i in range(40)) for j in range(50)])
    density = np.mean([sum(far[i][j] < reach[j] for j in range(50)) for i in range(40)]) / k
    coverage = np.mean([any(far[i][j] < reach[j] for i in range(40)) for j in range(50)])
    found = manifold(generated, real, k)
    assert (found.precision.value, found.recall.value) == pytest.approx((precision, recall))
    assert (found.density.value, found.coverage.value) == pytest.approx((density, coverage))
    for share in (found.precision, found.recall, found.coverage):
        assert 0 <= share.low <= share.value <= share.high <= 1


def test_noise_costs_precision_and_a_narrow_set_costs_recall():
    real = normal(400, 4, seed=9)
    noisy, narrow = (
        manifold(normal(400, 4, seed=10, spread=3), real),
        manifold(normal(400, 4, seed=11, spread=0.2), real),
    )
    assert noisy.precision.value < 0.6 < noisy.recall.value
    assert narrow.recall.value < 0.2 < 0.95 < narrow.precision.value
    assert narrow.coverage.value < 0.5


def test_too_few_cards_are_refused_with_the_number_that_it_takes():
    with pytest.raises(TooFewSamplesError, match="8 features requires 16 cards on each side, and there are 15 and 100"):
        frechet_distance(normal(15), normal(100))
    with pytest.raises(TooFewSamplesError, match="KID requires 40 cards on each side, and there are 39 and 90"):
        kernel_distance(normal(39), normal(90))
    with pytest.raises(TooFewSamplesError, match="neighbourhoods of 5 require 40 cards"):
        manifold(normal(39), normal(90))


def test_a_difference_counts_where_both_intervals_leave_none_open():
    near, far = Figure(0.9, 0.86, 0.94), Figure(0.7, 0.67, 0.73)
    assert verdict(far, near) == "worse"
    assert verdict(near, far) == "better"
    assert verdict(near, far, smaller_is_better=True) == "worse"
    assert verdict(near, Figure(0.93, 0.89, 0.97)) == "no difference shown"
    assert verdict(None, near) == ""
