"""A sweep from end to end: runs done once, going on after a kill, failing alone, judged alike, remarks kept."""

import csv
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cardsynth.cli.sweeps import sweep as sweep_command
from cardsynth.core.runs import RunError, checkpoints, read_log, read_manifest
from cardsynth.models import train
from cardsynth.render.draw import draw_card, render_cards
from cardsynth.studies.sweeps.data import draw_data, judging_cards, training_cards
from cardsynth.studies.sweeps.file import read_sweep
from cardsynth.studies.sweeps.grounds import lay_on_ground
from cardsynth.studies.sweeps.plots import show_samples
from cardsynth.studies.sweeps.report import write_sweep_report
from cardsynth.studies.sweeps.rows import read_rows
from cardsynth.studies.sweeps.run import RUNS, run_sweep, work_of
from cardsynth.studies.sweeps.timing import TIMES, steps_of

STYLED = {"styles": ["a"], "classes": ["CLEAN", "FULL_CARD"]}
JUDGE = {"count": 40} | {
    name: {"count": 60, "seed": seed, "size": [40, 32], **STYLED}
    for name, seed in (("held_out", 1_000_000), ("learn_from", 2_000_000))
}
SAID = {
    "question": "Does it run?",
    "preset": "smoke",
    "settings": {"eval_batch_size": 1, "save_model_epochs": 1000, "max_train_steps": 3, "num_inference_steps": 2},
    "data": {"count": 40, **STYLED},
    "list": [{}, {"use_labels": False}, {"learning_rate": 1e18}],
    "judge": JUDGE,
}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def written(folder, **said):
    path = folder / "mine.json"
    path.write_text(json.dumps(SAID | said))
    return path


