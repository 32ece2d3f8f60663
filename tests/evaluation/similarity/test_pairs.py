"""Pairs of drawn cards, what was done to them, and their figures."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from PIL import Image

from cardsynth.cards.folder import CardError
from cardsynth.evaluation.similarity.agreement import RankCorrelation
from cardsynth.evaluation.similarity.metrics import compare_pairs
from cardsynth.evaluation.similarity.pairs import LIKENESS, disturb, draw_pairs, simulated_ratings
from cardsynth.evaluation.similarity.plots import plot_against_ratings, plot_correlations, show_pairs
from cardsynth.evaluation.similarity.tables import tabulate
from cardsynth.plots.cards import figure_png
from cardsynth.render.draw import draw_card


@pytest.fixture(scope="module")
def pairs():
    return draw_pairs(2, (40, 32), seed=3)


class TestPairs:
    def test_every_kind_comes_with_every_card(self, pairs):
        assert len(pairs) == 30 == len(pairs.first) == len(pairs.second) == len({pair.name for pair in pairs.pairs})
        assert pairs.kinds == tuple(LIKENESS) * 2
        assert set(pairs.groups) == {"blur", "noise", "shift", "damage", "another card"}
        assert pairs.first.shape == (30, 3, 40, 32)
        clean = torch.from_numpy(draw_card(3, "CLEAN", (40, 32), ("a",)).image).permute(2, 0, 1)
        assert all(torch.equal(card, clean) for card in pairs.first[:15])
        assert not torch.equal(pairs.first[15], clean)

    def test_metrics_follow_the_strength_of_each_disturbance(self, pairs):
        found = compare_pairs(pairs.first, pairs.second)
        for kind in ("blur", "noise", "shift"):
            places = [place for place, group in enumerate(pairs.groups) if group == kind]
            for card in (places[:3], places[3:]):
                assert found["mse"][card].diff().min() > 0
                assert found["ssim"][card].diff().max() < 0
        assert found["mse"].min() > 0

    def test_damage_leaves_the_rest_of_the_card_as_it_is(self, pairs):
        place = pairs.kinds.index("SMALL")
        changed = (pairs.first[place] != pairs.second[place]).any(dim=0)
        assert 0 < changed.double().mean() < 0.3

    def test_pictures_are_written_once_and_never_over_others(self, pairs, tmp_path):
        folder = pairs.write(tmp_path / "pairs")
        assert len(list(folder.iterdir())) == 32
        for pair, second in zip(pairs.pairs, pairs.second, strict=True):
            assert np.array_equal(np.asarray(Image.open(folder / pair.second)), second.permute(1, 2, 0).numpy())
        before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
        pairs.write(folder)
        assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
        with pytest.raises(CardError, match=r"png is another picture, which may have been rated"):
            replace(pairs, second=255 - pairs.second).write(folder)
        assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before

    def test_no_cards_are_refused(self):
        with pytest.raises(ValueError, match="pairs of 0 cards"):
            draw_pairs(0, (40, 32))


class TestDisturbances:
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 30, 20), dtype=np.uint8))

    def test_a_shift_moves_right_and_repeats_the_edge(self):
        shifted = disturb(self.picture, "shift", 3)
        assert torch.equal(shifted[:, :, 3:], self.picture[:, :, :-3])
        assert torch.equal(shifted[:, :, :3], self.picture[:, :, :1].expand(-1, -1, 3))

    def test_noise_has_its_strength_and_follows_its_seed(self):
        grey = torch.full((3, 60, 60), 128, dtype=torch.uint8)
        noisy = disturb(grey, "noise", 16, seed=1)
        assert (noisy.double() - 128).std() == pytest.approx(16, rel=0.05)
        assert torch.equal(noisy, disturb(grey, "noise", 16, seed=1))
        assert not torch.equal(noisy, disturb(grey, "noise", 16, seed=2))

    def test_blur_spreads_a_point_as_a_gaussian(self):
        point = torch.zeros(3, 31, 31, dtype=torch.uint8)
        point[:, 15, 15] = 255
        blurred = disturb(point, "blur", 1.0).double()
        assert blurred[0, 15, 15] == pytest.approx(255 / (2 * np.pi), rel=0.03)
        assert blurred[0, 15, 16] / blurred[0, 15, 15] == pytest.approx(np.exp(-0.5), rel=0.03)
        assert torch.equal(blurred[0], blurred[2])

    def test_another_one_is_refused(self):
        with pytest.raises(ValueError, match="no disturbance 'twist'; there are blur, noise, shift"):
            disturb(self.picture, "twist", 1)


class TestSimulatedRatings:
    def test_they_follow_the_likeness_within_the_scale(self, pairs):
        table = tabulate(simulated_ratings(pairs, raters=20), pairs.pairs)
        assert len(table.ratings) == 20
        values = np.array(list(table.ratings.values()))
        assert values.min() >= 0
        assert values.max() <= 10
        assert np.array_equal(values, values.round())
        expected = np.array([LIKENESS[kind] for kind in pairs.kinds])
        assert np.abs(table.people - expected).max() < 1.5
        assert 0.5 < table.agreement().alpha < 0.95

    def test_they_follow_their_seed(self, pairs):
        assert simulated_ratings(pairs, seed=1) == simulated_ratings(pairs, seed=1)
        assert simulated_ratings(pairs, seed=1) != simulated_ratings(pairs, seed=2)


class TestFigures:
    def test_pairs_stand_above_their_figures(self, pairs):
        values = {"mse": torch.tensor([0.01234, 0.5]), "ssim": [0.987, -0.25]}
        figure = show_pairs(pairs.first[:2], pairs.second[:2], values, ["one", "other"])
        assert [text.get_text() for text in figure.texts] == [
            "one",
            "mse 0.0123\nssim 0.99",
            "other",
            "mse 0.5000\nssim -0.25",
        ]
        drawn = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
        shown = [picture for pair in zip(pairs.first[:2], pairs.second[:2], strict=True) for picture in pair]
        assert all(np.array_equal(a, b.permute(1, 2, 0).numpy()) for a, b in zip(drawn, shown, strict=True))
        box = [axes.get_window_extent() for axes in figure.axes]
        assert box[0].height / box[0].width == pytest.approx(40 / 32, rel=0.01)
        figure.draw_without_rendering()
        words = [text.get_window_extent() for text in figure.texts]
        assert words[0].y0 >= box[0].y1 > box[0].y0 > box[1].y1 > box[1].y0 >= words[1].y1
        assert words[1].y0 >= 0
        for titles in (["one"], []):
            with pytest.raises(ValueError, match="2 pairs to show"):
                show_pairs(pairs.first[:2], pairs.second[:2], values, titles)

    def test_every_pair_is_a_dot_in_the_panel_of_each_metric(self, pairs):
        metrics = {name: values.tolist() for name, values in compare_pairs(pairs.first, pairs.second).items()}
        table = tabulate(simulated_ratings(pairs), pairs.pairs, metrics)
        figure = plot_against_ratings(table, pairs.groups)
        assert [axes.get_xlabel() for axes in figure.axes] == ["mse", "ssim"]
        for axes, values in zip(figure.axes, metrics.values(), strict=True):
            dots = sorted(tuple(dot) for line in axes.lines for dot in line.get_xydata())
            assert dots == sorted(zip(values, table.people.tolist(), strict=True))
        assert len({line.get_color() for line in figure.axes[0].lines}) == 5
        assert len(plot_against_ratings(table).axes[0].lines) == 1
        with pytest.raises(ValueError, match="takes metrics and ratings"):
            plot_against_ratings(tabulate([], pairs.pairs, metrics))

    def test_correlations_are_dots_on_their_intervals(self):
        shown = RankCorrelation("mse", 0.8, 0.6, 0.9, 0.001, 45, True)
        unclear = RankCorrelation("ssim", -0.2, -0.7, 0.5, 0.6, 9, False)
        figure = plot_correlations({"cards": [shown, unclear], "bricks": [unclear]})
        labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert labels == ["mse (cards)", "ssim (cards)", "ssim (bricks)"]
        intervals = [tuple(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) == 2][1:]
        assert intervals == [(0.6, 0.9), (-0.7, 0.5), (-0.7, 0.5)]
        dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
        white = to_rgba("white")
        assert [to_rgba(dot.get_markerfacecolor()) == white for dot in dots] == [False, True, True]
        assert Image.open(io.BytesIO(figure_png(figure))).width > 500
        with pytest.raises(ValueError, match="no correlations"):
            plot_correlations({"cards": []})
        assert [label.get_text() for label in plot_correlations({"x": [shown]}).axes[0].get_yticklabels()] == ["mse"]
