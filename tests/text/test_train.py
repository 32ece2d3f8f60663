"""Fine-tuning a tiny Stable Diffusion on drawn cards: it learns, resumes alike, is opened by diffusers, is guarded."""

import math
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file
from tiny_diffusion import make_stable_diffusion, make_stable_diffusion_xl

from cardsynth.cards.folder import CardError, read_metadata
from cardsynth.core.runs import RunError, checkpoints, read_log, read_manifest
from cardsynth.core.safeguards import TrainingError
from cardsynth.text.config import TextConfig
from cardsynth.text.divergence import DivergenceGuard
from cardsynth.text.draw import LORA, TextDrawing, draw_pictures, open_text_model
from cardsynth.text.learner import TextLearner
from cardsynth.text.model import TextModelError, open_base
from cardsynth.text.train import train_text
from cardsynth.util.state import load_state

SMALL = {"num_inference_steps": 1, "validation_images": 1, "validation_steps": 1000, "save_steps": 1000}
SMALL |= {"lora_rank": 4, "train_batch_size": 8, "mixed_precision": "no", "validation_prompts": ("a crdbck card",)}
DRAWING = TextDrawing((40, 24), num_inference_steps=3, guidance_scale=3.0)


def config_of(base, **changes):
    return TextConfig(base_model=str(base), **(SMALL | changes))


def run_through(*arguments, **options):
    return list(train_text(*arguments, **options))


def drawn_by(pipeline, prompt="a crdbck card back"):
    pipeline.set_progress_bar_config(disable=True)
    return next(draw_pictures(pipeline, [prompt], [3], DRAWING, progress=False)).pixels


@pytest.fixture(scope="module")
def finished(stable_diffusion, captioned, tmp_path_factory):
    """Fifty steps of adapters, drawn and saved every twenty."""
    run = tmp_path_factory.mktemp("runs") / "adapters"
    config = config_of(stable_diffusion, max_train_steps=50, learning_rate=3e-3, validation_prompts=())
    run_through(config.replace(validation_steps=20, save_steps=20), captioned, run)
    return run


@pytest.mark.slow
def test_fifty_steps_lower_the_loss(finished):
    """Against the same noise on the same cards before training, of the ten steps that were measured."""
    losses = [row["loss"] for row in read_log(finished)]
    before = read_manifest(finished)["loss_before"]
    assert len(losses) == 50
    assert losses[0] == pytest.approx(before[0], abs=1e-5)
    assert sum(losses[-10:]) / 10 < 0.95 * sum(before) / len(before)


@pytest.mark.slow
def test_plain_diffusers_loads_the_adapters(finished, stable_diffusion):
    pipeline = StableDiffusionPipeline.from_pretrained(stable_diffusion)
    before = drawn_by(pipeline)
    pipeline.load_lora_weights(finished)
    after = drawn_by(pipeline)
    assert (before != after).float().mean() > 0.5
    ours = open_text_model(finished, device="cpu")
    precise = open_base(stable_diffusion)
    precise.load_lora_weights(finished)
    assert torch.equal(drawn_by(precise), after)
    assert ours.drawing.size == (40, 24)
    assert ours.trigger == "crdbck"


@pytest.mark.slow
def test_a_run_folder_holds_all_that_is_promised(finished, stable_diffusion, captioned):
    manifest = read_manifest(finished)
    weights = load_file(finished / LORA)
    assert manifest["trained_parameters"] == sum(value.numel() for value in weights.values())
    whole = open_base(stable_diffusion)
    parts = (whole.unet, whole.text_encoder)
    assert manifest["parameters"] == sum(value.numel() for part in parts for value in part.parameters())
    assert (manifest["steps"], manifest["size"]) == (50, [40, 24])
    assert manifest["data"]["buckets"] == {"40x24": 8}
    assert manifest["base_model"] == str(stable_diffusion)
    assert [path.name for path in sorted((finished / "samples").iterdir())] == [
        f"step_{step:06d}.png" for step in (0, 20, 40, 50)
    ]
    with Image.open(finished / "samples/step_000050.png") as grid:
        assert grid.size == (24 + 4, 3 * (40 + 2) + 2)
    assert [path.name for path in checkpoints(finished)] == ["step_000020", "step_000040", "step_000050"]
    assert (finished / "checkpoints/step_000050" / LORA).read_bytes() == (finished / LORA).read_bytes()
    assert all(math.isfinite(row["gradient_norm"]) for row in read_log(finished))
    assert not [path for path in finished.iterdir() if path.name.startswith(".")]
    early = open_text_model(finished / "checkpoints/step_000020", device="cpu")
    assert early.revision != open_text_model(finished, device="cpu").revision


