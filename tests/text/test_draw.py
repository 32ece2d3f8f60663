"""Pictures from prompts: same seed, same picture; written with what makes them again; pushed, pulled, commanded."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hub_client import TOKEN, hub_client
from hub_server import Hub, Repository
from pictures import save, speckled
from tiny_diffusion import make_stable_diffusion

from cardsynth.cards.folder import CardError, read_metadata
from cardsynth.core.runs import read_manifest, write_manifest
from cardsynth.hub.model_card import model_card
from cardsynth.render.draw import render_cards
from cardsynth.text.captions import write_captions
from cardsynth.text.config import TextConfig
from cardsynth.text.draw import LORA, TextDrawing, draw_pictures, open_text_model, write_pictures
from cardsynth.text.train import train_text

DRAWING = TextDrawing((40, 24), num_inference_steps=2, guidance_scale=3.0)


@pytest.fixture(scope="module")
def run(captioned, tmp_path_factory):
    """Three steps of adapters on a base model in a folder of its own."""
    place = tmp_path_factory.mktemp("place")
    base = make_stable_diffusion(place / "tiny-sd", withholds=False)
    config = TextConfig(
        base_model=str(base), max_train_steps=3, learning_rate=1e-2, train_batch_size=8, validation_images=1,
        num_inference_steps=2, validation_prompts=("a crdbck card",), mixed_precision="no",
    )  # fmt: skip
    for _ in train_text(config, captioned, place / "run"):
        pass
    return place / "run"


@pytest.fixture(scope="module")
def model(run):
    return open_text_model(run, device="cpu")


def test_a_picture_depends_on_prompt_and_seed_alone(model):
    def drawn(prompts, seeds, drawing=DRAWING):
        return list(draw_pictures(model.pipeline, prompts, seeds, drawing, progress=False))

    together = drawn(["a card", "a stain"], [3, 16])
    assert [(picture.prompt, picture.seed) for picture in together] == [
        ("a card", 3), ("a card", 16), ("a stain", 3), ("a stain", 16)
    ]  # fmt: skip
    (alone,) = drawn(["a stain"], [16])
    assert torch.equal(alone.pixels, together[3].pixels)
    assert alone.pixels.shape == (3, 40, 24)
    assert len({picture.pixels.numpy().tobytes() for picture in together}) == 4
    away = TextDrawing((40, 24), 2, 3.0, negative_prompt="white stock")
    assert not torch.equal(drawn(["a stain"], [16], away)[0].pixels, alone.pixels)


@pytest.mark.parametrize(
    ("prompt", "seed", "size", "message"),
    [
        ("word " * 500, 0, (40, 24), "a caption of 1502 tokens"),
        (" ", 0, (40, 24), "a prompt is empty"),
        ("a card", -1, (40, 24), "whole numbers from 0"),
        ("a card", 0, (41, 24), "sizes are multiples of 8, and 41x24 is not"),
    ],
)
def test_what_cannot_be_drawn_is_refused(model, prompt, seed, size, message):
    with pytest.raises(ValueError, match=message):
        next(draw_pictures(model.pipeline, [prompt], [seed], TextDrawing(size, 2), progress=False))


def test_written_pictures_are_a_card_folder(model, tmp_path):
    made = [name for name, _ in write_pictures(model, tmp_path / "a", ["a card", "a stain"], [0, 7], DRAWING)]
    assert made == ["prompt_01/000000.png", "prompt_01/000007.png", "prompt_02/000000.png", "prompt_02/000007.png"]
    rows = read_metadata(tmp_path / "a/metadata.jsonl")
    assert [(row["file_name"], row["text"], row["seed"]) for row in rows][2] == (made[2], "a stain", 0)
    assert {row["model"] for row in rows} == {"run"}
    assert all((tmp_path / "a" / name).is_file() for name in made)
    with pytest.raises(CardError, match="exists already, as do 4 of 4"):
        next(write_pictures(model, tmp_path / "a", ["a card", "a stain"], [0, 7], DRAWING))
    list(write_pictures(model, tmp_path / "b", ["a stain"], [7], DRAWING, progress=False))
    assert (tmp_path / "b/000007.png").read_bytes() == (tmp_path / "a" / made[3]).read_bytes()


def test_the_safety_checker_is_heard_and_counted(run, tmp_path):
    strict = make_stable_diffusion(tmp_path / "strict", withholds=True)
    model = open_text_model(run, base=str(strict), device="cpu")
    assert model.checks_safety
    made = list(write_pictures(model, tmp_path / "out", ["a card"], [0, 1], DRAWING, progress=False))
    assert [picture.withheld for _, picture in made] == [True, True]
    assert not any(picture.pixels.any() for _, picture in made)
    assert not list((tmp_path / "out").rglob("*.png"))
    assert not open_text_model(run, base=str(strict), device="cpu", safety_checker=False).checks_safety


@pytest.mark.slow
def test_pushed_adapters_are_pulled_and_loaded_by_diffusers(run, tmp_path):
    with Hub({TOKEN: "alice"}) as hub, hub_client(hub, tmp_path) as client:
        hub.repositories["models", "maker/gated"] = Repository(private=False, gated=True)
        hub.repositories["models", "maker/gated"].commit({"model_index.json": b"{}"}, "all")
        table = captions_as_csv(tmp_path / "csv")
        answers = client(f"""
