"""Noise schedules, training targets, loss weights and samplers, all on diffusers' own schedulers."""

from typing import get_args

import diffusers
import torch
from diffusers import DDPMScheduler, SchedulerMixin
from diffusers.training_utils import compute_snr

from cardsynth.core.base_config import Sampler
from cardsynth.core.config import BetaSchedule, PredictionType

SAMPLERS = get_args(Sampler)
# Those that add noise at every step.
STOCHASTIC = ("sde-dpmsolver++", "ddpm")


def build_noise_scheduler(
    beta_schedule: BetaSchedule = "linear", prediction_type: PredictionType = "epsilon", num_train_timesteps: int = 1000
) -> DDPMScheduler:
    """Builds the noise schedule of training.

    Args:
        beta_schedule: `linear` (Ho et al. 2020), `scaled_linear` (Rombach et al. 2022), `squaredcos_cap_v2` (cosine,
            Nichol & Dhariwal 2021) or `sigmoid` (Xu et al. 2022, GeoDiff).
        prediction_type: what the net predicts: `epsilon`, `sample` or `v_prediction`.
        num_train_timesteps: number of timesteps.
    """
    return DDPMScheduler(
        num_train_timesteps=num_train_timesteps,
        beta_schedule=beta_schedule,
        prediction_type=prediction_type,
        timestep_spacing="trailing",
    )


def training_target(
    noise_scheduler: DDPMScheduler, clean_images: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor
) -> torch.Tensor:
    """Returns what the net should predict, (B, C, H, W): noise, image, or velocity (Salimans & Ho 2022)."""
    prediction_type = noise_scheduler.config["prediction_type"]
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "sample":
        return clean_images
    # diffusers declares int32 timesteps, and takes int64 ones.
    return noise_scheduler.get_velocity(clean_images, noise, timesteps)  # pyright: ignore[reportArgumentType]


def loss_weights(
    noise_scheduler: DDPMScheduler,
    timesteps: torch.Tensor,
    weighting: str = "none",
    snr_gamma: float = 5.0,
    snr_floor: float = 0.0,
) -> torch.Tensor:
    """Returns the weight of each timestep's squared error: ones, or min-SNR-gamma (Hang et al. 2023, section 3.4).

    Min-SNR weighs the error of the image by min(SNR, gamma). The error of the noise is SNR times that of the image,
    the error of the velocity SNR + 1 times, so the weight is divided by that factor.

    Args:
        noise_scheduler: the noise schedule.
        timesteps: int64 (B,).
        weighting: `none` or `min_snr`.
        snr_gamma: gamma.
        snr_floor: least weight of the image's error; it keeps high noise in view, where the layout is decided.

    Returns:
        float32 (B,).
    """
    if weighting == "none":
        return torch.ones(timesteps.shape, device=timesteps.device)
    snr = compute_snr(noise_scheduler, timesteps)
    divisor = {"sample": torch.ones_like(snr), "epsilon": snr, "v_prediction": snr + 1}
    return snr.clamp(snr_floor, snr_gamma) / divisor[noise_scheduler.config["prediction_type"]]


def channel_shares(channels: int, mask_weight: float = 1.0, patch_size: int = 1) -> torch.Tensor:
    """Returns the share of each channel in a card's mean error.

    Args:
        channels: channels of a card: 3, or 4 with a mask.
        mask_weight: weight of the mask relative to a colour.
        patch_size: side of the pixel blocks that are folded into channels, which share their channel's weight.

    Returns:
        float32 (channels * patch_size**2,), in all 1.
    """
    weights = torch.ones(channels)
    weights[3:] = mask_weight
    return (weights / weights.sum() / patch_size**2).repeat_interleave(patch_size**2)


def spread_timesteps(count: int, num_train_timesteps: int, generator: torch.Generator) -> torch.Tensor:
    """Draws timesteps, each uniform, together spread evenly over the schedule (Kingma et al. 2021, appendix I.1).

    Every batch then sees low and high noise, which reduces the variance of its loss and gradient.

    Returns:
        int64 (count,).
    """
    start = torch.rand(1, generator=generator, device=generator.device)
    places = (start + torch.arange(count, device=generator.device) / count) % 1
    return (places * num_train_timesteps).long().clamp(max=num_train_timesteps - 1)


