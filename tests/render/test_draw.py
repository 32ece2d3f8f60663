"""Drawn cards: the same from the same seed, damaged exactly where their masks say, and written as a card folder."""

import subprocess
import sys
import tracemalloc

import datasets
import numpy as np
import pytest

from cardsynth.cards.boxes import mask_boxes
from cardsynth.cards.check import check_folder
from cardsynth.cards.dataset import read_cards
from cardsynth.cards.folder import CardError
from cardsynth.cards.labels import CLASSES
from cardsynth.render.draw import draw_card, draw_cards, render_cards
from cardsynth.render.press import Press
from cardsynth.render.styles import STYLES

DAMAGED = CLASSES[1:]
SIZE = (80, 64)
COVERAGE = {"FULL_CARD": (0.60, 0.95), "LIGHT": (0.25, 0.55), "SMALL": (0.01, 0.15), "WHITE_MARKS": (0.02, 0.25)}


def change(label: str, seed: int, size: tuple[int, int] = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """What the damage changes, int (H, W, 3), and its mask, bool (H, W)."""
    damaged, clean = draw_card(seed, label, size), draw_card(seed, "CLEAN", size)
    return damaged.image.astype(int) - clean.image.astype(int), damaged.mask > 0


@pytest.mark.parametrize("label", CLASSES)
def test_a_seed_is_a_card(label):
    first, again, other = (draw_card(seed, label, SIZE) for seed in (5, 5, 6))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()
    assert first.row == again.row
    assert np.abs(first.image.astype(int) - other.image).mean() > 5


def test_a_plate_that_slips_far_stays_on_the_card():
    """One card in a thousand would be shifted by more than the margin of its plates."""
    press = Press(SIZE, STYLES["a"].faces)
    for far in (9.0, -9.0):
        shift = press.samples((far, far))
        assert max(abs(way) for way in shift) == press.pad
        assert press.coverage(0, shift).shape == SIZE


def test_styles_can_be_chosen():
    rows = [draw_card(seed, "CLEAN", SIZE, ("a",)).row for seed in range(60)]
    style = STYLES["a"]
    assert {row["style"] for row in rows} == {"a"}
    for name, known in (("layout", style.layouts), ("stock", style.stocks), ("inks", style.inks)):
        assert {row[name] for row in rows} == set(known)
    with pytest.raises(ValueError, match="unknown style tarot: choose from a, b, c"):
        draw_card(0, "CLEAN", SIZE, ("tarot",))


@pytest.mark.parametrize("label", DAMAGED)
def test_masks_are_what_an_eye_sees(label):
    visible = []
    for seed in range(20):
        difference, mask = change(label, seed)
        visible.append((np.abs(difference[mask]).max(axis=1) >= 8).mean())
        low, high = COVERAGE[label]
        assert low <= mask.mean() <= high
    assert min(visible) > 0.85
    assert np.mean(visible) > 0.95


def test_clean_cards_have_no_damage():
    card = draw_card(3, "CLEAN", SIZE)
    assert not card.mask.any()
    assert card.row["objects"] == {"bbox": [], "categories": []}


def test_light_stains_are_weaker_than_full_ones_and_white_marks_are_bright():
    pairs = {label: [change(label, seed) for seed in range(10)] for label in DAMAGED}
    mean = {label: [difference[mask].mean() for difference, mask in pairs[label]] for label in DAMAGED}
    darker = {label: np.mean(values) for label, values in mean.items()}
    assert darker["SMALL"] < darker["FULL_CARD"] < 1.4 * darker["LIGHT"] < -14
    assert min(mean["WHITE_MARKS"]) > 10


@pytest.mark.parametrize("label", ["SMALL", "WHITE_MARKS"])
def test_small_damage_is_compact(label):
    """An erosion by one pixel all round leaves most of each card's damage standing, even at 80x64."""
    for seed in range(20):
        mask = np.pad(draw_card(seed, label, SIZE).mask > 0, 1)
        neighbours = [np.roll(mask, shift, axis) for axis in (0, 1) for shift in (-1, 1)]
        assert np.all([mask, *neighbours], axis=0).sum() > 0.45 * mask.sum()


def test_boxes_of_a_known_mask():
    mask = np.array(
        [
            [1, 0, 1, 0, 0, 0, 0],
            [1, 0, 1, 0, 0, 1, 0],
            [1, 1, 1, 0, 1, 0, 0],
            [0, 0, 0, 0, 0, 0, 0],
            [1, 0, 0, 0, 0, 1, 1],
        ]
    )
    assert sorted(mask_boxes(mask)) == [[0, 0, 3, 3], [0, 4, 1, 1], [4, 1, 2, 2], [5, 4, 2, 1]]
    assert mask_boxes(np.zeros((4, 4))) == []
    assert mask_boxes(np.ones((4, 3))) == [[0, 0, 3, 4]]


@pytest.mark.parametrize("label", DAMAGED)
def test_boxes_are_tight_and_cover_the_mask(label):
    for seed in range(10):
        card = draw_card(seed, label, SIZE)
        boxed = np.zeros_like(card.mask, dtype=bool)
        for left, top, width, height in card.row["objects"]["bbox"]:
            inside = card.mask[top : top + height, left : left + width] > 0
            assert inside.shape == (height, width)
            assert inside[0].any()
            assert inside[-1].any()
            assert inside[:, 0].any()
            assert inside[:, -1].any()
            boxed[top : top + height, left : left + width] = True
        assert not (card.mask[~boxed]).any()
        assert card.row["objects"]["categories"] == [label] * len(card.row["objects"]["bbox"])


@pytest.mark.parametrize("size", [(16, 16), (83, 61), (97, 130), (350, 250)])
def test_any_size(size):
    for label in CLASSES:
        card = draw_card(11, label, size)
        assert card.image.shape == (*size, 3)
        assert card.mask.shape == size
        assert set(np.unique(card.mask)) <= {0, 255}
        assert (card.mask.any()) == (label != "CLEAN")
        assert card.image.std() > 10


def test_backs_are_varied():
    rows = [card.row for card in draw_cards(120, (16, 16), seed=0, workers=1)]
    assert len({row["layout"] for row in rows}) >= 5
    assert len({row["stock"] for row in rows}) >= 4
    assert len({row["inks"] for row in rows}) >= 5
    assert rows[1]["text"].startswith(f"{rows[1]['decade']}s card back, {rows[1]['stock']} stock, ")


def test_workers_change_nothing_and_classes_take_turns():
    alone = list(draw_cards(20, SIZE, seed=40, workers=1))
    shared = list(draw_cards(20, SIZE, seed=40, workers=2))
    assert [card.row["label"] for card in alone] == list(CLASSES) * 4
    assert [card.row["seed"] for card in alone] == list(range(40, 60))
    assert [card.row for card in alone] == [card.row for card in shared]
    for first, second in zip(alone, shared, strict=True):
        assert first.image.tobytes() == second.image.tobytes()
        assert first.mask.tobytes() == second.mask.tobytes()


def test_drawing_starts_at_once_and_can_be_left():
    cards = draw_cards(10**9, SIZE, seed=0, classes=("SMALL",), workers=1)
    assert next(cards).row["label"] == "SMALL"
    cards.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": ("CLEAN", "TORN")}, "TORN: choose from CLEAN, FULL_CARD, LIGHT, SMALL, WHITE_MARKS"),
        ({"classes": ()}, "choose from CLEAN"),
        ({"size": (80, 12)}, "80x12.*at least 16x16"),
        ({"count": 0}, "cannot draw 0 cards"),
        ({"seed": -1}, "seed -1"),
        ({"workers": 0}, "0 workers"),
        ({"damages": 0}, "damages 0: a card has 1 to 8"),
        ({"damages": (3, 2)}, r"damages \(3, 2\)"),
        ({"damages": (1, 9)}, "1 to 8"),
        ({"damages": 2, "others": ("CLEAN",)}, "unknown kind of further damage CLEAN: choose from FULL_CARD"),
        ({"damages": 2, "others": ()}, "kind of further damage"),
        ({"severity": 0.2}, "severity 0.2 is out of range: 0.25 to 2"),
        ({"severity": float("nan")}, "severity nan"),
    ],
)
def test_errors_come_before_any_drawing(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        render_cards(tmp_path / "cards", **{"count": 4, "size": SIZE, **arguments})
    assert not (tmp_path / "cards").exists()


def test_workers_change_nothing_with_several_damages():
    how = {"classes": ("TONING", "CLEAN", "CREASE"), "damages": (1, 3), "severity": 1.5}
    for first, second in zip(*(draw_cards(20, SIZE, 7, workers=workers, **how) for workers in (1, 2)), strict=True):
        assert first.row == second.row
        for picture in ("image", "mask", "soft_mask", "twin"):
            assert getattr(first, picture).tobytes() == getattr(second, picture).tobytes()


def test_memory_does_not_grow_with_the_count():
    """A card's pictures take 160 kB; what is held of 90 of them stays below that of five."""
    cards = draw_cards(100, (160, 128), 0, ("SMALL", "HICKEY"), workers=1, damages=2)
    for _ in range(10):
        next(cards)
    tracemalloc.start()
    for _ in range(88):
        next(cards)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    cards.close()
    assert held < 10 * 160_000


def test_soft_masks_and_twins_are_written_and_read(tmp_path):
    classes = ("CLEAN", "CREASE", "FULL_CARD")
    how = {"classes": classes, "damages": (1, 3)}
    folder = render_cards(tmp_path / "cards", 9, SIZE, 30, workers=1, soft_masks=True, twins=True, **how)
    assert check_folder(folder, classes).problems == []
    cards = read_cards(folder, SIZE)
    assert cards.class_counts == {"CLEAN": 3, "CREASE": 3, "FULL_CARD": 3}
    assert cards.has_mask
    opened = datasets.load_dataset(
        "imagefolder", data_dir=str(folder), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(opened) == 9
    for card in opened:
        drawn = draw_card(card["seed"], card["label"], SIZE, damages=(1, 3))
        for column in ("image", "mask", "soft_mask", "twin"):
            assert np.array_equal(np.asarray(card[column]), getattr(drawn, column))
        assert card["damages"] == drawn.row["damages"]
    assert (folder / "soft_masks/CREASE/000031.png").is_file()
    assert (folder / "twins/CLEAN/000030.png").is_file()


def test_the_card_folder_opens_with_datasets(tmp_path):
    folder = render_cards(tmp_path / "cards", 10, SIZE, seed=16, workers=1)
    cards = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(cards) == 10
    for card in cards:
        drawn = draw_card(card["seed"], card["label"], SIZE)
        assert np.array_equal(np.asarray(card["image"]), drawn.image)
        assert card["mask"].mode == "L"
        assert np.array_equal(np.asarray(card["mask"]), drawn.mask)
        assert card["objects"] == drawn.row["objects"]
        assert card["damages"] == drawn.row["damages"]
    assert (folder / "FULL_CARD" / "000017.png").is_file()
    assert (folder / "masks" / "FULL_CARD" / "000017.png").is_file()


def test_cards_are_not_overwritten_unasked(tmp_path):
    render_cards(tmp_path, 2, SIZE, workers=1)
    with pytest.raises(CardError, match="exists already"):
        render_cards(tmp_path, 2, SIZE, workers=1)
    render_cards(tmp_path, 2, SIZE, workers=1, overwrite=True)
    assert len((tmp_path / "metadata.jsonl").read_text().splitlines()) == 2


def test_worker_processes_do_not_load_torch():
    code = "import sys, cardsynth.render.draw; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
