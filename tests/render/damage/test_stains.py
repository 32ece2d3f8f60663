"""Damage: where it lies, what it changes and how severe it says it is, for every kind."""

import numpy as np
import pytest

from cardsynth.cards.labels import CLASSES, EXTRA_CLASSES
from cardsynth.render.damage.films import VISIBLE, Film, lay, torn
from cardsynth.render.damage.shapes import Card, curve, strokes
from cardsynth.render.damage.stains import KINDS, damage_card
from cardsynth.render.draw import ALL_CLASSES, draw_card, draw_cards

SIZE = (160, 128)
KIND_NAMES = ALL_CLASSES[1:]


def visible_change(card) -> np.ndarray:
    return np.abs(card.image.astype(int) - card.twin).max(axis=-1) >= VISIBLE


def overlap(mask, other) -> float:
    return (mask & other).sum() / max(1, (mask | other).sum())


def test_every_class_has_a_kind_and_no_two_have_one_name():
    assert set(KINDS) == set(KIND_NAMES)
    assert len(set(ALL_CLASSES)) == len(CLASSES) + len(EXTRA_CLASSES) == 13


@pytest.mark.parametrize("kind", KIND_NAMES)
@pytest.mark.parametrize("size", [(80, 64), SIZE])
def test_twins_are_equal_where_the_soft_mask_is_zero(kind, size):
    for seed in range(8):
        damaged, clean = draw_card(seed, kind, size), draw_card(seed, "CLEAN", size)
        assert damaged.twin.tobytes() == clean.image.tobytes() == clean.twin.tobytes()
        untouched = damaged.soft_mask == 0
        assert np.array_equal(damaged.image[untouched], clean.image[untouched])
        assert not damaged.mask[untouched].any()
        assert 0 < untouched.sum() < untouched.size
        assert damaged.soft_mask.dtype == damaged.mask.dtype == np.uint8
        assert set(np.unique(damaged.mask)) == {0, 255}
    assert not clean.soft_mask.any()


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_hard_masks_are_what_an_eye_sees(kind):
    overlaps = [overlap(card.mask > 0, visible_change(card)) for card in draw_cards(14, SIZE, 100, (kind,), workers=1)]
    assert np.mean(overlaps) >= 0.95
    assert min(overlaps) > 0.85


@pytest.mark.parametrize("kind", CLASSES[1:])
def test_hard_masks_hold_at_the_size_of_the_demo(kind):
    overlaps = [
        overlap(card.mask > 0, visible_change(card)) for card in draw_cards(14, (80, 64), 200, (kind,), workers=1)
    ]
    assert np.mean(overlaps) >= 0.95


def test_severity_of_a_damage_is_what_its_pictures_say():
    for seed, kind in enumerate(KIND_NAMES):
        card = draw_card(seed, kind, SIZE)
        (damage,) = card.row["damages"]
        inside = card.mask > 0
        weights = np.array([0.299, 0.587, 0.114])
        change = np.abs(card.image @ weights - card.twin @ weights)[inside].mean()
        assert damage["kind"] == kind
        assert damage["darkness"] == pytest.approx(change, abs=1)
        assert damage["covered"] == pytest.approx(inside.mean(), rel=0.12)
        assert 0 < damage["covered"] < 1
        assert damage["bbox"] == card.row["objects"]["bbox"]


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_the_dial_makes_damage_larger_and_darker(kind):
    covered, darkness = [], []
    for severity in (0.25, 1, 2):
        rows = [draw_card(seed, kind, SIZE, severity=severity).row["damages"][0] for seed in range(6)]
        covered.append(np.mean([row["covered"] for row in rows]))
        darkness.append(np.mean([row["darkness"] for row in rows]))
    assert covered[0] < 0.8 * covered[1] < covered[2]
    assert darkness[0] < darkness[1] * 0.98
    assert darkness[1] < darkness[2] * 1.05


def test_further_damages_leave_the_first_as_it_was():
    for seed in range(12):
        single, four = (draw_card(seed, "SMALL", SIZE, damages=number) for number in (1, 4))
        assert four.row["damages"][0] == single.row["damages"][0]
        assert len(four.row["damages"]) == 4
        assert {damage["kind"] for damage in four.row["damages"][1:]} <= set(EXTRA_CLASSES)
        assert ((single.mask > 0) <= (four.mask > 0)).all()
        assert (single.soft_mask <= four.soft_mask).all()
        assert np.array_equal(four.image[four.soft_mask == 0], four.twin[four.soft_mask == 0])
        boxes = [box for damage in four.row["damages"] for box in damage["bbox"]]
        kinds = [damage["kind"] for damage in four.row["damages"] for _ in damage["bbox"]]
        assert four.row["objects"] == {"bbox": boxes, "categories": kinds}
        assert four.row["label"] == "SMALL"


