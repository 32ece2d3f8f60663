import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cardsynth.__main__ import main
from cardsynth.core.model import build_unet
from cardsynth.core.runs import RunError, checkpoints, load_model
from cardsynth.core.trainer import TrainingError
from cardsynth.doctor.course import average_lag, spikes
from cardsynth.doctor.diagnosis import diagnose
from cardsynth.doctor.examination import examine
from cardsynth.doctor.symptoms import label_differences, neighbour_correlation
from cardsynth.models import get_preset, train

SOUND = get_preset("smoke").replace(
    prediction_type="sample",
    snr_floor=0.1,
    max_train_steps=200,
    learning_rate=4e-3,
    lr_warmup_steps=10,
    num_inference_steps=8,
    save_image_epochs=1000,
    save_model_epochs=1000,
    mixed_precision="no",
)
# What may be named beside a cause, and comes of it.
CONSEQUENCES = {"samples of one colour", "samples are noise", "classes ignored", "masks are empty", "masks are full"}


def train_into(run, cards, **changes):
    for _ in train(SOUND.replace(**changes), cards, run):
        pass
    return run


@pytest.fixture(scope="session")
def sound_run(cards, tmp_path_factory):
    """A run of seconds whose samples are blurred cards of their classes, with masks; leave it as it is."""
    return train_into(tmp_path_factory.mktemp("runs") / "sound", cards)


@pytest.fixture
def run(sound_run, tmp_path):
    """A copy of the sound run, to plant a fault in."""
    return shutil.copytree(sound_run, tmp_path / "run")


@pytest.fixture
def noisy_run(cards, tmp_path):
    """A run of 15 steps whose net sees no noise in anything, so that its samples are the noise they began as."""
    run = train_into(tmp_path / "noisy", cards, max_train_steps=15, lr_warmup_steps=1, prediction_type="epsilon")
    see_no_noise(run)
    return run


def names(run, real=None):
    return [finding.name for finding in diagnose(run, real, progress=False).findings]


def weight_files(run):
    return run / "unet/diffusion_pytorch_model.safetensors", checkpoints(run)[-1] / "state.safetensors"


def read_weights(path):
    """Weights of the net in a run's model or in a checkpoint, which holds more."""
    start = "unet." if path.name == "state.safetensors" else ""
    return {name.removeprefix(start): value for name, value in load_file(path).items() if name.startswith(start)}


def write_weights(weights, path):
    """Replaces the weights of the net, and nothing else."""
    start = "unet." if path.name == "state.safetensors" else ""
    save_file(load_file(path) | {start + name: value for name, value in weights.items()}, path)


def change_weights(run, change):
    """Change saved and checkpointed weights alike, as training would have."""
    for path in weight_files(run):
        weights = read_weights(path)
        change(weights)
        write_weights(weights, path)


def see_no_noise(run):
    """Let the average and the checkpoint of a run that predicts noise be one net that predicts none."""
    saved, checkpoint = weight_files(run)
    weights = read_weights(checkpoint)
    weights["conv_out.weight"].zero_()
    weights["conv_out.bias"].zero_()
    for path in (saved, checkpoint):
        write_weights(weights, path)


def change_settings(run, **changes):
    path = run / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_log(run, change):
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for row in rows:
        change(row)
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_log(run, losses):
    """A log of other losses: a step each, the whole of the run."""
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    rows = [
        last | {"step": step, "total_steps": len(losses), "loss": float(loss), "gradient_norm": 1.0}
        for step, loss in enumerate(losses, start=1)
    ]
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.slow
class TestSoundRuns:
    def test_a_sound_run_has_no_findings(self, sound_run, cards):
        diagnosis = diagnose(sound_run, cards, progress=False)
        assert diagnosis.findings == (), diagnosis.text()
        assert diagnosis.notes == ()
        assert diagnosis.ok
        assert "200 of 200 steps" in diagnosis.text()
        assert "30 real cards" in diagnosis.text()

    def test_nor_has_it_without_its_cards(self, sound_run):
        assert names(sound_run) == []

    def test_nor_one_that_was_stopped_early(self, run, cards):
        change_settings(run, max_train_steps=2000)
        change_log(run, lambda row: row.update(total_steps=2000))
        diagnosis = diagnose(run, cards, progress=False)
        assert diagnosis.findings == (), diagnosis.text()
        assert "200 of 2,000 steps" in diagnosis.text()

    def test_nothing_is_written(self, run, cards):
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        diagnose(run, cards, progress=False)
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before


