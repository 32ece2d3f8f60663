"""Walks, inversion and variation of DCGANs and VAEs: the same functions as for diffusion models."""

import pytest
import torch

from cardsynth.baselines.config import BASELINE_PRESETS
from cardsynth.baselines.model import BaselineModel
from cardsynth.baselines.nets import CardAutoencoder, CardGenerator
from cardsynth.core.sampling import generate
from cardsynth.latents.inversion import invert, psnr, vary
from cardsynth.latents.latent_model import LatentModel, class_weights, latents_of
from cardsynth.latents.walks import corner_grid, interpolate, walk

LABELS = ("CLEAN", "LIGHT", "SMALL")


@pytest.fixture(params=["dcgan", "vae"])
def model(request):
    """A model whose weights are random, so that its cards differ, and are not of one grey."""
    torch.manual_seed(0)
    config = BASELINE_PRESETS[f"smoke_{request.param}"]
    kind = {"dcgan": CardGenerator, "vae": CardAutoencoder}[request.param]
    net = kind((40, 32), 4, config.latent_dim, len(LABELS), config.base_channels, config.max_channels).eval()
    with torch.no_grad():
        for weights in net.parameters():
            weights *= 3 if weights.dim() > 1 else 1
    return BaselineModel(net.requires_grad_(False), config, LABELS, has_mask=True, name=request.param)


def alone(model, seed, label):
    return next(generate(model, [seed], label, progress=False)).pixels[0]


def test_ends_and_corners_are_the_cards_alone(model):
    latents = latents_of(model)
    assert isinstance(latents, LatentModel)
    way = interpolate(latents, [3, 16], 5, ["SMALL", "CLEAN"])
    assert torch.equal(way[0], alone(model, 3, "SMALL"))
    assert torch.equal(way[-1], alone(model, 16, "CLEAN"))
    assert way[:, :3].float().std(dim=0).mean() > 1
    grid = corner_grid(latents, [1, 2, 3, 4], (3, 3), "LIGHT")
    for place, seed in zip((0, 2, 6, 8), (1, 2, 3, 4), strict=True):
        assert torch.equal(grid[place], alone(model, seed, "LIGHT"))


def test_a_walk_comes_by_each_seed(model):
    frames = list(walk(latents_of(model), [5, 6], 40, "SMALL"))
    assert torch.equal(frames[0], alone(model, 5, "SMALL"))
    assert torch.equal(frames[20], alone(model, 6, "SMALL"))


@pytest.mark.slow
def test_cards_are_varied_up_to_the_seeds_own(model):
    cards = torch.stack([alone(model, seed, "SMALL") for seed in (7, 8)])
    assert torch.equal(vary(model, cards, 1.0, [1, 2], "SMALL")[1], alone(model, 2, "SMALL"))


@pytest.mark.slow
def test_a_gans_own_cards_are_found_again(model):
    if model.encode is not None:
        pytest.skip("a VAE has an encoder, which takes training to find anything")
    weights = class_weights(model, [7, 8], "SMALL")
    cards = torch.stack([alone(model, seed, "SMALL") for seed in (7, 8)])
    found = invert(model, cards, weights)
    assert (psnr(model.decode(found, weights), cards) > 25).all()
    others = model.decode(model.seed_latents([1, 2]), weights)
    assert (psnr(others, cards) < 20).all()
    torch.testing.assert_close(invert(model, cards[1:], weights[1:])[0], found[1], atol=0.05, rtol=0)