def changed_times(folder):
    return {path: path.stat().st_mtime_ns for path in (folder / RUNS).rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep that was run: a sound run, one without classes, one that diverges; and its folder."""
    folder = tmp_path_factory.mktemp("sweep")
    sweep = read_sweep(written(folder))
    run_sweep(sweep, folder / "out")
    return sweep, folder / "out"


@pytest.mark.slow
def test_each_run_is_a_run_folder_and_a_row(swept):
    sweep, out = swept
    rows = {row.run.name: row for row in read_rows(sweep, out)}
    assert list(rows) == ["base+seed=0", "use_labels=no+seed=0", "learning_rate=1e+18+seed=0"]
    base, unlabelled, diverged = rows.values()
    assert "loss is nan" in diverged.failed
    assert not diverged.figures
    assert {"KID", "recall", "class accuracy", "mask IoU", "near-copies"} <= base.figures.keys()
    assert "class accuracy" not in unlabelled.figures
    assert {"KID", "recall", "near-copies"} <= unlabelled.figures.keys()
    assert base.net == unlabelled.net
    assert base.real["class accuracy"].value > 0.8
    assert base.steps == 3
    assert min(base.seconds, base.seconds_a_card, base.parameters) > 0
    assert read_manifest(out / RUNS / "base+seed=0")["data"]["count"] == 40


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_more_may_be_asked(swept, tmp_path):
    sweep, out = swept
    before = changed_times(out)
    run_sweep(sweep, out)
    assert changed_times(out) == before
    more = read_sweep(written(tmp_path, list=[*SAID["list"], {"act_fn": "gelu"}]))
    run_sweep(more, out)
    assert {path.relative_to(out / RUNS).parts[0] for path in changed_times(out).keys() - before.keys()} == {
        "act_fn=gelu+seed=0"
    }
    assert before.items() <= changed_times(out).items()
    for said, message in (
        ({"judge": JUDGE | {"count": 50}}, "other judge"),
        ({"data": {"count": 30, **STYLED}}, "other data"),
        ({"settings": SAID["settings"] | {"max_train_steps": 4}}, "base.seed=0 was trained with other settings"),
    ):
        with pytest.raises(RunError, match=message):
            run_sweep(read_sweep(written(tmp_path, **said)), out)
    with pytest.raises(RunError, match="other files and no sweep"):
        run_sweep(sweep, out.parent)
    assert before.items() <= changed_times(out).items()


@pytest.mark.slow
def test_tables_figures_and_a_log_that_keeps_remarks(swept, tmp_path):
    sweep, out = swept
    rows = read_rows(sweep, out)
    report = write_sweep_report(sweep, rows, out)
    page = report.path.read_text()
    assert "use_labels, against yes (KID, 1 pair of runs)" in page
    assert "every run of 1e+18 failed" in page
    assert "| learning_rate=1e+18+seed=0 |" in page
    assert all((out / name).stat().st_size > 3000 for name in ("sweep.png", "samples.png"))
    with (out / "sweep.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["use_labels"] for line in lines] == ["yes", "no", "yes"]
    assert float(lines[0]["KID low"]) < float(lines[0]["KID"]) == pytest.approx(rows[0].figures["KID"].value, rel=1e-4)
    log = out / "log.csv"
    with log.open(newline="") as file:
        noted = list(csv.DictReader(file))
    noted[1]["remark"] = 'blotches, but "clean" paper'
    with log.open("w", newline="") as file:
        writer = csv.DictWriter(file, noted[0])
        writer.writeheader()
        writer.writerows(noted)
    write_sweep_report(sweep, rows, out)
    with log.open(newline="") as file:
        again = list(csv.DictReader(file))
    assert again == noted


@pytest.mark.slow
def test_a_killed_sweep_goes_on_within_a_run_and_ends_as_an_unbroken_one(tmp_path):
    """Killed while its first run trains, it goes on from the checkpoint."""
    settings = SAID["settings"] | {"max_train_steps": 60, "save_model_epochs": 2, "checkpoints_total_limit": 50}
    file = written(tmp_path, settings=settings, list=[{}, {"beta_schedule": "sigmoid"}])
    out, one_thread = tmp_path / "out", os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cardsynth", "sweep", str(file), "--out", str(out)]
    process = subprocess.Popen(command, env=one_thread, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    first = out / RUNS / "base+seed=0"
    deadline = time.monotonic() + 600
    while not checkpoints(first) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    taken = len(read_log(first))
    assert 0 < taken < 60
    kept = checkpoints(first)[0].stat().st_mtime_ns
    sweep = read_sweep(file)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run_sweep(sweep, out)
    assert checkpoints(first)[0].stat().st_mtime_ns == kept
    assert [row["step"] for row in read_log(first)] == list(range(1, 61))
    assert all("KID" in row.figures for row in read_rows(sweep, out))
    for _ in train(sweep.runs[0].config, training_cards(sweep, sweep.runs[0], out), tmp_path / "unbroken"):
        pass
    torch.set_num_threads(threads)
    unbroken, resumed = (load_file(run / WEIGHTS) for run in (tmp_path / "unbroken", first))
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)


@pytest.mark.slow
def test_a_stopped_sweep_leaves_tables_of_what_is_done(swept, tmp_path, monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    out = Path(shutil.copytree(swept[1], tmp_path / "out"))
    more = written(tmp_path, list=[*SAID["list"], {"act_fn": "mish"}])
    monkeypatch.setattr("cardsynth.studies.sweeps.run._train", stopped)
    with pytest.raises(KeyboardInterrupt):
        sweep_command(more, out)
    assert "3 of 4 runs are finished; their tables are in" in capsys.readouterr().out
    assert "3 of 4 runs are done" in (out / "sweep.md").read_text()


@pytest.mark.slow
def test_one_model_of_each_setting_is_shown(swept):
    sweep, out = swept
    rows = read_rows(sweep, out)
    another_seed = [replace(row, run=replace(row.run, name=f"{row.run.name}+other", seed=1)) for row in rows]
    figures = [show_samples(sweep, found, out) for found in (rows, rows + another_seed)]
    assert figures[0].get_size_inches().tolist() == figures[1].get_size_inches().tolist()
    with pytest.raises(ValueError, match="no run of the sweep"):
        show_samples(sweep, [row for row in rows if row.failed], out)


@pytest.mark.slow
def test_runs_can_be_handed_to_other_processes(swept):
    sweep, out = swept
    work, run = pickle.loads(pickle.dumps((work_of(sweep, out), sweep.runs[2])))
    assert "loss is nan" in work(run)


@pytest.mark.slow
def test_equal_time_gives_each_run_steps_of_its_own_cost(tmp_path):
    wide = {"block_out_channels": [32, 64], "layers_per_block": 3}
    sweep = read_sweep(written(tmp_path, list=[{}, wide, {"learning_rate": 1e-3}], seconds=1.0))
    steps = [run.config.max_train_steps for run in steps_of(sweep, tmp_path, one_thread=True).runs]
    assert steps[0] == steps[2] > 1.3 * steps[1] > 0
    kept = (tmp_path / TIMES).read_text()
    assert [run.config.max_train_steps for run in steps_of(sweep, tmp_path, one_thread=True).runs] == steps
    assert (tmp_path / TIMES).read_text() == kept


def test_a_folder_keeps_a_fifth_from_all_runs(tmp_path):
    folder = render_cards(tmp_path / "cards", 40, (40, 32), workers=1, classes=("CLEAN", "SMALL"))
    data = {"all": {"folder": str(folder)}, "few": {"folder": str(folder), "count": 8}}
    data["twice"] = data["few"] | {"augmented": 1}
    points = [{"data": name} for name in data] + [{"only_labels": ["SMALL"]}]
    judge = {"count": 40}
    sweep = read_sweep(written(tmp_path, data=data, list=points, judge=judge))
    judging = judging_cards(sweep, tmp_path)
    held_out = set(judging.held_out.names)
    assert (len(held_out), len(judging.learn_from)) == (8, 32)
    everything, few, twice, small = (training_cards(sweep, run, tmp_path) for run in sweep.runs)
    assert set(everything.names) | held_out == {
        path.relative_to(folder).as_posix() for path in folder.glob("[CS]*/*.png")
    }
    assert not any(held_out & set(cards.names) for cards in (everything, few, twice, small))
    assert set(few.names) < set(everything.names)
    assert small.label_names == ("SMALL",)
    assert (len(few), len(twice)) == (8, 16)
    assert torch.equal(twice.pixels[:8], few.pixels)
    assert torch.equal(twice.labels, few.labels.repeat(2))
    assert set(twice.pixels[:, 3].unique().tolist()) <= {0, 255}
    moved = (twice.pixels[8:].float() - few.pixels.float()).abs().mean()
    assert 0 < moved < 40


def test_a_ground_leaves_the_card_as_it_is(tmp_path):
    card = draw_card(3, "FULL_CARD", (30, 24))
    for ground in ("white", "noise"):
        laid = lay_on_ground(card, (40, 32), ground)
        assert (laid.image[5:35, 4:28] == card.image).all()
        assert (laid.mask[5:35, 4:28] == card.mask).all()
        assert laid.mask.sum() == card.mask.sum()
        x, y, *rest = card.row["objects"]["bbox"][0]
        assert laid.row["objects"]["bbox"][0] == [x + 4, y + 5, *rest]
    other = lay_on_ground(draw_card(4, "CLEAN", (30, 24)), (40, 32), "noise")
    assert (other.image[:5] != laid.image[:5]).mean() > 0.9
    data = {name: {"count": 6, "ground": name, "margin": 0.125, **STYLED} for name in ("white", "noise")}
    sweep = read_sweep(written(tmp_path, data=data, grid={"data": list(data)}, list=[], judge={"count": 40, **{
        name: JUDGE[name] | {"count": 8, "size": [30, 24]} for name in ("held_out", "learn_from")
    }}))  # fmt: skip
    assert sweep.judged_size == (30, 24)
    draw_data(sweep, tmp_path)
    on_white, on_noise = (training_cards(sweep, run, tmp_path, as_judged=True) for run in sweep.runs)
    assert torch.equal(on_white.pixels, on_noise.pixels)
    assert not torch.equal(*(training_cards(sweep, run, tmp_path).pixels for run in sweep.runs))
    assert judging_cards(sweep, tmp_path).held_out.size == (30, 24)


@pytest.mark.slow
def test_the_command_lists_what_it_would_do(cardsynth, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = cardsynth("sweep", written(tmp_path), "--dry-run", "--workers", 2)
    assert code == 0, said
    assert "3 runs, 2 at a time: about" in said
    assert "use_labels=no+seed=0" in said
    assert not (tmp_path / "runs").exists()
    code, said = cardsynth("sweep", written(tmp_path, data={"folder": "gone"}))
    assert (code, "is no folder" in said) == (1, True)