@pytest.mark.slow
class TestPlantedFaults:
    def test_one_colour(self, run, cards):
        def collapse(weights):
            weights["conv_out.weight"].zero_()
            of_channel = weights["conv_out.bias"].view(4, 4)  # four folded pixels a channel
            weights["conv_out.bias"] = of_channel.mean(dim=1).repeat_interleave(4)

        change_weights(run, collapse)
        assert names(run) == ["samples of one colour"]
        assert names(run, cards) == ["samples of one colour"]

    def test_noise_of_a_run_that_is_far_too_short(self, noisy_run, cards):
        assert names(noisy_run) == ["samples are noise"]
        diagnosis = diagnose(noisy_run, cards, progress=False)
        assert [finding.name for finding in diagnosis.findings] == ["samples are noise"]
        assert "max_train_steps 2000 instead of 15" in diagnosis.text()

    def test_a_run_that_was_stopped_too_early_is_to_go_on(self, cards, tmp_path):
        steps = train(SOUND.replace(prediction_type="epsilon", max_train_steps=500), cards, tmp_path / "run")
        while next(steps).step < 10:
            pass
        steps.close()
        see_no_noise(tmp_path / "run")
        (finding,) = diagnose(tmp_path / "run", progress=False).findings
        assert finding.name == "samples are noise"
        assert finding.remedy == "train to the end (--resume): 10 of 500 steps are done"

    def test_weights_that_are_not_finite(self, run, cards):
        def overflow(weights):
            weights["mid_block.resnets.0.conv1.weight"][0, 0, 0, 0] = torch.inf

        change_weights(run, overflow)
        diagnosis = diagnose(run, cards, progress=False)
        assert [finding.name for finding in diagnosis.findings] == ["not finite"]
        assert "mid_block.resnets.0.conv1.weight" in diagnosis.text()
        assert "learning_rate 0.001 instead of 0.004" in diagnosis.text()

    def test_a_loss_that_is_not_finite(self, run):
        change_log(run, lambda row: row.update(loss=float("nan") if row["step"] > 180 else row["loss"]))
        diagnosis = diagnose(run, progress=False)
        assert [finding.name for finding in diagnosis.findings] == ["not finite"]
        assert "the loss of 20 steps, first of step 181" in diagnosis.text()

    def test_a_run_that_stopped_when_its_loss_was_not_finite(self, cards, tmp_path):
        with pytest.raises(TrainingError, match="at step"):
            train_into(tmp_path / "run", cards, learning_rate=1e30, max_train_steps=60, lr_warmup_steps=0)
        diagnosis = diagnose(tmp_path / "run", cards, progress=False)
        assert [finding.name for finding in diagnosis.findings] == ["not finite"]
        assert "learning_rate 3e+29 instead of 1e+30" in diagnosis.text()
        assert "no saved model yet" in diagnosis.text()

    def test_gradients_that_overflow_in_fp16_are_not_that(self, run):
        change_log(run, lambda row: row.update(gradient_norm=float("inf") if row["step"] == 90 else 1.0))
        assert names(run) == ["not finite"]
        manifest = json.loads((run / "manifest.json").read_text())
        (run / "manifest.json").write_text(json.dumps(manifest | {"mixed_precision": "fp16"}))
        assert names(run) == []

    @pytest.mark.parametrize("with_cards", [True, False])
    def test_an_average_that_lags(self, run, cards, with_cards):
        """As a decay of 0.999 without warm-up leaves it after 200 steps: 0.999 ** 200 = 82 % of the first weights."""
        torch.manual_seed(SOUND.seed)
        initial = build_unet(SOUND, 4, 5).state_dict()
        saved, checkpoint = weight_files(run)
        raw = read_weights(checkpoint)
        write_weights({name: initial[name].lerp(value, 0.18) for name, value in raw.items()}, saved)
        change_settings(run, ema_decay=0.999)
        diagnosis = diagnose(run, cards if with_cards else None, progress=False)
        first, *others = diagnosis.findings
        assert first.name == "averaged weights lag behind"
        assert {finding.name for finding in others} <= CONSEQUENCES
        assert "82% of the way" in first.cause
        assert "ema_decay 0.95 (the last tenth of 200 steps) instead of 0.999" in diagnosis.text()

    @pytest.mark.parametrize(("copied", "named"), [(10, True), (2, False)])
    def test_over_fitting(self, run, cards, copied, named):
        """Some of the 20 drawn cards are training cards, but for grain as JPEG leaves it."""
        drawn = examine(run, progress=False).drawn.transpose(0, 1).flatten(0, 1)[:copied].clone()
        grain = torch.randint(-4, 5, drawn[:, :3].shape, generator=torch.Generator().manual_seed(0))
        drawn[:, :3] = (drawn[:, :3] + grain).clamp(0, 255).to(torch.uint8)
        copies = replace(cards, pixels=torch.cat([cards.pixels, drawn]), labels=torch.arange(30 + copied) % 5)
        copies.labels[:30] = cards.labels
        found = {finding.name: finding for finding in diagnose(run, copies, progress=False).findings}
        assert set(found) == ({"over-fitting: copies of training cards"} if named else set())
        if named:
            (finding,) = found.values()
            assert "50% of the drawn cards" in finding.cause
            assert "each of the 40 cards was seen 20 times" in finding.remedy

    def test_mirrored_by_the_setting(self, run, cards):
        change_settings(run, horizontal_flip=True)
        for real, severity in ((None, "warning"), (cards, "error")):
            (finding,) = diagnose(run, real, progress=False).findings
            assert (finding.name, finding.severity) == ("mirrored text", severity)
            assert finding.remedy == "train anew with horizontal_flip False"

    def test_mirroring_does_no_harm_to_cards_that_are_as_likely_mirrored(self, run, cards):
        change_settings(run, horizontal_flip=True)
        symmetric = replace(cards, pixels=torch.cat([cards.pixels[..., :16], cards.pixels[..., :16].flip(-1)], dim=-1))
        assert "mirrored text" not in names(run, symmetric)
        assert "mirrored training cards" not in names(run, symmetric)

    def test_mirrored_among_the_real_cards(self, run, cards):
        some = cards.pixels[:5].flip(-1)
        both = replace(
            cards, pixels=torch.cat([cards.pixels, some]), labels=torch.cat([cards.labels, cards.labels[:5]])
        )
        diagnosis = diagnose(run, both, progress=False)
        assert [finding.name for finding in diagnosis.findings] == ["mirrored training cards"]
        assert "10 of 35 training cards" in diagnosis.text()
        assert "not what the run was trained on" in diagnosis.text()

    @pytest.mark.parametrize("with_cards", [True, False])
    def test_classes_ignored(self, run, cards, with_cards):
        def forget(weights):
            weights["class_embedding.weight"][:] = weights["class_embedding.weight"].mean(dim=0)

        change_weights(run, forget)
        assert names(run, cards if with_cards else None) == ["classes ignored"]

    def test_classes_that_say_nothing_of_the_cards(self, run, cards):
        """The net follows its labels, and those of the cards are shuffled."""
        shuffled = cards.labels[torch.randperm(len(cards), generator=torch.Generator().manual_seed(0))]
        assert names(run, replace(cards, labels=shuffled)) == ["classes ignored"]

    def test_a_learning_rate_too_high_is_named_before_the_noise_that_comes_of_it(self, noisy_run, cards):
        """The loss falls to a tenth, and then rises thirtyfold."""
        change_settings(noisy_run, learning_rate=0.3, lr_warmup_steps=5, max_train_steps=60)
        write_log(noisy_run, np.concatenate([np.geomspace(1.0, 0.1, 30), np.geomspace(0.1, 3.0, 30)]))
        diagnosis = diagnose(noisy_run, cards, progress=False)
        assert [finding.name for finding in diagnosis.findings] == ["learning rate too high", "samples are noise"]
        assert "train anew with learning_rate 0.03 instead of 0.3, and lr_warmup_steps 5" in diagnosis.text()
        assert diagnosis.findings[1].remedy == "a consequence of the errors above: correct those first"

    def test_gradients_that_jump(self, run):
        change_log(run, lambda row: row.update(gradient_norm=500.0 if row["step"] in (70, 130, 190) else 1.0))
        diagnosis = diagnose(run, progress=False)
        assert [finding.name for finding in diagnosis.findings] == ["learning rate too high"]
        assert "the gradient norm jumped 3 times" in diagnosis.text()
        assert "as at 70, 130, 190" in diagnosis.text()

    def test_a_loss_that_only_jumps_with_its_timesteps_is_not_that(self, run):
        generator = np.random.default_rng(0)
        for rise in (0.0, 2.5):
            change_log(
                run,
                lambda row, rise=rise: row.update(
                    loss=float(np.exp(generator.normal() - row["step"] / 100 + rise * (row["step"] > 150)))
                ),
            )
            assert names(run) == (["learning rate too high"] if rise else [])

    def test_warm_up(self, run):
        change_settings(run, lr_warmup_steps=41)
        assert names(run) == ["warm-up longer than a fifth of the run"]
        change_settings(run, lr_warmup_steps=40)
        assert names(run) == []

    def test_a_loss_that_does_not_fall(self, noisy_run, cards):
        change_settings(noisy_run, learning_rate=1e-8, max_train_steps=40)
        change_log(noisy_run, lambda row: row.update(learning_rate=1e-8))
        write_log(noisy_run, np.linspace(1.0, 0.95, 40))
        diagnosis = diagnose(noisy_run, cards, progress=False)
        assert [finding.name for finding in diagnosis.findings] == ["loss not falling", "samples are noise"]
        assert "learning_rate 1e-4 to 1e-3 instead of 1e-08" in diagnosis.text()

    @pytest.mark.parametrize(("value", "kind"), [(-1.0, "empty"), (1.0, "full")])
    def test_masks_empty_or_full(self, run, value, kind):
        def cover(weights):
            weights["conv_out.weight"][12:] = 0
            weights["conv_out.bias"][12:] = value

        change_weights(run, cover)
        assert names(run) == [f"masks are {kind}"]


