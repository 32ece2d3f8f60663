"""Runs of a DCGAN and a VAE: they go on as if never stopped, and a DCGAN's are rolled back from a collapse."""

import math
import signal
from collections import deque

import pytest
import torch
from safetensors.torch import load_file
from training_runs import assert_equal_weights, start, wait_for_step

from cardsynth.baselines.collapse import STEPS, CollapseGuard
from cardsynth.cards.dataset import Cards
from cardsynth.core.runs import RunError, checkpoints, read_log, read_manifest
from cardsynth.core.trainer import TrainingError
from cardsynth.models import build_trainer, get_preset, open_model, train
from cardsynth.util.state import load_state

pytestmark = pytest.mark.filterwarnings("ignore:mode collapse")

KINDS = {"dcgan": "generator", "vae": "vae"}
DCGAN = get_preset("smoke_dcgan")
VARIED = DCGAN.replace(max_train_steps=40, save_image_epochs=100, mixed_precision="no")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def weights(run, net):
    return load_file(run / net / "diffusion_pytorch_model.safetensors")


def finish(steps):
    return deque(steps, maxlen=1).pop()


def test_a_run_folder_holds_all_that_is_promised(kind, baseline_runs, cards):
    run = baseline_runs[kind]
    manifest, log = read_manifest(run), read_log(run)
    assert manifest["kind"] == kind
    assert (manifest["steps"], manifest["data"]["fingerprint"]) == (16, cards.fingerprint)
    assert [row["step"] for row in log] == list(range(1, 17))
    losses = {"dcgan": ("generator_loss", "discriminator_loss", "real_score"), "vae": ("reconstruction", "kl")}
    assert all(math.isfinite(row[name]) for row in log for name in (*losses[kind], "loss", "gradient_norm"))
    assert [path.name for path in sorted((run / "samples").iterdir())] == ["epoch_0001.png", "epoch_0002.png"]
    state = load_state(checkpoints(run)[-1])
    assert {"dcgan": {"generator", "discriminator"}, "vae": {"vae"}}[kind] <= set(state)
    if kind == "dcgan":
        assert "variety" in log[7]
        assert "variety" not in log[6]


def test_a_stopped_run_goes_on_as_if_never_stopped(kind, baseline_runs, cards, tmp_path):
    run, config = tmp_path / "run", get_preset(f"smoke_{kind}")
    steps = train(config, cards, run)
    for _ in range(11):
        next(steps)
    steps.close()
    assert checkpoints(run)[-1].name == "step_000011"
    finish(train(config, cards, run, resume=True))
    net = KINDS[kind]
    assert_equal_weights(weights(run, net), weights(baseline_runs[kind], net))
    whole = read_log(baseline_runs[kind])
    assert [row["loss"] for row in read_log(run)] == [row["loss"] for row in whole]
    for name in ("epoch_0001.png", "epoch_0002.png"):
        assert (run / "samples" / name).read_bytes() == (baseline_runs[kind] / "samples" / name).read_bytes()


@pytest.mark.slow
def test_a_killed_dcgan_goes_on_to_the_same_weights(card_folder, baseline_runs, cards, tmp_path):
    run = tmp_path / "run"
    process = start(card_folder, run, "--preset=smoke_dcgan")
    wait_for_step(run, 20, process)
    process.send_signal(signal.SIGKILL)
    said = process.communicate(timeout=60)[0]
    assert 20 <= len(read_log(run)) < 60, said
    config = DCGAN.replace(max_train_steps=60)
    finish(train(config, cards, run, resume=True))
    finish(train(config, cards, tmp_path / "unbroken"))
    assert_equal_weights(weights(run, "generator"), weights(tmp_path / "unbroken", "generator"))
    assert [row["step"] for row in read_log(run)] == list(range(1, 61))


def test_noise_does_not_come_from_the_data(kind, baseline_runs, cards, tmp_path):
    """A report's fixed noise changed when its data was loaded anew."""
    fewer = Cards(cards.pixels[:20].flip(0), cards.labels[:20].flip(0), cards.label_names)
    config = get_preset(f"smoke_{kind}")
    finish(train(config.replace(max_train_steps=1), fewer, tmp_path / "other"))
    model, other = (open_model(run, device="cpu") for run in (baseline_runs[kind], tmp_path / "other"))
    assert torch.equal(model.seed_latents(range(4)), other.seed_latents(range(4)))
    assert model.labels == other.labels


def test_a_plain_run_has_neither_classes_nor_masks(kind, cards, tmp_path):
    plain = Cards(cards.pixels[:, :3], torch.zeros(len(cards), dtype=torch.long))
    config = get_preset(f"smoke_{kind}").replace(max_train_steps=2, horizontal_flip=True)
    finish(train(config, plain, tmp_path / "run"))
    model = open_model(tmp_path / "run", device="cpu")
    assert model.decode(model.seed_latents([1, 2])).shape == (2, 3, 40, 32)


def test_other_settings_and_other_kinds_are_not_resumed(baseline_runs, cards):
    with pytest.raises(RunError, match=r"other settings \(latent_dim\)"):
        next(train(DCGAN.replace(latent_dim=8), cards, baseline_runs["dcgan"], resume=True))
    for other, kind in {"smoke_vae": "vae", "smoke": "diffusion"}.items():
        with pytest.raises(RunError, match=rf"another kind of run \(dcgan, not {kind}\)"):
            next(train(get_preset(other), cards, baseline_runs["dcgan"], resume=True))


@pytest.mark.slow
def test_a_vae_learns(cards, tmp_path):
    config = get_preset("smoke_vae").replace(max_train_steps=120, save_image_epochs=100, save_model_epochs=100)
    config = config.replace(learning_rate=5e-3, mixed_precision="no")
    losses = [step.figures["reconstruction"] for step in train(config, cards, tmp_path / "run")]
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