@pytest.mark.slow
@pytest.mark.parametrize("text_encoder", [False, True])
def test_a_resumed_run_equals_an_unbroken_one(stable_diffusion, captioned, tmp_path, text_encoder):
    config = config_of(
        stable_diffusion, max_train_steps=5, train_batch_size=3, lr_warmup_steps=2, train_text_encoder=text_encoder
    )
    run_through(config, captioned, tmp_path / "unbroken")
    steps = train_text(config, captioned, tmp_path / "broken")
    assert [next(steps).step for _ in range(3)] == [1, 2, 3]
    steps.close()
    assert read_manifest(tmp_path / "broken")["steps"] == 3
    assert [step.step for step in train_text(config, captioned, tmp_path / "broken", resume=True)] == [4, 5]
    one, other = (load_file(tmp_path / name / LORA) for name in ("unbroken", "broken"))
    assert one.keys() == other.keys()
    assert any(name.startswith("text_encoder") for name in one) == text_encoder
    assert all(torch.equal(one[name], other[name]) for name in one)
    losses = [[row["loss"] for row in read_log(tmp_path / name)] for name in ("unbroken", "broken")]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_all_of_the_net_is_trained_and_its_average_saved(stable_diffusion, captioned, tmp_path):
    config = config_of(stable_diffusion, max_train_steps=4, method="full", learning_rate=1e-3)
    run_through(config, captioned, tmp_path / "run")
    saved = StableDiffusionPipeline.from_pretrained(tmp_path / "run")
    base = StableDiffusionPipeline.from_pretrained(stable_diffusion)
    state = load_state(tmp_path / "run/checkpoints/step_000004")
    moved = {name: value for name, value in saved.unet.state_dict().items()}
    assert all(not torch.equal(moved[name], value) for name, value in base.unet.state_dict().items() if value.ndim > 1)
    assert any(not torch.equal(moved[name], state["trained"][f"unet.{name}"]) for name in moved)
    shadow = state["average"]["shadow_params"]
    assert all(torch.equal(one, other) for one, other in zip(saved.unet.parameters(), shadow, strict=True))
    opened = open_text_model(tmp_path / "run", device="cpu")
    assert opened.drawing.size == (40, 24)
    run_through(config.replace(max_train_steps=5), captioned, tmp_path / "run", resume=True)
    assert read_manifest(tmp_path / "run")["steps"] == 5


@pytest.mark.slow
def test_the_prior_is_drawn_once_and_held(stable_diffusion, captioned, tmp_path):
    config = config_of(stable_diffusion, max_train_steps=2, prior_prompt="a card", prior_images=3)
    run_through(config, captioned, tmp_path / "run")
    rows = read_metadata(tmp_path / "run/prior/metadata.jsonl")
    assert [(row["seed"], row["text"]) for row in rows] == [(seed, "a card") for seed in range(3)]
    drawn = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run/prior").glob("*.png")}
    run_through(config.replace(max_train_steps=3), captioned, tmp_path / "run", resume=True)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run/prior").glob("*.png")} == drawn
    assert 1.5 < read_log(tmp_path / "run")[0]["loss"] < 3, "the cards' loss and as much of the prior's"


@pytest.mark.slow
def test_velocity_is_learnt_where_the_model_predicts_it(captioned, tmp_path):
    """Of a net that says 0, the squared error is the target's: 1 of noise, more of velocity where latents are large."""
    losses = {}
    for kind in ("epsilon", "v_prediction"):
        base = make_stable_diffusion(tmp_path / kind, prediction_type=kind)
        pipeline = StableDiffusionPipeline.from_pretrained(base)
        torch.nn.init.zeros_(pipeline.unet.conv_out.weight)
        torch.nn.init.zeros_(pipeline.unet.conv_out.bias)
        pipeline.vae.register_to_config(scaling_factor=20.0)
        pipeline.save_pretrained(base)
        losses[kind] = run_through(config_of(base, max_train_steps=1), captioned, tmp_path / f"{kind}-run")[0].loss
    assert losses["epsilon"] == pytest.approx(1, abs=0.05)
    assert losses["v_prediction"] > 3


