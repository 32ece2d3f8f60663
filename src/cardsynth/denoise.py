"""Noise -> cards: the loop over the timesteps, run on a fixed number of cards at a time, each with noise of its own."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from diffusers import UNet2DModel

from cardsynth.cards import denormalize
from cardsynth.conditions import Numbers, shares_of, with_numbers
from cardsynth.device import in_own_threads
from cardsynth.diffusion import STOCHASTIC, build_sampler, noise_ratio, predict_clean_images
from cardsynth.runs import TrainedModel
from cardsynth.veils import KnownCards

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
    _, height, width = _shape(unet)
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
    """Cards uint8 (B, C, H, W) on the CPU, `at_once` at a time; on a CPU side by side, a thread each, unless it is 1.

    net: the model's, or what was compiled of it. Beside the last few, cards are drawn that are thrown away, so that
    always the same number goes through the net. known: what is known of each card beforehand.
    """
    missing, count = -len(seeds) % at_once, len(seeds)
    seeds, labels, numbers = (values + values[-1:] * missing for values in (seeds, labels, numbers))

    def draw(start: int, stopped: threading.Event) -> torch.Tensor:
        part = slice(start, start + at_once)
        return _denoise(model, net, recipe, seeds[part], labels[part], numbers[part], stopped, known and known.of(part))

    starts = range(0, len(seeds), at_once)
    if model.unet.device.type == "cpu" and at_once > 1:
        pixels = in_own_threads(draw, starts)
    else:
        pixels = [draw(start, threading.Event()) for start in starts]
    return torch.cat(pixels)[:count]


@torch.inference_mode()
def _denoise(
    model: TrainedModel,
    net: Callable,
    recipe: Recipe,
    seeds: list[int],
    labels: list[str | None],
    numbers: list[Numbers],
    stopped: threading.Event,
    known: KnownCards | None = None,
) -> torch.Tensor:
    """Draw cards together. Nothing in the loop waits for a GPU: what steers it lies on the CPU."""
    device = model.unet.device
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw_noise() -> torch.Tensor:
        noise = torch.stack([torch.randn(_shape(model.unet), generator=generator) for generator in generators])
        return noise.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else noise

    images, known = draw_noise(), known and known.to(device)
    guided = _is_guided(model, recipe)
    predict = _predictor(model, net, recipe, labels, numbers)
    scheduler = build_sampler(recipe.sampler, model.noise_scheduler, recipe.num_inference_steps)
    for timestep, timestep_on_device in zip(scheduler.timesteps, scheduler.timesteps.to(device), strict=True):
        if stopped.is_set():
            raise CancelledError
        share = timestep.item() / model.noise_scheduler.config.num_train_timesteps
        guided_now = guided and recipe.guidance_interval[0] <= share <= recipe.guidance_interval[1]
        model_output = predict(images, timestep_on_device, guided_now)
        clean_images = predict_clean_images(model.noise_scheduler, model_output, images, timestep)
        if known is not None:
            clean_images = known.keep(clean_images, noise_ratio(model.noise_scheduler, timestep))
        noise = {"variance_noise": draw_noise()} if recipe.sampler in STOCHASTIC else {}
        images = scheduler.step(clean_images, timestep, images, **noise).prev_sample
    pixels = denormalize(images, model.config.patch_size).cpu()
    if model.has_mask:
        pixels[:, 3] = torch.where(pixels[:, 3] >= 128, 255, 0)
    return pixels


@torch.inference_mode()
def try_out(model: TrainedModel, recipe: Recipe, at_once: int, net: Callable) -> None:
    """Run a net on as many cards as go through it at once, with guidance and without."""
    predict = _predictor(model, net, recipe, list(model.labels[:1] or (None,)) * at_once, [{}] * at_once)
    images = torch.zeros(at_once, *_shape(model.unet), device=model.unet.device)
    for guided in (False, True) if _is_guided(model, recipe) else (False,):
        predict(images, torch.zeros((), dtype=torch.long, device=images.device), guided)


def _is_guided(model: TrainedModel, recipe: Recipe) -> bool:
    return bool(model.labels or model.config.conditions) and recipe.guidance_scale != 1


def _predictor(
    model: TrainedModel, net: Callable, recipe: Recipe, labels: list[str | None], numbers: list[Numbers]
) -> Callable[[torch.Tensor, torch.Tensor, bool], torch.Tensor]:
    """The net's output, float32, as a function of images (B, C, H, W), timestep and whether to guide, in one call."""
    device = model.unet.device
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(recipe.mixed_precision)
    class_labels = with_negative = None
    if model.labels:
        away_from = len(model.labels) if recipe.negative_label is None else model.labels.index(recipe.negative_label)
        class_labels = torch.tensor([model.labels.index(label) for label in labels], device=device)
        with_negative = torch.cat([class_labels, torch.full_like(class_labels, away_from)])
    shares = shares_of(numbers, model.config.conditions).to(device)
    with_unknown = torch.cat([shares, torch.full_like(shares, torch.nan)])

    def predict(images: torch.Tensor, timestep: torch.Tensor, guided: bool) -> torch.Tensor:
        inputs, classes, told = images, class_labels, shares
        if guided:
            inputs, classes, told = torch.cat([images, images]), with_negative, with_unknown
        with torch.autocast(device.type, dtype) if dtype else nullcontext():
            output = net(with_numbers(inputs, told), timestep, class_labels=classes).sample.float()
        if not guided:
            return output
        with_label, without_label = output.chunk(2)
        step = (recipe.guidance_scale - 1) * (with_label - without_label)
        if recipe.guidance_limit is not None:
            length = step.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            step *= (recipe.guidance_limit / length.clamp(min=1e-12)).clamp(max=1)
        return with_label + step

    return predict


def _shape(unet: UNet2DModel) -> tuple[int, int, int]:
    side = unet.config.sample_size
    return (unet.config.out_channels, *((side, side) if isinstance(side, int) else side))
