"""Judged pictures: scored as drawn, near-copies found, withheld ones counted, remarks kept."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from text_sweep import GRID, sweep, table
from tiny_diffusion import make_clip, make_stable_diffusion
from torchmetrics.functional.multimodal import clip_score

from cardsynth.cards.fitting import read_image
from cardsynth.cards.folder import CardWriter, read_metadata
from cardsynth.core.runs import read_log
from cardsynth.render.draw import render_cards
from cardsynth.text.config import TextConfig
from cardsynth.text.draw import TextDrawing, TextModel, open_text_model
from cardsynth.text.judge import TRIGGER_ONLY, WITH_WORDS, ClipScorer, judge, prompt_styles
from cardsynth.text.log import add_to_log
from cardsynth.text.model import TextModelError, open_base

DRAWING = TextDrawing((40, 24), num_inference_steps=1)
STYLES = {TRIGGER_ONLY: ["a crdbck card back"], WITH_WORDS: ["a crdbck card, white stock", "a pen picture"]}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return ClipScorer(make_clip(tmp_path_factory.mktemp("clip") / "tiny-clip"))


@pytest.fixture(scope="module")
def model(stable_diffusion):
    return open_text_model(stable_diffusion, device="cpu")


def test_the_score_is_torchmetrics_clip_score(clip):
    """Which wants features as tensors, as transformers gave them before version 5."""
    old_style = SimpleNamespace(
        config=clip._model.config,
        to=lambda device: old_style,
        get_image_features=lambda *inputs: clip._model.get_image_features(*inputs).pooler_output,
        get_text_features=lambda *inputs: clip._model.get_text_features(*inputs).pooler_output,
    )
    rng = np.random.default_rng(0)
    for text in ("a card", "white stock, pen marks"):
        pixels = rng.integers(0, 256, (40, 24, 3), dtype=np.uint8)
        theirs = clip_score(
            torch.from_numpy(pixels.transpose(2, 0, 1)), text, lambda: (old_style, clip._processor)
        ).item()
        assert clip.score(pixels, text) == pytest.approx(theirs, abs=1e-3)
    assert clip.score(pixels, "word " * 500) >= 0


def test_what_is_scored_is_what_is_written(model, clip, tmp_path):
    found = judge(model, STYLES, [0, 1], tmp_path / "out", DRAWING, scorer=clip, progress=False)
    rows = {row["file_name"]: row for row in read_metadata(tmp_path / "out/metadata.jsonl")}
    assert len(found.pictures) == len(rows) == 6
    for picture in found.pictures:
        pixels = np.asarray(read_image(tmp_path / "out" / picture.file_name))
        assert picture.clip_score == pytest.approx(clip.score(pixels, picture.prompt), abs=1e-4)
        assert rows[picture.file_name]["text"] == picture.prompt
    scores = [picture.clip_score for picture in found.pictures if picture.style == WITH_WORDS]
    figure = found.clip_scores[WITH_WORDS]
    assert figure.value == pytest.approx(sum(scores) / 4)
    assert figure.low < figure.value < figure.high
    assert f"{WITH_WORDS}    4 pictures, CLIP score {figure.text(1)}, no safety checker" in found.text()
    written = json.loads((tmp_path / "out/judgement.json").read_text())
    assert [one["clip_score"] for one in written["pictures"]] == [one.clip_score for one in found.pictures]
    again = judge(model, STYLES, [0, 1], tmp_path / "again", DRAWING, scorer=clip, progress=False)
    assert again.pictures == found.pictures


@pytest.mark.slow
def test_copies_of_training_pictures_are_found(model, tmp_path):
    """Trained on what it draws, it draws nothing but copies; trained on other cards, it draws none."""
    seeds = list(range(12))
    judge(model, {TRIGGER_ONLY: ["a card"]}, seeds, tmp_path / "first", DRAWING, progress=False)
    with CardWriter(tmp_path / "learnt") as writer:
        for row in read_metadata(tmp_path / "first/metadata.jsonl"):
            writer.add({"file_name": row["file_name"]}, (tmp_path / "first" / row["file_name"]).read_bytes())
    copied = judge(
        model, {TRIGGER_ONLY: ["a card"]}, seeds, tmp_path / "second", DRAWING, tmp_path / "learnt", progress=False
    )
    assert [picture.nearest for picture in copied.pictures] == [f"{seed:06d}.png" for seed in seeds]
    assert copied.copies.share.value == 1
    assert copied.copies.alarming
    assert "WARNING: copies" in copied.text()
    render_cards(tmp_path / "cards", 12, (40, 24), workers=1)
    fresh = judge(
        model, {TRIGGER_ONLY: ["a card"]}, seeds, tmp_path / "third", DRAWING, tmp_path / "cards", progress=False
    )
    assert not fresh.copies.alarming
    assert all(picture.distance > 10 for picture in fresh.pictures)


def test_what_is_withheld_is_counted_and_not_scored(clip, tmp_path):
    pipeline = open_base(make_stable_diffusion(tmp_path / "strict", withholds=True), safety_checker=True)
    model = TextModel(pipeline, "strict", "0", DRAWING)
    found = judge(model, STYLES, [0], tmp_path / "out", DRAWING, scorer=clip, progress=False)
    assert [found.withheld(style) for style in STYLES] == [1, 2]
    assert all(picture.clip_score is None for picture in found.pictures)
    assert found.clip_scores == dict.fromkeys(STYLES)
    assert "2 pictures, CLIP score none, 2 withheld" in found.text()


def test_remarks_are_never_overwritten(model, tmp_path):
    log = tmp_path / "runs/log.csv"
    found = judge(model, STYLES, [0], tmp_path / "out", DRAWING, progress=False)
    assert add_to_log(log, found) == 3
    with log.open(newline="") as file:
        names, *rows = csv.reader(file)
    rows[1][names.index("remark")] = 'crisp, but "too" dark'
    with log.open("w", newline="") as file:
        csv.writer(file).writerows([[*names, "mine"], *([*row, "x"] for row in rows)])
    before = log.read_bytes()
    assert add_to_log(log, found) == 0
    assert log.read_bytes() == before
    more = judge(model, STYLES, [0, 1], tmp_path / "more", DRAWING, progress=False)
    assert add_to_log(log, more) == 3
    with log.open(newline="") as file:
        kept = list(csv.DictReader(file))
    assert [row["remark"] for row in kept] == ["", 'crisp, but "too" dark', "", "", "", ""]
    assert [row["mine"] for row in kept] == ["x", "x", "x", "", "", ""]
    log.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="lacks the columns model"):
        add_to_log(log, found)
    assert log.read_text() == "a,b\n1,2\n"


def test_a_clip_that_is_not_there_and_a_trigger_that_is_not_known(tmp_path):
    with pytest.raises(TextModelError, match="hf download"):
        ClipScorer(tmp_path)
    with pytest.raises(ValueError, match="--trigger"):
        prompt_styles("")
    assert prompt_styles("zzyx")[TRIGGER_ONLY] == ("a zzyx card back",)
    assert all("zzyx" in prompt for prompt in prompt_styles("zzyx")[WITH_WORDS])


@pytest.mark.slow
def test_the_command(cardsynth, stable_diffusion, clip, captioned, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_clip(tmp_path / "clip")
    arguments = ("--model", stable_diffusion, "--trigger", "crdbck", "--clip", "clip", "--training", captioned)
    code, said = cardsynth("judge-text", *arguments, "--seeds", "0-1", "--steps", "1", "--prompt", "a crdbck stain")
    assert code == 0, said
    assert "4 new rows in runs/text_log.csv" in said
    assert "near-copies:" in said
    assert (tmp_path / "generated_cards/tiny-sd_judged/judgement.json").is_file()
    code, said = cardsynth("judge-text", *arguments, "--seeds", "0-1")
    assert (code, "exists already" in said) == (1, True)


@pytest.mark.slow
def test_a_sweep_goes_on_from_fewer_steps_and_tells_what_was_stopped(stable_diffusion, captioned, tmp_path):
    base = TextConfig(
        base_model=str(stable_diffusion), train_batch_size=8, num_inference_steps=1, validation_images=1,
        validation_prompts=("a card",), mixed_precision="no",
    )  # fmt: skip
    settings = [{"learning_rate": rate, "max_train_steps": steps} for rate in (1e-4, 1e30) for steps in (5, 4)]
    rows = sweep(settings, captioned, tmp_path / "out", base, [0])
    assert [(row["learning_rate"], row["steps"]) for row in rows] == [(1e-4, 4), (1e-4, 5), (1e30, 4), (1e30, 5)]
    assert [row["stopped"] is None for row in rows] == [True, True, False, False]
    assert len(read_log(tmp_path / "out/run_00")) == 5
    assert 0.5 < rows[0]["loss"] < 2
    assert table(rows).count("stopped it") == 2
    assert json.loads((tmp_path / "out/sweep.json").read_text()) == rows


def test_the_published_grid_is_a_list_of_settings():
    grid = [TextConfig(**one) for one in json.loads(GRID.read_text())]
    assert {(one.learning_rate, one.max_train_steps) for one in grid} == {
        (rate, steps) for rate in (1e-5, 1e-3) for steps in (400, 2000, 4000, 8000)
    }
