import json
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from datasets import load_dataset
from diffusers import DDPMPipeline
from PIL import Image

from cardsynth.cards.folder import CardError, CardWriter
from cardsynth.cards.grids import card_grid
from cardsynth.core import denoise, sampling
from cardsynth.core.config import TrainingConfig
from cardsynth.core.denoise import TrainedModel, cards_at_once, resolve_sampling
from cardsynth.core.diffusion import SAMPLERS, build_noise_scheduler
from cardsynth.core.model import build_unet
from cardsynth.core.runs import load_model
from cardsynth.core.sampling import generate, write_cards
from cardsynth.models import get_preset
from cardsynth.util.device import resolve_precision


@pytest.fixture(scope="module")
def model(trained_run):
    return load_model(trained_run)


def drawn(model, seeds, **how):
    return torch.cat([batch.pixels for batch in generate(model, seeds, progress=False, **how)])


@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_is_the_same_card_at_any_batch_size(model, sampler, mixed_precision):
    how = {"sampler": sampler, "num_inference_steps": 4, "mixed_precision": mixed_precision}
    at_16 = drawn(model, range(19), batch_size=16, **how)
    assert at_16[:, :3].float().std() > 5
    for batch_size in (1, 3, 7):
        assert torch.equal(drawn(model, range(19), batch_size=batch_size, **how), at_16)
    assert torch.equal(drawn(model, [16], **how)[0], at_16[16])


def test_the_same_number_of_cards_goes_through_the_net_each_time(model, monkeypatch):
    """However many cards are asked for; labels and noise of those that fill up are not another card's."""
    forward, sizes = type(model.unet).forward, set()

    def counted(self, sample, *args, **kwargs):
        sizes.add(len(sample))
        return forward(self, sample, *args, **kwargs)

    monkeypatch.setattr(type(model.unet), "forward", counted)
    at_once = cards_at_once(model.unet)
    for guidance_scale, expected in ((1.0, {at_once}), (2.0, {2 * at_once})):
        sizes.clear()
        for seeds, batch_size in ((range(1), 1), (range(5), 3), (range(20), 20), (range(9), None)):
            found = drawn(model, seeds, batch_size=batch_size, guidance_scale=guidance_scale)
            assert len(found) == len(seeds)
        assert sizes == expected