@pytest.mark.slow
def test_xl_is_trained_with_both_text_encoders(captioned, tmp_path):
    base = make_stable_diffusion_xl(tmp_path / "xl")
    config = config_of(base, max_train_steps=3, train_text_encoder=True, gradient_checkpointing=True)
    run_through(config, captioned, tmp_path / "run")
    weights = load_file(tmp_path / "run" / LORA)
    assert {name.split(".")[0] for name in weights} == {"unet", "text_encoder", "text_encoder_2"}
    pipeline = StableDiffusionXLPipeline.from_pretrained(base)
    before = drawn_by(pipeline)
    pipeline.load_lora_weights(tmp_path / "run")
    assert not torch.equal(drawn_by(pipeline), before)


@pytest.mark.slow
def test_bf16_and_checkpointing_train_alike(stable_diffusion, captioned, tmp_path):
    losses = []
    for name, changes in {
        "plain": {},
        "checkpointing": {"gradient_checkpointing": True},
        "bf16": {"mixed_precision": "bf16"},
    }.items():
        config = config_of(stable_diffusion, max_train_steps=2, train_batch_size=4, **changes)
        losses.append([step.loss for step in train_text(config, captioned, tmp_path / name)])
    assert losses[1] == pytest.approx(losses[0], abs=1e-6)
    assert losses[2] == pytest.approx(losses[0], rel=0.05)


@pytest.mark.slow
def test_a_full_memory_is_met_with_smaller_parts_and_checkpointing(
    stable_diffusion, captioned, tmp_path, monkeypatch, capsys
):
    config = config_of(stable_diffusion, max_train_steps=2, train_batch_size=4)
    run_through(config, captioned, tmp_path / "roomy")
    usual, room = TextLearner._loss_of, {"pictures": 1}

    def tight(learner, pictures, batch, generator, weight):
        loss_of = usual(learner, pictures, batch, generator, weight)

        def refusing(part):
            light = learner.pipeline.unet.is_gradient_checkpointing
            if learner.micro_batch > room["pictures"] or (torch.is_grad_enabled() and not light):
                raise torch.OutOfMemoryError("CUDA out of memory")
            return loss_of(part)

        return refusing

    monkeypatch.setattr(TextLearner, "_loss_of", tight)
    monkeypatch.setattr(TextLearner, "loss_of_step", lambda *_: 1.0)
    run_through(config, captioned, tmp_path / "tight")
    said = capsys.readouterr().err
    assert "worked on 2 at a time" in said
    assert "gradient_checkpointing is on" in said
    one, other = (load_file(tmp_path / name / LORA) for name in ("roomy", "tight"))
    assert all(torch.allclose(one[name], other[name], atol=1e-5) for name in one)
    room["pictures"] = 0
    with pytest.raises(TrainingError, match=r"out of memory at step 1 .*nothing was saved yet.*lora_rank$"):
        run_through(config, captioned, tmp_path / "none")


