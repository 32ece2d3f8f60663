"""Confidence intervals against SciPy, and at the limits of what they accept."""

import numpy as np
import pytest
import torch
from scipy import stats

from cardsynth.util.intervals import (
    NORMAL_95,
    Figure,
    TooFewSamplesError,
    critical_value,
    jackknife,
    mean_figure,
    paired_difference,
    share_figure,
    standard_error,
)

VALUES = np.random.default_rng(0).normal(3, 2, 12)


def test_the_interval_of_a_mean_equals_scipys():
    for student, distribution in ((True, stats.t(len(VALUES) - 1)), (False, stats.norm())):
        figure = mean_figure(VALUES, student)
        low, high = VALUES.mean() + stats.sem(VALUES) * distribution.ppf([0.025, 0.975])
        assert (figure.value, figure.low, figure.high) == pytest.approx((VALUES.mean(), low, high), rel=1e-4)
    low, high = stats.ttest_1samp(VALUES, 0).confidence_interval(0.95)
    assert mean_figure(VALUES, student=True) == Figure(VALUES.mean(), pytest.approx(low), pytest.approx(high))
    assert mean_figure(VALUES.tolist()) == mean_figure(torch.from_numpy(VALUES)) == mean_figure(VALUES)


def test_missing_values_are_left_out_of_a_mean():
    figure = mean_figure(torch.tensor([1.0, 3.0, torch.nan]))
    assert figure.value == 2
    assert figure.high - figure.value == pytest.approx(1.96 * 2**0.5 / 2**0.5)
    with pytest.raises(TooFewSamplesError, match="at least two values, and there are 1"):
        mean_figure([0.5, np.nan])


def test_standard_errors_equal_scipys_along_the_last_axis():
    table = VALUES.reshape(3, 4)
    np.testing.assert_allclose(standard_error(table), stats.sem(table, axis=-1))
    np.testing.assert_allclose(standard_error([1.0, 3.0, 5.0, 7.0]), 20**0.5 / 3**0.5 / 2)
    assert np.isnan(standard_error([[1.0]])).tolist() == [True]


def test_differences_are_taken_pair_by_pair():
    values, others = {1: 0.5, 2: 0.7, 3: 0.9, 4: 5.0}, {3: 0.6, 1: 0.4, 2: 0.5}
    first, second = ([scores[pair] for pair in (1, 2, 3)] for scores in (values, others))
    low, high = stats.ttest_rel(first, second).confidence_interval(0.95)
    figure = paired_difference(values, others)
    assert (figure.value, figure.low, figure.high) == pytest.approx((0.2, low, high))
    assert paired_difference(values, {4: 0.1}) is None


def test_shares_equal_scipys_wilson_interval():
    for count, total in ((0, 20), (3, 20), (20, 20), (1, 400)):
        level = 2 * stats.norm.cdf(NORMAL_95) - 1
        known = stats.binomtest(count, total).proportion_ci(level, method="wilson")
        figure = share_figure(count, total)
        assert figure.value == count / total
        assert (figure.low, figure.high) == pytest.approx((known.low, known.high), abs=1e-12)
    with pytest.raises(TooFewSamplesError, match="at least one sample"):
        share_figure(0, 0)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    without = [np.delete(VALUES, index).mean() for index in range(len(VALUES))]
    figure = jackknife(VALUES.mean(), without)
    assert figure.high - figure.value == pytest.approx(NORMAL_95 * stats.sem(VALUES))
    both = jackknife(VALUES.mean(), without, without)
    assert both.high - both.value == pytest.approx(2**0.5 * (figure.high - figure.value))


def test_few_values_take_wider_intervals():
    assert critical_value() == NORMAL_95
    assert critical_value(1) == pytest.approx(12.706, abs=1e-3)
    assert critical_value(10_000) == pytest.approx(critical_value(), abs=1e-3)


def test_figures_are_cut_off_at_their_limits_and_written():
    figure = Figure(0.97, 0.9, 1.04).within(0, 1)
    assert figure == Figure(0.97, 0.9, 1)
    assert figure.text() == "0.970 [0.900, 1.000]"
    assert figure.percent() == "97.0 % [90.0, 100.0]"
