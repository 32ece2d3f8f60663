import json
from dataclasses import replace

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.core.runs import RunError
from cardsynth.finder import train as finder_training
from cardsynth.finder.config import FinderConfig
from cardsynth.finder.net import (
    build_finder,
    damage_shares,
    found_damages,
    load_finder,
    save_finder,
)
from cardsynth.finder.train import augment, damage_classes, damage_targets, train_finder

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
    return train_finder(TINY, drawn, progress=False)


def any_iou(finder, cards):
    found = damage_shares(finder, cards.pixels).argmax(dim=1) > 0
    masks = cards.pixels[:, 3] >= 128
    return float((found & masks).sum() / (found | masks).sum())


def test_it_finds_damage_on_cards_that_it_has_not_seen(finder):
    fresh = marked_cards(24, 10_000)
    assert any_iou(build_finder(TINY, finder.labels).eval(), fresh) < 0.4
    assert any_iou(finder, fresh) > 0.6


def test_it_knows_the_damaged_classes_alone(finder, drawn):
    assert finder.labels == damage_classes(drawn) == ("FULL_CARD", "SMALL")
    unlabelled = replace(drawn, labels=torch.zeros_like(drawn.labels), label_names=())
    assert train_finder(replace(TINY, max_train_steps=1), unlabelled, progress=False).labels == ("damage",)


def test_equal_settings_give_equal_weights_and_another_seed_others(drawn):
    short = replace(TINY, max_train_steps=3)
    weights = [
        train_finder(config, drawn, drawn, progress=False).state_dict()
        for config in (short, short, replace(short, seed=1))
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_synthetic_cards_are_learned_from_and_fade_out(drawn, monkeypatch):
    """Half of every batch of eight, or ever fewer over the last half of the training."""
    white = replace(drawn, pixels=torch.full_like(drawn.pixels, 255))
    counts, moved = [], finder_training.augment

    def watched(pixels, *others):
        counts.append(int((pixels == 255).flatten(1).all(dim=1).sum()))
        return moved(pixels, *others)

    monkeypatch.setattr(finder_training, "augment", watched)
    config = replace(TINY, max_train_steps=16, synthetic_share=0.5)
    alone = train_finder(config, drawn, progress=False)
    assert counts == [0] * 16
    for anneal, expected in ((False, [4] * 16), (True, [4] * 10 + [3, 2, 2, 2, 1, 0])):
        counts.clear()
        made = train_finder(replace(config, anneal=anneal), drawn, white, progress=False)
        assert counts == expected
        assert not all(map(torch.equal, made.parameters(), alone.parameters()))


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
    assert len({tuple(map(int, torch.nonzero(one)[0])) for one in moved}) > 4
    assert all(0.8 < int(one.sum()) / (25 * 15) < 1.26 for one in moved)
    still, _ = augment(pixels, targets, torch.Generator().manual_seed(3), flips=False)
    assert not torch.equal(still, images)


@pytest.mark.parametrize("size", [(40, 32), (41, 37), (17, 60)])
def test_it_looks_at_cards_of_any_size(finder, size):
    shares = damage_shares(finder, torch.zeros(2, 3, *size, dtype=torch.uint8))
    assert shares.shape == (2, 3, *size)
    assert torch.allclose(shares.sum(dim=1), torch.ones(2, *size), atol=1e-5)


def test_damages_are_connected_parts_and_a_full_card_is_one():
    shares = torch.zeros(3, 20, 20)
    shares[0] = 0.4
    shares[1, 2:5, 2:6] = 0.9
    shares[1, 5, 6] = 0.9  # touches by a corner
    shares[1, 15, 15] = 0.9  # a single pixel
    shares[2, 10:12, 0:4] = 0.6
    shares[2, 10:12, 8:12] = 0.8
    small = found_damages(shares, ("SMALL", "FULL_CARD"))
    assert [(damage.label, damage.box) for damage in small] == [
        ("SMALL", (2, 2, 5, 4)),
        ("FULL_CARD", (0, 10, 12, 2)),
    ]
    assert small[0].score == pytest.approx(0.9)
    assert small[1].score == pytest.approx(0.7)
    assert len(found_damages(shares, ("SMALL", "OTHER"), least=1)) == 4


def test_a_saved_finder_finds_the_same(finder, drawn, tmp_path):
    run = save_finder(finder, tmp_path / "finder", {"data": {"count": 48}})
    loaded = load_finder(run)
    assert loaded.config == finder.config
    assert torch.equal(damage_shares(loaded, drawn.pixels), damage_shares(finder, drawn.pixels))
    assert json.loads((run / "manifest.json").read_text())["labels"] == ["FULL_CARD", "SMALL"]
    images = drawn.pixels[:2, :3].float() / 127.5 - 1
    with torch.inference_mode():
        assert torch.equal(smp.from_pretrained(run).eval()(images), finder(images))
    assert not list(tmp_path.glob(".*"))


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
        ({"max_train_steps": 0}, "max_train_steps must be above 0"),
        ({"decoder_channels": (8,)}, "one for each stage"),
        ({"synthetic_share": 1.5}, "synthetic_share must lie in 0 to 1"),
    ],
)
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **changes)
