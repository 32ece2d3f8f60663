from dataclasses import asdict
from itertools import islice

import pytest
import torch
from latent_models import MatrixModel

from cardsynth.core.runs import load_model
from cardsynth.core.sampling import generate
from cardsynth.evaluation.features import FeatureNet
from cardsynth.latents.abruptness import measure_steps, measure_ways, plot_steps, summarize
from cardsynth.latents.latent_model import class_weights, latents_of
from cardsynth.latents.walks import INTERPOLATIONS, add_constants, corner_grid, interpolate, linear, spherical, walk


@pytest.fixture(scope="module")
def model(trained_run):
    return load_model(trained_run)


@pytest.fixture(scope="module")
def latents(model):
    return latents_of(model, num_inference_steps=2)


@pytest.fixture(scope="module")
def alone(model, latents):
    """A card that is generated with no other beside it."""

    def draw(seed, label):
        return next(generate(model, [seed], label, progress=False, **asdict(latents.recipe))).pixels[0]

    return draw


@pytest.mark.parametrize("how", INTERPOLATIONS)
def test_ends_of_a_way_are_the_cards_alone(latents, alone, how):
    way = interpolate(latents, [16, 3], 5, ["SMALL", "CLEAN"], how)
    assert len(way) == 5
    assert torch.equal(way[0], alone(16, "SMALL"))
    assert torch.equal(way[-1], alone(3, "CLEAN"))
    assert not torch.equal(way[2], way[0])


@pytest.mark.parametrize("how", INTERPOLATIONS)
def test_corners_of_a_grid_are_the_cards_alone(latents, alone, how):
    seeds, labels = [1, 2, 3, 4], ["SMALL", "CLEAN", "SMALL", "LIGHT"]
    grid = corner_grid(latents, seeds, (3, 4), labels, how).unflatten(0, (3, 4))
    corners = (grid[0, 0], grid[0, -1], grid[-1, 0], grid[-1, -1])
    for corner, seed, label in zip(corners, seeds, labels, strict=True):
        assert torch.equal(corner, alone(seed, label))


def test_the_way_between_classes_keeps_the_latent(latents, alone):
    way = interpolate(latents, [7, 7], 4, ["SMALL", "CLEAN"])
    assert torch.equal(way[0], alone(7, "SMALL"))
    assert torch.equal(way[-1], alone(7, "CLEAN"))


def test_a_constant_of_zero_changes_nothing(latents, alone):
    cards = add_constants(latents, 5, [0.0, 0.5, 2.0], "SMALL")
    assert torch.equal(cards[0], alone(5, "SMALL"))
    assert not torch.equal(cards[2], cards[0])


@pytest.mark.parametrize("loop", [True, False])
def test_a_walk_comes_by_each_seed(latents, alone, loop):
    frames = list(walk(latents, [9, 2, 4], 12 if loop else 13, ["SMALL", "CLEAN", "LIGHT"], loop))
    places = [0, 4, 8] if loop else [0, 6, 12]
    assert len(frames) == (12 if loop else 13)
    for place, seed, label in zip(places, (9, 2, 4), ("SMALL", "CLEAN", "LIGHT"), strict=True):
        assert torch.equal(frames[place], alone(seed, label))


def test_a_loop_closes_evenly():
    model = MatrixModel()
    frames = torch.stack(list(walk(model, [1, 2], 40))).float()
    steps = (frames.roll(-1, 0) - frames).flatten(1).norm(dim=1)
    assert steps.max() < 2 * steps.mean()


def test_a_long_walk_is_drawn_bit_by_bit():
    model = MatrixModel()
    frames = walk(model, [1, 2, 3], 100_000)
    assert len(list(islice(frames, 10))) == 10
    assert sum(model.batches) < 500


def test_the_arc_keeps_lengths_and_the_line_does_not():
    start, end = torch.randn(2, 4, 30, 20, generator=torch.Generator().manual_seed(1))
    shares = torch.linspace(0, 1, 9)
    arc, line = (way(start, end, shares).flatten(1).norm(dim=1) for way in (spherical, linear))
    torch.testing.assert_close(arc, torch.lerp(arc[0], arc[-1], shares), rtol=0.01, atol=0)
    assert line[4] < 0.75 * line[0]
    steps = spherical(start, end, shares).diff(dim=0).flatten(1).norm(dim=1)
    assert steps.max() / steps.min() < 1.1


def test_equal_and_opposite_latents_have_a_way():
    start = torch.randn(4, 3)
    assert torch.equal(spherical(start, start, torch.tensor([0.3]))[0], start)
    assert torch.equal(spherical(start, -start, torch.tensor([0.0, 1.0])), torch.stack([start, -start]))


def jumping(share):
    """Cards of one grey that turns into another at a share of the way."""
    cards = torch.zeros(11, 3, 4, 4, dtype=torch.uint8)
    cards[round(11 * share) :] = 100
    return cards


def test_abruptness_tells_a_jump_from_an_even_way():
    net = FeatureNet("means", 3, lambda pixels: pixels.double().mean(dim=(2, 3)))
    jump = measure_steps(net, jumping(0.5))
    even = measure_steps(net, torch.arange(0, 110, 10, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4))
    assert jump.abruptness == pytest.approx(10)
    assert (even.abruptness, even.detour) == (pytest.approx(1), pytest.approx(1))
    assert measure_steps(net, torch.zeros(3, 3, 4, 4, dtype=torch.uint8)).abruptness == 1
    axes = plot_steps({"jump": jump, "even": even}).axes[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["jump: largest 10.0", "even: largest 1.0"]
    with pytest.raises(ValueError, match="at least two cards"):
        measure_steps(net, torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


def test_ways_of_any_model_are_measured(latents):
    net = FeatureNet("means", 3, lambda pixels: pixels[:, :3].double().mean(dim=(2, 3)))
    for model in (latents, MatrixModel()):
        ways = measure_ways(model, net, [(0, 1), (2, 3), (4, 5)], count=5)
        abruptness, detour = summarize(ways)
        assert 1 <= abruptness.low < abruptness.high <= 6
        assert detour.value >= 1
        assert len(class_weights(model, [0, 1])) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: interpolate(model, [1, 2, 3], 4), "takes 2 seeds, not 3"),
        (lambda model: interpolate(model, [1, -2], 4), "non-negative integers"),
        (lambda model: interpolate(model, [1, 2], 1), "at least 2 cards, not 1"),
        (lambda model: interpolate(model, [1, 2], 4, how="cubic"), "unknown interpolation 'cubic'"),
        (lambda model: interpolate(model, [1, 2], 4, "GUM"), "knows no class GUM"),
        (lambda model: corner_grid(model, [1, 2], (3, 3)), "takes 4 seeds, not 2"),
        (lambda model: list(walk(model, [1], 4)), "at least two seeds"),
        (lambda model: list(walk(model, [1, 2, 3], 2)), "at least 3 frames"),
    ],
)
def test_bad_walks_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(MatrixModel())
