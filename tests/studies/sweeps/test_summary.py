"""What a sweep says of its settings: differences with intervals, and nothing where there is nothing."""

import numpy as np
import pytest
from scipy import stats

from cardsynth.models import get_preset
from cardsynth.studies.sweeps.config import CardSource, Sweep, SweepRun
from cardsynth.studies.sweeps.factors import factors_of
from cardsynth.studies.sweeps.plots import plot_sweep
from cardsynth.studies.sweeps.rows import SweepRow
from cardsynth.studies.sweeps.summary import effects, mean_over_seeds, spread_of_cards, what_it_shows
from cardsynth.util.intervals import Figure, share_figure

SMOKE = get_preset("smoke")


def made(kid_of, points, seeds=(0, 1, 2), recall=0.5):
    """A sweep over these changes and seeds, and rows whose KID `kid_of` says; None: that run failed."""
    runs = tuple(SweepRun(f"{p}{s}", p, s, SMOKE.replace(seed=s, **p), "cards") for s in seeds for p in points)
    sweep = Sweep("made", "", SMOKE, runs, {"cards": CardSource(count=20)})
    rows = []
    for run in runs:
        kid = kid_of(run)
        figures = {"KID": Figure(kid, kid - 0.02, kid + 0.02), "recall": Figure(recall, 0.4, 0.6)} if kid else {}
        rows.append(SweepRow(run, figures, failed="" if kid else "the loss is nan"))
    return sweep, rows


def noise(run):
    return np.random.default_rng([run.seed, len(str(run.changes))]).normal(0, 0.004)


def test_two_values_are_compared_as_by_a_paired_t_test():
    values = {
        (act, seed): 0.1 + 0.01 * seed + 0.003 * (seed * len(act)) for act in ("silu", "mish2") for seed in range(4)
    }
    sweep, rows = made(
        lambda run: values["mish2" if run.changes else "silu", run.seed], [{}, {"act_fn": "mish"}], seeds=range(4)
    )
    (found,) = effects(factors_of(sweep), rows, "KID")
    one, other = ([values[act, seed] for seed in range(4)] for act in ("mish2", "silu"))
    theirs = stats.ttest_rel(one, other).confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx((theirs.low, theirs.high))
    assert (found.pairs, found.by_cards) == (4, False)


def test_what_differs_is_told_from_what_does_not():
    effect = {"linear": 0.05, "sigmoid": 0.0, "scaled_linear": -0.05}
    points = [{}, *({"beta_schedule": name} for name in effect), {"act_fn": "relu"}]
    sweep, rows = made(lambda run: 0.2 + effect.get(run.changes.get("beta_schedule"), 0.0) + noise(run), points)
    schedule, activation, *_ = what_it_shows(factors_of(sweep), rows)
    assert schedule.startswith("beta_schedule, against squaredcos_cap_v2 (KID, 3 pairs of runs)")
    assert "linear is worse (+0.0" in schedule
    assert "scaled_linear is better (-0.0" in schedule
    assert "no difference is shown for sigmoid" in schedule
    assert activation.startswith("act_fn, against silu")
    assert "no difference is shown for relu" in activation


def test_a_grid_pairs_runs_that_agree_in_all_other_settings():
    points = [{"act_fn": a, "num_train_timesteps": n} for a in ("silu", "gelu") for n in (1000, 500)]
    sweep, rows = made(lambda run: 0.2 + 0.1 * (run.config.num_train_timesteps == 500) + noise(run), points)
    found = {one.value: one for one in effects(factors_of(sweep), rows, "KID")}
    assert (found["500"].pairs, found["gelu"].pairs) == (6, 6)
    assert found["500"].difference.value == pytest.approx(0.1, abs=0.01)
    assert (found["500"].sure, found["gelu"].sure) == (-1, 0)