def drop_labels(
    labels: torch.Tensor, null_label: int, probability: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Replaces a random share of labels (B,) by `null_label`, for classifier-free guidance (Ho & Salimans 2022)."""
    dropped = torch.rand(labels.shape, generator=generator, device=labels.device) < probability
    return labels.masked_fill(dropped, null_label)


def predict_clean_images(
    noise_scheduler: DDPMScheduler, model_output: torch.Tensor, noisy_images: torch.Tensor, timestep: torch.Tensor
) -> torch.Tensor:
    """Computes the clean image that a model output stands for at one timestep, clipped to [-1, 1].

    Formulas: Ho et al. 2020, equation 15 (epsilon), and Salimans & Ho 2022, appendix D (velocity).

    Args:
        noise_scheduler: the noise schedule.
        model_output: float (B, C, H, W).
        noisy_images: float (B, C, H, W).
        timestep: int64 (), on the CPU, so that no GPU is waited for.

    Returns:
        float (B, C, H, W).
    """
    alpha_prod = noise_scheduler.alphas_cumprod[timestep]
    prediction_type = noise_scheduler.config["prediction_type"]
    if prediction_type == "epsilon":
        clean_images = (noisy_images - (1 - alpha_prod) ** 0.5 * model_output) / alpha_prod**0.5
    elif prediction_type == "v_prediction":
        clean_images = alpha_prod**0.5 * noisy_images - (1 - alpha_prod) ** 0.5 * model_output
    else:
        clean_images = model_output
    return clean_images.clamp(-1, 1)


def noise_ratio(noise_scheduler: DDPMScheduler, timestep: torch.Tensor) -> float:
    """Standard deviation of the noise over that of the image at a timestep (on the CPU): 0 or more."""
    alpha_prod = noise_scheduler.alphas_cumprod[timestep].item()
    return ((1 - alpha_prod) / alpha_prod) ** 0.5


def build_sampler(name: str, noise_scheduler: DDPMScheduler, num_inference_steps: int) -> SchedulerMixin:
    """Builds a diffusers scheduler for sampling, its timesteps set.

    All samplers start at the last timestep ("trailing", Lin et al. 2024). Their `step` takes the output of
    `predict_clean_images`, so that all clip alike; one of STOCHASTIC also takes the step's noise, `variance_noise`.
    `ddpm` is the first-order solver of the diffusion SDE, which is equivalent (Lu et al. 2022, DPM-Solver++).

    Args:
        name: one of SAMPLERS: `dpmsolver++`, `sde-dpmsolver++` and `unipc` take about 20 steps, `ddim` 50, `ddpm` all.
        noise_scheduler: the noise schedule of training.
        num_inference_steps: number of steps.

    Raises:
        ValueError: there is no such sampler, or the schedule has fewer timesteps.
    """
    num_train_timesteps = noise_scheduler.config["num_train_timesteps"]
    if not 1 <= num_inference_steps <= num_train_timesteps:
        raise ValueError(f"num_inference_steps must lie in 1 to {num_train_timesteps}, and is {num_inference_steps}")
    samplers = {
        "dpmsolver++": (diffusers.DPMSolverMultistepScheduler, {}),
        "sde-dpmsolver++": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
        "unipc": (diffusers.UniPCMultistepScheduler, {}),
        "ddim": (diffusers.DDIMScheduler, {}),
        "ddpm": (diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++", "solver_order": 1}),
    }
    if name not in samplers:
        raise ValueError(f"there is no sampler {name!r}; the samplers are {', '.join(SAMPLERS)}")
    kind, options = samplers[name]
    options |= {"prediction_type": "sample", "timestep_spacing": "trailing"}
    # Not all of them know all schedules by name.
    options["trained_betas"] = noise_scheduler.betas.tolist()
    sampler = kind.from_config(noise_scheduler.config, **options)
    sampler.set_timesteps(num_inference_steps)
    return sampler
