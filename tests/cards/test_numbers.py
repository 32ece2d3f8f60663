"""Numbers of cards: read, prepared, learned, and asked for."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from cached import SIZE, uncached
from diffusers import UNet2DModel
from pictures import make_labelled, only, save, spot, write_rows
from safetensors.torch import load_file
from scipy.stats import spearmanr

from cardsynth.__main__ import main
from cardsynth.cards.dataset import Cards, read_cards, stack_cards
from cardsynth.cards.folder import read_metadata
from cardsynth.cards.hub_rows import _open_hub_cards, read_rows
from cardsynth.cards.number_planes import HIDDEN, hide_numbers, shares_of, with_numbers
from cardsynth.cards.numbers import darkness_of
from cardsynth.cards.reading import Reading
from cardsynth.core.config import TrainingConfig
from cardsynth.core.learner import DiffusionLearner
from cardsynth.core.runs import RunError, load_model, read_manifest
from cardsynth.core.sampling import generate, write_cards
from cardsynth.doctor.diagnosis import diagnose
from cardsynth.doctor.estimate import net_size
from cardsynth.evaluation.evaluate import select
from cardsynth.evaluation.timestep_loss import loss_by_timestep
from cardsynth.hub.model_card import cards_card, model_card
from cardsynth.models import get_preset, train
from cardsynth.notebook.panel import GeneratorPanel
from cardsynth.render.draw import draw_cards

SMOKE = get_preset("smoke").replace(save_image_epochs=1000)
BOTH = SMOKE.replace(conditions=("covered", "darkness"))
DAMAGES = [{"kind": "LIGHT", "covered": 0.3, "darkness": 20.0}, {"kind": "SMALL", "covered": 0.1, "darkness": 100.0}]


def trained(config, cards, run, **how):
    for _ in train(config, cards, run, **how):
        pass
    return run


def weights(run):
    return load_file(run / "unet/diffusion_pytorch_model.safetensors")


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def drawn(model, seeds, **how):
    return torch.cat([batch.pixels for batch in generate(model, seeds, progress=False, **how)])


@pytest.fixture(scope="module")
def run(cards, tmp_path_factory):
    return trained(BOTH, cards, tmp_path_factory.mktemp("runs") / "dials")


@pytest.fixture(scope="module")
def model(run):
    return load_model(run)


@pytest.mark.parametrize(
    ("row", "darkness"),
    [
        ({"darkness": 60}, 60),
        ({"darkness": "60.5", "damages": DAMAGES}, 60.5),
        ({"damages": DAMAGES}, 40),
        ({"damages": []}, 0),
        ({"damages": DAMAGES[:1], "darkness": None}, 20),
        ({"darkness": "very"}, None),
        ({"darkness": 300}, None),
        ({"darkness": float("nan")}, None),
        ({"damages": "two stains"}, None),
        ({"damages": [{"kind": "LIGHT"}]}, None),
        ({}, None),
        (None, None),
    ],
)
def test_what_a_row_says_of_darkness(row, darkness):
    assert darkness_of(row) == (darkness if darkness is None else pytest.approx(darkness))


def test_darkness_comes_along_by_every_way_of_reading(tmp_path, cached_from_four):
    rows = read_metadata(make_labelled(tmp_path) / "metadata.jsonl")
    save(spot().point(lambda _: 0), tmp_path / rows[2]["mask_file_name"])
    known = {0: {"darkness": 12.5}, 1: {"damages": DAMAGES}}
    write_rows(tmp_path, *(row | known.get(place, {}) for place, row in enumerate(rows)))
    # Of the third the mask is empty; nobody knows of the fourth.
    expected = {row["file_name"]: value for row, value in zip(rows, (12.5, 40.0, 0.0, np.nan), strict=True)}
    with uncached():
        plain = read_cards(tmp_path, SIZE)
    for cards in (plain, read_cards(tmp_path, SIZE), read_cards(tmp_path, SIZE)):
        found = dict(zip(cards.names, cards.darkness.tolist(), strict=True))
        assert found == pytest.approx(expected, nan_ok=True)
        assert cards.fingerprint == plain.fingerprint
    some = select(plain, torch.tensor([3, 0]))
    assert some.darkness.tolist() == pytest.approx([expected[name] for name in some.names], nan_ok=True)
    _, listing = read_rows(tmp_path, Reading(SIZE))
    found = [np.nan if value is None else value for value in listing.darkness]
    assert found == pytest.approx([expected[name] for name in listing.names], nan_ok=True)


def test_a_data_set_of_the_hub_says_it_as_a_folder_does(card_folder, cards):
    rows = _open_hub_cards(str(card_folder))
    assert sorted(rows["darkness"]) == pytest.approx(sorted(cards.darkness.tolist()), abs=1e-3)


def test_cards_that_say_nothing_have_no_darkness(flat, tmp_path):
    assert read_cards(flat, SIZE).darkness is None
    made = stack_cards(draw_cards(4, (16, 16), seed=0, classes=("CLEAN", "SMALL"), workers=1))
    assert made.darkness[::2].tolist() == [0, 0]
    assert (made.darkness[1::2] > 10).all()


def test_a_darkness_that_is_no_number_is_reported(labelled):
    first, *others = read_metadata(labelled / "metadata.jsonl")
    write_rows(labelled, first | {"darkness": "very"}, *others)
    problem = only(labelled)
    assert (problem.level, problem.file) == ("warning", first["file_name"])
    assert "darkness of 'very'" in problem.reason


def test_covered_is_the_share_of_the_mask(cards):
    some = torch.tensor([7, 2, 0])
    shares = cards.numbers(("darkness", "covered"), some, cards.pixels[some])
    assert shares[:, 1].tolist() == pytest.approx((cards.pixels[some, 3] == 255).float().mean(dim=(1, 2)).tolist())
    assert (shares[:, 0] * 255).tolist() == pytest.approx(cards.darkness[some].tolist())
    plain = Cards(cards.pixels[:, :3], cards.labels)
    assert plain.numbers(("darkness", "covered"), some, plain.pixels[some]).isnan().all()


def test_planes_of_unknown_and_known_numbers():
    images = torch.randn(3, 4, 6, 5)
    shares = shares_of([{}, {"covered": 0.0, "darkness": 255.0}, {"covered": 0.25}], ("covered", "darkness"))
    seen = with_numbers(images, shares)
    assert torch.equal(seen[:, :4], images)
    assert seen[:, 4:, 0, 0].tolist() == [[0, 0, -1, -1], [-2, 2, 1, 1], [0, 0, 1, -1]]
    assert (seen[:, 4:] == seen[:, 4:, :1, :1]).all()
    assert with_numbers(images, shares_of([{}] * 3, ())) is images


def test_numbers_are_hidden_by_themselves_and_with_the_label():
    shares, unlabelled = torch.rand(4000, 2), torch.arange(4000) < 1000
    hidden = hide_numbers(shares, unlabelled, torch.Generator().manual_seed(0)).isnan()
    assert hidden[:1000].all()
    labelled = hidden[1000:].float()
    assert labelled.mean(dim=0).tolist() == pytest.approx([HIDDEN, HIDDEN], abs=0.03)
    assert labelled.prod(dim=1).mean() == pytest.approx(HIDDEN**2, abs=0.03)


def test_without_conditions_known_numbers_change_nothing(cards, trained_run, tmp_path):
    forgetful = trained(SMOKE, replace(cards, darkness=None), tmp_path / "run")
    assert equal(weights(forgetful), weights(trained_run))
    assert UNet2DModel.from_pretrained(forgetful, subfolder="unet").config.in_channels == 16


def test_the_run_is_a_plain_net_and_says_what_it_learned(run, cards):
    unet = UNet2DModel.from_pretrained(run, subfolder="unet")
    assert (unet.config.in_channels, unet.config.out_channels) == (20, 16)
    manifest = read_manifest(run)
    assert manifest["numbers"]["covered"]["CLEAN"] == manifest["numbers"]["darkness"]["CLEAN"] == [0, 0]
    full = cards.darkness[cards.labels == 1]
    assert manifest["numbers"]["darkness"]["FULL_CARD"] == pytest.approx(
        [full.min().item(), full.max().item()], abs=1e-3
    )
    assert "| covered | FULL_CARD |" in model_card(run)
    assert net_size(BOTH, 4, 5)[0] == sum(value.numel() for value in unet.parameters())


def test_a_resumed_run_equals_an_unbroken_one(run, cards, tmp_path):
    steps = train(BOTH, cards, tmp_path / "run")
    for _ in range(3):
        next(steps)
    steps.close()
    with pytest.raises(RunError, match="other cards"):
        next(train(BOTH, replace(cards, darkness=cards.darkness + 1), tmp_path / "run", resume=True))
    with pytest.raises(RunError, match="conditions"):
        next(train(SMOKE, cards, tmp_path / "run", resume=True))
    assert equal(weights(trained(BOTH, cards, tmp_path / "run", resume=True)), weights(run))


def test_what_no_card_knows_cannot_be_learned(cards):
    with pytest.raises(ValueError, match="conditions names darkness"):
        DiffusionLearner(BOTH, replace(cards, darkness=None))
    with pytest.raises(ValueError, match=r"conditions names covered, and .* have no masks"):
        DiffusionLearner(BOTH, replace(cards, pixels=cards.pixels[:, :3]))
    with pytest.raises(ValueError, match="must be 'covered' or 'darkness'"):
        TrainingConfig(conditions=("size",))


def bars(count):
    """Cards of one grey, damaged from the top down to a height of their own, without labels."""
    pixels = torch.full((count, 4, 40, 32), 200, dtype=torch.uint8)
    pixels[:, 3] = 0
    for place in range(count):
        rows = 2 + place * 36 // count
        pixels[place, :3, :rows], pixels[place, 3, :rows] = 60, 255
    return Cards(pixels, torch.zeros(count, dtype=torch.long))


@pytest.mark.slow
def test_a_net_without_classes_learns_how_much_to_cover(tmp_path):
    config = SMOKE.replace(
        conditions=("covered",),
        prediction_type="sample",
        snr_floor=0.1,
        max_train_steps=150,
        train_batch_size=16,
        learning_rate=6e-3,
        lr_warmup_steps=10,
        num_inference_steps=8,
        ema_decay=0.9,
        save_model_epochs=1000,
        mixed_precision="no",
    )
    model = load_model(trained(config, bars(60), tmp_path / "run"))
    asked = np.linspace(0.1, 0.9, 20)
    for guidance in (1.0, 1.5):
        pixels = drawn(model, range(20), covered=asked.tolist(), guidance_scale=guidance)
        covered = (pixels[:, 3] == 255).float().mean(dim=(1, 2)).numpy()
        assert np.abs(covered - asked).mean() < 0.12
        assert spearmanr(covered, asked).statistic > 0.8


def test_each_card_is_told_its_own_numbers(model):
    how = {"labels": "FULL_CARD", "mixed_precision": "no", "num_inference_steps": 3}
    plain = drawn(model, range(10), **how)
    asked = drawn(model, range(10), covered=0.9, darkness=60, **how)
    assert (asked != plain).flatten(1).any(dim=1).all()
    values = [0.9, None] * 5
    mixed = drawn(model, range(10), covered=values, darkness=[60, None] * 5, batch_size=3, **how)
    assert torch.equal(mixed[0::2], asked[0::2])
    assert torch.equal(mixed[1::2], plain[1::2])
    assert not torch.equal(drawn(model, range(10), covered=0.9, **how), asked)


def test_guidance_leads_away_from_cards_of_unknown_numbers(model, monkeypatch):
    forward, planes = type(model.unet).forward, []

    def watched(self, sample, timestep, class_labels):
        planes.append((sample[:, 16:, 0, 0].tolist(), class_labels.tolist()))
        return forward(self, sample, timestep, class_labels=class_labels)

    monkeypatch.setattr(type(model.unet), "forward", watched)
    how = {"labels": "SMALL", "covered": 0.25, "guidance_scale": 2.0, "num_inference_steps": 1}
    for negative_label in (None, "CLEAN"):
        with pytest.warns(UserWarning, match=r"never saw covered 0.25 \(training cards of SMALL: 0.0"):
            drawn(model, [0], **how, mixed_precision="no", negative_label=negative_label)
    at_once = len(planes[0][1]) // 2
    for (seen, labels), away_from in zip(planes, (5, 0), strict=True):
        assert seen == [[0, 0, 1, -1]] * at_once + [[0, 0, -1, -1]] * at_once
        assert labels == [3] * at_once + [away_from] * at_once


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"covered": 1.5}, "covered takes 0 to 1, and is 1.5"),
        ({"darkness": -1}, "darkness takes 0 to 255"),
        ({"darkness": float("nan")}, "darkness takes 0 to 255"),
        ({"covered": [0.5]}, "2 cards and 1 values of covered"),
        ({"covered": 0.5, "labels": "CLEAN"}, "CLEAN cards have no damage"),
        ({"covered": 0.5}, "CLEAN cards have no damage"),
    ],
)
def test_numbers_that_cannot_be_are_refused(model, asked, message):
    with pytest.raises(ValueError, match=message):
        drawn(model, [0, 1], **asked)


def test_a_model_without_a_condition_takes_no_number(trained_run, model):
    with pytest.raises(ValueError, match=r"smoke was trained without covered \(its conditions: none\)"):
        drawn(load_model(trained_run), [0], covered=0.5)
    assert len(drawn(model, [0], labels="CLEAN", covered=0, num_inference_steps=1)) == 1


def test_rows_say_what_was_asked_for(run, tmp_path, monkeypatch):
    arguments = ["--seeds", "4", "--label", "FULL_CARD", "--covered", "0.8", "--darkness", "50", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", ["cardsynth", "generate", "--model", str(run), "--out", str(tmp_path), *arguments])
    main()
    write_cards(load_model(run), tmp_path, [5], "SMALL", progress=False, num_inference_steps=2)
    asked, free = (json.loads(line) for line in (tmp_path / "metadata.jsonl").read_text().splitlines())
    assert (asked["covered"], asked["darkness"]) == (0.8, 50)
    assert not {"covered", "darkness"} & set(free)
    assert "requested" in cards_card(tmp_path)
    assert read_cards(tmp_path, SMOKE.reading).darkness[0] == 50


def test_the_panel_offers_the_numbers_that_a_model_knows(run, trained_run, tmp_path):
    panel = GeneratorPanel(run.parent, tmp_path)
    assert [control.layout.display for control in (panel.covered, panel.darkness)] == ["", ""]
    panel.label.value, panel.count.value = "FULL_CARD", 2
    least, most = read_manifest(run)["numbers"]["covered"]["FULL_CARD"]
    assert panel.covered.placeholder == f"any, or {least:g} to {most:g}"
    panel.covered.value = "much"
    panel.button.click()
    assert "Covered is &#x27;much&#x27;" in panel.status.value
    panel.covered.value = " 0.8 "
    panel.button.click()
    rows = read_metadata(tmp_path / run.name / "metadata.jsonl")
    assert [(row["covered"], "darkness" in row) for row in rows] == [(0.8, False)] * 2
    plain = GeneratorPanel(trained_run.parent, tmp_path)
    assert [control.layout.display for control in (plain.covered, plain.darkness)] == ["none", "none"]


def test_losses_and_the_doctor_know_such_runs(run, model, cards):
    told = loss_by_timestep(model, cards, 2, progress=False).epsilon
    untold = loss_by_timestep(model, replace(cards, darkness=None), 2, progress=False).epsilon
    assert not np.array_equal(told, untold)
    notes = diagnose(run, cards, progress=False).notes
    assert notes == ()