def test_intervals_cover_the_truth_as_often_as_they_say():
    points = [{}, *({"act_fn": name} for name in ("gelu", "relu", "mish"))]
    covered = []
    for trial in range(150):
        random = np.random.default_rng(trial)
        by_seed = random.normal(0, 0.05, 3)
        sweep, rows = made(lambda run, r=random, s=by_seed: 0.5 + s[run.seed] + r.normal(0, 0.02), points)
        covered += [one.sure == 0 for one in effects(factors_of(sweep), rows, "KID")]
    assert 0.92 <= np.mean(covered) <= 0.98


def test_failed_runs_are_said_and_left_out():
    points = [{}, {"learning_rate": 1e-3}, {"learning_rate": 9.0}]
    sweep, rows = made(
        lambda run: None if run.config.learning_rate == 9 or (run.changes and run.seed == 1) else 0.2 + noise(run),
        points,
    )
    factors = factors_of(sweep)
    assert [(one.value, one.pairs) for one in effects(factors, rows, "KID")] == [("0.001", 2)]
    assert "every run of 9.0 failed" in what_it_shows(factors, rows)[0]
    assert plot_sweep(sweep, rows).axes
    with pytest.raises(ValueError, match="no run of the sweep is judged"):
        plot_sweep(sweep, [row for row in rows if row.failed])


def test_one_seed_alone_leaves_the_spread_of_cards():
    sweep, rows = made(lambda run: 0.4 if run.changes else 0.2, [{}, {"act_fn": "gelu"}], seeds=(0,))
    (found,) = effects(factors_of(sweep), rows, "KID")
    assert found.by_cards
    assert found.difference.high - found.difference.value == pytest.approx(0.02 * 2**0.5)
    assert "one seed alone" in what_it_shows(factors_of(sweep), rows)[0]


def test_few_cards_that_agree_over_seeds_by_chance_are_not_sure():
    """One near-copy among 400 cards of each seed, and none of the other model's."""
    sweep, rows = made(lambda run: 0.2 + noise(run), [{}, {"act_fn": "gelu"}], seeds=(0, 1))
    none, one = share_figure(0, 400), share_figure(1, 400)
    for row in rows:
        row.figures["near-copies"] = one if row.run.changes else none
    (found,) = effects(factors_of(sweep), rows, "near-copies")
    assert found.difference.value == 1 / 400
    assert found.sure == 0
    assert found.difference.high < 0.02
    assert mean_over_seeds([none, none], share=True).low == 0
    assert 0.002 < mean_over_seeds([none, none], share=True).high < none.high
    assert "near-copies" not in what_it_shows(factors_of(sweep), rows)[0]


def test_a_mean_and_a_difference_by_cards_are_as_of_the_normal_distribution():
    figures = [Figure(value, value - 1.96 * error, value + 1.96 * error) for value, error in ((1, 0.1), (2, 0.2))]
    assert spread_of_cards(figures) == pytest.approx([1.96 * (0.1**2 + 0.2**2) ** 0.5 / 2] * 2)
    assert spread_of_cards(figures[:1], figures[1:]) == pytest.approx([1.96 * (0.1**2 + 0.2**2) ** 0.5] * 2)


def test_bars_of_shares_stay_shares_and_are_as_wide_as_their_cards_make_them():
    sweep, rows = made(lambda run: 0.2 + noise(run), [{}, {"act_fn": "gelu"}], seeds=(0, 1))
    for row in rows:
        row.figures["recall"] = share_figure(40, 40)
    (_, panel) = plot_sweep(sweep, rows).axes
    bars = [line.get_xdata() for line in panel.lines if line.get_linewidth() == 3]
    assert len(bars) == 2
    assert all(0.9 < low < 1 == high for low, high in bars)


def test_means_over_seeds():
    figures = [Figure(value, value - 1, value + 1) for value in (0.1, 0.2, 0.4)]
    found = mean_over_seeds(figures)
    theirs = stats.ttest_1samp([0.1, 0.2, 0.4], 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    assert mean_over_seeds(figures[:1]) == figures[0]
