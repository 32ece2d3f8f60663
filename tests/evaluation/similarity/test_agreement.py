"""Agreement of raters and rank correlations, against worked examples and known cases."""

import math

import numpy as np
import pytest
from scipy import stats

from cardsynth.evaluation.similarity.agreement import (
    correlations,
    krippendorff_alpha,
    rank_correlation,
    rater_agreement,
)

# The worked example of Krippendorff 2011 ("Computing Krippendorff's alpha-reliability"), part C: four observers.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def test_alpha_of_the_worked_example():
    assert krippendorff_alpha(OBSERVERS) == pytest.approx(0.849, abs=5e-4)


def test_alpha_is_one_for_agreement_and_about_nothing_for_chance():
    same = [1.0, 4.0, 2.0, 8.0]
    assert krippendorff_alpha([same, same, same]) == 1
    rng = np.random.default_rng(0)
    assert abs(krippendorff_alpha(rng.normal(size=(3, 2000)))) < 0.05
    assert krippendorff_alpha([[1, 2, 3, 4], [4, 3, 2, 1]]) < 0


def test_alpha_says_what_is_missing():
    with pytest.raises(ValueError, match="two raters"):
        krippendorff_alpha([[1, 2, 3]])
    with pytest.raises(ValueError, match="two items with two ratings, and there are 1"):
        krippendorff_alpha([[1, 2, None], [1, None, 3]])
    with pytest.raises(ValueError, match="all ratings are equal"):
        krippendorff_alpha([[3, 3], [3, 3]])


def test_the_interval_of_alpha_holds_the_true_one():
    """Raters see each item with an error of their own: alpha is the share of variance that they have in common."""
    rng, held = np.random.default_rng(2), 0
    for _ in range(60):
        found = rater_agreement(rng.normal(size=40) + rng.normal(scale=0.7, size=(3, 40)), resamples=300)
        held += found.low <= 1 / (1 + 0.49) <= found.high
        assert found.low < found.alpha < found.high
    assert 51 <= held <= 60
    agreement = rater_agreement(OBSERVERS)
    assert agreement.alpha == krippendorff_alpha(OBSERVERS)
    assert agreement.text().startswith("alpha 0.85 [")
    assert agreement.text().endswith("4 raters, 11 pairs")


def test_alpha_does_not_depend_on_where_the_scale_begins():
    rng = np.random.default_rng(3)
    ratings = rng.normal(size=20) + rng.normal(size=(3, 20))
    assert krippendorff_alpha(ratings * 1e-3 + 1e6) == pytest.approx(krippendorff_alpha(ratings), abs=1e-5)


def test_a_distance_is_turned_round_and_a_similarity_is_not():
    people = [0.1, 0.4, 0.3, 0.9, 0.6, 0.7]
    far = [1 - value for value in people]
    assert rank_correlation("lpips", far, people).value == pytest.approx(1)
    assert rank_correlation("ssim", far, people).value == pytest.approx(-1)
    assert rank_correlation("my-distance", far, people).as_distance
    with pytest.raises(ValueError, match="a distance or a similarity is unknown"):
        rank_correlation("quality", far, people)


def test_the_value_is_spearmans_with_ties():
    one, other = [1, 2, 2, 3, 5, 4, 4, 9], [2, 1, 4, 3, 7, 7, 5, 8]
    found = rank_correlation("ssim", one, other)
    assert found.value == pytest.approx(stats.spearmanr(one, other).statistic)
    assert found.low < found.value < found.high


def test_intervals_hold_what_they_promise_and_few_pairs_show_nothing():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(40):
        people = rng.normal(size=40)
        found = rank_correlation("ssim", rng.normal(size=40), people, resamples=200)
        held += found.low <= 0 <= found.high
    assert held >= 34
    few = rank_correlation("ssim", [1, 2, 3, 5, 4], [1, 3, 2, 4, 5])
    assert few.p_value > 0.05
    with pytest.raises(ValueError, match="at least four pairs"):
        rank_correlation("ssim", [1, 2, 3], [1, 2, 3])


def test_values_that_cannot_be_ranked_are_refused():
    with pytest.raises(ValueError, match="lpips: all 5 values are equal"):
        rank_correlation("lpips", [0.5] * 5, [1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match="the mean ratings: all 5 values are equal"):
        rank_correlation("lpips", [1, 2, 3, 4, 5], [3] * 5)
    with pytest.raises(ValueError, match="mse: some values are missing"):
        rank_correlation("mse", [1, 2, math.nan, 4], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="mean ratings: some values are missing"):
        rank_correlation("mse", [1, 2, 3, 4], [1, 2, 3, math.inf])


def test_lines_say_what_is_shown():
    people = np.linspace(0, 1, 30)
    shown = correlations({"mse": people, "ssim": people, "cosine": np.tile([0, 1, 2, 1, 0], 6)}, people)
    assert [one.metric for one in shown] == ["ssim", "cosine", "mse"]
    assert shown[0].text().endswith("for 3 metrics tried: ranks with the raters")
    assert "30 pairs" in shown[0].text()
    assert "nothing shown" in shown[1].text()
    assert shown[2].text().endswith("ranks against the raters")
    assert "a distance, turned round" in shown[2].text()
    assert math.isclose(shown[2].value, -1)


def test_metrics_tried_together_are_held_to_a_higher_bar():
    people = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    fair, poor, poorer = [2, 1, 6, 3, 5, 9, 4, 8, 7], [1, 9, 3, 7, 5, 6, 4, 8, 2], [5, 1, 9, 2, 8, 3, 7, 4, 6]
    alone = rank_correlation("ssim", fair, people)
    assert 0.017 < alone.p_value < 0.05
    assert alone.verdict == "ranks with the raters"
    among = correlations({"ssim": fair, "x-similarity": poor, "y-similarity": poorer}, people)
    together = next(one for one in among if one.metric == "ssim")
    assert together.p_value == pytest.approx(3 * alone.p_value)
    assert together.verdict == "nothing shown"
    assert (together.value, together.low) == (alone.value, alone.low)
    assert max(one.p_value for one in among) <= 1
