"""Metrics against the published formulas worked another way, known distances, and what each must notice."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import _compute_fid
from torchmetrics.image.kid import poly_mmd

from cardsynth.metrics import (
    TooFewCards,
    frechet_distance,
    kernel_distance,
    manifold,
    share_with_interval,
    with_interval,
)


def normal(count, features=8, seed=0, shift=0.0, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(count, features, generator=generator, dtype=torch.float64) + shift


def test_frechet_distance_equals_the_formula_and_torchmetrics():
    one, other = normal(300, seed=1), normal(400, seed=2, shift=0.3, spread=1.4)
    first, second = np.cov(one.T), np.cov(other.T)
    root = scipy.linalg.sqrtm(first @ second).real
    known = float(((one.mean(0) - other.mean(0)) ** 2).sum()) + np.trace(first + second - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(known, rel=1e-6)
    theirs = _compute_fid(one.mean(0), one.T.cov(), other.mean(0), other.T.cov())
    assert frechet_distance(one, other) == pytest.approx(float(theirs), rel=1e-4)


def test_kernel_distance_equals_torchmetrics_on_the_same_cards():
    one, other = normal(120, seed=1), normal(120, seed=2, shift=0.2)
    assert kernel_distance(one, other) == pytest.approx(float(poly_mmd(one, other)), rel=1e-4)


def test_a_set_has_no_distance_from_itself():
    features = normal(200)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)
    # Each card is left out of its own side's mean, and so the unbiased estimate of a set against itself lies below 0.
    assert kernel_distance(features, features) <= 0
    whole = manifold(features, features)
    assert whole.precision == whole.recall == whole.coverage == 1
    assert whole.density == pytest.approx(1, abs=0.25)


def test_known_distances_lie_within_their_intervals():
    known = 8 * 0.5**2
    found = with_interval(frechet_distance, normal(2000, seed=3), normal(2000, seed=4, shift=0.5))
    assert found.low < known + 0.02
    assert found.high > known
    none = with_interval(kernel_distance, normal(500, seed=5), normal(500, seed=6))
    assert none.low < 0 < none.high


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
    assert (found.precision, found.recall) == pytest.approx((precision, recall))
    assert (found.density, found.coverage) == pytest.approx((density, coverage))


def test_noise_costs_precision_and_a_narrow_set_costs_recall():
    real = normal(400, 4, seed=9)
    noisy, narrow = (
        manifold(normal(400, 4, seed=10, spread=3), real),
        manifold(normal(400, 4, seed=11, spread=0.2), real),
    )
    assert noisy.precision < 0.6 < noisy.recall
    assert narrow.recall < 0.2 < 0.95 < narrow.precision
    assert narrow.coverage < 0.5


def test_too_few_cards_are_refused_with_the_number_that_it_takes():
    with pytest.raises(TooFewCards, match="8 features takes 16 cards on each side, and there are 15 and 100"):
        frechet_distance(normal(15), normal(100))
    with pytest.raises(TooFewCards, match="two cards"):
        kernel_distance(normal(1), normal(9))
    with pytest.raises(TooFewCards, match="neighbourhoods of 5 take 6"):
        manifold(normal(5), normal(9))


def test_shares_near_none_and_all_keep_an_interval():
    none, half = share_with_interval(0, 20), share_with_interval(10, 20)
    assert none.low == 0
    assert none.high == pytest.approx(0.161, abs=1e-3)  # Wilson's interval for 0 of 20
    assert (half.low + half.high) / 2 == pytest.approx(0.5)
    assert math.isclose(share_with_interval(20, 20).high, 1)
    with pytest.raises(TooFewCards, match="one card"):
        share_with_interval(0, 0)