@pytest.mark.slow
class TestMissingParts:
    def test_each_is_named_and_the_rest_is_looked_at(self, run):
        shutil.rmtree(run / "checkpoints")
        (run / "log.jsonl").unlink()
        (run / "manifest.json").write_text("{")
        change_settings(run, lr_warmup_steps=100)
        text = diagnose(run, progress=False).text()
        for part in ("checkpoints/step_* is missing", "log.jsonl is missing", "manifest.json cannot be read"):
            assert part in text

    def test_a_run_without_a_model(self, run):
        shutil.rmtree(run / "unet")
        change_settings(run, lr_warmup_steps=100)
        diagnosis = diagnose(run, progress=False)
        assert "no saved model yet" in diagnosis.text()
        assert [finding.name for finding in diagnosis.findings] == ["warm-up longer than a fifth of the run"]

    def test_a_run_that_goes_on_or_was_cut_off(self, cards, tmp_path):
        steps = train(SOUND, cards, tmp_path / "run")
        while next(steps).step < 12:
            pass
        cut_off = shutil.copytree(tmp_path / "run", tmp_path / "cut_off")
        steps.close()
        assert "the log ends at step 12 and the last checkpoint is none" in diagnose(cut_off).text()
        assert "the log ends at" not in diagnose(tmp_path / "run", progress=False).text()

    @pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model.safetensors", "settings.json", "log.jsonl"])
    def test_broken_files(self, run, part):
        (run / part).write_bytes(b"\x00\xff broken")
        diagnosis = diagnose(run, progress=False)
        (finding,) = diagnosis.findings
        assert finding.name == f"{'the model' if 'unet' in part else part} cannot be read"
        assert finding.cause
        assert diagnosis.ok

    def test_a_broken_checkpoint(self, run):
        weight_files(run)[1].write_bytes(b"broken")
        diagnosis = diagnose(run, progress=False)
        (finding,) = diagnosis.findings
        assert finding.name == f"checkpoints/{checkpoints(run)[-1].name} cannot be read"

    def test_a_plain_diffusers_folder(self, run):
        plain = run.with_name("plain")
        plain.mkdir()
        for part in ("unet", "scheduler", "model_index.json"):
            shutil.move(run / part, plain / part)
        text = diagnose(plain, progress=False).text()
        assert "settings.json is missing" in text
        assert "class_labels should be provided" in text  # what the classes are called is not there either

    def test_no_run_at_all(self, tmp_path):
        with pytest.raises(RunError, match="not a run folder"):
            diagnose(tmp_path)


