import pytest
import torch
from latent_models import MatrixModel

from cardsynth.core.runs import load_model
from cardsynth.core.sampling import generate
from cardsynth.latents.inversion import INVERTIBLE, invert, psnr, vary
from cardsynth.latents.latent_model import class_weights, latents_of


@pytest.fixture(scope="module")
def model(trained_run):
    return load_model(trained_run)


@pytest.fixture(scope="module")
def latents(model):
    return latents_of(model, **INVERTIBLE | {"num_inference_steps": 5})


def test_a_card_comes_back_from_its_latent(model, cards):
    """The more steps, the nearer, whatever the net has learned."""
    latents = latents_of(model, **INVERTIBLE | {"num_inference_steps": 40})
    some, names = cards.pixels[:3], [cards.label_names[label] for label in cards.labels[:3]]
    weights = class_weights(latents, range(3), names)
    points = invert(latents, some, weights)
    assert points.shape == (3, *latents.latent_shape)
    back = psnr(latents.decode(points, weights), some)
    others = psnr(latents.decode(latents.seed_latents(range(3)), weights), some)
    assert (back > others + 10).all(), (back, others)


def test_a_latent_does_not_depend_on_the_other_cards(latents, cards):
    weights = class_weights(latents, range(3), "SMALL")
    together = invert(latents, cards.pixels[:3], weights)
    alone = invert(latents, cards.pixels[2:3], weights[2:])
    assert torch.equal(together[2], alone[0])


def test_what_follows_no_way_back_is_refused(model, latents, cards):
    weights = class_weights(latents, [0], "SMALL")
    with pytest.raises(ValueError, match=r"dpmsolver\+\+ cannot be inverted"):
        invert(latents_of(model, sampler="dpmsolver++"), cards.pixels[:1], weights)
    with pytest.raises(ValueError, match="takes latents of shape"):
        invert(latents, cards.pixels[:1, :, :20], weights)


@pytest.mark.parametrize("sampler", ["unipc", "dpmsolver++", "ddim"])
def test_a_variation_goes_from_the_card_to_the_seeds_own(model, cards, sampler):
    latents = latents_of(model, sampler=sampler, num_inference_steps=6)
    card, seeds = cards.pixels[:1], [4, 5]
    kept = vary(latents, card, 0.0, seeds, "SMALL")
    assert torch.equal(kept, card.expand(2, -1, -1, -1))
    how = {"sampler": sampler, "num_inference_steps": 6, "progress": False}
    assert torch.equal(vary(latents, card, 1.0, seeds, "SMALL"), next(generate(model, seeds, "SMALL", **how)).pixels)
    near, far = (psnr(vary(latents, card, strength, seeds, "SMALL"), kept) for strength in (0.2, 0.8))
    assert (near > far).all()
    assert not torch.equal(*vary(latents, card, 0.5, seeds, "SMALL"))


def test_a_model_with_an_encoder_needs_no_steps():
    model = MatrixModel()
    seeds, weights = [1, 2], class_weights(MatrixModel(), [1, 2], "SMALL")
    drawn = model.decode(model.seed_latents(seeds), weights)
    torch.testing.assert_close(invert(model, drawn, weights), model.seed_latents(seeds), atol=0.05, rtol=0)
    assert (vary(model, drawn[:1], 0.0, [5], "SMALL").int() - drawn[:1].int()).abs().max() <= 2
    assert torch.equal(vary(model, drawn[:1], 1.0, [2], "SMALL")[0], drawn[1])


def test_a_card_without_a_mask_is_taken_for_undamaged(latents, cards):
    weights, bare = class_weights(latents, [0], "CLEAN"), cards.pixels[:1].clone()
    bare[:, 3] = 0
    assert torch.equal(invert(latents, bare[:, :3], weights), invert(latents, bare, weights))


def test_strengths_and_numbers_of_cards_are_checked(latents, cards):
    with pytest.raises(ValueError, match="must be in 0 to 1"):
        vary(latents, cards.pixels[:1], 1.2, [1])
    with pytest.raises(ValueError, match="3 cards and 2 seeds"):
        vary(latents, cards.pixels[:3], 0.5, [1, 2])


def test_psnr_is_in_decibels():
    one = torch.full((2, 4, 5, 5), 100, dtype=torch.uint8)
    other = one.clone()
    other[1, :3] += 10
    found = psnr(one, other)
    assert found[0] > 100
    assert found[1] == pytest.approx(28.13, abs=0.01)
