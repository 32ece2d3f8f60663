"""Sweep files: the runs that they declare, and the errors that they raise before anything starts."""

import json
import math
from pathlib import Path

import pytest

from cardsynth.cards.folder import CardWriter
from cardsynth.models import get_preset
from cardsynth.studies.sweeps.factors import factors_of
from cardsynth.studies.sweeps.file import read_sweep

READY_MADE = sorted((Path(__file__).parents[3] / "sweeps").glob("*.json"))
DRAWN = {"count": 20}


@pytest.fixture
def written(tmp_path):
    """Read a sweep file of this content, at the `smoke` preset."""

    def read(scaled=False, **said):
        path = tmp_path / "mine.json"
        path.write_text(json.dumps({"preset": "smoke", "data": DRAWN} | said))
        return read_sweep(path, scaled)

    return read


def test_grid_and_list_make_runs_seed_by_seed(written):
    sweep = written(
        settings={"learning_rate": 1e-3},
        grid={"beta_schedule": ["linear", "sigmoid"], "num_train_timesteps": [1000, 500]},
        list=[{}, {"act_fn": "gelu"}, {"act_fn": "silu"}],
        seeds=[3, 5],
    )
    first = ["beta_schedule=linear", "beta_schedule=linear+num_train_timesteps=500", "beta_schedule=sigmoid"]
    first += ["beta_schedule=sigmoid+num_train_timesteps=500", "base", "act_fn=gelu"]
    assert [run.name for run in sweep.runs] == [f"{name}+seed={seed}" for seed in (3, 5) for name in first]
    assert all(run.config.learning_rate == 1e-3 and run.config.seed == run.seed for run in sweep.runs)
    assert sweep.runs[3].config == get_preset("smoke").replace(
        learning_rate=1e-3, beta_schedule="sigmoid", num_train_timesteps=500, seed=3
    )


def test_names_of_runs_differ_and_fit_into_a_file_system(written):
    channels = [[4 * n, 8 * n] for n in (1, 2)]
    many = {"act_fn": "gelu", "dropout": 0.1, "weight_decay": 1e-3, "snr_gamma": 4.0, "mask_weight": 3.0}
    sweep = written(
        grid={"block_out_channels": channels, "data": ["my / cards"], "only_labels": [["SMALL"], []]},
        data={"my / cards": DRAWN},
        list=[many | {"beta_schedule": "linear", "ema_decay": decay} for decay in (0.5, 0.6)],
    )
    names = [run.name for run in sweep.runs]
    assert names[1] == "block_out_channels=4-8+seed=0"
    assert len(set(names)) == len(names) == 6
    assert all(len(name) < 130 and "/" not in name and " " not in name for name in names)


def test_quick_replaces_what_it_names(written):
    said = {"settings": {"learning_rate": 1e-3, "max_train_steps": 1000}, "grid": {"act_fn": ["silu", "gelu"]}}
    said |= {"data": {"a": {"count": 4000, "styles": ["a"]}, "b": {"count": 900, "styles": ["a"]}}, "seeds": [0, 1, 2]}
    said |= {"list": [{"data": "b"}], "judge": {"count": 500, "size": [40, 32]}}
    said["quick"] = {"settings": {"max_train_steps": 10}, "data": {"count": 50}, "seeds": [0], "judge": {"count": 60}}
    full, quick = written(**said), written(scaled=True, **said)
    assert (len(full.runs), len(quick.runs)) == (9, 3)
    assert (quick.name, quick.runs[0].config.max_train_steps, quick.runs[0].config.learning_rate) == (
        "mine_quick",
        10,
        1e-3,
    )
    assert [(one.count, one.styles) for one in quick.sources.values()] == [(50, ("a",))] * 2
    assert (quick.judging.count, quick.judging.size) == (60, (40, 32))


