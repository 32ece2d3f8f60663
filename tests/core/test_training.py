import json
import math
import os
import signal
import subprocess
import sys

import pytest
import torch
from diffusers import DDPMPipeline, UNet2DModel
from training_runs import assert_equal_weights, raw_weights, start, wait_for_step, weights

from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.core.batches import batch_indices, steps_per_epoch, total_train_steps
from cardsynth.core.model import build_unet
from cardsynth.core.runs import RunError, checkpoints, load_model, read_log, read_manifest
from cardsynth.core.trainer import TrainingError
from cardsynth.models import get_preset, train

SMOKE = get_preset("smoke")


def test_a_run_folder_holds_all_that_is_promised(trained_run, cards):
    manifest = read_manifest(trained_run)
    assert manifest["labels"] == ["CLEAN", "FULL_CARD", "LIGHT", "SMALL", "WHITE_MARKS"]
    assert manifest["mask"] is True
    assert manifest["steps"] == 8
    assert manifest["data"]["count"] == 30
    assert manifest["data"]["fingerprint"] == cards.fingerprint
    assert {"torch", "diffusers", "cardsynth"} <= set(manifest["versions"])
    log = read_log(trained_run)
    assert [row["step"] for row in log] == list(range(1, 9))
    assert all(math.isfinite(row[name]) for row in log for name in ("loss", "gradient_norm", "memory_mb"))
    assert [path.name for path in checkpoints(trained_run)] == ["step_000008"]
    assert list((trained_run / "samples").glob("*.png"))
    assert list((trained_run / "tensorboard").iterdir())
    assert not list(trained_run.rglob("*.bin.index.json"))
    assert not [path for path in trained_run.iterdir() if path.name.startswith(".")]
    UNet2DModel.from_pretrained(trained_run, subfolder="unet")


def test_saved_weights_are_the_average(trained_run):
    raw = raw_weights(trained_run / "checkpoints/step_000008")
    saved = weights(trained_run)
    assert any(not torch.equal(raw[name], saved[name]) for name in saved)


def test_a_plain_pipeline_opens_an_rgb_run(cards, tmp_path):
    config = SMOKE.replace(use_masks=False, use_labels=False, patch_size=1, max_train_steps=1)
    plain = Cards(cards.pixels[:, :3], torch.zeros(len(cards), dtype=torch.long))
    for _ in train(config, plain, tmp_path / "run"):
        pass
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "run")
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline(1, torch.Generator().manual_seed(0), num_inference_steps=2).images[0]
    assert picture.size == (32, 40)


@pytest.mark.slow
def test_training_lowers_the_loss(cards, tmp_path):
    """Noise that is not predicted at all has an error of 1."""
    config = SMOKE.replace(prediction_type="epsilon", beta_schedule="linear", loss_weighting="none", learning_rate=3e-3)
    config = config.replace(patch_size=1, max_train_steps=100, train_batch_size=8, mixed_precision="no")
    config = config.replace(save_image_epochs=1000, save_model_epochs=1000)
    losses = [step.loss for step in train(config, cards, tmp_path / "run")]
    assert sum(losses[:5]) / 5 > 0.9
    assert sum(losses[-10:]) / 10 < 0.5


def test_the_learning_rate_warms_up_and_decays(cards, tmp_path):
    config = SMOKE.replace(max_train_steps=8, lr_warmup_steps=2)
    rates = [step.learning_rate for step in train(config, cards, tmp_path / "run")]
    assert rates[0] == 0
    assert max(rates) == rates[2] == config.learning_rate
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 0.1 * config.learning_rate