from pathlib import Path
import torch
from diffusers import StableDiffusionPipeline
from cardsynth.hub.push_pull import push_run
from cardsynth.text.draw import open_text_model
from cardsynth.text.config import TextConfig
from cardsynth.text.model import find_base
run, base = Path({str(run)!r}), {str(run.parent / "tiny-sd")!r}
attempt("url", lambda: push_run(run, "alice/adapters"))
pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
def draw():
    generator = torch.Generator().manual_seed(0)
    return pipeline("a card", num_inference_steps=2, generator=generator, output_type="np").images
before = draw()
pipeline.load_lora_weights("alice/adapters")
answers["changed"] = float(abs(draw() - before).max())
model = open_text_model("alice/adapters", device="cpu")
answers["name"], answers["trigger"], answers["size"] = model.name, model.trigger, model.drawing.size
attempt("gated", lambda: find_base("maker/gated"))
attempt("v1", lambda: push_cards({str(table)!r}, "alice/captioned", tag="v1"))
Path({str(table)!r}, "metadata.csv").write_text("file_name,text\\n0.png,another caption\\n")
attempt("v2", lambda: push_cards({str(table)!r}, "alice/captioned", tag="v2"))
attempt("v2 again", lambda: push_cards({str(table)!r}, "alice/captioned", tag="v2"))
from datasets import load_dataset
answers["versions"] = [
    load_dataset("alice/captioned", split="train", revision=tag)[0]["text"] for tag in ("v1", "v2")
]
attempt("gone", lambda: find_base("alice/gone"))
attempt("nothing", lambda: find_base("alice/adapters"))
attempt("typing error", lambda: find_base("alice//gone"))
""")
        files = hub.repositories["models", "alice/adapters"].files
    assert answers["url"].endswith("/alice/adapters")
    assert answers["changed"] > 0.001
    assert (answers["name"], answers["trigger"], answers["size"]) == ("alice/adapters", "crdbck", [40, 24])
    assert files[LORA] == (run / LORA).read_bytes()
    assert "samples/step_000003.png" in files
    assert not any(name.startswith(("checkpoints/", "tensorboard/", "prior/")) for name in files)
    assert 'pipeline.load_lora_weights("alice/adapters")' in files["README.md"].decode()
    assert "access to maker/gated must be granted by its owner" in answers["gated"]
    assert answers["versions"] == ["a caption", "another caption"]
    assert "has a version v2 already" in answers["v2 again"]
    assert "has no alice/gone" in answers["gone"]
    assert "stable-diffusion-v1-5/stable-diffusion-v1-5" in answers["gone"]
    assert "is no diffusers pipeline (it has no model_index.json)" in answers["nothing"]
    assert answers["typing error"].startswith("TextModelError")


def test_the_model_card_says_where_it_comes_from(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    write_manifest(copy, read_manifest(run) | {"base_model": "maker/model"})
    card = model_card(copy, repo_id="me/cards")
    assert "base_model: maker/model" in card
    assert "instance_prompt: a crdbck card back" in card
    assert "![Samples](samples/step_000003.png)" in card
    assert "8 pictures" in card
    assert "license: other" in card
    assert "builds on `maker/model`" in card
    assert "1. a crdbck card" in card
    share = read_manifest(run)["trained_parameters"] / read_manifest(run)["parameters"]
    assert f"({share:.2%} of the base model's)" in card
    local = model_card(run)
    assert "base_model: /" not in local
    assert str(run.parent) not in local


@pytest.mark.slow
def test_commands_from_scans_to_pictures(cardsynth, run, tmp_path):
    drawn, mine, made = tmp_path / "drawn", tmp_path / "run", tmp_path / "made"
    render_cards(drawn, 8, (40, 24), workers=1)
    write_captions(drawn, "zzyx", overwrite=True)
    settings = {"base_model": read_base(run), "num_inference_steps": 1, "validation_images": 1, "train_batch_size": 8}
    (tmp_path / "mine.json").write_text(json.dumps(settings | {"max_train_steps": 9}))
    common = ("--data", drawn, "--out", mine, "--config", tmp_path / "mine.json", "--trigger", "zzyx")
    code, said = cardsynth("train-text", *common, "--estimate", "--memory-gb", "12")
    assert (code, "fits" in said) == (0, True), said
    assert not mine.exists()
    code, said = cardsynth("train-text", *common, "--max-train-steps", "1")
    assert code == 0, said
    assert json.loads((mine / "settings.json").read_text())["max_train_steps"] == 1
    draw = ("generate-text", "--model", mine, "--prompt", "a zzyx card", "--num-inference-steps", "1", "--out", made)
    code, said = cardsynth(*draw, "--seeds", "0-2", "--size", "32x32")
    assert code == 0, said
    assert "3 pictures are in" in said
    assert "0 were withheld" in said
    assert [row["seed"] for row in read_metadata(made / "metadata.jsonl")] == [0, 1, 2]
    for wrong, message in (
        (("--size", "33x32", "--seeds", "5"), "multiples of 8"),
        (("--seeds", "0-2"), "exists already"),
    ):
        code, said = cardsynth(*draw, *wrong)
        assert code == 1
        assert message in said
    code, said = cardsynth("generate", *draw[1:], "--seeds", "3")
    assert (code, "is now `generate-text --prompt`" in said, "1 pictures are in" in said) == (0, True, True)
    assert cardsynth(*draw, "--label", "SMALL")[0] == 2
    assert cardsynth("generate", "--model", mine, "--negative-prompt", "x")[0] == 2


def captions_as_csv(folder: Path) -> Path:
    save(speckled(0), folder / "0.png")
    (folder / "metadata.csv").write_text("file_name,text\n0.png,a caption\n")
    return folder


def read_base(run: Path) -> str:
    return read_manifest(run)["base_model"]
