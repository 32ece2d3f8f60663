from dataclasses import asdict, replace

import pytest
import torch
from latent_models import MatrixModel

from cardsynth.core.config import TrainingConfig
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.diffusion import build_noise_scheduler
from cardsynth.core.model import build_unet
from cardsynth.core.runs import load_model
from cardsynth.core.sampling import generate
from cardsynth.latents.latent_model import LatentModel, class_weights, latents_of
from cardsynth.latents.mixtures import mix_classes


@pytest.fixture(scope="module")
def model(trained_run):
    return load_model(trained_run)


def generated(model, seeds, labels, latents):
    return torch.cat([b.pixels for b in generate(model, seeds, labels, progress=False, **asdict(latents.recipe))])


@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
@pytest.mark.parametrize("sampler", ["unipc", "dpmsolver++", "ddim"])
def test_a_seeds_latent_is_the_card_that_is_generated(model, sampler, mixed_precision):
    how = {"sampler": sampler, "num_inference_steps": 3, "mixed_precision": mixed_precision, "guidance_scale": 3.0}
    latents, seeds, labels = latents_of(model, **how), [16, 3, 7], ["SMALL", "CLEAN", "SMALL"]
    found = latents.decode(latents.seed_latents(seeds), class_weights(latents, seeds, labels))
    assert torch.equal(found, generated(model, seeds, labels, latents))
    assert found[:, :3].float().std() > 5


def test_batch_and_single_are_equal(model):
    latents, seeds = latents_of(model), list(range(11))
    points, weights = latents.seed_latents(seeds), class_weights(latents, seeds)
    together = latents.decode(points, weights)
    alone = torch.cat([latents.decode(points[place : place + 1], weights[place : place + 1]) for place in range(11)])
    assert (together.int() - alone.int()).abs().max() <= 1


def test_latents_do_not_depend_on_other_seeds(model):
    latents = latents_of(model)
    assert torch.equal(latents.seed_latents([5, 9])[1], latents.seed_latents([9])[0])
    assert latents.seed_latents([5]).shape == (1, *latents.latent_shape)


def test_a_class_is_one_share_of_a_mixture(model):
    embedding, mixed = model.unet.class_embedding, mix_classes(model.unet).class_embedding
    rows = torch.eye(6)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mixed(rows), embedding.weight)
    half = mixed((rows[:1] + rows[3:4]) / 2)
    torch.testing.assert_close(half[0], (embedding.weight[0] + embedding.weight[3]) / 2)
    assert model.unet.class_embedding is embedding


def test_mixed_classes_lie_between_their_cards(model):
    latents = latents_of(model, guidance_scale=1.0, num_inference_steps=2, mixed_precision="no")
    shares = torch.linspace(0, 1, 5)
    weights = torch.zeros(5, 5)
    weights[:, 0], weights[:, 1] = 1 - shares, shares
    cards = latents.decode(latents.seed_latents([1]).repeat(5, 1, 1, 1), weights)[:, :3].float()
    apart = [(card - cards[0]).abs().mean().item() for card in cards]
    assert apart[0] == 0
    assert apart == sorted(apart)
    assert apart[4] > apart[1]


def test_a_sampler_that_adds_noise_is_not_taken(model):
    noisy = replace(model, config=model.config.replace(sampler="sde-dpmsolver++"))
    assert latents_of(noisy).recipe.sampler == "unipc"
    with pytest.raises(ValueError, match="sde-dpmsolver\\+\\+ adds noise in each step"):
        latents_of(model, sampler="sde-dpmsolver++")


def test_other_models_are_taken_as_they_are():
    other = MatrixModel()
    assert latents_of(other) is other
    assert isinstance(other, LatentModel)
    with pytest.raises(ValueError, match="one step; omit guidance_scale"):
        latents_of(other, guidance_scale=2.0)


def test_a_model_without_classes(tmp_path):
    config = TrainingConfig(height=16, width=8, block_out_channels=(8, 8), norm_num_groups=4, attention_levels=())
    plain = TrainedModel(build_unet(config).eval(), build_noise_scheduler(), config, name="plain")
    latents = latents_of(plain, num_inference_steps=2, sampler="unipc")
    assert isinstance(latents, LatentModel)
    assert class_weights(latents, [1]) is None
    assert torch.equal(latents.decode(latents.seed_latents([1, 4]), None), generated(plain, [1, 4], None, latents))


def test_shapes_that_do_not_fit_are_refused(model):
    latents = latents_of(model)
    points, weights = latents.seed_latents([1, 2]), class_weights(latents, [1, 2])
    for bad in (points[:0], points[:, :1]):
        with pytest.raises(ValueError, match="takes latents of shape"):
            latents.decode(bad, weights[: len(bad)])
    for bad in (weights[:1], None):
        with pytest.raises(ValueError, match="takes class weights of shape"):
            latents.decode(points, bad)
    with pytest.raises(ValueError, match="knows no class GUM"):
        class_weights(latents, [1], "GUM")
