"""Ratings written, read, and read wrongly."""

import math

import numpy as np
import pytest

from cardsynth.evaluation.similarity.tables import (
    Pair,
    Rating,
    RatingError,
    read_ratings,
    read_table,
    tabulate,
    write_ratings,
)

PAIRS = [Pair(f"pair {place}", "a, clean.png", f"ö{place}.png") for place in range(5)]
WIDE = """first,second,lpips,mse,ssim,rater_1,rater_2
1,10,0.5,0.01,0.8,0.4,0.3
2,10,0.4,0.02,0.7,0.6,
2,3,0.3,0.03,0.9,0.5,0.4
3,4,0.2,0.05,0.6,,
"""


def write(path, text, **how):
    path.write_text(text, **how)
    return path


def test_what_is_written_is_read_again(tmp_path):
    ratings = [Rating(pair, rater, value) for pair in PAIRS for rater, value in (("ann", 7.0), ("bo", 1 / 3))]
    content = write_ratings(tmp_path / "new/all.csv", ratings)
    assert read_ratings(tmp_path / "new/all.csv") == ratings
    assert content == (tmp_path / "new/all.csv").read_bytes()
    assert content.startswith(b"pair,first,second,rater,rating\npair 0,")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["all.csv"]


def test_a_file_is_not_overwritten_unasked(tmp_path):
    path = write(tmp_path / "kept.csv", "mine")
    with pytest.raises(RatingError, match=r"kept\.csv exists already"):
        write_ratings(path, [])
    assert path.read_text() == "mine"
    write_ratings(path, [Rating(PAIRS[0], "ann", 3)], overwrite=True)
    assert read_ratings(path) == [Rating(PAIRS[0], "ann", 3.0)]


def test_a_folder_is_all_its_files(tmp_path):
    for rater in ("bo", "ann"):
        write_ratings(tmp_path / f"{rater}.csv", [Rating(PAIRS[0], rater, 3.0)])
    write(tmp_path / ".bo.csv.tmp", "half")
    write(tmp_path / "notes.txt", "not ratings")
    assert [rating.rater for rating in read_ratings(tmp_path)] == ["ann", "bo"]
    assert read_ratings(tmp_path / "..") == []


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "has no column pair, first, second, rater, rating"),
        ("pair;first\n", "has no column pair, .*its first line is 'pair;first'"),
        ("pair,first,second,rater,rating,rater\n", "two columns rater"),
        (
            "pair,first,second,rater,rating\n1,a,b,ann,5\n2,a,c,ann\n",
            "line 3: differs from the first line in the number of cells",
        ),
        (
            "pair,first,second,rater,rating\n1,a,b,ann,5,6\n",
            "line 2: differs from the first line in the number of cells",
        ),
        ("pair,first,second,rater,rating\n1,a,b,,5\n", "line 2: rater is empty"),
        ("pair,first,second,rater,rating\n1,a,b,ann,high\n", "line 2: rating is 'high'; write it as a number"),
        ("pair,first,second,rater,rating\n1,a,b,ann,nan\n", "line 2: rating is 'nan'"),
        ("pair,first,second,rater,rating\n1,a,b,ann,5\n1,a,c,bo,5\n", "line 3: pair '1' has other pictures"),
        ("pair,first,second,rater,rating\n1,a,b,ann,5\n1,a,b,ann,6\n", "line 3: ann rated pair '1' before"),
        ('pair,first,second,rater,rating\n"1,a,b,ann,5\n', "is not CSV"),
    ],
)
def test_faults_are_named_with_their_line(tmp_path, text, fault):
    with pytest.raises(RatingError, match=rf"faulty\.csv.*{fault}"):
        read_ratings(write(tmp_path / "faulty.csv", text))


def test_files_that_are_no_text_or_not_there(tmp_path):
    with pytest.raises(RatingError, match=r"none\.csv: cannot be read \(No such file"):
        read_ratings(tmp_path / "none.csv")
    with pytest.raises(RatingError, match="is not UTF-8 text"):
        read_ratings(write(tmp_path / "latin.csv", "pair,first,second,rater,rating\nö", encoding="latin-1"))


