import json
from collections import deque
from dataclasses import asdict, replace

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.core.base_config import BaseConfig
from cardsynth.core.runs import RunError, checkpoints, read_log, read_manifest
from cardsynth.core.safeguards import TrainingError
from cardsynth.finder.batches import FinderBatches, augment, damage_classes, damage_targets
from cardsynth.finder.config import FinderConfig
from cardsynth.finder.net import (
    build_finder,
    damage_probabilities,
    detect_damages,
    load_finder,
)
from cardsynth.finder.train import fit_finder, train_finder

CLASSES = ("CLEAN", "FULL_CARD", "SMALL")
TINY = FinderConfig(
    height=40,
    width=32,
    encoder_name="tu-test_resnet",
    encoder_depth=3,
    decoder_channels=(24, 16, 8),
    max_train_steps=60,
    train_batch_size=8,
    learning_rate=3e-3,
)


def marked_cards(count: int, seed: int) -> Cards:
    """Grey cards: undamaged ones, ones whose upper part is red, and ones with a blue patch.

    A pixel's colour says whether it is damaged, so that any training of a few steps learns it.
    """
    random = np.random.default_rng(seed)
    pixels = np.zeros((count, 4, 40, 32), np.uint8)
    pixels[:, :3] = random.integers(90, 130, (count, 3, 40, 32))
    for place, card in enumerate(pixels):
        top, left, height = random.integers(0, 28), random.integers(0, 20), random.integers(20, 36)
        part = {1: np.s_[:height, :], 2: np.s_[top : top + 12, left : left + 12]}.get(place % 3)
        if part:
            card[:3][:, *part] = np.reshape((250, 20, 20) if place % 3 == 1 else (20, 20, 250), (3, 1, 1))
            card[3][part] = 255
    return Cards(torch.from_numpy(pixels), torch.arange(count) % 3, CLASSES)


@pytest.fixture(scope="module")
def drawn() -> Cards:
    return marked_cards(48, 0)


@pytest.fixture(scope="module")
def finder(drawn):
    return fit_finder(TINY, drawn, progress=False)


def any_iou(finder, cards):
    predicted = damage_probabilities(finder, cards.pixels).argmax(dim=1) > 0
    masks = cards.pixels[:, 3] >= 128
    return float((predicted & masks).sum() / (predicted | masks).sum())


def test_it_finds_damage_on_cards_that_it_has_not_seen(finder):
    fresh = marked_cards(24, 10_000)
    assert any_iou(build_finder(TINY, finder.labels).eval(), fresh) < 0.4
    assert any_iou(finder, fresh) > 0.6


def test_it_knows_the_damaged_classes_alone(finder, drawn):
    assert finder.labels == damage_classes(drawn) == ("FULL_CARD", "SMALL")
    unlabelled = replace(drawn, labels=torch.zeros_like(drawn.labels), label_names=())
    assert fit_finder(replace(TINY, max_train_steps=1), unlabelled, progress=False).labels == ("damage",)