def test_settings_that_change_together_are_one_factor(written):
    sweep = written(list=[{}, {"height": 48, "width": 48}, {"act_fn": "gelu"}, {"dropout": 0.1, "snr_floor": 0.1}])
    factors = {factor.name: factor.values for factor in factors_of(sweep)}
    assert factors.pop("height, width") == ("40 x 32", "48 x 48")
    assert factors.pop("dropout, snr_floor") == ("0.0 x 0.0", "0.1 x 0.1")
    assert factors == {"act_fn": ("silu", "gelu")}


def test_changes_without_a_partner_are_held_against_the_base(written):
    both = {"dropout": 0.1, "act_fn": "gelu"}
    sweep = written(list=[{}, both, {"dropout": 0.2, "act_fn": "mish"}, {"learning_rate": 1e-3}, {"weight_decay": 0.1}])
    assert [factor.name for factor in factors_of(sweep)] == ["dropout, act_fn", "learning_rate", "weight_decay"]
    sweep = written(list=[{}, both, {"dropout": 0.1, "act_fn": "mish", "weight_decay": 0.1}])
    assert factors_of(sweep)[-1].values == (
        "base", "dropout=0.1, act_fn=gelu", "dropout=0.1, act_fn=mish, weight_decay=0.1"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"gird": {}}, "gird: Extra inputs are not permitted"),
        ({}, "nothing to sweep"),
        ({"grid": {"act_fn": []}}, "grid.act_fn: List should have at least 1 item"),
        ({"grid": {"act_fn": "gelu"}}, "grid.act_fn: Input should be a valid array"),
        ({"grid": {"actfn": ["gelu"]}}, "actfn=gelu: actfn: Extra inputs are not permitted"),
        ({"grid": {"act_fn": ["swish"]}}, "act_fn=swish: act_fn: Input should be 'silu', 'gelu', 'relu' or 'mish'"),
        (
            {"list": [{}], "settings": {"learning_rate": "fast"}},
            "settings: learning_rate: Input should be a valid number",
        ),
        ({"list": [{"num_epochs": True}]}, "num_epochs=yes: num_epochs: Input should be a valid integer"),
        ({"list": [{"learning_rate": 0}]}, "learning_rate must be greater than 0"),
        ({"list": [{"block_out_channels": 8}]}, "block_out_channels: Input should be a valid array"),
        ({"list": [{"height": 41}]}, "height=41: a net of 2 levels .* take height 40 or 44"),
        ({"list": [{"num_inference_steps": 20, "num_train_timesteps": 10}]}, "num_inference_steps is 20"),
        ({"list": [{"seed": 3}]}, "seed=3: seed: give seeds"),
        ({"list": [{}], "seeds": []}, "seeds: Tuple should have at least 1 item"),
        ({"list": [{}], "seeds": [0, -1]}, "seeds.1: Input should be greater than or equal to 0"),
        ({"list": [{}], "seeds": [0, 0]}, "seeds must be different"),
        ({"list": [{}], "preset": "demmo"}, "there is no preset 'demmo'"),
        ({"list": [{}], "data": {"folder": "gone"}}, "gone is no folder"),
        ({"list": [{}], "data": {}}, "data.cards: give a folder of cards, or a count"),
        ({"list": [{}], "data": {"count": 20, "colour": 1}}, "data.cards.colour: Extra inputs are not permitted"),
        (
            {"list": [{}], "data": {"count": 20, "styles": ["z"]}},
            "data.cards.styles.0: Input should be 'a', 'b' or 'c'",
        ),
        ({"list": [{}], "data": {"folder": "x", "styles": ["a"]}}, "styles apply to drawn cards only"),
        ({"list": [{}], "data": {"a": DRAWN, "b": DRAWN}}, "no run uses data b"),
        ({"list": [{"data": "c"}]}, "no data 'c'; there are cards"),
        ({"list": [{}, {"data": "b"}], "data": {"a": DRAWN, "b": {"count": 9, "styles": ["b"]}}}, "name the cards to"),
        ({"list": [{}], "data": {"count": 20, "seed": 999_990}}, "seeds from 1000000 on are reserved"),
        ({"list": [{}], "judge": {"count": 5}}, "judge.count: Input should be greater than or equal to 40"),
        ({"list": [{}], "judge": {"labels": ["WET"]}}, "no drawn card is of the class WET"),
        ({"list": [{}], "seconds": 0}, "seconds: Input should be greater than 0"),
        ({"list": [{}], "seconds": True}, "seconds: Input should be a valid number"),
        ({"list": [{"learning_rate": math.nan}]}, "learning_rate: Input should be a finite number"),
        ({"list": [{}], "data": {"count": 20, "severity": math.inf}}, "severity: Input should be a finite number"),
        ({"list": [{}], "data": {"count": "20"}}, "data.cards.count: Input should be a valid integer"),
        ({"list": [{}], "settings": []}, "settings: Input should be an object"),
        ({"list": [{}], "question": 3}, "question: Input should be a valid string"),
        ({"list": [{}], "quick": {"gird": {}}}, "quick.gird: Input should be 'question', 'preset'"),
        (
            {"list": [{}], "data": {"a": DRAWN, "b": {"count": 9, "size": [0, 8]}}},
            "data.b.size.0: Input should be greater",
        ),
    ],
)
def test_errors_name_file_and_key_in_one_line_before_anything_starts(written, tmp_path, said, message):
    with pytest.raises(ValueError, match=f"mine.json: .*{message}") as raised:
        written(**said)
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


