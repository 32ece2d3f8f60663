"""The check of a card folder finds every problem, and nothing where there is none."""

import os
from pathlib import Path

import pytest
from pictures import deep_png, found, only, rows_of, save, speckled, spot, write_rows
from PIL import Image

from cardsynth.cards.check import check_folder
from cardsynth.cards.dataset import read_cards
from cardsynth.cards.folder import CardError

SIZE = (24, 16)


def test_clean_folders_have_no_problems(labelled):
    report = check_folder(labelled, ("SMALL", "LIGHT", "CLEAN"))
    assert report.problems == []
    assert report.ok
    assert (report.cards, report.masks, report.classes) == (4, 4, {"LIGHT": 2, "SMALL": 2})
    assert report.sizes == {SIZE: 4}
    assert "Problems: none" in report.text()


def test_class_folders_that_are_gathered_again_have_no_problems(tmp_path):
    for seed, label in enumerate(("SMALL", "LIGHT") * 2):
        save(speckled(seed), tmp_path / label / f"{seed}.png")
        save(speckled(seed), tmp_path / "ALL_GUM_STAIN_CARDS" / f"{seed}.png")
        save(spot(), tmp_path / "masks" / label / f"{seed}.png")
    report = check_folder(tmp_path)
    assert report.problems == []
    assert (report.cards, report.masks, report.classes) == (4, 4, {"LIGHT": 2, "SMALL": 2})


def test_no_folder(flat):
    with pytest.raises(CardError, match="no folder"):
        check_folder(flat / "nowhere")
    with pytest.raises(CardError, match="no folder"):
        check_folder(flat / "0.png")


def test_mask_without_card(tmp_path):
    for seed in range(2):
        save(speckled(seed), tmp_path / f"images/SMALL/{seed}.png")
        save(spot(), tmp_path / f"masks/SMALL/{seed}.png")
    save(spot(), tmp_path / "masks/SMALL/7.png")
    problem = only(tmp_path)
    assert (problem.level, problem.file) == ("warning", "masks/SMALL/7.png")
    assert "without a card" in problem.reason


def test_card_without_mask(tmp_path):
    for seed in range(3):
        save(speckled(seed), tmp_path / f"SMALL/{seed}.png")
    for seed in range(2):
        save(spot(), tmp_path / f"masks/SMALL/{seed}.png")
    assert found(tmp_path) == [("error", "SMALL/2.png")]
    with pytest.raises(CardError, match=r"SMALL/2\.png has no mask"):
        read_cards(tmp_path, SIZE)


def test_unlabelled_picture_beside_class_folders(tmp_path):
    for name in ("SMALL/0.png", "LIGHT/1.png", "2.png"):
        save(speckled(ord(name[0])), tmp_path / name)
    assert found(tmp_path) == [("warning", "2.png")]


def test_picture_beside_images(tmp_path):
    for seed, name in enumerate(("images/A/0.png", "images/B/1.png", "2.png")):
        save(speckled(seed), tmp_path / name)
    assert found(tmp_path) == [("warning", "2.png")]


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_pictures(tmp_path, count):
    for seed in range(count):
        save(speckled(seed), tmp_path / f"{seed}.png")
    problem = only(tmp_path)
    assert (problem.level, problem.file) == ("error", ".")
    assert f"{count} readable" in problem.reason


def test_duplicates(flat):
    (flat / "same bytes.png").write_bytes((flat / "0.png").read_bytes())
    save(speckled(1), flat / "same pixels.bmp")
    problems = check_folder(flat).problems
    assert [(problem.level, problem.file) for problem in problems] == [
        ("warning", "same bytes.png"),
        ("warning", "same pixels.bmp"),
    ]
    assert "0.png" in problems[0].reason
    assert "1.png" in problems[1].reason


def test_duplicates_with_two_labels(tmp_path):
    for seed, name in enumerate(("LIGHT/0.png", "SMALL/1.png")):
        save(speckled(seed), tmp_path / name)
    save(speckled(0), tmp_path / "SMALL/0.png")
    assert found(tmp_path) == [("error", "SMALL/0.png")]


def test_landscape_among_portrait(flat):
    save(speckled(9, SIZE[::-1]), flat / "lying.png")
    problem = only(flat)
    assert (problem.level, problem.file) == ("warning", "lying.png")
    assert "3 portrait, 1 landscape" in check_folder(flat).text()


def test_mixed_shapes_are_reported_once(flat):
    save(speckled(8, (24, 20)), flat / "wide.png")
    save(speckled(9, (24, 23)), flat / "wider.png")
    assert found(flat) == [("warning", ".")]


def test_scans_cropped_by_hand_are_not_mixed(tmp_path):
    for seed in range(4):
        save(speckled(seed, (240 + seed, 170 - seed)), tmp_path / f"{seed}.png")
    assert check_folder(tmp_path).problems == []


