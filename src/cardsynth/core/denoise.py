"""Noise -> cards: the loop over the timesteps, run on a fixed number of cards at a time, each with noise of its own."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel

from cardsynth.cards.dataset import denormalize
from cardsynth.cards.numbers import Numbers, shares_of, with_numbers
from cardsynth.core.diffusion import STOCHASTIC, build_sampler, noise_ratio, predict_clean_images
from cardsynth.core.runs import TrainedModel
from cardsynth.painting.veils import KnownCards
from cardsynth.util.device import in_parts

# Feature maps as large as the net's largest that are in memory at once, about, when a card goes through it.
MAPS_AT_ONCE = 12
# What they may take: on a CPU so little that they stay in the caches, on a GPU this share of its memory.
BYTES_ON_CPU, SHARE_OF_GPU = 16 * 2**20, 1 / 8
MOST_ON_CPU, MOST_ON_GPU = 8, 256


@dataclass(frozen=True)
class Recipe:
    """How cards are sampled; `generate` explains each, and all stand in the metadata of a generated card."""

    sampler: str
    num_inference_steps: int
    guidance_scale: float
    negative_label: str | None
    guidance_limit: float | None
    guidance_interval: tuple[float, float]
    mixed_precision: str


def cards_at_once(unet: UNet2DModel) -> int:
    """How many cards go through a net together, by its size and the device's memory.

    It does not depend on how many cards there are, for a net's result for one card depends, by rounding, on how many
    go through it together.
    """
    _, height, width = latent_shape(unet)
    need = MAPS_AT_ONCE * 4 * height * width * unet.config.block_out_channels[0]
    budget, most = BYTES_ON_CPU, MOST_ON_CPU
    if unet.device.type == "cuda":
        budget, most = SHARE_OF_GPU * torch.cuda.get_device_properties(unet.device).total_memory, MOST_ON_GPU
    fitting = min(most, max(1, int(budget // need)))
    return 2 ** (fitting.bit_length() - 1)


def draw_cards(
    model: TrainedModel,
    net: Callable,
    recipe: Recipe,
    seeds: list[int],
    labels: list[str | None],
    numbers: list[Numbers],
    at_once: int,
    known: KnownCards | None = None,
) -> torch.Tensor:
    """Cards uint8 (B, C, H, W) on the CPU, each from noise of its seed's own; see `device.in_parts`.

    net: the model's, or what was compiled of it. known: what is known of each card beforehand.
    """
    missing, count = -len(seeds) % at_once, len(seeds)
    seeds, labels, numbers = (values + values[-1:] * missing for values in (seeds, labels, numbers))
    device, shape = model.unet.device, latent_shape(model.unet)

    def draw(part: slice, stopped: threading.Event) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[part]]

        def draw_noise() -> torch.Tensor:
            noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
            return noise.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else noise

        classes = None
        if model.labels:
            classes = torch.tensor([model.labels.index(label) for label in labels[part]], device=device)
        predict = build_predictor(model, net, recipe, classes, numbers[part])
        there = None if known is None else known.of(part).to(device)
        how = {"draw_noise": draw_noise, "known": there, "stopped": stopped}
        return to_pixels(model, denoise(model, predict, recipe, draw_noise(), **how))

    return in_parts(draw, count, at_once, device)


@torch.inference_mode()
def denoise(
    model: TrainedModel,
    predict: Callable[[torch.Tensor, torch.Tensor, bool], torch.Tensor],
    recipe: Recipe,
    images: torch.Tensor,
    *,
    draw_noise: Callable[[], torch.Tensor] | None = None,
    known: KnownCards | None = None,
    first_step: int = 0,
    watch: Callable[[int, torch.Tensor, torch.Tensor], None] | None = None,
    stopped: threading.Event | None = None,
) -> torch.Tensor:
    """Clean images of noisy ones that go through the net together, both float32 (B, C, h, w), on the net's device.

    images: pure noise, or as noisy as the `first_step`th of the sampler's timesteps. draw_noise: of one of STOCHASTIC,
    the noise of each step. watch: is shown each timestep, the noisy images there and the clean ones that the net
    predicts. Nothing in the loop waits for a GPU: what steers it lies on the CPU.
    """
    scheduler = build_sampler(recipe.sampler, model.noise_scheduler, recipe.num_inference_steps)
    timesteps = scheduler.timesteps[first_step:]
    guided = guided_steps(model, recipe, timesteps)
    for timestep, timestep_on_device, guided_now in zip(timesteps, timesteps.to(images.device), guided, strict=True):
        if stopped is not None and stopped.is_set():
            raise CancelledError
        model_output = predict(images, timestep_on_device, guided_now)
        clean_images = predict_clean_images(model.noise_scheduler, model_output, images, timestep)
        if known is not None:
            clean_images = known.keep(clean_images, noise_ratio(model.noise_scheduler, timestep))
        if watch is not None:
            watch(timestep.item(), images, clean_images)
        noise = {"variance_noise": draw_noise()} if recipe.sampler in STOCHASTIC else {}
        images = scheduler.step(clean_images, timestep, images, **noise).prev_sample
    return images


def to_pixels(model: TrainedModel, images: torch.Tensor) -> torch.Tensor:
    """Images float (B, C, h, w) in [-1, 1] -> cards uint8 (B, C, H, W) on the CPU, a mask as 0 or 255."""
    pixels = denormalize(images, model.config.patch_size).cpu()
    if model.has_mask:
        pixels[:, 3] = torch.where(pixels[:, 3] >= 128, 255, 0)
    return pixels


@torch.inference_mode()
def try_out(model: TrainedModel, recipe: Recipe, at_once: int, net: Callable) -> None:
    """Run a net on as many cards as go through it at once, with guidance and without."""
    images = torch.zeros(at_once, *latent_shape(model.unet), device=model.unet.device)
    classes = torch.zeros(at_once, dtype=torch.long, device=images.device) if model.labels else None
    predict = build_predictor(model, net, recipe, classes, [{}] * at_once)
    for guided in (False, True) if _is_guided(model, recipe) else (False,):
        predict(images, torch.zeros((), dtype=torch.long, device=images.device), guided)


def _is_guided(model: TrainedModel, recipe: Recipe) -> bool:
    return bool(model.labels or model.config.conditions) and recipe.guidance_scale != 1


def guided_steps(model: TrainedModel, recipe: Recipe, timesteps: torch.Tensor) -> list[bool]:
    """Whether cards are guided at each of some timesteps, int (N,) on the CPU."""
    guided, count = _is_guided(model, recipe), model.noise_scheduler.config.num_train_timesteps
    low, high = recipe.guidance_interval
    return [guided and low <= timestep / count <= high for timestep in timesteps.tolist()]


def build_predictor(
    model: TrainedModel, net: Callable, recipe: Recipe, classes: torch.Tensor | None, numbers: Sequence[Numbers]
) -> Callable[[torch.Tensor, torch.Tensor, bool], torch.Tensor]:
    """The net's output, float32, as a function of images (B, C, h, w), timestep and whether to guide, in one call.

    classes: int64 (B,), or for a net of `mix_classes` the share of each class, float32 (B, classes + 1); None for a net
    without classes.
    """
    device = model.unet.device
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(recipe.mixed_precision)
    with_negative = None
    if classes is not None:
        away_from = len(model.labels) if recipe.negative_label is None else model.labels.index(recipe.negative_label)
        negative = torch.full((len(classes),), away_from, device=device)
        if classes.is_floating_point():
            negative = F.one_hot(negative, classes.shape[1]).to(classes)
        with_negative = torch.cat([classes, negative])
    shares = shares_of(numbers, model.config.conditions).to(device)
    with_unknown = torch.cat([shares, torch.full_like(shares, torch.nan)])

    def predict(images: torch.Tensor, timestep: torch.Tensor, guided: bool) -> torch.Tensor:
        inputs, wanted, told = images, classes, shares
        if guided:
            inputs, wanted, told = torch.cat([images, images]), with_negative, with_unknown
        with torch.autocast(device.type, dtype) if dtype else nullcontext():
            output = net(with_numbers(inputs, told), timestep, class_labels=wanted).sample.float()
        if not guided:
            return output
        with_label, without_label = output.chunk(2)
        step = (recipe.guidance_scale - 1) * (with_label - without_label)
        if recipe.guidance_limit is not None:
            length = step.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            step *= (recipe.guidance_limit / length.clamp(min=1e-12)).clamp(max=1)
        return with_label + step

    return predict


def latent_shape(unet: UNet2DModel) -> tuple[int, int, int]:
    """Shape of the noise that a card is made of, pixels folded: (C * p * p, H / p, W / p)."""
    side = unet.config.sample_size
    return (unet.config.out_channels, *((side, side) if isinstance(side, int) else side))