def test_files_that_are_no_sweep(tmp_path, written):
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    for name, message in (("broken.json", "is not JSON"), ("list.json", "must hold one JSON object")):
        with pytest.raises(ValueError, match=message):
            read_sweep(tmp_path / name)
    with pytest.raises(ValueError, match="it has no part quick"):
        written(scaled=True, list=[{}])
    with pytest.raises(FileNotFoundError):
        read_sweep(tmp_path / "none.json")
    with CardWriter(tmp_path / "empty"):
        pass
    with pytest.raises(ValueError, match="has no cards in it"):
        written(list=[{}], data={"folder": str(tmp_path / "empty")})


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("path", READY_MADE, ids=lambda path: path.stem)
def test_ready_made_sweeps_are_in_order(path, quick):
    sweep = read_sweep(path, quick)
    assert sweep.question
    assert len({run.seed for run in sweep.runs}) > 1
    assert factors_of(sweep)
    if quick:
        assert all(run.config.width <= 64 for run in sweep.runs)
        assert sweep.seconds or sum(run.config.max_train_steps for run in sweep.runs) <= 40_000


def test_ready_made_sweeps_have_the_published_settings():
    sweeps = {path.stem: read_sweep(path) for path in READY_MADE}
    ddpm = sweeps["ddpm_64"].base
    assert (ddpm.size, ddpm.max_train_steps, ddpm.learning_rate, ddpm.ema_decay, ddpm.gradient_accumulation_steps) == (
        (64, 64), 20_000, 8e-5, 0.995, 2,
    )  # fmt: skip
    values = {name: {one.name: one.values for one in factors_of(sweep)} for name, sweep in sweeps.items()}
    assert set(values["timesteps"]["num_train_timesteps"]) == {"1000", "500"}
    assert set(values["timesteps"]["beta_schedule"]) == {"linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"}
    assert set(values["activations"]["act_fn"]) == {"silu", "gelu", "relu", "mish"}
    assert values["learning_rate"] == {
        "learning_rate": ("1e-05", "0.001"), "max_train_steps": ("400", "2000", "4000", "8000")
    }  # fmt: skip
    assert [one.count for one in sweeps["data_and_size"].sources.values()] == [12_000, 4_000]
    assert values["data_and_size"]["height, width"] == ("64 x 64", "32 x 32")
    assert sweeps["timesteps"].base.learning_rate == 1e-4
