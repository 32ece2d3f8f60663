"""Pairs of drawn cards and simulated ratings of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from cardsynth.cards.folder import CardError
from cardsynth.evaluation.similarity.metrics import compare_pairs
from cardsynth.evaluation.similarity.pairs import LIKENESS, disturb, draw_pairs, simulated_ratings
from cardsynth.evaluation.similarity.tables import tabulate
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
        with pytest.raises(ValueError, match="no disturbance 'twist'; choose one of blur, noise, shift"):
            disturb(self.picture, "twist", 1)


class TestSimulatedRatings:
    def test_they_follow_the_likeness_within_the_scale(self, pairs):
        table = tabulate(simulated_ratings(pairs, raters=20), pairs.pairs)
        assert table.ratings.shape == (30, 20)
        values = table.ratings.to_numpy()
        assert values.min() >= 0
        assert values.max() <= 10
        assert np.array_equal(values, values.round())
        expected = np.array([LIKENESS[kind] for kind in pairs.kinds])
        assert np.abs(table.people - expected).max() < 1.5
        assert 0.5 < table.agreement().alpha < 0.95

    def test_they_follow_their_seed(self, pairs):
        assert simulated_ratings(pairs, seed=1) == simulated_ratings(pairs, seed=1)
        assert simulated_ratings(pairs, seed=1) != simulated_ratings(pairs, seed=2)