def test_names_with_spaces_and_letters_of_all_kinds_work(tmp_path):
    names = ("Größe 1.png", "卡片 (2).PNG", "kärtchen 🎴.png", "a;b,c'd.png")
    for seed, name in enumerate(names):
        save(speckled(seed), tmp_path / name)
    assert check_folder(tmp_path).problems == []
    write_rows(tmp_path, *({"file_name": name, "label": "é"} for name in names))
    assert check_folder(tmp_path).problems == []
    assert len(read_cards(tmp_path, SIZE)) == 4


@pytest.mark.parametrize("names", [("card.png", "CARD.png"), ("caf\u00e9.png", "cafe\u0301.png")])
def test_names_that_clash(tmp_path, names):
    for seed, name in enumerate((*names, "other.png")):
        save(speckled(seed), tmp_path / name)
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system holds one file of the two")
    assert found(tmp_path) == [("warning", sorted(names)[1])]


def test_name_that_is_no_text(tmp_path, flat):
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\n.png")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system refuses such a name")
    text = check_folder(flat).text()
    assert len([line for line in text.encode().splitlines() if b"  caf" in line]) == 1


def test_formats_that_are_not_read(flat):
    (flat / "phone.HEIC").write_bytes(b"")
    (flat / "notes.txt").write_text("no picture")
    (flat / ".DS_Store").write_bytes(b"")
    (flat / "._0.png").write_bytes(b"")
    assert found(flat) == [("warning", "phone.HEIC")]


def test_figures_of_an_evaluation_are_no_cards(labelled):
    save(speckled(9), labelled / "report/grid.png")
    (labelled / "README.md").write_text("about")
    assert found(labelled) == []
    (labelled / "metadata.jsonl").unlink()
    assert found(labelled) == []


def test_train_folder(tmp_path):
    for seed in range(2):
        save(speckled(seed), tmp_path / f"train/SMALL/{seed}.png")
    (tmp_path / "train/SMALL/bad.png").write_bytes(b"")
    assert found(tmp_path) == [("error", "train/SMALL/bad.png")]


def test_all_problems_at_once(labelled, tmp_path_factory):
    """Nothing hides behind something else."""
    row = {"label": "SMALL", "mask_file_name": "masks/SMALL/000000.png"}
    outside = save(speckled(90), tmp_path_factory.mktemp("outside") / "90.png")
    names = ("text", "gone", "grey", "lying", "wide", "deep", "alpha")
    rows = [row | {"file_name": f"{name}.png"} for name in names]
    rows += [row | {"file_name": "odd.png", "label": "Small"}, {"file_name": "bare.png"}]
    rows += [row | {"file_name": str(outside)}, row | {"file_name": "LIGHT/000001.png"}, "{torn"]
    write_rows(labelled, *rows_of(labelled), *rows)
    (labelled / "text.png").write_text("hello")
    (labelled / ".x.png.tmp").write_text("")
    (labelled / "deep.png").write_bytes(deep_png(30_000))
    (labelled / "masks/LIGHT/000001.png").write_bytes(b"")
    save(Image.new("RGB", (16, 24), "grey"), labelled / "grey.png")
    save(speckled(21, (16, 24)), labelled / "lying.png")
    save(speckled(22, (24, 22)), labelled / "wide.png")
    save(speckled(23).convert("RGBA"), labelled / "alpha.png")
    save(speckled(24), labelled / "odd.png")
    save(speckled(0), labelled / "bare.png")
    save(spot(), labelled / "masks/alone.png")
    save(speckled(25), labelled / "no row.png")
    report = check_folder(labelled, ("SMALL", "LIGHT"))
    assert sorted((problem.level, problem.file) for problem in report.problems) == sorted(
        [
            ("error", "text.png"),
            ("error", "gone.png"),
            ("error", str(outside)),
            ("error", "LIGHT/000001.png"),  # two rows
            ("error", "metadata.jsonl"),
            ("error", "masks/LIGHT/000001.png"),
            *[("error", "masks/SMALL/000000.png")] * 2,  # of another size than lying.png, and than wide.png
            ("error", "odd.png"),  # unknown label
            *[("error", "bare.png")] * 3,  # neither label nor mask, and the picture of a labelled card
            ("warning", "."),  # mixed shapes
            ("warning", ".x.png.tmp"),
            ("warning", "grey.png"),
            ("warning", "lying.png"),
            ("warning", "deep.png"),
            ("warning", "alpha.png"),
            ("warning", "masks/alone.png"),
            ("warning", "no row.png"),
        ]
    )
    assert not report.ok
    lines = report.text().splitlines()
    for problem in report.problems:
        told = [line for line in lines if all(part in line for part in (problem.file, problem.reason, problem.remedy))]
        assert len(told) == 1
        assert problem.level in told[0]


def test_text_shows_rare_classes(tmp_path):
    for seed in range(8):
        save(speckled(seed), tmp_path / ("SMALL" if seed else "CLEAN") / f"{seed}.png")
    lines = check_folder(tmp_path).text().splitlines()
    assert "8 cards" in lines[0]
    (clean,) = [line for line in lines if "CLEAN" in line]
    (small,) = [line for line in lines if "SMALL" in line]
    assert "12.5%" in clean
    assert "rare" in clean
    assert "87.5%" in small
    assert "rare" not in small