@pytest.mark.slow
class TestCommand:
    def test_it_prints_the_findings_and_fails_on_errors_alone(self, run, card_folder, monkeypatch, capsys):
        monkeypatch.setattr(sys, "argv", ["cardsynth", "doctor", str(run), "--real", str(card_folder), "--cards", "15"])
        change_settings(run, lr_warmup_steps=100)
        main()
        said = capsys.readouterr().out
        assert "15 cards drawn, 30 real cards" in said
        assert "warning  warm-up longer than a fifth of the run" in said
        assert "remedy  train anew with lr_warmup_steps 10" in said
        change_settings(run, horizontal_flip=True)
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 1
        assert "error  mirrored text" in capsys.readouterr().out


class TestMeasures:
    def test_neighbours_of_noise_of_a_ramp_and_of_one_colour(self):
        ramp = torch.arange(0, 240, 8).expand(1, 3, 30, 30)
        assert neighbour_correlation(ramp.to(torch.uint8)).item() == pytest.approx(1, abs=0.01)
        noise = torch.randint(0, 256, (4, 3, 60, 60), generator=torch.Generator().manual_seed(0))
        assert neighbour_correlation(noise.to(torch.uint8)).abs().max() < 0.05
        half = (ramp.repeat(1, 1, 2, 2) + noise[:1] * (ramp.float().std() / noise.float().std())).clamp(0, 255)
        assert neighbour_correlation(half.to(torch.uint8)).item() == pytest.approx(0.5, abs=0.12)
        assert neighbour_correlation(torch.full((1, 3, 8, 8), 7, dtype=torch.uint8)).item() == 0

    def test_differences_of_labels_and_seeds(self):
        drawn = torch.zeros(2, 3, 4, 5, 5, dtype=torch.uint8)
        drawn[1] = 10
        drawn[:, 1] += 20
        assert label_differences(drawn) == (10.0, 20.0)

    def test_spikes_stand_far_above_all_that_came_before(self):
        values = torch.rand(200, generator=torch.Generator().manual_seed(0)).numpy() + 0.5
        assert len(spikes(values)) == 0
        values[[60, 199]] = 10
        assert spikes(values).tolist() == [60, 199]

    @pytest.mark.slow
    def test_the_average_lag_does_not_count_what_averaging_takes_out(self, sound_run):
        whole = examine(sound_run, progress=False)
        generator = torch.Generator().manual_seed(0)
        scale = {
            name: (whole.raw[name] - value).std() if value.numel() > 1 else 0 for name, value in whole.initial.items()
        }
        shaken = {n: v + 0.5 * scale[n] * torch.randn(v.shape, generator=generator) for n, v in whole.raw.items()}
        assert average_lag(replace(whole, averaged=whole.raw)) == pytest.approx(0, abs=1e-9)
        assert average_lag(replace(whole, averaged=whole.initial)) == pytest.approx(1)
        assert abs(average_lag(replace(whole, averaged=shaken))) < 0.05

    def test_weights_before_the_first_step_are_made_again(self, cards, tmp_path):
        run = train_into(tmp_path / "run", cards, max_train_steps=1, lr_warmup_steps=1, seed=5)
        whole = examine(run, progress=False)  # the first step has a learning rate of 0
        assert all(torch.equal(value, whole.initial[name]) for name, value in whole.raw.items())
        assert load_model(run).labels == whole.drawn_labels
