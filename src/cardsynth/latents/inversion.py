"""Inverts cards to latents, and draws variations of a given card."""

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from threading import Event

import torch
import torch.nn.functional as F
from torchmetrics.functional.image import peak_signal_noise_ratio

from cardsynth.baselines.model import BaselineModel
from cardsynth.cards.dataset import normalize
from cardsynth.core.denoise import denoise, guided_steps, to_pixels
from cardsynth.core.diffusion import build_sampler, predict_clean_images
from cardsynth.latents.latent_model import DiffusionLatents, LatentModel, class_weights
from cardsynth.latents.walks import Labels, spherical

# Sampling settings that can be inverted; see `invert`.
INVERTIBLE = {"sampler": "ddim", "num_inference_steps": 50, "guidance_scale": 1.0, "mixed_precision": "no"}
# The fixed-point iteration of a step ends when a round changes the image by at most this, root mean square, or after so
# many rounds. The remaining error grows a thousandfold in sampling, where the net decides between layouts.
TOLERANCE, MOST_ROUNDS = 1e-5, 30
SEARCH_SEEDS, SEARCH_STEPS = 64, 300


def invert(model: LatentModel, cards: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    """Finds latents that the model decodes to approximately the given cards.

    A diffusion model from `latents_of(model, **INVERTIBLE)` is integrated backwards (DDIM inversion, Song et al. 2021,
    section 4.3). Fixed-point iteration solves each step for its noisier end (Pan et al. 2023): the usual evaluation at
    the less noisy end alone fails for one card in twenty. A VAE has an encoder. For a DCGAN, gradient descent over
    `SEARCH_STEPS` starts from the best of `SEARCH_SEEDS` seeds (Zhu et al. 2016, section 3).

    Args:
        model: Model to invert.
        cards: Cards uint8 (B, C, H, W) of the model's size. A card without a mask counts as undamaged.
        class_weights: Class shares of the cards, float32 (B, classes); None for a model without classes.

    Returns:
        Latents, float32 (B, *latent_shape).

    Raises:
        ValueError: The sampler is not DDIM, or the cards do not fit the model.
    """
    cards = _with_mask(model, cards)
    if not isinstance(model, DiffusionLatents):
        return model.encode(cards) if model.encode else _search(model, cards, class_weights)
    if model.recipe.sampler != "ddim":
        raise ValueError(f"{model.recipe.sampler} cannot be inverted; use latents_of(model, **INVERTIBLE)")

    def run(predict: Callable, images: torch.Tensor, stopped: Event) -> torch.Tensor:
        return _backwards(model, predict, images, stopped).cpu()

    return model.through_net(run, normalize(cards, model.model.config.patch_size), class_weights)


@torch.inference_mode()
def _backwards(model: DiffusionLatents, predict: Callable, images: torch.Tensor, stopped: Event) -> torch.Tensor:
    """Inverts DDIM for clean images (B, C, h, w), which the net cannot distinguish from the least noisy ones."""
    noise_scheduler = model.model.noise_scheduler
    timesteps = build_sampler("ddim", noise_scheduler, model.recipe.num_inference_steps).timesteps.flip(0)
    alphas = noise_scheduler.alphas_cumprod[timesteps].tolist()
    guided = guided_steps(model.model, model.recipe, timesteps)
    images = alphas[0] ** 0.5 * images
    for step in range(1, len(timesteps)):
        before, after = alphas[step - 1], alphas[step]
        timestep, solution = timesteps[step].to(images.device), images
        for _ in range(MOST_ROUNDS):
            if stopped.is_set():
                raise CancelledError
            output = predict(solution, timestep, guided[step])
            clean = predict_clean_images(noise_scheduler, output, solution, timesteps[step])
            noise = (images - before**0.5 * clean) / (1 - before) ** 0.5
            update = after**0.5 * clean + (1 - after) ** 0.5 * noise
            moving = (update - solution).square().mean(dim=(1, 2, 3), keepdim=True).sqrt() > TOLERANCE
            # A converged card no longer changes, however many rounds the others take.
            solution = torch.where(moving, update, solution)
            if not moving.any():
                break
        images = solution
    return images


def _search(model: BaselineModel, cards: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    """Finds the latents whose cards are nearest to cards uint8 (B, C, H, W), by a separate search for each."""
    expected = (len(cards), 4 if model.has_mask else 3, *model.config.size)
    if cards.shape != expected:
        raise ValueError(f"{model.name} draws cards of shape {expected}, not {tuple(cards.shape)}")
    device, latents = model.net.device, []
    candidates = model.seed_latents(range(SEARCH_SEEDS))
    for index, card in enumerate(normalize(cards)):
        weights = None if class_weights is None else class_weights[index : index + 1]
        drawn = normalize(model.decode(candidates, None if weights is None else weights.expand(SEARCH_SEEDS, -1)))
        best = (drawn - card).square().mean(dim=(1, 2, 3)).argmin()
        latent = candidates[best : best + 1].to(device).requires_grad_()
        inputs = () if weights is None else (weights.to(device),)
        optimizer = torch.optim.Adam([latent], lr=0.05)
        for _ in range(SEARCH_STEPS):
            optimizer.zero_grad()
            F.mse_loss(model.net(latent, *inputs)[0], card.to(device)).backward()
            optimizer.step()
        latents.append(latent.detach().cpu())
    return torch.cat(latents)


def vary(
    model: LatentModel, cards: torch.Tensor, strength: float, seeds: Sequence[int], labels: Labels = None
) -> torch.Tensor:
    """Draws variations of cards.

    A diffusion model adds noise to the card and denoises it (SDEdit, Meng et al. 2022). Other models interpolate from
    the card's latent to the seed's.

    Args:
        model: Model to draw with.
        cards: One card for each seed, or one for all, uint8 (N or 1, C, H, W).
        strength: From 0, the card itself (a VAE's reconstruction of it), to 1, the card generated from the seed.
        seeds: N seeds.
        labels: Class of all variations, or of each.

    Returns:
        Variations, uint8 (N, C, H, W).

    Raises:
        ValueError: The strength or the number of cards is out of range, or `invert` refuses the cards.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"the strength of a variation must be in 0 to 1, and is {strength:g}")
    if len(cards) not in (1, len(seeds)):
        raise ValueError(f"there are {len(cards)} cards and {len(seeds)} seeds; give one card, or one for each seed")
    cards = _with_mask(model, cards).expand(len(seeds), -1, -1, -1)
    weights, noise = class_weights(model, seeds, labels), model.seed_latents(seeds)
    if not isinstance(model, DiffusionLatents):
        pairs = zip(invert(model, cards, weights), noise, strict=True)
        latents = [spherical(card, seed, torch.tensor([float(strength)])) for card, seed in pairs]
        return model.decode(torch.cat(latents), weights)
    steps = model.recipe.num_inference_steps
    first_step = steps - round(strength * steps)
    if first_step in (0, steps):
        return model.decode(noise, weights) if first_step == 0 else cards.clone()
    schedule = model.model.noise_scheduler
    timestep = build_sampler(model.recipe.sampler, schedule, steps).timesteps[first_step]
    noisy = schedule.add_noise(normalize(cards, model.model.config.patch_size), noise, timestep.repeat(len(seeds)))

    def run(predict: Callable, images: torch.Tensor, stopped: Event) -> torch.Tensor:
        clean = denoise(model.model, predict, model.recipe, images, first_step=first_step, stopped=stopped)
        return to_pixels(model.model, clean)

    return model.through_net(run, noisy, weights)


def psnr(cards: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Returns the peak signal-to-noise ratio of colours, float32 (N,) in decibels, for cards uint8 (N, C, H, W)."""
    first, second = (pixels[:, :3].float() for pixels in (cards, others))
    return peak_signal_noise_ratio(first, second, data_range=255.0, dim=(1, 2, 3), reduction="none")


def _with_mask(model: LatentModel, cards: torch.Tensor) -> torch.Tensor:
    """Adds empty masks to cards without masks if the model has masks."""
    return F.pad(cards, (0, 0, 0, 0, 0, 1)) if model.has_mask and cards.shape[1] == 3 else cards