def test_only_steps_in_the_interval_are_guided(model, monkeypatch):
    how = {"guidance_scale": 4.0, "num_inference_steps": 4, "mixed_precision": "no"}
    plain = drawn(model, [1], **how | {"guidance_scale": 1.0})
    assert torch.equal(drawn(model, [1], guidance_interval=(0.3, 0.4), **how), plain)
    assert torch.equal(drawn(model, [1], guidance_interval=(0.0, 1.0), **how), drawn(model, [1], **how))
    forward, sizes = type(model.unet).forward, []

    def counted(self, sample, *args, **kwargs):
        sizes.append(len(sample))
        return forward(self, sample, *args, **kwargs)

    monkeypatch.setattr(type(model.unet), "forward", counted)
    # Timesteps 999, 749, 499 and 249.
    assert not torch.equal(drawn(model, [1], guidance_interval=(0.4, 0.8), **how), plain)
    assert [size // sizes[0] for size in sizes] == [1, 2, 2, 1]
    with pytest.raises(ValueError, match="guidance_interval"):
        drawn(model, [1], guidance_interval=(0.8, 0.4))


def test_a_wide_net_takes_few_cards_at_once():
    nets = [build_unet(get_preset(name), 4, 5) for name in ("smoke", "demo", "card")]
    assert [cards_at_once(net) for net in nets] == [8, 8, 1]


def test_threads_are_put_back(model):
    threads = torch.get_num_threads()
    drawn(model, range(3))
    assert torch.get_num_threads() == threads
    with pytest.raises(ValueError, match="sampler must be"):
        drawn(model, range(3), sampler="euler")
    assert torch.get_num_threads() == threads


def test_another_seed_is_another_card(model):
    cards = drawn(model, [0, 5], labels="SMALL")
    assert (cards[0].int() - cards[1].int()).abs().float().mean() > 5


def test_ddpm_draws_what_diffusers_pipeline_draws(tmp_path):
    config = TrainingConfig(height=16, width=8, block_out_channels=(8, 8), norm_num_groups=4, attention_levels=())
    unet = build_unet(config).eval()
    scheduler = build_noise_scheduler()
    DDPMPipeline(unet, scheduler).save_pretrained(tmp_path / "plain")
    pipeline = DDPMPipeline.from_pretrained(tmp_path / "plain")
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    expected = pipeline(2, generators, num_inference_steps=20, output_type="np").images
    model = load_model(tmp_path / "plain")
    found = drawn(model, [3, 4], sampler="ddpm", num_inference_steps=20, mixed_precision="no")
    assert np.abs(found.permute(0, 2, 3, 1).numpy() - expected * 255).max() <= 1


def test_guidance_and_labels_matter(model):
    plain = drawn(model, [1], labels="SMALL", guidance_scale=1.0)
    guided = drawn(model, [1], labels="SMALL", guidance_scale=8.0)
    other = drawn(model, [1], labels="CLEAN", guidance_scale=8.0)
    assert not torch.equal(plain, guided)
    assert not torch.equal(guided, other)


def test_guidance_leads_away_from_the_negative_label_as_far_as_it_may(model):
    how = {"guidance_scale": 4.0, "num_inference_steps": 2, "mixed_precision": "no"}
    plain = drawn(model, [1], labels="SMALL", **how | {"guidance_scale": 1.0})
    guided = drawn(model, [1], labels="SMALL", **how)
    away = drawn(model, [1], labels="SMALL", negative_label="CLEAN", **how)
    assert not torch.equal(away, guided)
    assert not torch.equal(away, plain)
    # A class that is led away from itself stays where it is.
    itself = drawn(model, [1], labels="SMALL", negative_label="SMALL", **how)
    assert (itself.int() - plain.int()).abs().max() <= 1
    short = drawn(model, [1], labels="SMALL", negative_label="CLEAN", guidance_limit=1e-4, **how)
    assert (short[:, :3].int() - plain[:, :3].int()).abs().max() <= 1
    with pytest.raises(ValueError, match="knows no class GUM"):
        drawn(model, [1], negative_label="GUM", **how)


def test_labels_without_a_choice_follow_the_seed(model):
    batches = list(generate(model, [7, 3, 10], progress=False))
    assert batches[0].labels == ["LIGHT", "SMALL", "CLEAN"]


def test_a_written_folder_says_how_to_make_each_card_again(model, tmp_path):
    out = write_cards(model, tmp_path / "made", [16, 3], "FULL_CARD", guidance_scale=2.0, progress=False)
    rows = {row["seed"]: row for row in map(json.loads, (out / "metadata.jsonl").read_text().splitlines())}
    assert set(rows) == {3, 16}
    row = rows[16]
    assert row["file_name"] == "000016.png"
    assert (row["label"], row["sampler"], row["num_inference_steps"], row["guidance_scale"]) == (
        *("FULL_CARD", "dpmsolver++", 3, 2.0),
    )
    assert row["model"] == "smoke"
    assert row["revision"] == model.revision
    again = write_cards(model, tmp_path / "again", [16, 3], "FULL_CARD", guidance_scale=2.0, progress=False)
    for name in ("000016.png", "masks/000016.png"):
        assert (again / name).read_bytes() == (out / name).read_bytes()
    mask = np.asarray(Image.open(out / "masks/000016.png"))
    assert mask.shape == (40, 32)
    assert set(np.unique(mask)) <= {0, 255}
    opened = load_dataset("imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert {"image", "mask", "label", "seed"} <= set(opened.column_names)
    assert len(opened) == 2


def test_a_batch_is_written_while_the_next_one_is_computed(model, tmp_path, monkeypatch):
    """Writing waits for a computation that, one after the other, would wait for the writing."""
    drawing, computing = denoise.draw_cards, [threading.Event() for _ in range(3)]
    writing = sampling._write_batch

    def draw(model, net, recipe, seeds, *others):
        computing[seeds[0]].set()
        return drawing(model, net, recipe, seeds, *others)

    def write(writer, model, batch):
        if batch.seeds[0] < 2:
            assert computing[batch.seeds[0] + 1].wait(20)
        writing(writer, model, batch)

    monkeypatch.setattr(denoise, "draw_cards", draw)
    monkeypatch.setattr(sampling, "_write_batch", write)
    out = write_cards(model, tmp_path / "made", range(3), batch_size=1, progress=False)
    assert len((out / "metadata.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("bad_seed", [0, 2])
def test_errors_of_writing_surface(model, tmp_path, monkeypatch, bad_seed):
    add = CardWriter.add

    def full(writer, row, *pictures):
        if row["seed"] == bad_seed:
            raise OSError(28, "No space left on device")
        add(writer, row, *pictures)

    monkeypatch.setattr(CardWriter, "add", full)
    with pytest.raises(OSError, match="No space left"):
        write_cards(model, tmp_path / "made", range(3), batch_size=1, progress=False)


def test_ctrl_c_loses_nothing_that_was_drawn(model, tmp_path, monkeypatch):
    drawing = denoise.draw_cards

    def interrupted(model, net, recipe, seeds, *others):
        if seeds[0] == 4:
            raise KeyboardInterrupt
        return drawing(model, net, recipe, seeds, *others)

    monkeypatch.setattr(denoise, "draw_cards", interrupted)
    out = tmp_path / "made"
    with pytest.raises(KeyboardInterrupt):
        write_cards(model, out, range(6), batch_size=2, progress=False)
    assert [json.loads(row)["seed"] for row in (out / "metadata.jsonl").read_text().splitlines()] == [0, 1, 2, 3]
    assert sorted(path.name for path in out.glob("*.png")) == [f"{seed:06d}.png" for seed in range(4)]


def test_precision_is_the_runs_own_and_stands_beside_the_card(model, tmp_path):
    out = write_cards(model, tmp_path / "exact", [1], mixed_precision="no", progress=False)
    assert json.loads((out / "metadata.jsonl").read_text())["mixed_precision"] == "no"
    plain = replace(model, config=model.config.replace(mixed_precision="no"))
    assert resolve_sampling(plain).mixed_precision == "no"
    resolved = resolve_precision("auto", model.unet.device)
    assert resolve_sampling(model).mixed_precision == resolved
    assert resolve_sampling(plain, mixed_precision="auto").mixed_precision == resolved


def test_compiling_is_asked_for_and_changes_no_card(model, monkeypatch):
    plain, calls = drawn(model, [1]), []

    def compiled(net, mode):
        return lambda *args, **kwargs: calls.append(mode) or net(*args, **kwargs)

    monkeypatch.setattr(torch, "compile", compiled)
    assert torch.equal(drawn(model, [1]), plain)
    assert calls == []
    assert torch.equal(drawn(model, [1], compile=True), plain)
    assert set(calls) == {"default"}


def test_a_net_that_cannot_be_compiled_draws_the_same_cards(model, monkeypatch):
    def broken(net, mode):
        def run(*args, **kwargs):
            raise ImportError("no compiler here")

        return run

    plain = drawn(model, [1])
    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(UserWarning, match="not compiled.*no compiler here"):
        assert torch.equal(drawn(model, [1], compile=True), plain)


def test_cards_that_are_there_stay(model, tmp_path):
    out = write_cards(model, tmp_path / "made", [3], progress=False)
    before = (out / "000003.png").read_bytes()
    with pytest.raises(CardError, match=r"000003\.png exists already"):
        write_cards(model, out, [2, 3], "SMALL", progress=False)
    assert (out / "000003.png").read_bytes() == before
    assert not (out / "000002.png").exists()
    write_cards(model, out, [3], "SMALL", overwrite=True, progress=False)
    rows = (out / "metadata.jsonl").read_text().splitlines()
    assert [json.loads(row)["label"] for row in rows] == ["SMALL"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": "GUM"}, "knows no class GUM; it knows CLEAN, FULL_CARD"),
        ({"labels": ["SMALL"]}, "2 seeds and 1 labels"),
        ({"sampler": "euler"}, "sampler must be .* and is 'euler'"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
    ],
)
def test_bad_arguments_are_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        drawn(model, [0, 1], **arguments)


def test_bad_seeds_are_refused(model):
    for seeds in ([-1], [2, 2]):
        with pytest.raises(ValueError, match="different whole numbers"):
            drawn(model, seeds)


def test_a_net_without_classes_takes_no_label():
    config = TrainingConfig(height=16, width=8, block_out_channels=(8, 8), norm_num_groups=4, attention_levels=())
    model = TrainedModel(build_unet(config).eval(), build_noise_scheduler(), config, name="plain")
    assert drawn(model, [0], num_inference_steps=2).shape == (1, 3, 16, 8)
    with pytest.raises(ValueError, match="without classes"):
        drawn(model, [0], labels="SMALL")


def test_a_full_gpu_halves_the_batch(model, monkeypatch):
    """The cards are the same after running out of memory twice."""
    forward, sizes = type(model.unet).forward, []

    def with_little_memory(self, sample, *args, **kwargs):
        sizes.append(len(sample))
        if len(sample) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, sample, *args, **kwargs)

    expected = drawn(model, range(6), guidance_scale=1.0, batch_size=4)
    monkeypatch.setattr(type(model.unet), "forward", with_little_memory)
    found = drawn(model, range(6), guidance_scale=1.0, batch_size=16)
    assert torch.equal(found, expected)
    assert max(sizes) > 2


def test_card_grid_shows_every_card(model):
    pixels = torch.zeros(5, 4, 10, 8, dtype=torch.uint8)
    pixels[4] = 255
    grid = np.asarray(card_grid(pixels, columns=3, zoom=2))
    assert grid.shape == ((2 * 12 + 2) * 2, (3 * 18 + 2) * 2, 3)
    assert (grid == 255).all(axis=2).sum() == 10 * 16 * 4


def test_revision_names_the_weights(model, run_copy):
    assert load_model(run_copy).revision == model.revision
    assert replace(model, revision="x").revision != model.revision
