"""Noise schedules, training targets, loss weights and samplers, all on diffusers' own schedulers."""

from typing import get_args

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from diffusers.training_utils import compute_snr

from cardsynth.core.base_config import Sampler

SAMPLERS = get_args(Sampler)
# Those that add noise at every step.
STOCHASTIC = ("sde-dpmsolver++", "ddpm")


def build_noise_scheduler(
    beta_schedule: str = "linear", prediction_type: str = "epsilon", num_train_timesteps: int = 1000
) -> DDPMScheduler:
    """The training noise schedule: `linear`, `scaled_linear`, `squaredcos_cap_v2` (cosine) or `sigmoid`.

    Sources: Ho et al. 2020; Rombach et al. 2022; Nichol & Dhariwal 2021; Xu et al. 2022 (GeoDiff).
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
    """What the net should predict, (B, C, H, W): noise, image, or velocity (Salimans & Ho 2022)."""
    prediction_type = noise_scheduler.config.prediction_type
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "sample":
        return clean_images
    return noise_scheduler.get_velocity(clean_images, noise, timesteps)


def loss_weights(
    noise_scheduler: DDPMScheduler,
    timesteps: torch.Tensor,
    weighting: str = "none",
    snr_gamma: float = 5.0,
    snr_floor: float = 0.0,
) -> torch.Tensor:
    """Weight of each timestep's squared error, (B,): ones, or min-SNR-gamma (Hang et al. 2023, section 3.4).

    `min_snr` weighs the error of the image by min(SNR, gamma), expressed for what the net predicts: the error of the
    noise is SNR times that of the image, that of the velocity SNR + 1 times. The image's weight is nowhere below
    `snr_floor`, which keeps high noise in view, where layout and colours are settled.
    """
    if weighting == "none":
        return torch.ones(timesteps.shape, device=timesteps.device)
    snr = compute_snr(noise_scheduler, timesteps)
    divisor = {"sample": torch.ones_like(snr), "epsilon": snr, "v_prediction": snr + 1}
    return snr.clamp(snr_floor, snr_gamma) / divisor[noise_scheduler.config.prediction_type]


def channel_shares(channels: int, mask_weight: float = 1.0, patch_size: int = 1) -> torch.Tensor:
    """Share of each channel in a card's mean error, (channels * patch_size**2,), together 1.

    The fourth channel, the mask, weighs `mask_weight` times as much as a colour. Folded pixels share their channel's.
    """
    weights = torch.ones(channels)
    weights[3:] = mask_weight
    return (weights / weights.sum() / patch_size**2).repeat_interleave(patch_size**2)


def spread_timesteps(count: int, num_train_timesteps: int, generator: torch.Generator) -> torch.Tensor:
    """Random timesteps (count,), each uniform, together spread evenly over the schedule (Kingma et al. 2021, app. I.1).

    A batch then sees low and high noise alike, which makes its loss and gradient less random.
    """
    start = torch.rand(1, generator=generator, device=generator.device)
    places = (start + torch.arange(count, device=generator.device) / count) % 1
    return (places * num_train_timesteps).long().clamp(max=num_train_timesteps - 1)


def drop_labels(
    labels: torch.Tensor, null_label: int, probability: float, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Labels (B,) with a random share replaced by `null_label`, for classifier-free guidance (Ho & Salimans 2022)."""
    dropped = torch.rand(labels.shape, generator=generator, device=labels.device) < probability
    return labels.masked_fill(dropped, null_label)


def predict_clean_images(
    noise_scheduler: DDPMScheduler, model_output: torch.Tensor, noisy_images: torch.Tensor, timestep: torch.Tensor
) -> torch.Tensor:
    """The clean image (B, C, H, W) that a model output stands for at one timestep, clipped to [-1, 1].

    timestep: on the CPU, wherever the images are, so that no GPU is waited for. Formulas: Ho et al. 2020, equation 15
    (epsilon), and Salimans & Ho 2022, appendix D (velocity).
    """
    alpha_prod = noise_scheduler.alphas_cumprod[timestep]
    prediction_type = noise_scheduler.config.prediction_type
    if prediction_type == "epsilon":
        clean_images = (noisy_images - (1 - alpha_prod) ** 0.5 * model_output) / alpha_prod**0.5
    elif prediction_type == "v_prediction":
        clean_images = alpha_prod**0.5 * noisy_images - (1 - alpha_prod) ** 0.5 * model_output
    else:
        clean_images = model_output
    return clean_images.clamp(-1, 1)


def noise_ratio(noise_scheduler: DDPMScheduler, timestep: torch.Tensor) -> float:
    """How many times as strong as the image the noise is at a timestep, which lies on the CPU: 0 or more."""
    alpha_prod = noise_scheduler.alphas_cumprod[timestep].item()
    return ((1 - alpha_prod) / alpha_prod) ** 0.5


def build_sampler(name: str, noise_scheduler: DDPMScheduler, num_inference_steps: int):
    """A diffusers scheduler that samples in `num_inference_steps` steps, its timesteps set; it takes clean images.

    `name` is one of SAMPLERS: `dpmsolver++`, `sde-dpmsolver++` and `unipc` (about 20 steps), `ddim` (about 50), `ddpm`
    (all of them).
    All start at the last timestep ("trailing", Lin et al. 2024). What is passed to its `step` is the output of
    `predict_clean_images`, so that all clip alike, and for one of STOCHASTIC also the step's noise, `variance_noise`.
    `ddpm` is the first-order solver of the diffusion SDE, which is the same (Lu et al. 2022, DPM-Solver++). Raises
    ValueError for another name or a number of steps that the schedule does not have.
    """
    num_train_timesteps = noise_scheduler.config.num_train_timesteps
    if not 1 <= num_inference_steps <= num_train_timesteps:
        raise ValueError(f"num_inference_steps must lie in 1 to {num_train_timesteps}, and is {num_inference_steps}")
    samplers = {
        "dpmsolver++": (DPMSolverMultistepScheduler, {}),
        "sde-dpmsolver++": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"}),
        "unipc": (UniPCMultistepScheduler, {}),
        "ddim": (DDIMScheduler, {}),
        "ddpm": (DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++", "solver_order": 1}),
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