@pytest.fixture(scope="module")
def unbroken(cards, tmp_path_factory):
    run = tmp_path_factory.mktemp("unbroken") / "run"
    for _ in train(SMOKE.replace(max_train_steps=60), cards, run):
        pass
    return run


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL and SIGTERM are POSIX signals")
@pytest.mark.parametrize("kill", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_killed_run_resumes_to_the_same_weights(kill, card_folder, cards, unbroken, tmp_path):
    run = tmp_path / "run"
    process = start(card_folder, run)
    wait_for_step(run, 20, process)
    process.send_signal(getattr(signal, kill))
    said = process.communicate(timeout=60)[0]
    stopped_at = len(read_log(run))
    assert 20 <= stopped_at < 60, said
    if kill == "SIGKILL":
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, said
        assert f"Stopped after step {stopped_at} of 60" in said
        assert checkpoints(run)[-1].name == f"step_{stopped_at:06d}"
    resumed = [step.step for step in train(SMOKE.replace(max_train_steps=60), cards, run, resume=True)]
    assert resumed[0] > 8
    assert resumed[-1] == 60
    assert_equal_weights(weights(run), weights(unbroken))
    assert [row["step"] for row in read_log(run)] == list(range(1, 61))
    assert [row["loss"] for row in read_log(run)] == [row["loss"] for row in read_log(unbroken)]


@pytest.mark.slow
def test_closing_the_generator_saves_a_checkpoint(cards, unbroken, tmp_path):
    config, run = SMOKE.replace(max_train_steps=60), tmp_path / "run"
    steps = train(config, cards, run)
    for _ in range(5):
        next(steps)
    steps.close()
    assert checkpoints(run)[-1].name == "step_000005"
    first = next(iter(train(config, cards, run, resume=True)))
    assert first.step == 6
    assert first.loss == read_log(unbroken)[5]["loss"]


def test_an_existing_run_is_left_alone(run_copy, cards):
    before = {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()}
    with pytest.raises(RunError, match="holds a run already; resume it, overwrite it"):
        next(train(SMOKE, cards, run_copy))
    assert {path: path.read_bytes() for path in run_copy.rglob("*") if path.is_file()} == before


def test_a_folder_of_other_files_is_never_overwritten(cards, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="holds other files"):
        next(train(SMOKE, cards, tmp_path, overwrite=True))
    assert (tmp_path / "thesis.tex").exists()


def test_a_finished_run_resumes_with_more_steps(run_copy, cards):
    assert list(train(SMOKE, cards, run_copy, resume=True)) == []
    more = list(train(SMOKE.replace(max_train_steps=10), cards, run_copy, resume=True))
    assert [step.step for step in more] == [9, 10]


def test_resuming_needs_the_same_net_and_cards(run_copy, cards):
    with pytest.raises(RunError, match=r"other settings \(learning_rate\)"):
        next(train(SMOKE.replace(learning_rate=1.0), cards, run_copy, resume=True))
    other = Cards(cards.pixels.flip(0), cards.labels, cards.label_names)
    with pytest.raises(RunError, match="other cards"):
        next(train(SMOKE.replace(max_train_steps=10), other, run_copy, resume=True))


def test_cards_of_another_size_are_refused(cards, tmp_path):
    with pytest.raises(ValueError, match=r"\(40, 32\).*\(80, 64\)"):
        next(train(get_preset("demo"), cards, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run(cards, tmp_path, monkeypatch):
    run, steps_done = tmp_path / "run", []
    forward = UNet2DModel.forward

    def diverging(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        output.sample = output.sample * (math.nan if len(steps_done) == 10 else 1)
        return output

    monkeypatch.setattr(UNet2DModel, "forward", diverging)
    steps = train(SMOKE.replace(max_train_steps=20), cards, run)
    with pytest.raises(TrainingError, match=r"loss is nan .* at step 11; the last good checkpoint is .*step_000008"):
        list(map(steps_done.append, steps))
    assert all(torch.isfinite(value).all() for value in weights(run).values())


def short_of_memory(monkeypatch, most):
    """Let the net run out of memory with more than `most` cards at a time."""
    forward = UNet2DModel.forward

    def with_little_memory(self, sample, *args, **kwargs):
        if len(sample) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(self, sample, *args, **kwargs)

    monkeypatch.setattr(UNet2DModel, "forward", with_little_memory)


def test_a_batch_that_does_not_fit_is_split_and_trains_alike(cards, tmp_path, monkeypatch, capsys):
    config = SMOKE.replace(train_batch_size=16, max_train_steps=4, save_image_epochs=1000, mixed_precision="no")
    whole = list(train(config, cards, tmp_path / "whole"))
    short_of_memory(monkeypatch, 3)
    split = list(train(config.replace(eval_batch_size=3), cards, tmp_path / "split"))
    assert "from here on the batch is worked on 4 cards at a time" in capsys.readouterr().err
    for figure in ("loss", "gradient_norm"):
        for one, other in zip(whole, split, strict=True):
            assert getattr(other, figure) == pytest.approx(getattr(one, figure), rel=1e-3)


def test_memory_for_not_even_one_card_ends_the_run(cards, tmp_path, monkeypatch):
    short_of_memory(monkeypatch, 0)
    with pytest.raises(TrainingError, match=r"out of memory at step 1 .*gradient_checkpointing, or take a smaller"):
        next(train(SMOKE, cards, tmp_path / "run"))


@pytest.mark.slow
def test_several_averages_are_kept_to_choose_from(cards, tmp_path):
    config = SMOKE.replace(max_train_steps=40, ema_decay=0.99, other_ema_decays=(0.5,), save_model_epochs=100)
    config = config.replace(mixed_precision="no")
    for _ in train(config, cards, tmp_path / "run"):
        pass
    raw = raw_weights(checkpoints(tmp_path / "run")[-1])
    far = {}
    for decay in (None, 0.5):
        unet = load_model(tmp_path / "run", ema_decay=decay).unet
        far[decay] = sum((value - raw[name]).square().sum() for name, value in unet.state_dict().items())
    assert 0 < far[0.5] < far[None]
    with pytest.raises(RunError, match=r"no average of decay 0.7 .*it has 0.5"):
        load_model(tmp_path / "run", ema_decay=0.7)


def test_a_net_that_cannot_be_compiled_trains_uncompiled(cards, tmp_path, monkeypatch):
    def broken(net, mode):
        def run(*args, **kwargs):
            raise ImportError("Cannot find a working triton installation.\nMore lines")

        return run

    config = SMOKE.replace(max_train_steps=2)
    plain = [step.loss for step in train(config, cards, tmp_path / "plain")]
    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(UserWarning, match=r"not compiled \(default\), and slower for it: Cannot find a working triton"):
        said = [step.loss for step in train(config.replace(compile_mode="default"), cards, tmp_path / "run")]
    assert said == plain


def test_a_compiled_net_is_what_trains(cards, tmp_path, monkeypatch):
    calls = []

    def counting(net, mode):
        return lambda *args, **kwargs: calls.append(mode) or net(*args, **kwargs)

    monkeypatch.setattr(torch, "compile", counting)
    config = SMOKE.replace(max_train_steps=2, save_image_epochs=100)
    plain = [step.loss for step in train(config, cards, tmp_path / "plain")]
    assert calls == []
    assert [step.loss for step in train(config.replace(compile_mode="default"), cards, tmp_path / "run")] == plain
    assert len(calls) > 2


@pytest.mark.slow
def test_figures_read_late_are_the_same(cards, tmp_path, monkeypatch, unbroken):
    """As on a GPU, where steps are queued ahead; the last row of an epoch still tells what was saved."""
    monkeypatch.setattr("cardsynth.core.trainer.steps_ahead", lambda device: 5)
    rows = list(train(SMOKE.replace(max_train_steps=60), cards, tmp_path / "run"))
    assert [row.step for row in rows] == list(range(1, 61))
    assert [row["loss"] for row in read_log(tmp_path / "run")] == [row["loss"] for row in read_log(unbroken)]
    assert_equal_weights(weights(tmp_path / "run"), weights(unbroken))
    saved = {row.step: row.checkpoint for row in rows if row.checkpoint}
    assert {step: path.name for step, path in saved.items()} == {step: f"step_{step:06d}" for step in saved}
    steps = train(SMOKE.replace(max_train_steps=60), cards, tmp_path / "stopped")
    first = next(steps)
    steps.close()
    assert first.step == 1
    assert checkpoints(tmp_path / "stopped")[-1].name == "step_000006"
    assert [row["step"] for row in read_log(tmp_path / "stopped")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="file size limits are POSIX")
def test_a_full_disk_leaves_the_last_checkpoint(cards, tmp_path):
    import resource

    run = tmp_path / "run"
    steps = train(SMOKE.replace(max_train_steps=30), cards, run)
    for _ in range(10):
        next(steps)
    good = weights(run)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(TrainingError, match="could not write"):
            for _ in steps:
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in checkpoints(run)] == ["step_000008"]
    assert_equal_weights(weights(run), good)
    assert next(train(SMOKE.replace(max_train_steps=30), cards, run, resume=True)).step == 9


@pytest.mark.slow
def test_accumulated_batches_make_one_step(cards, tmp_path):
    """Two batches of four weigh as much as one of eight: a sum in place of the mean would double the loss."""
    config = SMOKE.replace(max_train_steps=24, learning_rate=1e-9, save_image_epochs=1000, save_model_epochs=1000)
    config = config.replace(mixed_precision="no")
    whole = list(train(config.replace(train_batch_size=8), cards, tmp_path / "whole"))
    halves = config.replace(train_batch_size=4, gradient_accumulation_steps=2)
    parts = list(train(halves, cards, tmp_path / "parts"))
    assert len(parts) == len(whole) == 24
    for figure in ("loss", "gradient_norm"):
        mean_whole, mean_parts = (sum(getattr(step, figure) for step in steps) / 24 for steps in (whole, parts))
        assert mean_parts == pytest.approx(mean_whole, rel=0.3)


def test_every_pass_sees_every_card_once():
    seen = torch.cat([batch_indices(seed=3, step=step, batch_size=8, count=30) for step in range(15)])
    for epoch in range(4):
        assert sorted(seen[epoch * 30 : (epoch + 1) * 30].tolist()) == list(range(30))
    assert not torch.equal(seen[:30], seen[30:60])
    assert torch.equal(batch_indices(3, 7, 8, 30), batch_indices(3, 7, 8, 30))


def test_published_step_counts():
    assert total_train_steps(get_preset("cards"), 1480) == 9_300
    assert total_train_steps(get_preset("all_gum_stain_cards"), 1480) == 18_600
    assert total_train_steps(get_preset("higher_res_gum_stain_cards"), 1480) == 18_500
    assert steps_per_epoch(SMOKE, 30, num_processes=2) == 4


TWO_PROCESSES = """
import sys
from cardsynth import get_preset, read_cards, train
config = get_preset("smoke").replace(max_train_steps=6, cpu=True)
for step in train(config, read_cards(sys.argv[1], config.reading), sys.argv[2]):
    pass
"""


@pytest.mark.slow
def test_two_processes_train_one_run(card_folder, tmp_path):
    script, run = tmp_path / "two.py", tmp_path / "run"
    script.write_text(TWO_PROCESSES)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", str(script)]
    # Such runs sometimes abort at exit, after the work is done: judged by what they wrote.
    said = subprocess.run([*command, str(card_folder), str(run)], capture_output=True, text=True, timeout=240)
    manifest = read_manifest(run)
    assert manifest, said.stderr
    assert manifest["num_processes"] == 2
    assert manifest["steps"] == 6
    assert [row["step"] for row in read_log(run)] == list(range(1, 7))
    assert set(weights(run)) == set(build_unet(SMOKE, 4, 5).state_dict())


def test_mirroring_is_off_and_can_be_turned_on(card_folder, tmp_path):
    assert not any(preset.horizontal_flip for preset in (SMOKE, get_preset("card"), get_preset("demo")))
    config = SMOKE.replace(max_train_steps=3, horizontal_flip=True)
    plain = SMOKE.replace(max_train_steps=3)
    cards = read_cards(card_folder, config.reading)
    flipped = [step.loss for step in train(config, cards, tmp_path / "flipped")]
    assert flipped != [step.loss for step in train(plain, cards, tmp_path / "plain")]
    assert json.loads((tmp_path / "flipped/settings.json").read_text())["horizontal_flip"] is True