def test_equal_settings_give_equal_weights_and_another_seed_others(drawn):
    short = replace(TINY, max_train_steps=3)
    weights = [
        fit_finder(config, drawn, drawn, progress=False).state_dict()
        for config in (short, short, replace(short, seed=1))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_synthetic_cards_are_learned_from_and_fade_out(drawn):
    """Half of every batch of eight, or ever fewer over the last half of the training."""
    white = replace(drawn, pixels=torch.full_like(drawn.pixels, 255))
    config = replace(TINY, max_train_steps=16, synthetic_share=0.5)

    def counts(config, synthetic):
        batches = FinderBatches(config, drawn, synthetic, CLASSES[1:])
        return [int((batches.batch(step)[0] == 255).flatten(1).all(dim=1).sum()) for step in range(16)]

    assert counts(config, None) == [0] * 16
    assert counts(replace(config, anneal=False), white) == [4] * 16
    assert counts(config, white) == [4] * 10 + [3, 2, 2, 2, 1, 0]
    alone, mixed = (fit_finder(config, drawn, synthetic, progress=False) for synthetic in (None, white))
    assert not all(map(torch.equal, mixed.parameters(), alone.parameters()))


def test_a_pass_has_each_card_once_and_a_batch_depends_on_seed_and_step_alone(drawn):
    numbered = replace(drawn, pixels=drawn.pixels.clone())
    numbered.pixels[:, 0, 0, 0] = torch.arange(48, dtype=torch.uint8)
    batches = [FinderBatches(TINY, numbered, None, CLASSES[1:]) for _ in range(2)]
    seen = [batches[0].batch(step)[0][:, 0, 0, 0] for step in range(12)]
    for part in (seen[:6], seen[6:]):
        assert sorted(torch.cat(part).tolist()) == list(range(48))
    assert torch.equal(batches[1].batch(9)[0][:, 0, 0, 0], seen[9])


@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
def test_a_resumed_run_equals_an_unbroken_one(drawn, tmp_path, mixed_precision):
    config = replace(TINY, max_train_steps=6, save_steps=2, cpu=True, mixed_precision=mixed_precision)
    whole = [step.step for step in train_finder(config, drawn, tmp_path / "whole", synthetic=drawn)]
    assert whole == [row["step"] for row in read_log(tmp_path / "whole")] == [1, 2, 3, 4, 5, 6]
    assert [path.name for path in checkpoints(tmp_path / "whole")] == ["step_000004", "step_000006"]
    steps = train_finder(config, drawn, tmp_path / "broken", synthetic=drawn)
    assert [next(steps).step for _ in range(3)] == [1, 2, 3]
    steps.close()
    assert read_manifest(tmp_path / "broken")["steps"] == 3
    rest = train_finder(config, drawn, tmp_path / "broken", synthetic=drawn, resume=True)
    assert [step.step for step in rest] == [4, 5, 6]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "broken")]
    assert weights[0] == weights[1]
    losses = [[row["loss"] for row in read_log(tmp_path / name)] for name in ("whole", "broken")]
    assert losses[0] == losses[1]


def test_a_finder_in_a_folder_and_one_in_memory_are_the_same(drawn, tmp_path):
    config = replace(TINY, max_train_steps=2)
    deque(train_finder(config, drawn, tmp_path / "run"), maxlen=0)
    assert all(map(torch.equal, load_finder(tmp_path / "run").parameters(), fit_finder(config, drawn).parameters()))


def test_a_run_that_is_another_is_left_alone(drawn, trained_run, tmp_path):
    run, config = tmp_path / "run", replace(TINY, max_train_steps=1)
    deque(train_finder(config, drawn, run), maxlen=0)
    for message, arguments, options in (
        ("holds a run already", (config, drawn, run), {}),
        ("other settings .learning_rate", (replace(config, learning_rate=1.0), drawn, run), {"resume": True}),
        ("other cards", (config, drawn, run), {"resume": True, "synthetic": drawn}),
        ("another kind of run .diffusion", (config, drawn, trained_run), {"overwrite": True}),
    ):
        with pytest.raises(RunError, match=message):
            next(train_finder(*arguments, **options))
    assert [step.step for step in train_finder(config, drawn, run, overwrite=True)] == [1]


def test_a_loss_that_is_not_finite_stops_the_training(drawn, tmp_path):
    with pytest.raises(TrainingError, match=r"loss is nan.*lower learning_rate"):
        deque(train_finder(replace(TINY, learning_rate=1e30), drawn, tmp_path / "run"), maxlen=0)


def test_targets_are_the_classes_of_the_masks(drawn):
    targets = damage_targets(drawn, ("FULL_CARD", "SMALL"))
    masks = drawn.pixels[:, 3] >= 128
    assert torch.equal(targets > 0, masks)
    small = drawn.labels == drawn.label_names.index("SMALL")
    assert set(targets[small].unique().tolist()) == {0, 2}
    with pytest.raises(CardError, match="no masks"):
        damage_targets(replace(drawn, pixels=drawn.pixels[:, :3]), ("SMALL",))


def test_cards_and_targets_are_moved_alike():
    generator = torch.Generator().manual_seed(3)
    targets = torch.zeros(8, 60, 40, dtype=torch.long)
    targets[:, 10:35, 5:20] = 1
    pixels = (targets * 255).to(torch.uint8)[:, None].expand(-1, 3, -1, -1)
    images, moved = augment(pixels, targets, generator)
    light, dark = images.amax(dim=(1, 2, 3), keepdim=True), images.amin(dim=(1, 2, 3), keepdim=True)
    seen = ((images - dark) / (light - dark) > 0.5)[:, 0]
    assert (seen == moved.bool()).float().mean() > 0.995
    assert len({tuple(map(int, torch.nonzero(target)[0])) for target in moved}) > 4
    assert all(0.8 < int(target.sum()) / (25 * 15) < 1.26 for target in moved)
    still, _ = augment(pixels, targets, torch.Generator().manual_seed(3), flips=False)
    assert not torch.equal(still, images)


