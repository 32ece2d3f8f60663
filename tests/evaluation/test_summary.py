"""Evaluations in short, and models side by side."""

import json

import pytest
from evaluations import made

from cardsynth.evaluation.summary import compare, in_short, read_evaluation


def row_of(table, question):
    (line,) = [line for line in table.splitlines() if line.startswith(question)]
    return line


def test_in_short():
    lines = {line.question: line.texts()[1:] for line in in_short(made(kid=0.1, copied=0.2))}
    assert lines["Of its class? (SVC)"][2] == "no difference shown"
    assert lines["Like real cards? (FD)"] == ("none", "none", "")
    assert lines["Like real cards? (KID)"] == ("0.100 [0.080, 0.120]", "0.000 [-0.020, 0.020]", "worse")
    assert lines["Copied? (near-copies by grey levels)"] == ("20.0 % [18.0, 22.0]", "1.0 % [-1.0, 3.0]", "worse")


def test_a_comparison_names_the_better_and_what_shows_nothing():
    table = compare({"one": made(0.90, 0.10), "two": made(0.91, 0.30), "three": made(0.80, 0.11)})
    assert row_of(table, "Of its class?").endswith("two better than three")
    assert row_of(table, "Like real cards? (KID)").endswith("one better than two")
    assert row_of(table, "Copied?").endswith("no difference shown")
    assert row_of(table, "Like real cards? (FD)").endswith("too few figures")
    assert "strictly" not in table


def test_what_was_measured_otherwise_is_not_compared():
    other = made(kid=0.5, net="[cardnet 77aa, 136-d, 400 vs 1000, 80x64]", real=500)
    table = compare({"one": made(), "two": other})
    assert "not comparable: [cardnet 3f9a" in row_of(table, "Like real cards? (KID)")
    assert "two: 500 real cards and 1000 held out, 80x64" in table


def test_what_cannot_be_compared_is_named(tmp_path):
    with pytest.raises(ValueError, match="at least two evaluations"):
        compare({"one": made()})
    with pytest.raises(ValueError, match=r"has no evaluation\.json: generate cards, .*cardsynth evaluate"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text(json.dumps({"accuracy": 0.5}))
    with pytest.raises(ValueError, match="is no evaluation of this version"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(ValueError, match="evaluate again"):
        read_evaluation(tmp_path)
    (tmp_path / "evaluation.json").write_text(json.dumps(made()))
    assert read_evaluation(tmp_path) == made()
