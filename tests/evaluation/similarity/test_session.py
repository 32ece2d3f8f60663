"""Rating sessions on disk, and the panel that is clicked through."""

import io
from collections import Counter

import numpy as np
import pytest
from pictures import save
from PIL import Image

from cardsynth.evaluation.similarity.panel import RatingPanel
from cardsynth.evaluation.similarity.session import RatingSession
from cardsynth.evaluation.similarity.tables import Pair, Rating, RatingError, read_ratings, write_ratings

PAIRS = [Pair(f"pair {place}", f"{place}.png", f"other {place}.png") for place in range(12)]


def names_in_order(session):
    """File names as they come, each pair rated as it is shown."""
    shown = []
    while not session.finished:
        shown.append(session.sides)
        session.rate(len(shown) % 11)
    return shown


class TestSession:
    def test_every_pair_comes_once_in_an_order_of_the_raters_own(self, tmp_path):
        shown = {}
        for rater, seed in (("ann", 0), ("bo", 0), ("ann", 1)):
            shown[rater, seed] = names_in_order(RatingSession(PAIRS, rater, tmp_path / str(seed), seed))
        for sides in shown.values():
            assert sorted(tuple(sorted(pair)) for pair in sides) == sorted((pair.first, pair.second) for pair in PAIRS)
        assert len({tuple(sides) for sides in shown.values()}) == 3
        again = names_in_order(RatingSession(PAIRS, "ann", tmp_path / "again", 0))
        assert again == shown["ann", 0]

    def test_sides_are_swapped_for_about_half_of_the_pairs(self, tmp_path):
        left = Counter()
        for seed in range(40):
            session = RatingSession(PAIRS[:1], "ann", tmp_path, seed)
            left[session.sides[0]] += 1
        assert 10 <= left["0.png"] <= 30
        assert set(left) == {"0.png", "other 0.png"}

    def test_it_goes_on_where_it_stopped(self, tmp_path):
        whole = names_in_order(RatingSession(PAIRS, "ann", tmp_path / "whole"))
        shown = []
        for _ in PAIRS:
            session = RatingSession(PAIRS, "ann", tmp_path / "broken")
            shown.append(session.sides)
            session.rate(len(shown) % 11)
        assert shown == whole
        assert RatingSession(PAIRS, "ann", tmp_path / "broken").finished
        assert (tmp_path / "broken/ann.csv").read_bytes() == (tmp_path / "whole/ann.csv").read_bytes()

    def test_each_rating_is_on_disk_before_the_next_pair_comes(self, tmp_path):
        session = RatingSession(PAIRS, "ann", tmp_path)
        assert list(tmp_path.iterdir()) == []
        for count in range(1, 4):
            session.rate(count)
            assert [rating.value for rating in read_ratings(session.path)] == list(range(1, count + 1))
            assert read_ratings(session.path) == session.ratings
        assert [path.name for path in tmp_path.iterdir()] == ["ann.csv"]

    def test_a_rating_can_be_mended_also_in_a_later_session(self, tmp_path):
        session = RatingSession(PAIRS, "ann", tmp_path)
        for value in (1, 2, 3):
            session.rate(value)
        upcoming = session.sides
        session = RatingSession(PAIRS, "ann", tmp_path)
        session.back()
        session.back()
        assert session.rating == 2
        session.rate(9)
        assert session.rating == 3
        session.rate(3)
        assert session.rating is None
        assert session.sides == upcoming
        assert [rating.value for rating in read_ratings(session.path)] == [1, 9, 3]
        for _ in range(20):
            session.back()
        assert session.place == 0

    def test_new_pairs_come_after_those_that_are_rated(self, tmp_path):
        first = names_in_order(RatingSession(PAIRS[:3], "ann", tmp_path))
        session = RatingSession(PAIRS, "ann", tmp_path)
        assert (session.place, session.finished) == (3, False)
        assert len(first + names_in_order(session)) == 12
        assert len(read_ratings(session.path)) == 12

    def test_ratings_off_the_scale_and_past_the_end_are_refused(self, tmp_path):
        session = RatingSession(PAIRS[:1], "ann", tmp_path)
        for value in (-1, 11, float("nan")):
            with pytest.raises(RatingError, match="off the scale: 0 to 10"):
                session.rate(value)
        session.rate(10)
        with pytest.raises(RatingError, match="all 1 pairs are rated"):
            session.rate(5)
        assert [rating.value for rating in read_ratings(session.path)] == [10]

    def test_a_second_session_does_not_overwrite_the_first(self, tmp_path):
        one, other = (RatingSession(PAIRS, "ann", tmp_path) for _ in range(2))
        one.rate(4)
        with pytest.raises(RatingError, match="changed by another session of 'ann'"):
            other.rate(5)
        one.rate(6)
        assert [rating.value for rating in read_ratings(one.path)] == [4, 6]

    def test_a_disk_that_cannot_be_written_loses_nothing(self, tmp_path):
        session = RatingSession(PAIRS, "ann", tmp_path / "out")
        session.rate(4)
        upcoming, before = session.sides, session.path.read_bytes()
        (tmp_path / "out/.ann.csv.tmp").mkdir()
        with pytest.raises(OSError, match=r"\.ann\.csv\.tmp"):
            session.rate(5)
        assert (session.sides, session.path.read_bytes()) == (upcoming, before)
        (tmp_path / "out/.ann.csv.tmp").rmdir()
        session.rate(5)
        assert [rating.value for rating in read_ratings(session.path)] == [4, 5]

    def test_files_of_others_and_of_other_pairs_are_left_alone(self, tmp_path):
        write_ratings(tmp_path / "ann.csv", [Rating(PAIRS[0], "bo", 3)])
        write_ratings(tmp_path / "cy.csv", [Rating(Pair("pair 0", "0.png", "changed.png"), "cy", 3)])
        (tmp_path / "di.csv").write_text("pair,first\n")
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        for rater, fault in (
            ("ann", "ratings by 'bo'"),
            ("cy", r"changed\.png, which are not among"),
            ("di", "no column"),
        ):
            with pytest.raises(RatingError, match=fault):
                RatingSession(PAIRS, rater, tmp_path)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def test_names_that_are_no_file_names_are_refused(self, tmp_path):
        for rater in ("", "../ann", "a b", "-x", "x" * 41, ".ann"):
            with pytest.raises(RatingError, match="not a valid name"):
                RatingSession(PAIRS, rater, tmp_path)
        assert RatingSession(PAIRS, "Zoë-2", tmp_path).path.name == "Zoë-2.csv"
        with pytest.raises(RatingError, match="0 pairs"):
            RatingSession([], "ann", tmp_path)
        with pytest.raises(RatingError, match="a name of its own"):
            RatingSession([PAIRS[0], PAIRS[0]], "ann", tmp_path)