@pytest.mark.parametrize("size", [(40, 32), (41, 37), (17, 60)])
def test_it_looks_at_cards_of_any_size(finder, size):
    probabilities = damage_probabilities(finder, torch.zeros(2, 3, *size, dtype=torch.uint8))
    assert probabilities.shape == (2, 3, *size)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(2, *size), atol=1e-5)


def test_damages_are_connected_parts_and_a_full_card_is_one():
    probabilities = torch.zeros(3, 20, 20)
    probabilities[0] = 0.4
    probabilities[1, 2:5, 2:6] = 0.9
    probabilities[1, 5, 6] = 0.9  # touches by a corner
    probabilities[1, 15, 15] = 0.9  # a single pixel
    probabilities[2, 10:12, 0:4] = 0.6
    probabilities[2, 10:12, 8:12] = 0.8
    small = detect_damages(probabilities, ("SMALL", "FULL_CARD"))
    assert [(damage.label, damage.box) for damage in small] == [
        ("SMALL", (2, 2, 5, 4)),
        ("FULL_CARD", (0, 10, 12, 2)),
    ]
    assert small[0].score == pytest.approx(0.9)
    assert small[1].score == pytest.approx(0.7)
    assert len(detect_damages(probabilities, ("SMALL", "OTHER"), min_pixels=1)) == 4


def test_a_run_folder_holds_all_that_is_promised(drawn, tmp_path):
    run = tmp_path / "finder"
    deque(train_finder(replace(TINY, max_train_steps=2), drawn, run), maxlen=0)
    manifest, finder = read_manifest(run), load_finder(run)
    assert (manifest["labels"], manifest["steps"], manifest["data"]["count"]) == (["FULL_CARD", "SMALL"], 2, 48)
    assert manifest["parameters"] == sum(value.numel() for value in finder.parameters())
    images = drawn.pixels[:2, :3].float() / 127.5 - 1
    with torch.inference_mode():
        assert torch.equal(smp.from_pretrained(run).eval()(images), finder(images))
    assert not list(run.glob(".*"))
    assert not (run / "README.md").exists()


def test_finders_of_version_0_1_0_are_opened(finder, drawn, tmp_path):
    """Their settings lack what `BaseConfig` and checkpoints brought, and their manifests the log's figures."""
    finder.net.save_pretrained(tmp_path)
    newer = {*BaseConfig.__dataclass_fields__, "save_steps"} - {"seed"}
    settings = {name: value for name, value in asdict(TINY).items() if name not in newer}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / "manifest.json").write_text(json.dumps({"kind": "damage finder", "labels": ["FULL_CARD", "SMALL"]}))
    loaded = load_finder(tmp_path)
    assert loaded.config == TINY
    assert torch.equal(damage_probabilities(loaded, drawn.pixels), damage_probabilities(finder, drawn.pixels))


def test_a_run_that_is_no_finder_is_refused(trained_run, tmp_path):
    with pytest.raises(RunError, match="no damage finder"):
        load_finder(trained_run)
    with pytest.raises(RunError, match="no damage finder"):
        load_finder(tmp_path / "nowhere")


def test_an_encoder_may_start_from_weights_on_disk(tmp_path):
    weights = {name: value + 1 for name, value in build_finder(TINY).net.encoder.state_dict().items()}
    torch.save(weights, tmp_path / "encoder.pt")
    started = build_finder(replace(TINY, encoder_weights=str(tmp_path / "encoder.pt")))
    assert all(torch.equal(started.net.encoder.state_dict()[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_name": "resnet19"}, "no such net"),
        ({"encoder_weights": "nowhere.pt"}, "there is no file nowhere.pt"),
    ],
)
def test_nets_that_cannot_be_had_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        build_finder(replace(TINY, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_train_steps": 0}, "max_train_steps must be greater than 0"),
        ({"decoder_channels": (8,)}, "one for each stage"),
        ({"synthetic_share": 1.5}, "synthetic_share must be less than or equal to 1"),
    ],
)
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)