def scale_contrast(learner, factor):
    """Multiply what the generator's last layer makes of a latent, in the average too."""
    generator = learner.nets["generator"]
    name = f"layers.{len(generator.layers) - 1}.weight"
    with torch.no_grad():
        dict(generator.named_parameters())[name].mul_(factor)
        learner.average.shadow_params[[other for other, _ in generator.named_parameters()].index(name)].mul_(factor)


def painting_over(learner):
    """Make the generator draw one card whatever its latents, as collapsed ones do."""
    scale_contrast(learner, 0)


def varied_trainer(cards, run):
    """A trainer whose generator draws cards of black and white that differ from the start, whatever it learns."""
    trainer = build_trainer(VARIED, cards, run)
    scale_contrast(trainer.learner, 50)
    return trainer


def breaking(learner):
    """Make the generator's weights infinite."""
    with torch.no_grad():
        learner.nets["generator"].project.weight.fill_(math.inf)


def trained_with(plant, at, cards, run):
    """Train to the end, and spoil the generator before each of the steps `at`, as often as one comes to it."""
    trainer, seen = varied_trainer(cards, run), []
    for step in trainer.train():
        seen.append(step.step)
        if step.step in at:
            plant(trainer.learner)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plant", "said", "noticed"),
    [(painting_over, r"cards differ 0\.0\d times as much", 24), (breaking, "figures are not finite", 19)],
)
def test_a_collapsed_run_is_rolled_back(plant, said, noticed, cards, tmp_path):
    once = {18}
    with pytest.warns(UserWarning, match=f"wrong at step {noticed}: .*{said}.*goes on from step 16.*rollback 1 of 3"):
        seen = trained_with(lambda learner: once and (once.clear() or plant(learner)), {18}, cards, tmp_path / "run")
    assert seen == [*range(1, noticed + 1), *range(17, 41)]
    log, manifest = read_log(tmp_path / "run"), read_manifest(tmp_path / "run")
    assert [row["step"] for row in log] == list(range(1, 41))
    assert all(math.isfinite(row["loss"]) for row in log)
    assert [row["learning_rate"] for row in log] == [2e-4] * 16 + [1e-4] * 24
    assert [(one["from"], one["to"]) for one in manifest["rollbacks"]] == [(noticed, 16)]
    assert all(value.isfinite().all() for value in weights(tmp_path / "run", "generator").values())


@pytest.mark.slow
def test_a_run_that_collapses_again_and_again_ends_with_advice(cards, tmp_path):
    run = tmp_path / "run"
    with (
        pytest.warns(UserWarning, match="rollback 3 of 3"),
        pytest.raises(TrainingError, match=r"rolled back 3 times. Train anew with a lower learning_rate than 0.0002"),
    ):
        trained_with(breaking, {18}, cards, run)
    assert checkpoints(run)[-1].name == "step_000016"
    assert all(value.isfinite().all() for value in weights(run, "generator").values())


@pytest.mark.slow
def test_a_run_stopped_in_a_collapse_goes_on_from_before_it(cards, tmp_path):
    run = tmp_path / "run"
    trainer = varied_trainer(cards, run)
    steps = trainer.train()
    for step in steps:
        if step.step == 18:
            painting_over(trainer.learner)
        if step.step == 19:
            break
    steps.close()
    assert checkpoints(run)[-1].name == "step_000019"
    with pytest.warns(UserWarning, match="goes on from step 16"):
        last = finish(train(VARIED, cards, run, resume=True))
    assert last.step == 40


def test_nothing_sound_to_go_back_to_is_said(cards, tmp_path):
    with pytest.raises(TrainingError, match=r"at step 3: its figures are not finite .*nothing sound was saved before"):
        trained_with(breaking, {2}, cards, tmp_path / "run")


def rows(count, **figures):
    usual = {"generator_loss": 1.0, "discriminator_loss": 0.5, "gradient_norm": 1.0}
    return [usual | figures] * count


def test_the_guard_tells_a_won_game_and_a_collapse_from_a_slow_start():
    guard = CollapseGuard()
    guard.start(rows(STEPS - 1, discriminator_loss=0.001))
    assert guard.reason() == ""
    guard.add(rows(1, discriminator_loss=0.001)[0])
    assert "its discriminator has won" in guard.reason()
    guard.start([*rows(50, variety=0.05), *rows(1, variety=0.01)])
    assert guard.reason() == ""
    guard.start([*rows(1, variety=0.6), *rows(1, variety=0.3)])
    assert guard.reason() == ""
    assert "after 0.60 times before" in guard.reason(variety=0.1)


def test_a_short_memory_is_said_with_a_remedy(kind, cards, tmp_path, monkeypatch):
    def out_of_memory(self, step):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    learner = {"dcgan": "baselines.gan.GanLearner", "vae": "baselines.vae.VaeLearner"}[kind]
    monkeypatch.setattr(f"cardsynth.{learner}.optimise", out_of_memory)
    with pytest.raises(TrainingError, match=r"out of memory at step 1 .*smaller train_batch_size than 4"):
        next(train(get_preset(f"smoke_{kind}"), cards, tmp_path / "run"))


def test_a_published_dcgan_has_batch_norms_and_its_settings():
    config = get_preset("dcgan_64")
    assert (config.size, config.latent_dim, config.learning_rate, config.adam_beta1) == ((64, 64), 100, 2e-4, 0.5)
    assert (config.train_batch_size, config.num_epochs, config.discriminator_norm) == (128, 40, "batch")