class TestPanel:
    @pytest.fixture
    def pictures(self, tmp_path):
        """Pictures of one grey each: pair i is 10 + i and 100 + i."""
        for place in range(4):
            save(Image.new("RGB", (8, 10), (10 + place,) * 3), tmp_path / "cards" / f"{place}.png")
            save(Image.new("RGB", (8, 10), (100 + place,) * 3), tmp_path / "cards" / f"other {place}.png")
        return tmp_path / "cards"

    @pytest.fixture
    def panel(self, pictures, tmp_path):
        return RatingPanel(PAIRS[:4], pictures, tmp_path / "ratings", rater="ann")

    @staticmethod
    def greys(panel):
        return [Image.open(io.BytesIO(side.value)).getpixel((0, 0))[0] for side in (panel.left, panel.right)]

    @staticmethod
    def rate(panel, value):
        panel.scale.value = value
        panel.next_button.click()

    def test_a_name_is_asked_for_first(self, pictures, tmp_path):
        panel = RatingPanel(PAIRS[:4], pictures, tmp_path / "ratings")
        assert panel.question.layout.display == "none"
        panel.start_button.click()
        assert "not a valid name" in panel.status.value
        panel.name.value = " bo "
        panel.start_button.click()
        assert (panel.question.layout.display, panel.start_box.layout.display) == ("", "none")
        assert panel.status.value == ""
        self.rate(panel, 7)
        assert [rating.rater for rating in read_ratings(tmp_path / "ratings")] == ["bo"]

    def test_pairs_are_clicked_through_and_kept(self, panel, tmp_path):
        seen = []
        for count in range(1, 5):
            assert panel.count.value == f"{count} of 4"
            one, other = sorted(self.greys(panel))
            assert other - one == 90
            seen.append(one)
            self.rate(panel, one - 10)
        assert sorted(seen) == [10, 11, 12, 13]
        assert panel.question.layout.display == panel.next_button.layout.display == "none"
        assert "All pairs are rated" in panel.status.value
        assert panel.progress.value == 4
        kept = {rating.pair.first: rating.value for rating in read_ratings(tmp_path / "ratings/ann.csv")}
        assert kept == {f"{place}.png": place for place in range(4)}

    def test_no_names_and_figures_are_shown(self, panel):
        self.rate(panel, 3)
        state = repr(
            {key: value for child in walk(panel) for key, value in child.get_state().items() if key != "value"}
        )
        state += repr([child.value for child in walk(panel) if isinstance(getattr(child, "value", None), str)])
        assert "png'" in state
        assert ".png" not in state
        assert "pair 1" not in state

    def test_without_a_choice_next_does_nothing(self, panel, tmp_path):
        assert panel.next_button.disabled
        panel.next_button.click()
        assert panel.count.value == "1 of 4"
        panel.scale.value = 0
        assert not panel.next_button.disabled
        panel.next_button.click()
        panel.next_button.click()
        assert panel.count.value == "2 of 4"
        assert [rating.value for rating in read_ratings(tmp_path / "ratings")] == [0]

    def test_back_mends_the_last_rating(self, panel, tmp_path):
        assert panel.back_button.disabled
        before = self.greys(panel)
        self.rate(panel, 3)
        panel.back_button.click()
        assert self.greys(panel) == before
        assert (panel.scale.value, panel.count.value) == (3, "1 of 4")
        self.rate(panel, 8)
        assert panel.scale.value is None
        assert [rating.value for rating in read_ratings(tmp_path / "ratings")] == [8]
        for value in (1, 2, 4):
            self.rate(panel, value)
        panel.back_button.click()
        assert panel.question.layout.display == panel.next_button.layout.display == ""
        self.rate(panel, 5)
        assert [rating.value for rating in read_ratings(tmp_path / "ratings")] == [8, 1, 2, 5]

    def test_a_later_panel_goes_on(self, panel, pictures, tmp_path):
        self.rate(panel, 3)
        upcoming = self.greys(panel)
        later = RatingPanel(PAIRS[:4], pictures, tmp_path / "ratings", rater="ann")
        assert (self.greys(later), later.count.value, later.progress.value) == (upcoming, "2 of 4", 1)
        self.rate(later, 4)
        self.rate(panel, 5)
        assert "changed by another session" in panel.status.value
        assert panel.scale.value == 5
        assert [rating.value for rating in read_ratings(tmp_path / "ratings")] == [3, 4]

    def test_missing_and_damaged_pictures_are_named(self, pictures, tmp_path):
        (pictures / "2.png").write_bytes(b"no picture")
        panel = RatingPanel(PAIRS[:4], pictures, tmp_path / "ratings", rater="ann")
        while panel.left.value:
            self.rate(panel, 5)
        assert "2.png is empty, damaged or no picture" in panel.status.value
        before = panel.session.ratings
        self.rate(panel, 5)
        assert panel.next_button.disabled
        assert panel.session.ratings == before
        (pictures / "2.png").unlink()
        panel = RatingPanel(PAIRS[:4], pictures, tmp_path / "ratings", rater="ann")
        assert "2.png does not exist" in panel.status.value
        assert panel.question.layout.display == "none"

    def test_small_pictures_are_enlarged_to_squares_and_large_ones_scaled_down(self, pictures, tmp_path):
        speckles = np.random.default_rng(0).integers(0, 256, (10, 8, 3), dtype=np.uint8)
        save(Image.fromarray(speckles), pictures / "0.png")
        save(Image.new("RGB", (900, 1800)), pictures / "other 0.png")
        panel = RatingPanel(PAIRS[:1], pictures, tmp_path / "ratings", rater="ann")
        shown = sorted(
            (Image.open(io.BytesIO(side.value)) for side in (panel.left, panel.right)), key=lambda x: x.width
        )
        assert [image.size for image in shown] == [(256, 320), (320, 640)]
        assert np.array_equal(np.asarray(shown[0]), speckles.repeat(32, axis=0).repeat(32, axis=1))


def walk(widget):
    """A widget and all within it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from walk(child)
