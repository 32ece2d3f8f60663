"""The check of a card folder finds what is wrong in its metadata: every row, and what has none."""

import json
import os

import pytest
from pictures import found, only, png, rows_of, save, speckled, spot, write_rows

from cardsynth.cards.check import check_folder
from cardsynth.cards.dataset import read_cards
from cardsynth.cards.folder import CardError

SIZE = (24, 16)


def test_mask_without_row(labelled):
    save(spot(), labelled / "masks/SMALL/000077.png")
    assert found(labelled) == [("warning", "masks/SMALL/000077.png")]


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


def with_twins(labelled) -> None:
    """The folder's rows name a twin and a soft mask each."""
    rows = [json.loads(line) for line in rows_of(labelled)]
    for seed, row in enumerate(rows):
        row["twin_file_name"], row["soft_mask_file_name"] = f"twins/{seed}.png", f"soft_masks/{seed}.png"
        save(speckled(20 + seed), labelled / row["twin_file_name"])
        save(speckled(30 + seed).convert("L"), labelled / row["soft_mask_file_name"])
    write_rows(labelled, *rows)


def test_further_pictures_of_a_row_are_looked_at(labelled):
    with_twins(labelled)
    assert found(labelled) == []
    save(speckled(9, (12, 16)), labelled / "twins/0.png")
    (labelled / "twins/1.png").unlink()
    save(speckled(9), labelled / "soft_masks/9.png")
    assert found(labelled) == [
        ("error", "twins/0.png"),
        ("error", "twins/1.png"),
        ("warning", "soft_masks/9.png"),
    ]


def test_further_pictures_are_no_cards_without_metadata(labelled):
    with_twins(labelled)
    (labelled / "metadata.jsonl").unlink()
    assert len(read_cards(labelled, SIZE)) == 4
    assert set(read_cards(labelled, SIZE).label_names) == {"SMALL", "LIGHT"}


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
        '{"file_name": "x.png", "twin_file_name": 7}',
        '{"file_name": "x.png", "text": 5}',
        "[" * 100_000,
    ],
    ids=["torn", "no row", "no name", "name", "mask", "label", "twin", "text", "deep"],
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
