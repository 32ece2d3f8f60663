"""KID while training: on cards that are held out, in the log, within its time, and without a trace in the weights."""

import pytest
import torch

from cardsynth.cards.dataset import stack_cards
from cardsynth.core.learner import DiffusionLearner
from cardsynth.core.runs import load_model, read_log
from cardsynth.evaluation import while_training as validation
from cardsynth.evaluation.evaluate import select
from cardsynth.evaluation.metrics import kernel_distance
from cardsynth.evaluation.while_training import KidMeasurement, hold_out
from cardsynth.models import get_preset, train
from cardsynth.render.draw import draw_cards

CONFIG = get_preset("smoke").replace(
    kid_epochs=1, kid_cards=40, train_batch_size=80, max_train_steps=6, mixed_precision="no"
)


@pytest.fixture(scope="module")
def drawn():
    return stack_cards(draw_cards(200, (40, 32), seed=0, styles=("a",), workers=1))


@pytest.fixture
def any_time(monkeypatch):
    monkeypatch.setattr(validation, "TIME_SHARE", 1e6)


def run_to_end(config, cards, run, **how):
    return list(train(config, cards, run, **how))


def test_held_out_cards_are_not_trained_on(drawn):
    shown, held_out = hold_out(CONFIG, drawn)
    assert sorted(torch.cat([shown, held_out]).tolist()) == list(range(200))
    assert len(held_out) == 40
    learner = DiffusionLearner(CONFIG, drawn, shown)
    assert learner.epoch_steps == 2
    taken = []
    whole = learner.batches.cards
    learner.batches.cards = type(
        "Watched", (), {"batch": lambda _, i, d: taken.extend(i.tolist()) or whole.batch(i, d)}
    )()
    learner.batches.cards.label_names = whole.label_names
    for step in range(2):
        learner.optimise(step)
    assert sorted(taken) == sorted(shown.tolist())
    assert set(hold_out(CONFIG.replace(seed=1), drawn)[1].tolist()) != set(held_out.tolist())


@pytest.mark.slow
def test_kid_is_in_the_log_and_shown(drawn, tmp_path, any_time):
    steps = run_to_end(CONFIG, drawn, tmp_path / "run")
    rows = read_log(tmp_path / "run")
    measured = [row for row in rows if "kid" in row]
    assert [row["step"] for row in measured] == [2, 4, 6]
    assert all(row["kid_low"] < row["kid"] < row["kid_high"] for row in measured)
    assert steps[1].figures["kid"] == measured[0]["kid"]
    assert 0 < measured[-1]["kid_time_share"] < 1
    assert "kid" not in rows[0]


@pytest.mark.slow
def test_measuring_leaves_no_trace_in_the_weights(drawn, tmp_path, any_time, monkeypatch):
    run_to_end(CONFIG, drawn, tmp_path / "watched")
    monkeypatch.setattr(validation, "TIME_SHARE", 0.0)
    run_to_end(CONFIG, drawn, tmp_path / "left alone")
    assert not any("kid" in row for row in read_log(tmp_path / "left alone"))
    one, other = (load_model(tmp_path / name).unet.state_dict() for name in ("watched", "left alone"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_the_same_cards(drawn, tmp_path, any_time):
    whole = run_to_end(CONFIG, drawn, tmp_path / "whole")
    run_to_end(CONFIG.replace(max_train_steps=2), drawn, tmp_path / "parts")
    run_to_end(CONFIG.replace(max_train_steps=4, num_epochs=2), drawn, tmp_path / "parts", resume=True)
    rows = read_log(tmp_path / "parts")
    assert [row["step"] for row in rows if "kid" in row] == [2, 4]
    assert rows[0]["loss"] == whole[0].loss


@pytest.mark.slow
def test_it_is_measured_where_a_tenth_of_the_time_allows_it(drawn):
    _, held_out = hold_out(CONFIG, drawn)
    found = KidMeasurement(CONFIG.replace(kid_epochs=5), drawn, held_out)
    assert found.seconds > 0
    found.seconds = 9.0
    assert found.is_due(5, False, 91)
    assert found.is_due(7, True, 91)
    assert not found.is_due(7, False, 91)
    assert not found.is_due(5, False, 89)


@pytest.mark.slow
def test_an_untrained_model_is_far_from_real_cards(drawn, trained_run):
    _, held_out = hold_out(CONFIG, drawn)
    found = KidMeasurement(CONFIG, drawn, held_out)
    real = stack_cards(draw_cards(40, (40, 32), seed=7000, styles=("a",), workers=1))
    near = kernel_distance(found._net.measure(real.pixels), found._features)
    assert found.measure(load_model(trained_run)).low > near.high


def test_too_few_cards_are_named(drawn):
    with pytest.raises(ValueError, match="kid_cards is 39, and KID requires 40; or set kid_epochs to 0"):
        hold_out(CONFIG.replace(kid_cards=39), drawn)
    assert len(hold_out(CONFIG.replace(kid_cards=100), drawn)[1]) == 40
    few = select(drawn, torch.arange(199))
    assert [len(places) for places in hold_out(CONFIG, few)] == [199, 0]
    assert len(hold_out(get_preset("smoke"), drawn)[1]) == 0
    with pytest.raises(ValueError, match="kid_epochs must be greater than or equal to 0"):
        get_preset("smoke").replace(kid_epochs=-1)


@pytest.mark.slow
def test_the_time_of_an_earlier_session_counts(drawn, tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "kid_time_share": 0.05}\n{"step": 2}\n')
    measurement = KidMeasurement(CONFIG.replace(kid_epochs=5), drawn, hold_out(CONFIG, drawn)[1], tmp_path)
    own = measurement.seconds
    assert measurement(None, epoch=1, done=False, elapsed=1000.0) == {}
    assert measurement.seconds == pytest.approx(own + 50)
