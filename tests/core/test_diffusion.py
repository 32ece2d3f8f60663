import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler
from torch.nn.functional import pixel_unshuffle

from cardsynth.core.diffusion import (
    SAMPLERS,
    build_noise_scheduler,
    build_sampler,
    channel_shares,
    drop_labels,
    loss_weights,
    predict_clean_images,
    spread_timesteps,
    training_target,
)

SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid")
TARGETS = ("epsilon", "sample", "v_prediction")


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    clean_images = torch.rand((6, 4, 8, 6), generator=generator) * 2 - 1
    noise = torch.randn((6, 4, 8, 6), generator=generator)
    return clean_images, noise, torch.tensor([1, 100, 400, 700, 950, 999])


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("target", TARGETS)
def test_a_perfect_prediction_gives_the_clean_image_back(schedule, target, batch):
    clean_images, noise, timesteps = batch
    scheduler = build_noise_scheduler(schedule, target)
    noisy_images = scheduler.add_noise(clean_images, noise, timesteps)
    for index, timestep in enumerate(timesteps[:5]):
        one = slice(index, index + 1)
        perfect = training_target(scheduler, clean_images[one], noise[one], timestep[None])
        found = predict_clean_images(scheduler, perfect, noisy_images[one], timestep)
        torch.testing.assert_close(found, clean_images[one], atol=2e-3, rtol=0)


@pytest.mark.parametrize("target", TARGETS)
def test_clean_images_are_those_of_diffusers(target, batch):
    clean_images, model_output, _ = batch
    scheduler = build_noise_scheduler("squaredcos_cap_v2", target)
    reference = DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type=target, clip_sample=True)
    for timestep in (999, 500, 3):
        expected = reference.step(model_output, timestep, clean_images).pred_original_sample
        found = predict_clean_images(scheduler, model_output, clean_images, torch.tensor(timestep))
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("timesteps", [500, 1000])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_are_those_of_diffusers(schedule, timesteps):
    """In training, and in samplers, some of which do not know each schedule by its name."""
    reference = DDPMScheduler(num_train_timesteps=timesteps, beta_schedule=schedule)
    scheduler = build_noise_scheduler(schedule, num_train_timesteps=timesteps)
    assert torch.equal(scheduler.alphas_cumprod, reference.alphas_cumprod)
    for name in SAMPLERS:
        assert torch.equal(build_sampler(name, scheduler, 10).alphas_cumprod, reference.alphas_cumprod)
    if schedule != "sigmoid":
        theirs = DPMSolverMultistepScheduler(timesteps, beta_schedule=schedule, timestep_spacing="trailing")
        theirs.set_timesteps(10)
        assert torch.equal(build_sampler("dpmsolver++", scheduler, 10).sigmas, theirs.sigmas)


def test_sigmoid_is_the_published_formula():
    """Betas rise from 0.0001 to 0.02 along a sigmoid over -6 to 6."""
    steps = torch.linspace(-6, 6, 1000)
    torch.testing.assert_close(build_noise_scheduler("sigmoid").betas, 1e-4 + (0.02 - 1e-4) / (1 + (-steps).exp()))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_weighted_errors_of_all_targets_are_one(schedule, batch):
    """min-SNR weighs the error of the image alike, whatever the net predicts (Hang et al. 2023, section 3.4)."""
    clean_images, noise, timesteps = batch
    timesteps = timesteps[:4]
    wrong_images = clean_images + 0.1
    losses = []
    for target in TARGETS:
        scheduler = build_noise_scheduler(schedule, target)
        alpha_prod = scheduler.alphas_cumprod[timesteps].reshape(-1, 1, 1, 1)
        noisy_images = scheduler.add_noise(clean_images[:4], noise[:4], timesteps)
        wrong_noise = (noisy_images - alpha_prod**0.5 * wrong_images[:4]) / (1 - alpha_prod) ** 0.5
        right = training_target(scheduler, clean_images[:4], noise[:4], timesteps)
        wrong = training_target(scheduler, wrong_images[:4], wrong_noise, timesteps)
        weights = loss_weights(scheduler, timesteps, "min_snr", 5.0)
        losses.append(weights * (wrong - right).square().mean(dim=(1, 2, 3)))
    snr = alpha_prod.flatten() / (1 - alpha_prod.flatten())
    for loss in losses:
        torch.testing.assert_close(loss, snr.clamp(max=5) * 0.01, rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize("patch_size", [1, 2])
def test_the_mask_weighs_as_told_also_where_pixels_are_folded(patch_size):
    for channel, share in ((0, 1 / 6), (3, 3 / 6)):
        errors = torch.zeros(1, 4, 8, 8)
        errors[:, channel] = 2
        folded = pixel_unshuffle(errors, patch_size)
        assert (folded.mean(dim=(2, 3)) @ channel_shares(4, 3.0, patch_size)).item() == pytest.approx(2 * share)
    assert torch.equal(channel_shares(3, 3.0), torch.full((3,), 1 / 3))


def test_no_weighting_is_ones(batch):
    weights = loss_weights(build_noise_scheduler(), batch[2])
    assert torch.equal(weights, torch.ones(6))


def test_labels_are_dropped_at_the_asked_rate():
    labels = torch.zeros(20_000, dtype=torch.long)
    generator = torch.Generator().manual_seed(0)
    dropped = drop_labels(labels, 5, 0.1, generator)
    assert set(dropped.tolist()) == {0, 5}
    assert (dropped == 5).float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(drop_labels(labels, 5, 0.0), labels)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_sampler_with_a_perfect_net_arrives_at_the_image(name, schedule, batch):
    clean_images, noise, _ = batch
    noise_scheduler = build_noise_scheduler(schedule, "v_prediction")
    sampler = build_sampler(name, noise_scheduler, 50 if name == "ddpm" else 12)
    images = noise
    for timestep in sampler.timesteps:
        images = sampler.step(clean_images, timestep, images).prev_sample
    torch.testing.assert_close(images, clean_images, atol=0.03, rtol=0)


def test_bad_samplers_and_steps_are_refused():
    scheduler = build_noise_scheduler(num_train_timesteps=100)
    with pytest.raises(ValueError, match="dpmsolver"):
        build_sampler("euler", scheduler, 10)
    for steps in (0, 101):
        with pytest.raises(ValueError, match="1 to 100"):
            build_sampler("ddim", scheduler, steps)


def test_timesteps_are_spread_and_uniform():
    generator = torch.Generator().manual_seed(0)
    batches = torch.stack([spread_timesteps(8, 1000, generator) for _ in range(2000)])
    assert (batches.sort(dim=1).values.diff(dim=1) - 125).abs().max() <= 1
    counts = torch.bincount(batches[:, 3] // 100, minlength=10)
    assert len(counts) == 10
    assert (counts - 200).abs().max() < 60
