"""Near-copies: planted ones are found, moved and compressed as they are, and real cards are not taken for them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from cardsynth.cards.dataset import stack_cards
from cardsynth.evaluation.copies import Nearest, copying, nearest_in_features, nearest_in_pixels
from cardsynth.render.draw import draw_cards

SIZE = (80, 64)


def drawn(count, seed):
    return stack_cards(draw_cards(count, SIZE, seed=seed, styles=("a",), workers=1)).pixels[:, :3]


@pytest.fixture(scope="module")
def training():
    return drawn(300, 0)


@pytest.fixture(scope="module")
def held_out(training):
    return nearest_in_pixels(drawn(200, 10_000), training)


def jittered(pixels, seed=0):
    """Cards moved by up to a pixel each way, edges repeated, and saved as JPEG."""
    random, made = np.random.default_rng(seed), []
    for card in pixels.permute(0, 2, 3, 1).numpy():
        top, left = random.integers(0, 3, 2)
        moved = np.pad(card, ((1, 1), (1, 1), (0, 0)), mode="edge")[top : top + SIZE[0], left : left + SIZE[1]]
        file = io.BytesIO()
        Image.fromarray(moved).save(file, "JPEG", quality=75)
        made.append(np.asarray(Image.open(file)))
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("copied", [0, 10, 50, 100])
def test_the_share_of_planted_copies_is_found(training, held_out, copied):
    made = drawn(100, 20_000)
    if copied:
        made[:copied] = jittered(training[:copied])
    nearest = nearest_in_pixels(made, training)
    found = copying(nearest, held_out, "grey levels")
    assert 100 * found.share.value == pytest.approx(copied, abs=5)
    assert found.share.low <= copied / 100 + 0.05
    assert found.alarming == (copied > 0)
    assert (nearest.index[:copied] == torch.arange(copied)).float().mean().item() >= 0.95 or not copied


@pytest.mark.slow
def test_few_real_cards_are_taken_for_copies(training):
    many = copying(nearest_in_pixels(drawn(400, 30_000), training), nearest_in_pixels(drawn(400, 40_000), training), "")
    assert many.held_out_share.value < 0.02
    assert many.share.value < 0.03


def test_cards_like_the_unseen_ones_raise_no_alarm():
    usual = Nearest(torch.zeros(1000, dtype=torch.long), torch.linspace(10, 20, 1000))
    same = copying(usual, usual, "")
    assert same.held_out_share.value == pytest.approx(0.01, abs=0.005)
    assert not same.alarming


def test_a_distance_is_in_grey_levels_at_any_size():
    for size in ((40, 32), (200, 160)):
        dark, light = (torch.full((1, 4, *size), value, dtype=torch.uint8) for value in (100, 130))
        found = nearest_in_pixels(light, dark)
        assert found.distance.item() == pytest.approx(30, rel=1e-4)


def test_nearest_in_features_is_the_nearest():
    training = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    found = nearest_in_features(torch.tensor([[3.0, 3.0], [0.0, 1.0]]), training)
    assert found.index.tolist() == [1, 0]
    assert found.distance.tolist() == [1, 1]


def test_cards_are_not_their_own_nearest_neighbours():
    features = torch.randn(600, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    own = torch.arange(0, 600, 2)
    nearest = nearest_in_features(features[own], features, own)
    apart = (features[own][:, None] - features[None]).square().sum(dim=2).sqrt()
    apart[torch.arange(300), own] = torch.inf
    assert torch.equal(nearest.index, apart.argmin(dim=1))
    assert torch.allclose(nearest.distance, apart.amin(dim=1))
    assert nearest_in_features(features[own], features).index.tolist() == own.tolist()
