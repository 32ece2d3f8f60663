"""The check of a card folder finds every problem, and nothing where there is none."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pictures import deep_png, png, raw_png, save, speckled, spot, write_rows

from cardsynth.cards import read_cards
from cardsynth.check import check_folder
from cardsynth.faults import Problem
from cardsynth.folder import CardError, CardWriter

SIZE = (24, 16)


def found(folder: Path, *known_labels: str) -> list[tuple[str, str]]:
    return [(problem.level, problem.file) for problem in check_folder(folder, known_labels).problems]


def only(folder: Path, *known_labels: str) -> Problem:
    problems = check_folder(folder, known_labels).problems
    assert len(problems) == 1, problems
    return problems[0]


@pytest.fixture
def flat(tmp_path):
    """Three good pictures without labels or masks."""
    for seed in range(3):
        save(speckled(seed), tmp_path / f"{seed}.png")
    return tmp_path


@pytest.fixture
def labelled(tmp_path):
    """Four good cards with masks, labels and metadata, as the package writes them."""
    with CardWriter(tmp_path) as writer:
        for seed, label in enumerate(("SMALL", "LIGHT") * 2):
            name = f"{label}/{seed:06d}.png"
            row = {"file_name": name, "mask_file_name": f"masks/{name}", "label": label}
            writer.add(row, png(speckled(seed)), png(spot()))
    return tmp_path


def rows_of(folder: Path) -> list[str]:
    return (folder / "metadata.jsonl").read_text().splitlines()


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


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "broken header", "truncated tiff"])
def test_undecodable_pictures(flat, damage):
    whole = png(speckled(9))
    path = flat / "bad.png"
    if damage == "truncated tiff":
        path = save(speckled(9), flat / "bad.tif")
        path.write_bytes(path.read_bytes()[:-300])
    else:
        broken = whole[:16] + b"\xff" * 20 + whole[36:]
        content = {"empty": b"", "text": b"hello", "truncated": whole[: len(whole) // 2], "broken header": broken}
        path.write_bytes(content[damage])
    problem = only(flat)
    assert (problem.level, problem.file) == ("error", path.name)
    assert "remove it" in problem.remedy
    with pytest.raises(CardError, match=path.name):
        read_cards(flat, SIZE)


def test_damaged_bytes_never_crash(tmp_path):
    """Two hundred files with bytes turned at random: each is read or reported."""
    generator = np.random.default_rng(0)
    formats = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")
    for index in range(200):
        path = save(speckled(index), tmp_path / f"{index}.png", format=formats[index % len(formats)])
        content = bytearray(path.read_bytes())
        for place in generator.integers(0, min(len(content), 200), 6):
            content[place] = generator.integers(256)
        path.write_bytes(content)
    report = check_folder(tmp_path)
    undecoded = {problem.file for problem in report.problems if problem.level == "error"}
    assert report.sizes.total() + len(undecoded) == 200
    assert len(undecoded) > 20


def test_gigantic_pictures_are_not_decoded(flat):
    (flat / "bomb.png").write_bytes(raw_png(20_000, 20_000, 8, 2, b"\0" * 100))
    (flat / "large.png").write_bytes(raw_png(10_000, 10_000, 8, 2, b"\0" * 100))
    tracemalloc.start()
    problems = check_folder(flat).problems
    assert [(problem.level, problem.file) for problem in problems] == [("error", "bomb.png"), ("error", "large.png")]
    assert all("gigantic" in problem.reason for problem in problems)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_mask_of_another_size(labelled):
    save(spot((12, 16)), labelled / "masks/SMALL/000000.png")
    problem = only(labelled)
    assert (problem.level, problem.file) == ("error", "masks/SMALL/000000.png")
    assert "12x16" in problem.reason
    assert "24x16" in problem.reason


def test_undecodable_mask(labelled):
    (labelled / "masks/SMALL/000000.png").write_bytes(b"")
    assert found(labelled) == [("error", "masks/SMALL/000000.png")]


def test_mask_with_other_values(labelled):
    save(spot().point(lambda value: 200 if value else 3), labelled / "masks/SMALL/000000.png")
    assert found(labelled) == [("warning", "masks/SMALL/000000.png")]


def test_mask_that_would_read_as_empty(labelled):
    save(spot().point(lambda value: 1 if value else 0), labelled / "masks/SMALL/000000.png")
    problem = only(labelled)
    assert (problem.level, problem.file) == ("error", "masks/SMALL/000000.png")
    assert read_cards(labelled, SIZE).pixels[2, 3].max() == 0


def test_mask_without_card(tmp_path):
    for seed in range(2):
        save(speckled(seed), tmp_path / f"images/SMALL/{seed}.png")
        save(spot(), tmp_path / f"masks/SMALL/{seed}.png")
    save(spot(), tmp_path / "masks/SMALL/7.png")
    assert found(tmp_path) == [("warning", "masks/SMALL/7.png")]


def test_mask_without_row(labelled):
    save(spot(), labelled / "masks/SMALL/000077.png")
    assert found(labelled) == [("warning", "masks/SMALL/000077.png")]


def test_card_without_mask(tmp_path):
    for seed in range(3):
        save(speckled(seed), tmp_path / f"SMALL/{seed}.png")
    for seed in range(2):
        save(spot(), tmp_path / f"masks/SMALL/{seed}.png")
    assert found(tmp_path) == [("error", "SMALL/2.png")]
    with pytest.raises(CardError, match=r"SMALL/2\.png has no mask"):
        read_cards(tmp_path, SIZE)


def test_row_without_picture(labelled):
    (labelled / "SMALL/000002.png").unlink()
    assert found(labelled) == [("error", "SMALL/000002.png")]


def test_row_without_mask_file(labelled):
    (labelled / "masks/SMALL/000002.png").unlink()
    assert found(labelled) == [("error", "masks/SMALL/000002.png")]


def test_picture_without_row(labelled):
    save(speckled(9), labelled / "extra card.png")
    assert found(labelled) == [("warning", "extra card.png")]


def test_what_an_interrupted_writer_leaves(labelled):
    (labelled / "SMALL/.000010.png.tmp").write_bytes(png(speckled(10))[:50])
    save(speckled(11), labelled / "SMALL/000011.png")
    assert found(labelled) == [("warning", "SMALL/.000010.png.tmp"), ("warning", "SMALL/000011.png")]


def test_two_rows_of_one_picture(labelled):
    lines = rows_of(labelled)
    write_rows(labelled, *lines, lines[0].replace("SMALL/", "./SMALL/", 1))
    problem = only(labelled)
    assert (problem.level, problem.file) == ("error", "SMALL/000000.png")
    assert "lines 1 and 5" in problem.reason


@pytest.mark.parametrize(
    "line",
    [
        '{"file_name": "x.png"',
        '"text"',
        '{"label": "SMALL"}',
        '{"file_name": 3}',
        '{"file_name": "x.png", "mask_file_name": ["y.png"]}',
        '{"file_name": "x.png", "label": {"a": 1}}',
        '{"file_name": "x.png", "text": 5}',
        "[" * 100_000,
    ],
    ids=["torn", "no row", "no name", "name", "mask", "label", "text", "deep"],
)
def test_bad_rows(labelled, line):
    lines = rows_of(labelled)
    write_rows(labelled, *lines[:2], line, *lines[2:])
    problem = only(labelled)
    assert (problem.level, problem.file) == ("error", "metadata.jsonl")
    assert problem.reason.startswith("line 3: ")
    assert problem.remedy
    with pytest.raises(CardError, match=r"metadata\.jsonl, line 3"):
        read_cards(labelled, SIZE)


def test_metadata_that_is_not_utf_8(flat):
    (flat / "metadata.jsonl").write_bytes(b'{"file_name": "0.png"}\n{"file_name": "\xe9.png"}\n')
    problems = check_folder(flat).problems
    assert problems[1].file == "metadata.jsonl"
    assert problems[1].reason.startswith("line 2: not UTF-8")


def test_csv_faults(flat):
    (flat / "metadata.csv").write_text('file_name,text\n0.png,a card\n1.png,torn, in two\n2.png,"one, whole"\n')
    report = check_folder(flat)
    assert [(problem.level, problem.file) for problem in report.problems] == [
        ("error", "metadata.csv"),
        ("warning", "1.png"),
    ]
    assert report.problems[0].reason.startswith("line 3: more cells")


def test_unlabelled_row(labelled):
    save(speckled(9), labelled / "9.png")
    save(spot(), labelled / "masks/9.png")
    write_rows(labelled, *rows_of(labelled), {"file_name": "9.png", "mask_file_name": "masks/9.png"})
    assert found(labelled) == [("error", "9.png")]
    with pytest.raises(CardError, match=r"9\.png has no label"):
        read_cards(labelled, SIZE)


def test_unlabelled_picture_beside_class_folders(tmp_path):
    for name in ("SMALL/0.png", "LIGHT/1.png", "2.png"):
        save(speckled(ord(name[0])), tmp_path / name)
    assert found(tmp_path) == [("warning", "2.png")]


def test_picture_beside_images(tmp_path):
    for seed, name in enumerate(("images/A/0.png", "images/B/1.png", "2.png")):
        save(speckled(seed), tmp_path / name)
    assert found(tmp_path) == [("warning", "2.png")]


def test_unknown_labels(labelled):
    problems = check_folder(labelled, ("SMALL", "CLEAN")).problems
    assert [(problem.level, problem.file) for problem in problems] == [
        ("error", "LIGHT/000001.png"),
        ("error", "LIGHT/000003.png"),
    ]
    assert "SMALL, CLEAN" in problems[0].reason


def test_labels_that_differ_by_case_or_spaces(flat):
    labels = ("White Marks", "WHITE_MARKS", "WHITE_MARKS")
    write_rows(flat, *({"file_name": f"{seed}.png", "label": label} for seed, label in enumerate(labels)))
    problem = only(flat)
    assert (problem.level, problem.file) == ("warning", "0.png")
    assert "'White Marks'" in problem.reason
    assert found(flat, "WHITE_MARKS") == [("error", "0.png")]


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


def test_one_colour(flat):
    save(Image.new("RGB", (16, 24), (200, 10, 10)), flat / "red.jpg", quality=95)
    assert found(flat) == [("warning", "red.jpg")]


def as_gif(path: Path) -> Path:
    frames = [speckled(seed).quantize() for seed in (8, 9)]
    return save(frames[0], path, save_all=True, append_images=frames[1:])


MODES = {
    "grey 16 bit": (lambda p: save(Image.fromarray(np.arange(384, dtype=np.uint16).reshape(24, 16) * 170), p), ["16 bits"]),
    "RGB 16 bit": (lambda p: p.write_bytes(deep_png(40_000)), ["16 bits"]),
    "float": (lambda p: save(speckled(9).convert("F"), p.with_suffix(".tif")), ["16 bits"]),
    "CMYK": (lambda p: save(speckled(9).convert("CMYK"), p.with_suffix(".jpg")), ["CMYK"]),
    "palette": (lambda p: save(speckled(9).quantize(), p), ["palette"]),
    "alpha": (lambda p: save(speckled(9).convert("RGBA"), p), ["laid on white"]),
    "grey and alpha": (lambda p: save(speckled(9).convert("LA"), p), ["laid on white"]),
    "see-through colour": (lambda p: save(speckled(9), p, transparency=(1, 2, 3)), ["laid on white"]),
    "animated": (lambda p: as_gif(p.with_suffix(".gif")), ["palette", "2 pictures"]),
    "pages": (lambda p: save(speckled(8), p.with_suffix(".tif"), save_all=True, append_images=[speckled(9)]), ["2 pict"]),
    "grey": (lambda p: save(speckled(9).convert("L"), p), []),
    "progressive JPEG": (lambda p: save(speckled(9), p.with_suffix(".jpg"), progressive=True), []),
}


@pytest.mark.parametrize("mode", MODES)
def test_what_reading_changes(flat, mode):
    make, reasons = MODES[mode]
    make(flat / "odd.png")
    problems = check_folder(flat).problems
    assert len(problems) == len(reasons)
    for problem, reason in zip(problems, reasons, strict=True):
        assert problem.level == "warning"
        assert problem.file.startswith("odd.")
        assert reason in problem.reason
    assert len(read_cards(flat, SIZE)) == 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_by_exif_is_no_problem(flat, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(speckled(9, SIZE if orientation < 5 else SIZE[::-1]), flat / "turned.jpg", exif=exif)
    assert check_folder(flat).problems == []
    assert check_folder(flat).sizes == {SIZE: 4}


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


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("links need rights here")


def test_links(flat, tmp_path_factory):
    outside = save(speckled(9), tmp_path_factory.mktemp("outside") / "9.png")
    link(flat / "away.png", outside)
    link(flat / "broken.png", flat / "gone.png")
    link(flat / "loop.png", flat / "loop.png")
    link(flat / "folder", outside.parent)
    problems = check_folder(flat).problems
    assert [(problem.level, problem.file) for problem in problems] == [
        ("error", "away.png"),
        ("error", "broken.png"),
        ("error", "folder"),
        ("error", "loop.png"),
    ]
    assert "outside" in problems[0].reason
    assert "broken link" in problems[1].reason


def test_link_inside_the_folder_is_read(flat):
    (flat / ".store").mkdir()
    save(speckled(9), flat / ".store/9.png")
    link(flat / "9.png", flat / ".store/9.png")
    assert check_folder(flat).problems == []
    assert check_folder(flat).cards == 4


@pytest.mark.parametrize("absolute", [False, True])
def test_rows_that_lead_outside(labelled, tmp_path_factory, absolute):
    outside = save(speckled(9), tmp_path_factory.mktemp("outside") / "9.png")
    name = str(outside) if absolute else os.path.relpath(outside, labelled)
    row = {"file_name": name, "mask_file_name": "masks/SMALL/000000.png", "label": "SMALL"}
    write_rows(labelled, *rows_of(labelled), row)
    problem = only(labelled)
    assert (problem.level, problem.file) == ("error", name)
    assert "outside" in problem.reason


@pytest.mark.parametrize("name", ["", ".", "SMALL", "a\0b.png", "x" * 5000, "\ud800.png"])
def test_rows_of_impossible_names(labelled, name):
    lines = rows_of(labelled)
    row = '{"file_name": "%s", "label": "SMALL", "mask_file_name": "masks/SMALL/000000.png"}'
    write_rows(labelled, *lines, row % name.encode("unicode_escape").decode().replace("\\x00", "\\u0000"))
    problem = only(labelled)
    assert problem.level == "error"
    check_folder(labelled).text().encode()


def test_formats_that_are_not_read(flat):
    (flat / "phone.HEIC").write_bytes(b"")
    (flat / "notes.txt").write_text("no picture")
    (flat / ".DS_Store").write_bytes(b"")
    (flat / "._0.png").write_bytes(b"")
    assert found(flat) == [("warning", "phone.HEIC")]


def test_figures_of_an_evaluation_are_no_cards(labelled, flat):
    save(speckled(9), labelled / "evaluation/grid.png")
    save(speckled(9), flat / "evaluation/grid.png")
    (flat / "README.md").write_text("about")
    assert not [problem for problem in check_folder(labelled).problems if "evaluation" in problem.file]


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


def test_memory_does_not_grow_with_the_count(tmp_path):
    """A picture takes 270 kB once decoded; what is kept of 60 of them stays far below that of ten."""
    for seed in range(60):
        save(speckled(seed, (300, 300)), tmp_path / f"{seed}.bmp")
    check_folder(tmp_path)
    tracemalloc.start()
    report = check_folder(tmp_path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.cards == 60
    assert kept < 500_000
