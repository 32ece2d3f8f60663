"""Denoising shown: a card that sinks into noise, and one that emerges from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Any

import torch
from diffusers import DDPMScheduler

from cardsynth.cards.dataset import denormalize, normalize
from cardsynth.core.denoise import TrainedModel, denoise, to_pixels
from cardsynth.latents.latent_model import class_weights, latents_of


@dataclass(frozen=True)
class Emergence:
    """A card as it emerges, uint8 (N, C, H, W) at N timesteps: `noisy`, `predicted` clean; and the `card` (C, H, W)."""

    timesteps: tuple[int, ...]
    noisy: torch.Tensor
    predicted: torch.Tensor
    card: torch.Tensor


def noised_strip(
    card: torch.Tensor, noise_scheduler: DDPMScheduler, timesteps: Sequence[int], patch_size: int = 1, seed: int = 0
) -> torch.Tensor:
    """A card uint8 (C, H, W) as training shows it, under noise of each of N timesteps: uint8 (N, C, H, W)."""
    places = torch.as_tensor(timesteps, dtype=torch.long)
    clean_images = normalize(card[None], patch_size).repeat(len(places), 1, 1, 1)
    noise = torch.randn(clean_images[0].shape, generator=torch.Generator().manual_seed(seed))
    return denormalize(noise_scheduler.add_noise(clean_images, noise.expand_as(clean_images), places), patch_size)


def emerge(model: TrainedModel, seed: int, label: str | None = None, count: int = 6, **sampling: Any) -> Emergence:
    """How the card of a seed emerges: what the net is given, and what it takes for the card, at `count` of its steps.

    The steps are spread evenly, the first and the last among them; all of them where there are fewer. label: default,
    the seed's turn. The last prediction becomes the card: the one that `generate` draws. sampling: as of `latents_of`.
    """
    latents, patch_size = latents_of(model, **sampling), model.config.patch_size
    seen: list[tuple[int, torch.Tensor, torch.Tensor]] = []

    def watch(timestep: int, noisy: torch.Tensor, predicted: torch.Tensor) -> None:
        seen.append((timestep, *(denormalize(one[:1], patch_size) for one in (noisy, predicted))))

    def run(predict: Callable, images: torch.Tensor, stopped: Event) -> torch.Tensor:
        return to_pixels(model, denoise(model, predict, latents.recipe, images, watch=watch, stopped=stopped))

    card = latents.through_net(run, latents.seed_latents([seed]), class_weights(model, [seed], label))[0]
    places = torch.linspace(0, len(seen) - 1, min(count, len(seen))).round().long().tolist()
    timesteps, noisy, predicted = zip(*(seen[place] for place in places), strict=True)
    return Emergence(timesteps, torch.cat(noisy).cpu(), torch.cat(predicted).cpu(), card)
