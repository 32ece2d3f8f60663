"""Clean cards: varied layouts that lie both ways, figures that add up, and metadata that says where things are."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cardsynth.render.layouts import LAYOUTS
from cardsynth.render.players import COLUMNS, invent_player
from cardsynth.render.press import BAND, KEY, Press
from cardsynth.render.printing import print_card, turn_box
from cardsynth.render.styles import INKS, STOCKS, STYLES

SIZES = [(16, 16), (80, 64), (40, 32), (16, 40), (64, 20), (83, 61), (97, 130), (128, 128), (160, 128), (250, 350),
         (320, 256), (700, 500)]  # fmt: skip


def of_layout(name: str, size: tuple[int, int], seed: int = 0):
    """The first card from this seed on that has the layout, printed in one of its styles."""
    styles = [style for style, parts in STYLES.items() if name in parts.layouts]
    while True:
        design = random.Random(f"cardsynth {seed}")
        style = design.choice(styles)
        if design.choice(STYLES[style].layouts) == name:
            return print_card(seed, size, styles)
        seed += 1


def test_there_are_layouts_enough_and_they_lie_both_ways():
    assert len(LAYOUTS) >= 12
    assert sum(layout.landscape for layout in LAYOUTS.values()) >= 5
    assert {layout.decade for layout in LAYOUTS.values()} == {1950, 1960, 1970, 1980}
    for name, layout in LAYOUTS.items():
        about = of_layout(name, (40, 32))[2]
        assert about["layout"] == name
        assert about["orientation"] == ("landscape" if layout.landscape else "portrait")
        assert (about["turned"] in (90, 270)) == layout.landscape


def test_styles_differ_and_draw_only_what_they_list():
    assert not set(STYLES["a"].layouts) & set(STYLES["c"].layouts)
    assert set(STYLES["a"].faces.values()) != set(STYLES["c"].faces.values())
    for name, style in STYLES.items():
        drawn = [print_card(seed, (16, 16), (name,))[2] for seed in range(120)]
        for key, known in (("layout", style.layouts), ("stock", style.stocks), ("inks", style.inks)):
            assert {about[key] for about in drawn} == set(known)
    for field, known in (("layouts", LAYOUTS), ("stocks", STOCKS), ("inks", INKS)):
        assert set().union(*(getattr(style, field) for style in STYLES.values())) == set(known)


@pytest.mark.parametrize("width", COLUMNS)
def test_figures_add_up(width):
    for seed in range(60):
        player = invent_player(random.Random(seed), 1970, 1 + seed % 17)
        head, *seasons, totals = player.table(width)
        assert len(seasons) == 1 + seed % 17
        assert head == COLUMNS[width]["pitcher" if player.position == "Pitcher" else "batter"]
        for column, name in enumerate(head):
            if name not in ("YR", "YEAR", "CLUB", "AVG", "ERA"):
                assert int(totals[column]) == sum(int(row[column]) for row in seasons)
        for row in (*seasons, totals):
            value = dict(zip(head, row, strict=True))
            if "AVG" in value:
                assert float(value["AVG"]) == pytest.approx(int(value["H"]) / int(value["AB"]), abs=0.00051)
                assert 0.15 < float(value["AVG"]) < 0.4
            if "ER" in value:
                assert float(value["ERA"]) == pytest.approx(9 * int(value["ER"]) / int(value["IP"]), abs=0.0051)
            if "2B" in value:
                assert int(value["2B"]) + int(value["3B"]) + int(value["HR"]) <= int(value["H"])
            if "W" in value:
                assert int(value["W"]) + int(value["L"]) <= int(value["G"])
        years = [season[0] for season in player.seasons]
        assert years == list(range(years[0], years[0] + len(years)))
        assert 1970 <= 1901 + years[-1] <= 1980


def test_sentences_are_whole_and_true():
    for seed in range(80):
        player = invent_player(random.Random(seed), 1960, 5)
        assert all(text[0].isupper() and text[-1] in ".!" and "{" not in text for text in player.sentences)
        for text in player.sentences:
            if " hit ." in text:
                year, average = text.split()[1], text.split(" hit ")[1].split()[0]
                assert any(row[0] == year and row[-1] == average for row in player.table("full"))
                assert average == max(row[-1] for row in player.table("full")[1:-1])


def inked_span(picture: np.ndarray, area: np.ndarray, axis: int) -> tuple[float, float, float, float]:
    """Edge of the card, begin and end of print, and the other edge, along an axis, through most of its lines."""
    solid = np.median(np.where(area > 0.5, 1.0, 0.0), axis=1 - axis) > 0.5
    grey = picture.astype(float).min(axis=2)
    paper = np.quantile(grey[area > 0.99], 0.9)
    inked = ((grey < 0.75 * paper) & (area > 0.99)).mean(axis=1 - axis) > 0.6
    edges, print_ = np.flatnonzero(solid), np.flatnonzero(inked)
    return edges[0], print_[0], print_[-1] + 1, edges[-1] + 1


def test_centering_is_that_of_the_printed_frame():
    """Cards with a frame line, measured on the picture at 700x500: within two pixels of some twenty-five."""
    measured = []
    for seed in range(400, 900, 125):
        for name in ("checklist", "gazette"):
            picture, area, about = of_layout(name, (700, 500), seed)
            for axis, key in ((1, "left_right"), (0, "top_bottom")):
                edge, first, last, other = inked_span(picture, area, axis)
                share = 100 * (first - edge) / (first - edge + other - last)
                measured.append(share - about["centering"][key][0])
                assert sum(about["centering"][key]) == pytest.approx(100)
    assert np.abs(measured).max() < 4
    assert abs(np.mean(measured)) < 1


def test_centering_varies_and_stays_on_the_card():
    shares = [print_card(seed, (40, 32), tuple(STYLES))[2]["centering"]["left_right"][0] for seed in range(80)]
    assert min(shares) > 5
    assert max(shares) < 95
    assert np.std(shares) > 5


@pytest.mark.parametrize("name", LAYOUTS)
def test_elements_lie_on_the_card_and_hold_print(name):
    for size in ((320, 256), (80, 64)):
        picture, area, about = of_layout(name, size, 3)
        elements = about["elements"]
        assert len(elements["name"]) == len(elements["bbox"]) >= 3
        assert "number" in elements["name"]
        for box in elements["bbox"]:
            left, top, width, height = box
            assert min(left, top) >= 0
            assert left + width <= size[1]
            assert top + height <= size[0]
            assert min(width, height) >= 1
            assert area[top : top + height, left : left + width].mean() > 0.9
            if size[0] == 320:
                inside = picture[top : top + height, left : left + width].astype(float)
                assert inside.std(axis=(0, 1)).max() > 12, (box, elements)


def test_a_box_turns_with_its_picture():
    sheet = np.zeros((30, 50), bool)
    sheet[4:9, 11:31] = True
    for turned in (0, 90, 270):
        down, across = np.nonzero(np.rot90(sheet, turned // 90))
        expected = (across.min(), down.min(), across.max() + 1, down.max() + 1)
        assert turn_box((11, 4, 31, 9), turned, 50, 30) == expected


def test_a_sheet_is_drawn(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks/sheet.py"
    command = [sys.executable, str(script), str(tmp_path / "sheet.png"), "--count", "3", "--size", "40", "32"]
    subprocess.run([*command, "--columns", "2"], check=True, capture_output=True)
    assert Image.open(tmp_path / "sheet.png").size == (88, 104)


@pytest.mark.parametrize("size", SIZES)
def test_any_size(size):
    for seed in range(12 if max(size) < 300 else 3):
        picture, area, about = print_card(seed, size, tuple(STYLES))
        assert picture.shape == (*size, 3)
        assert picture.dtype == np.uint8
        assert area.shape == size
        assert area.dtype == np.float32
        assert 0 <= area.min() < area.max() <= 1
        assert json.loads(json.dumps(about)) == about


def test_three_hundred_cards():
    for seed in range(300):
        picture, _, about = print_card(seed, (80, 64), tuple(STYLES))
        assert picture.std() > 10
        assert about["jpeg_quality"] is None


def test_the_same_seed_is_the_same_card():
    for size in ((80, 64), (160, 128), (350, 250)):
        first = print_card(9, size, ("b", "c"))
        print_card(10, size, ("b", "c"))
        again = print_card(9, size, ("b", "c"))
        assert first[0].tobytes() == again[0].tobytes()
        assert first[1].tobytes() == again[1].tobytes()
        assert first[2] == again[2]


def test_a_seed_is_one_card_at_any_size():
    small, large = (print_card(21, size, ("b",))[2] for size in ((80, 64), (320, 256)))
    for key in ("style", "layout", "stock", "inks", "player", "wear", "toning", "light"):
        assert small[key] == large[key]
    for key in ("left_right", "top_bottom"):
        assert small["centering"][key][0] == pytest.approx(large["centering"][key][0], abs=4)


def test_a_halftone_inks_its_tone():
    """Dots where they can be seen, a flat tone elsewhere; the ink is the same."""
    for size, flat in (((80, 64), True), ((700, 500), False)):
        for tone in (0.15, 0.35, 0.85):
            press = Press(size, STYLES["a"].faces)
            press.box(BAND, (0.1, 0.1, 0.9, 0.9), tone=tone)
            ink = press.coverage(BAND, (0, 0))
            inside = ink[int(0.3 * size[1]) : int(0.7 * size[1]), int(0.3 * size[1]) : int(0.7 * size[1])]
            assert inside.mean() == pytest.approx(tone, abs=0.02)
            assert (inside.std() < 0.01) == flat


def test_upside_down_type_is_type_turned():
    press = Press((250, 200), STYLES["a"].faces)
    press.text(KEY, (0.5, 0.3), "ANSWER", 0.1, anchor="mm", element="first")
    press.text(KEY, (0.5, 0.9), "ANSWER", 0.1, anchor="mm", element="second", turned=True)
    cuts = []
    for _, left, top, right, bottom in press.elements:
        corners = [round(press.pad + value * scale) for value, scale in
                   ((left, press.across), (top, press.down), (right, press.across), (bottom, press.down))]  # fmt: skip
        cuts.append(np.asarray(press.plates[KEY].crop(corners), float))
    upright, turned = cuts
    assert upright.max() == 255
    same = np.asarray(Image.fromarray(upright).resize(turned.shape[::-1]))
    assert np.corrcoef(same.ravel(), np.rot90(turned, 2).ravel())[0, 1] > 0.9
    assert np.corrcoef(same.ravel(), turned.ravel())[0, 1] < 0.8