def test_spaces_and_a_mark_before_the_text_do_no_harm(tmp_path):
    text = "pair, first, second, rater, rating\r\n1, a b.png, c.png, ann, 5\r\n"
    found = read_ratings(write(tmp_path / "excel.csv", text, encoding="utf-8-sig", newline=""))
    assert found == [Rating(Pair("1", "a b.png", "c.png"), "ann", 5.0)]


def test_a_table_of_ratings():
    ratings = [Rating(PAIRS[place], "ann", place) for place in range(4)]
    ratings += [Rating(PAIRS[place], "bo", place + 1) for place in (3, 1)]
    table = tabulate(ratings, PAIRS, {"mse": np.arange(5) * 0.1})
    assert table.ratings["bo"].tolist() == pytest.approx([math.nan, 2, math.nan, 4, math.nan], nan_ok=True)
    assert table.people == pytest.approx([0, 1.5, 2, 3.5, math.nan], nan_ok=True)
    assert table.agreement().items == 2
    [correlation] = table.correlations()
    assert (correlation.count, correlation.value) == (4, pytest.approx(-1))
    some = table.take([3, 1])
    assert (some.pairs, some.ratings["bo"].tolist(), some.metrics["mse"].tolist()) == (
        (PAIRS[3], PAIRS[1]),
        [4, 2],
        pytest.approx([0.3, 0.1]),
    )


def test_a_table_without_ratings_knows_nothing_of_people():
    assert np.isnan(tabulate([], PAIRS).people).all()
    with pytest.raises(ValueError, match="at least two raters"):
        tabulate([], PAIRS).agreement()
    with pytest.raises(ValueError, match="at least four pairs"):
        tabulate([], PAIRS, {"mse": range(5)}).correlations()


def test_tables_of_other_pairs_are_refused():
    with pytest.raises(RatingError, match="none of the 2 pairs"):
        tabulate([Rating(PAIRS[4], "ann", 5)], PAIRS[:2])
    with pytest.raises(RatingError, match="rated pair 'pair 1' twice"):
        tabulate([Rating(PAIRS[1], "ann", 5), Rating(PAIRS[1], "ann", 6)], PAIRS)
    with pytest.raises(RatingError, match="mse has 2 values for 5 pairs"):
        tabulate([], PAIRS, {"mse": [1, 2]})


class TestWideTables:
    def test_raters_and_metrics_are_told_apart(self, tmp_path):
        table = read_table(write(tmp_path / "wide.csv", WIDE))
        assert table.pairs[0] == Pair("1-10", "1", "10")
        assert list(table.ratings) == ["rater_1", "rater_2"]
        assert table.ratings["rater_2"].tolist() == pytest.approx([0.3, math.nan, 0.4, math.nan], nan_ok=True)
        assert table.metrics["mse"].tolist() == [0.01, 0.02, 0.03, 0.05]
        assert list(table.metrics) == ["lpips", "mse", "ssim"]

    def test_raters_may_be_named(self, tmp_path):
        path = write(tmp_path / "wide.csv", WIDE.replace("rater_1,rater_2", "ann,bo"))
        assert list(read_table(path, raters=["bo", "ann"]).ratings) == ["bo", "ann"]
        with pytest.raises(RatingError, match=r"'ann' is a distance or a similarity is unknown.*name the columns"):
            read_table(path)
        with pytest.raises(RatingError, match="has no column cy; it has lpips, mse, ssim, ann, bo"):
            read_table(path, raters=["cy"])

    @pytest.mark.parametrize(
        ("old", "new", "fault"),
        [
            ("0.02", "", "line 3: mse is ''"),
            ("0.6,\n", "0.6,-\n", "line 3: rater_2 is '-'"),
            ("2,3,", "2,10,", "line 4: this pair occurs twice"),
            ("2,3,", ",3,", "line 4: first is empty"),
            (WIDE.partition("\n")[2], "", "contains no pairs"),
            ("first,", "one,", "has no column first"),
        ],
    )
    def test_faults_are_named_with_their_line(self, tmp_path, old, new, fault):
        with pytest.raises(RatingError, match=rf"wide\.csv.*{fault}"):
            read_table(write(tmp_path / "wide.csv", WIDE.replace(old, new, 1)))
