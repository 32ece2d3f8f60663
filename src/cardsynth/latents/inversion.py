"""From a card back to the latent that it is made of, and variations of a given card."""

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

# Sampling that can be followed backwards; see `invert`.
INVERTIBLE = {"sampler": "ddim", "num_inference_steps": 50, "guidance_scale": 1.0, "mixed_precision": "no"}
# A step back is found when a round changes it by no more than this, root mean square, or after so many rounds: what is
# left of its error grows a thousandfold on the way to the card, where the net chooses between layouts.
TOLERANCE, MOST_ROUNDS = 1e-5, 30
SEARCH_SEEDS, SEARCH_STEPS = 64, 300


def invert(model: LatentModel, cards: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    """Latents float32 (B, *latent_shape) that cards uint8 (B, C, H, W) of the model's size are made of, about.

    class_weights: of the cards, float32 (B, classes); None for a model without classes. A card without a mask is taken
    for one without damage. A diffusion model, of `latents_of(model, **INVERTIBLE)`, is followed backwards step by step
    (DDIM inversion, Song et al. 2021, section 4.3), each step solved for its noisier end by fixed-point iteration (Pan
    et al. 2023): asked at the less noisy end alone, as is usual, the net leads one card in twenty astray. Raises
    ValueError for a sampler other than DDIM, and for cards that do not fit. A VAE has an encoder; for a DCGAN latents
    are searched for by gradient descent, `SEARCH_STEPS` long, from the best of some seeds (Zhu et al. 2016, section 3).
    """
    cards = _with_mask(model, cards)
    if not isinstance(model, DiffusionLatents):
        return model.encode(cards) if model.encode else _search(model, cards, class_weights)
    if model.recipe.sampler != "ddim":
        raise ValueError(f"{model.recipe.sampler} cannot be followed backwards; take latents_of(model, **INVERTIBLE)")

    def run(predict: Callable, images: torch.Tensor, stopped: Event) -> torch.Tensor:
        return _backwards(model, predict, images, stopped).cpu()

    return model.through_net(run, normalize(cards, model.model.config.patch_size), class_weights)


@torch.inference_mode()
def _backwards(model: DiffusionLatents, predict: Callable, images: torch.Tensor, stopped: Event) -> torch.Tensor:
    """Clean images (B, C, h, w) -> the noise that DDIM makes them of. The net cannot tell them from the least noisy."""
    noise_scheduler = model.model.noise_scheduler
    timesteps = build_sampler("ddim", noise_scheduler, model.recipe.num_inference_steps).timesteps.flip(0)
    alphas = noise_scheduler.alphas_cumprod[timesteps].tolist()
    guided = guided_steps(model.model, model.recipe, timesteps)
    images = alphas[0] ** 0.5 * images
    for step in range(1, len(timesteps)):
        before, after = alphas[step - 1], alphas[step]
        on_device, found = timesteps[step].to(images.device), images
        for _ in range(MOST_ROUNDS):
            if stopped.is_set():
                raise CancelledError
            output = predict(found, on_device, guided[step])
            clean = predict_clean_images(noise_scheduler, output, found, timesteps[step])
            noise = (images - before**0.5 * clean) / (1 - before) ** 0.5
            better = after**0.5 * clean + (1 - after) ** 0.5 * noise
            moving = (better - found).square().mean(dim=(1, 2, 3), keepdim=True).sqrt() > TOLERANCE
            # A card that is found stays, however long the others take.
            found = torch.where(moving, better, found)
            if not moving.any():
                break
        images = found
    return images


def _search(model: BaselineModel, cards: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
    """Latents whose cards come closest to cards uint8 (B, C, H, W), each searched for by itself."""
    expected = (len(cards), 4 if model.has_mask else 3, *model.config.size)
    if cards.shape != expected:
        raise ValueError(f"{model.name} draws cards of shape {expected}, not {tuple(cards.shape)}")
    device, found = model.net.device, []
    candidates = model.seed_latents(range(SEARCH_SEEDS))
    for place, card in enumerate(normalize(cards)):
        weights = None if class_weights is None else class_weights[place : place + 1]
        drawn = normalize(model.decode(candidates, None if weights is None else weights.expand(SEARCH_SEEDS, -1)))
        best = (drawn - card).square().mean(dim=(1, 2, 3)).argmin()
        latent = candidates[best : best + 1].to(device).requires_grad_()
        inputs = () if weights is None else (weights.to(device),)
        optimizer = torch.optim.Adam([latent], lr=0.05)
        for _ in range(SEARCH_STEPS):
            optimizer.zero_grad()
            F.mse_loss(model.net(latent, *inputs)[0], card.to(device)).backward()
            optimizer.step()
        found.append(latent.detach().cpu())
    return torch.cat(found)


def vary(
    model: LatentModel, cards: torch.Tensor, strength: float, seeds: Sequence[int], labels: Labels = None
) -> torch.Tensor:
    """Variations uint8 (N, C, H, W) of cards, one for each seed, or of one card for all seeds.

    strength: from 0, the card itself (of a VAE, as it comes back), to 1, the card that is generated from the seed. A
    diffusion model takes up as many of its steps, from the card under so much noise (SDEdit, Meng et al. 2022);
    another one goes so far from the card's latent to the seed's. labels: class of the variations, of all or of each.
    Raises ValueError for another strength, another number of cards than of seeds, and as `invert` does.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"the strength of a variation lies in 0 to 1, and is {strength:g}")
    if len(cards) not in (1, len(seeds)):
        raise ValueError(f"there are {len(cards)} cards and {len(seeds)} seeds; give one card, or one for each seed")
    cards = _with_mask(model, cards).expand(len(seeds), -1, -1, -1)
    weights, noise = class_weights(model, seeds, labels), model.seed_latents(seeds)
    if not isinstance(model, DiffusionLatents):
        pairs = zip(invert(model, cards, weights), noise, strict=True)
        between = [spherical(card, seed, torch.tensor([float(strength)])) for card, seed in pairs]
        return model.decode(torch.cat(between), weights)
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
    """Peak signal-to-noise ratio of the colours of cards uint8 (N, C, H, W) and others, in decibels, float32 (N,)."""
    one, other = (pixels[:, :3].float() for pixels in (cards, others))
    return peak_signal_noise_ratio(one, other, data_range=255.0, dim=(1, 2, 3), reduction="none")


def _with_mask(model: LatentModel, cards: torch.Tensor) -> torch.Tensor:
    """Cards with an empty mask where the model takes one and they have none."""
    wanted = 4 if model.has_mask else 3
    return F.pad(cards, (0, 0, 0, 0, 0, 1)) if cards.shape[1] == 3 < wanted else cards
