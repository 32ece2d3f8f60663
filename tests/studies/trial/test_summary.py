import math

import numpy as np
import pytest
from scipy import stats

from cardsynth.studies.trial.plots import plot_trial
from cardsynth.studies.trial.summary import arm_figures, summary_table, what_it_shows


def results_of(arm, ratio, values, count=16):
    return [
        {"arm": arm, "count": count, "ratio": ratio, "draw": draw, "mean_iou": value, "map50": value / 2}
        for draw, value in enumerate(values)
    ]


REAL = [0.20, 0.30, 0.10, 0.25, 0.15]
RESULTS = [
    *results_of("real", 0, REAL),
    *results_of("pasted", 4, [value + 0.05 + 0.001 * place for place, value in enumerate(REAL)]),
    *results_of("painted", 4, [value + 0.08 for value in REAL]),
    *results_of("generated_only", 4, [value - 0.10 + 0.002 * place for place, value in enumerate(REAL)]),
    *results_of("generated", 4, [0.3, 0.2, 0.2, 0.15, 0.15]),
]


def by_arm(results, measure="mean_iou"):
    return {(one.arm, one.count): one for one in arm_figures(results, measure)}


def test_gains_are_paired_draw_by_draw_with_student_s_interval():
    figures = by_arm(RESULTS)
    generated = figures["generated", 16]
    differences = np.array([0.1, -0.1, 0.1, -0.1, 0.0])
    low, high = stats.t.interval(0.95, 4, differences.mean(), stats.sem(differences))
    assert (generated.gain.low, generated.gain.high) == pytest.approx((low, high))
    painted = figures["painted", 16]
    assert painted.gain.value == pytest.approx(0.08)
    assert painted.gain.high - painted.gain.low < 1e-9
    assert painted.gain_over_pasted.value == pytest.approx(0.08 - 0.052)
    assert painted.value.high - painted.value.low > 0.1
    assert figures["real", 16].gain is None
    assert by_arm(RESULTS, "map50")["painted", 16].gain.value == pytest.approx(0.04)


def test_the_sentence_names_gains_losses_and_how_many_were_looked_at():
    (sentence,) = what_it_shows(arm_figures(RESULTS))
    assert "of 4 ways" in sentence
    assert (
        "`pasted` (4 to 1), `painted` (4 to 1) gain; most does `painted` (4 to 1), +8.0 [+8.0, +8.0] points" in sentence
    )
    assert "`generated_only` (4 to 1) lose" in sentence
    assert "`generated` (" not in sentence


def test_a_null_is_said_to_be_one():
    nothing = [*results_of("real", 0, REAL), *results_of("generated", 1, REAL[::-1])]
    assert what_it_shows(arm_figures(nothing)) == [
        "With 16 real cards a class, of 1 ways to add synthetic cards: no arm shows a gain or a loss."
    ]
    alone = what_it_shows(arm_figures(results_of("real", 0, REAL)))
    assert alone == ["With 16 real cards a class there is nothing to compare yet."]


def test_a_single_draw_has_no_interval_and_no_gain():
    figures = by_arm([*results_of("real", 0, [0.2]), *results_of("pasted", 4, [0.4])])
    assert math.isnan(figures["pasted", 16].value.low)
    assert figures["pasted", 16].gain is None


def test_draws_that_only_one_arm_has_are_not_compared():
    results = [*results_of("real", 0, [0.1, 0.2, 0.3]), *results_of("pasted", 4, [0.2, 0.3])]
    assert by_arm(results)["pasted", 16].gain.value == pytest.approx(0.1)


def test_table_and_figure_show_every_arm_and_count():
    results = RESULTS + results_of("real", 0, REAL, 50) + results_of("pasted", 4, REAL, 50)
    figures = arm_figures(results)
    table = summary_table(figures)
    assert len(table.splitlines()) == 2 + 7
    assert "| 16 | the same, and damage painted by the model on clean cards | 4 | 5 | 28.0 [" in table
    panels = plot_trial(figures).axes
    assert [axes.get_title() for axes in panels] == ["16 real cards a class", "50 real cards a class"]
    assert [len(axes.get_yticks()) for axes in panels] == [5, 2]
    with pytest.raises(ValueError, match="no results yet"):
        plot_trial([])
