"""Strips of pictures that show how a card is noised and denoised."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event

import torch
from diffusers import DDPMScheduler

from cardsynth.cards.dataset import denormalize, normalize
from cardsynth.core.denoise import TrainedModel, denoise, to_pixels
from cardsynth.latents.latent_model import class_weights, latents_of


@dataclass(frozen=True)
class Emergence:
    """The denoising of a card at N timesteps.

    Attributes:
        timesteps: Timesteps, from the noisiest.
        noisy: Input of the net, uint8 (N, C, H, W).
        predicted: Predicted clean card, uint8 (N, C, H, W).
        card: Final card, uint8 (C, H, W).
    """

    timesteps: tuple[int, ...]
    noisy: torch.Tensor
    predicted: torch.Tensor
    card: torch.Tensor


def noised_strip(
    card: torch.Tensor, noise_scheduler: DDPMScheduler, timesteps: Sequence[int], patch_size: int = 1, seed: int = 0
) -> torch.Tensor:
    """Adds the noise of each timestep to a card, as training does.

    Args:
        card: Card uint8 (C, H, W).
        noise_scheduler: Noise schedule of the model.
        timesteps: N timesteps.
        patch_size: Side of the patches that the net folds into channels.
        seed: Seed of the noise, which is the same for all timesteps.

    Returns:
        Noisy cards, uint8 (N, C, H, W).
    """
    steps = torch.as_tensor(timesteps, dtype=torch.long)
    clean_images = normalize(card[None], patch_size).repeat(len(steps), 1, 1, 1)
    noise = torch.randn(clean_images[0].shape, generator=torch.Generator().manual_seed(seed))
    return denormalize(noise_scheduler.add_noise(clean_images, noise.expand_as(clean_images), steps), patch_size)


def emerge(model: TrainedModel, seed: int, label: str | None = None, count: int = 6, **sampling: object) -> Emergence:
    """Records the denoising of a seed's card. The last prediction is the card that `generate` draws.

    Args:
        model: Diffusion model.
        seed: Seed of the card.
        label: Class of the card; None for the class that is the seed's turn.
        count: Number of recorded steps, evenly spaced from the first to the last; all steps if there are fewer.
        **sampling: Sampling settings, see `latents_of`.
    """
    latents, patch_size = latents_of(model, **sampling), model.config.patch_size
    steps: list[tuple[int, torch.Tensor, torch.Tensor]] = []

    def watch(timestep: int, noisy: torch.Tensor, predicted: torch.Tensor) -> None:
        steps.append((timestep, *(denormalize(images[:1], patch_size) for images in (noisy, predicted))))

    def run(predict: Callable, images: torch.Tensor, stopped: Event) -> torch.Tensor:
        return to_pixels(model, denoise(model, predict, latents.recipe, images, watch=watch, stopped=stopped))

    card = latents.through_net(run, latents.seed_latents([seed]), class_weights(model, [seed], label))[0]
    indices = torch.linspace(0, len(steps) - 1, min(count, len(steps))).round().long().tolist()
    timesteps, noisy, predicted = zip(*(steps[index] for index in indices), strict=True)
    return Emergence(timesteps, torch.cat(noisy).cpu(), torch.cat(predicted).cpu(), card)