def test_a_range_of_damages_and_a_set_to_draw_them_from():
    cards = [draw_card(seed, "LIGHT", (80, 64), damages=(1, 3), others=("CREASE", "SMALL")) for seed in range(40)]
    counts = np.bincount([len(card.row["damages"]) for card in cards], minlength=4)
    assert (counts[1:] > 4).all()
    assert counts.sum() == 40
    further = {damage["kind"] for card in cards for damage in card.row["damages"][1:]}
    assert further == {"CREASE", "SMALL"}
    assert draw_card(0, "CLEAN", (80, 64), damages=3).row["damages"] == []


def test_the_caption_names_every_damage_once():
    card = draw_card(3, "SMALL", (80, 64), damages=5, others=("PEN_MARK",))
    assert card.row["text"].endswith("ink, small dark stains, pen marks")


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_kind_lies_in_one_place_at_every_size(kind):
    """Masks at 80x64 are those at 160x128, reduced; hickeys, which look for ink, may choose another place."""
    overlaps = []
    for seed in range(8):
        small, large = (draw_card(seed, kind, size).mask > 0 for size in ((80, 64), SIZE))
        overlaps.append(overlap(small, large.reshape(80, 2, 64, 2).mean(axis=(1, 3)) >= 0.5))
    assert np.median(overlaps) > 0.5


@pytest.mark.parametrize("kind", ["SMALL", "WHITE_MARKS", "HICKEY"])
def test_the_least_damage_is_six_pixels_across_at_the_size_of_the_demo(kind):
    """A square of side 4, which a disc of 6 pixels across holds, fits into every card's damage."""
    for seed in range(20):
        mask = draw_card(seed, kind, (80, 64)).mask > 0
        assert np.lib.stride_tricks.sliding_window_view(mask, (4, 4)).all(axis=(2, 3)).any()


@pytest.mark.parametrize("size", [(16, 16), (18, 90), (90, 18), (97, 131)])
@pytest.mark.parametrize("severity", [0.25, 2])
def test_every_kind_at_any_size_and_severity(size, severity):
    clean = np.random.default_rng(0).integers(30, 230, (*size, 3), dtype=np.uint8)
    for kind in KIND_NAMES:
        rng = np.random.default_rng(11)
        damaged, damage = damage_card(clean, clean, np.ones(size, np.float32), kind, rng, severity)
        assert damage.soft.any()
        assert np.array_equal(damaged[damage.soft == 0], clean[damage.soft == 0])


def test_damage_stays_on_the_card():
    clean, area = np.full((*SIZE, 3), 200, np.uint8), np.zeros(SIZE, np.float32)
    area[20:140, 30:] = 1
    for kind in KIND_NAMES:
        damaged, damage = damage_card(clean, clean, area, kind, np.random.default_rng(3))
        assert not damage.soft[area == 0].any()
        assert damage.soft.any()
        assert np.array_equal(damaged[area == 0], clean[area == 0])


def test_films_absorb_and_cover_exponentially():
    light = np.full((1, 3, 3), 200, np.float32)
    amount = np.array([[0, 1, 2]], np.float32)
    absorbed = Film((0.5, 0.8, 1.0)).over(light, amount)
    assert absorbed[0] == pytest.approx(np.array([[200, 200, 200], [100, 160, 200], [50, 128, 200]]))
    covered = Film((1, 1, 1), (100, 100, 100), 0.5).over(light, amount)
    assert covered[0, :, 0] == pytest.approx([200, 150, 125])


def test_a_film_is_visible_from_where_bare_stock_changes():
    film = Film((0.9, 0.9, 0.9))
    for light in (205, 120):
        stock = np.full((1, 1, 3), light, np.float32)
        least = film.visible((light, light, light))
        for amount, seen in ((least, True), (least - 1.5 / 255, False)):
            change = np.abs(film.over(stock, np.full((1, 1), amount, np.float32)) - stock).max()
            assert (change >= VISIBLE) == seen
    assert Film((0.999, 0.999, 0.999)).visible((200, 200, 200)) == 1


def test_torn_fibre_is_paler_than_any_stock():
    for light in (90, 160, 225, 240):
        assert min(torn((light, light, light)).tint) >= light + 14


def test_laying_no_film_changes_nothing():
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    amount = np.zeros((9, 7), np.float32)
    amount[2, 3] = amount[6, 5] = 1
    before = picture.copy()
    lay(picture, Film((0.4, 0.5, 0.6), (90, 80, 70), 0.3), amount)
    assert (picture != before).any(axis=-1).tolist() == (amount > 0).tolist()


def test_shapes():
    card = Card(np.zeros((4, 10, 3), np.uint8), np.ones((4, 10), np.float32), 1.0, np.random.default_rng(0))
    assert card.cover(np.array([-1.0, 0.0, 1.0])).tolist() == [0, 0.5, 1]
    path = curve([(0, 0), (1, 0), (1, 1)])
    assert path[0] == (0, 0)
    assert (1, 0) in path
    assert path[-1] == (1, 1)
    drawn = strokes((40, 20), [([(0.25, 1.0), (0.75, 1.0)], [0.2, 0.2])])
    assert drawn.shape == (40, 20)
    assert drawn[20, 10] == 1
    assert drawn.sum() == pytest.approx(10 * 4 + np.pi * 4, rel=0.1)