@pytest.mark.slow
def test_a_loss_that_rises_is_stopped_and_nothing_lost(stable_diffusion, captioned, tmp_path, monkeypatch):
    """From the second step on, what the net takes for noise is off by 10."""
    forward, done = UNet2DConditionModel.forward, []

    def rising(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        if done:
            output.sample = output.sample + 10
        return output

    monkeypatch.setattr(UNet2DConditionModel, "forward", rising)
    config = config_of(stable_diffusion, method="full", learning_rate=1e-6, train_batch_size=4, save_steps=19)
    reason = r"at step 20: .* times what it was before training.* Checkpoints in .*: step_000019;.*rate of 1e-07"
    with pytest.raises(TrainingError, match=reason):
        list(map(done.append, train_text(config, captioned, tmp_path / "run")))
    assert len(read_log(tmp_path / "run")) == 20
    open_text_model(tmp_path / "run", device="cpu")


@pytest.mark.slow
def test_weights_that_overflow_are_stopped_and_nothing_lost(stable_diffusion, captioned, tmp_path):
    """The first step makes weights of 1e30, whose products are infinite."""
    config = config_of(stable_diffusion, learning_rate=1e30, train_batch_size=4, save_steps=1)
    reason = r"gradient nan at step 2; .*last good checkpoint is .*step_000001.*learning_rate of 1e\+29,"
    with pytest.raises(TrainingError, match=reason):
        run_through(config, captioned, tmp_path / "run")
    assert len(read_log(tmp_path / "run")) == 2
    open_text_model(tmp_path / "run", device="cpu")


def test_the_guard_lets_chance_pass_and_knows_a_rise():
    generator = torch.Generator().manual_seed(0)

    def losses(mean, count):
        """As they are of single pictures at random timesteps: over two orders of magnitude."""
        return (mean * torch.exp(torch.randn(count, generator=generator))).tolist()

    for _ in range(20):
        guard = DivergenceGuard(losses(0.1, 50))
        for loss in losses(0.1, 1000):
            guard.add(loss)
            assert not guard.diverged
    for loss in losses(0.6, 50):
        guard.add(loss)
    assert guard.diverged
    assert 3 < guard.rise < 12


class TestBadInput:
    def test_captions_that_will_not_do(self, stable_diffusion, card_folder, captioned, tmp_path):
        folder = shutil.copytree(captioned, tmp_path / "cards")
        rows, first = (folder / "metadata.jsonl").read_text(), read_metadata(folder / "metadata.jsonl")[0]["text"]
        for text, message in (
            ("", "empty caption"),
            ("word " * 500, "a caption of 1502 tokens, and the model reads 77"),
        ):
            (folder / "metadata.jsonl").write_text(rows.replace(first, text))
            with pytest.raises(CardError, match=message):
                run_through(config_of(stable_diffusion), folder, tmp_path / "run")
        (folder / "metadata.jsonl").unlink()
        with pytest.raises(CardError, match=r"has no caption; .*run cardsynth caption \(and 7 more: cardsynth check"):
            run_through(config_of(stable_diffusion), folder, tmp_path / "run")
        assert not (tmp_path / "run").exists()

    def test_base_models_that_will_not_do(self, stable_diffusion, captioned, trained_run, tmp_path):
        def refused(base, message):
            with pytest.raises(TextModelError, match=message):
                run_through(config_of(base), captioned, tmp_path / "run")

        (tmp_path / "empty").mkdir()
        refused(tmp_path / "empty", "is no diffusers folder")
        refused(trained_run, "is a DDPMPipeline; text to card takes Stable Diffusion")
        (tmp_path / "model.safetensors").touch()
        refused(tmp_path / "model.safetensors", "is one file.*from_single_file")
        cut = shutil.copytree(stable_diffusion, tmp_path / "cut")
        weights = cut / "unet/diffusion_pytorch_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        refused(cut, "cannot be loaded")
        shutil.rmtree(cut / "unet")
        refused(cut, "is not complete: it lacks unet")
        assert not (tmp_path / "run").exists()

    @pytest.mark.slow
    def test_a_run_that_is_another(self, finished, captioned, card_folder, tmp_path):
        with pytest.raises(RunError, match="holds a run already"):
            run_through(config_of(read_manifest(finished)["base_model"]), captioned, finished)
        run = shutil.copytree(finished, tmp_path / "run")
        config = config_of(read_manifest(finished)["base_model"], learning_rate=3e-3)
        with pytest.raises(RunError, match=r"other settings \(lora_rank\)"):
            run_through(config.replace(lora_rank=8), captioned, run, resume=True)
        with pytest.raises(RunError, match="other cards"):
            run_through(config, card_folder, run, resume=True)

    def test_settings_out_of_range(self):
        for changes in ({"lora_rank": 0}, {"guidance_scale": 0.5}, {"trigger": " "}, {"prior_prompt": ""}):
            with pytest.raises(ValueError, match=next(iter(changes))):
                TextConfig(**changes)

    @pytest.mark.slow
    def test_adapters_of_another_base(self, finished, tmp_path):
        xl = make_stable_diffusion_xl(tmp_path / "xl")
        with pytest.raises(TextModelError, match="do not fit their base model"):
            open_text_model(finished, base=str(xl), device="cpu")
