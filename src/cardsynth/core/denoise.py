"""A trained diffusion model and its sampling loop: noise -> cards, each card from a random generator of its own."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Protocol, Self

import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel

from cardsynth.cards.dataset import denormalize
from cardsynth.cards.dials import Dials
from cardsynth.cards.labels import check_labels
from cardsynth.cards.number_planes import shares_of, with_numbers
from cardsynth.cards.numbers import Numbers
from cardsynth.core.base_config import SamplingConfig
from cardsynth.core.config import TrainingConfig
from cardsynth.core.diffusion import STOCHASTIC, build_sampler, noise_ratio, predict_clean_images
from cardsynth.util.device import compile_net, in_parts, resolve_precision

# Memory for one card in the net, estimated as this many feature maps of the size of its largest.
MAPS_AT_ONCE = 12
# What the cards in the net may take: on a CPU so little that it stays in the caches, on a GPU a share of its memory.
BYTES_ON_CPU, SHARE_OF_GPU = 16 * 2**20, 1 / 8
MOST_ON_CPU, MOST_ON_GPU = 8, 256


class Known(Protocol):
    """What is known of cards before they are sampled, such as the card around damage that is painted onto it."""

    def of(self, part: slice) -> Self:
        """Returns the same for some of the cards; beyond the last one, it is repeated."""
        ...

    def to(self, device: torch.device) -> Self:
        """Returns the same on a device."""
        ...

    def keep(self, clean_images: torch.Tensor, noise_ratio: float) -> torch.Tensor:
        """Corrects the predicted clean images, float32 (B, C, h, w) in [-1, 1], by what is known."""
        ...


@dataclass(frozen=True)
class Drawer:
    """Draws cards for seeds.

    Attributes:
        draw: function of seeds, labels, numbers, cards at once and `Known`; returns uint8 (B, C, H, W) on the CPU.
        cards_at_once: number of cards that go through the net together.
        settings: sampling settings that the metadata of each card records.
        takes_known: whether cards can be drawn around something `Known`.
    """

    draw: Callable[..., torch.Tensor]
    cards_at_once: int
    settings: dict[str, Any] = field(default_factory=dict)
    takes_known: bool = False


class CardModel:
    """A trained model of any kind that draws labelled cards.

    Attributes:
        name: name of the run or Hub id.
        revision: commit on the Hub, or a hash of the weights.
        labels: classes of the model; empty without classes.
        has_mask: whether a fourth channel, the damage mask, is drawn with each card.
        net: the net that is sampled; cards are drawn on its device.
    """

    name: str
    revision: str
    labels: tuple[str, ...]
    has_mask: bool
    net: torch.nn.Module

    @property
    def dials(self) -> Dials:
        """The numbers that cards of this model can be asked for: none, unless its kind learns some."""
        return Dials(self.name)

    def drawer(self, sampling: SamplingConfig | None = None, **options: Any) -> Drawer:
        """Prepares sampling; raises ValueError for settings that the model does not take."""
        raise NotImplementedError


@dataclass(frozen=True)
class TrainedModel(CardModel):
    """A trained diffusion net with all that sampling needs.

    Attributes:
        number_ranges: least and most of each condition among the training cards, by class ("all" without classes).
    """

    unet: UNet2DModel
    noise_scheduler: DDPMScheduler
    config: TrainingConfig
    labels: tuple[str, ...] = ()
    has_mask: bool = False
    number_ranges: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    name: str = ""
    revision: str = ""

    @property
    def net(self) -> UNet2DModel:
        """The net that is sampled, under the name that it has in every kind of model."""
        return self.unet

    @property
    def dials(self) -> Dials:
        """The numbers that cards of this model can be asked for."""
        return Dials(self.name, self.config.conditions, self.number_ranges)

    def drawer(self, sampling: SamplingConfig | None = None, *, compile: bool = False, **changes: Any) -> Drawer:  # noqa: A002
        """Prepares sampling; see `resolve_sampling` for the settings.

        Args:
            sampling: sampling settings; default: the run's own.
            compile: compile the net, which takes a minute; if it fails, warns and goes on without.
            changes: fields of `SamplingConfig` to change.
        """
        sampling = resolve_sampling(self, sampling, **changes)
        at_once = cards_at_once(self.unet)
        trial = partial(try_out, self, sampling, at_once)
        net = compile_net(self.unet, "default" if compile else "no", self.unet.device, trial)
        return Drawer(partial(draw_cards, self, net, sampling), at_once, asdict(sampling), takes_known=True)


def resolve_sampling(model: TrainedModel, sampling: SamplingConfig | None = None, **changes: Any) -> SamplingConfig:
    """Fills unset sampling options from the run's settings; with the sampler DDPM, default is all timesteps.

    Args:
        model: the model to sample from.
        sampling: settings to start from; default: the run's own.
        changes: fields of `SamplingConfig` to change; None leaves a field as it is.

    Returns:
        The settings, with the precision that the model's device runs.

    Raises:
        ValueError: a setting is out of range, or the model does not know the negative label.
    """
    own = model.config.sampling
    changes = {name: value for name, value in changes.items() if value is not None}
    if sampling is None:
        sampling = own
        if own.negative_label not in model.labels:
            sampling = sampling.replace(negative_label=None)
        if changes.get("sampler") == "ddpm" != own.sampler:
            changes = {"num_inference_steps": model.noise_scheduler.config["num_train_timesteps"]} | changes
    sampling = sampling.replace(**changes)
    if sampling.negative_label is not None:
        check_labels([sampling.negative_label], model.labels, model.name)
    build_sampler(sampling.sampler, model.noise_scheduler, sampling.num_inference_steps)
    return sampling.replace(mixed_precision=resolve_precision(sampling.mixed_precision, model.unet.device))


def cards_at_once(unet: UNet2DModel) -> int:
    """Number of cards that go through a net together, by its size and the device's memory.

    It does not depend on the number of cards, since a net's result for one card depends, by rounding, on how many
    cards go through it together.
    """
    _, height, width = latent_shape(unet)
    need = MAPS_AT_ONCE * 4 * height * width * unet.config["block_out_channels"][0]
    budget, most = BYTES_ON_CPU, MOST_ON_CPU
    if unet.device.type == "cuda":
        budget, most = SHARE_OF_GPU * torch.cuda.get_device_properties(unet.device).total_memory, MOST_ON_GPU
    fitting = min(most, max(1, int(budget // need)))
    return 2 ** (fitting.bit_length() - 1)


def draw_cards(
    model: TrainedModel,
    net: Callable,
    sampling: SamplingConfig,
    seeds: list[int],
    labels: list[str | None],
    numbers: list[Numbers],
    at_once: int,
    known: Known | None = None,
) -> torch.Tensor:
    """Draws cards, each from noise of its own seed; see `util.device.in_parts`.

    Args:
        model: the model.
        net: the model's net, or the compiled one.
        sampling: resolved sampling settings.
        seeds: one seed for each card.
        labels: class of each card.
        numbers: conditions of each card.
        at_once: number of cards that go through the net together.
        known: what is known of each card.

    Returns:
        Cards uint8 (B, C, H, W) on the CPU.
    """
    missing, count = -len(seeds) % at_once, len(seeds)
    seeds = seeds + seeds[-1:] * missing
    labels = labels + labels[-1:] * missing
    numbers = numbers + numbers[-1:] * missing
    device, shape = model.unet.device, latent_shape(model.unet)

    def draw(part: slice, stopped: threading.Event) -> torch.Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[part]]

        def draw_noise() -> torch.Tensor:
            noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
            return noise.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else noise

        classes = None
        if model.labels:
            classes = torch.tensor([model.labels.index(label) for label in labels[part]], device=device)
        predict = build_predictor(model, net, sampling, classes, numbers[part])
        known_part = None if known is None else known.of(part).to(device)
        options = {"draw_noise": draw_noise, "known": known_part, "stopped": stopped}
        return to_pixels(model, denoise(model, predict, sampling, draw_noise(), **options))

    return in_parts(draw, count, at_once, device)


@torch.inference_mode()
def denoise(
    model: TrainedModel,
    predict: Callable[[torch.Tensor, torch.Tensor, bool], torch.Tensor],
    sampling: SamplingConfig,
    images: torch.Tensor,
    *,
    draw_noise: Callable[[], torch.Tensor] | None = None,
    known: Known | None = None,
    first_step: int = 0,
    watch: Callable[[int, torch.Tensor, torch.Tensor], None] | None = None,
    stopped: threading.Event | None = None,
) -> torch.Tensor:
    """Removes the noise of images that go through the net together. Nothing in the loop waits for a GPU.

    Args:
        model: the model.
        predict: what `build_predictor` returns.
        sampling: resolved sampling settings.
        images: float32 (B, C, h, w) on the net's device: pure noise, or as noisy as timestep number `first_step`.
        draw_noise: draws the noise of each step, for a stochastic sampler.
        known: what is known of the images.
        first_step: number of the first of the sampler's timesteps to take.
        watch: called with each timestep, its noisy images and the predicted clean ones.
        stopped: event that ends the loop with CancelledError.

    Returns:
        Clean images, float32 (B, C, h, w).
    """
    assert draw_noise or sampling.sampler not in STOCHASTIC
    # The schedulers' common class declares neither `timesteps` nor `step`.
    scheduler: Any = build_sampler(sampling.sampler, model.noise_scheduler, sampling.num_inference_steps)
    timesteps = scheduler.timesteps[first_step:]
    guided = guided_steps(model, sampling, timesteps)
    for timestep, timestep_on_device, guided_now in zip(timesteps, timesteps.to(images.device), guided, strict=True):
        if stopped is not None and stopped.is_set():
            raise CancelledError
        model_output = predict(images, timestep_on_device, guided_now)
        clean_images = predict_clean_images(model.noise_scheduler, model_output, images, timestep)
        if known is not None:
            clean_images = known.keep(clean_images, noise_ratio(model.noise_scheduler, timestep))
        if watch is not None:
            watch(timestep.item(), images, clean_images)
        noise = {"variance_noise": draw_noise()} if draw_noise and sampling.sampler in STOCHASTIC else {}
        images = scheduler.step(clean_images, timestep, images, **noise).prev_sample
    return images


def to_pixels(model: TrainedModel, images: torch.Tensor) -> torch.Tensor:
    """Images float (B, C, h, w) in [-1, 1] -> cards uint8 (B, C, H, W) on the CPU, a mask as 0 or 255."""
    pixels = denormalize(images, model.config.patch_size).cpu()
    if model.has_mask:
        pixels[:, 3] = torch.where(pixels[:, 3] >= 128, 255, 0)
    return pixels


@torch.inference_mode()
def try_out(model: TrainedModel, sampling: SamplingConfig, at_once: int, net: Callable) -> None:
    """Runs a net once on `at_once` cards, with guidance and without."""
    images = torch.zeros(at_once, *latent_shape(model.unet), device=model.unet.device)
    classes = torch.zeros(at_once, dtype=torch.long, device=images.device) if model.labels else None
    predict = build_predictor(model, net, sampling, classes, [{}] * at_once)
    for guided in (False, True) if _is_guided(model, sampling) else (False,):
        predict(images, torch.zeros((), dtype=torch.long, device=images.device), guided)


def _is_guided(model: TrainedModel, sampling: SamplingConfig) -> bool:
    return bool(model.labels or model.config.conditions) and sampling.guidance_scale != 1


def guided_steps(model: TrainedModel, sampling: SamplingConfig, timesteps: torch.Tensor) -> list[bool]:
    """Whether cards are guided at each of some timesteps, int (N,) on the CPU."""
    guided, count = _is_guided(model, sampling), model.noise_scheduler.config["num_train_timesteps"]
    low, high = sampling.guidance_interval
    return [guided and low <= timestep / count <= high for timestep in timesteps.tolist()]


def build_predictor(
    model: TrainedModel,
    net: Callable,
    sampling: SamplingConfig,
    classes: torch.Tensor | None,
    numbers: Sequence[Numbers],
) -> Callable[[torch.Tensor, torch.Tensor, bool], torch.Tensor]:
    """The net's output, float32, as a function of images (B, C, h, w), timestep and whether to guide, in one call.

    Args:
        model: the model.
        net: the model's net, or the compiled one.
        sampling: resolved sampling settings.
        classes: int64 (B,), or for a net of `mix_classes` the share of each class, float32 (B, classes + 1); None for
            a net without classes.
        numbers: conditions of each card.
    """
    device = model.unet.device
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(sampling.mixed_precision)
    with_negative = None
    if classes is not None:
        negative_label = sampling.negative_label
        away_from = len(model.labels) if negative_label is None else model.labels.index(negative_label)
        negative = torch.full((len(classes),), away_from, device=device)
        if classes.is_floating_point():
            negative = F.one_hot(negative, classes.shape[1]).to(classes)
        with_negative = torch.cat([classes, negative])
    shares = shares_of(numbers, model.config.conditions).to(device)
    with_unknown = torch.cat([shares, torch.full_like(shares, torch.nan)])

    def predict(images: torch.Tensor, timestep: torch.Tensor, guided: bool) -> torch.Tensor:
        inputs, class_labels, conditions = images, classes, shares
        if guided:
            inputs, class_labels, conditions = torch.cat([images, images]), with_negative, with_unknown
        with torch.autocast(device.type, dtype) if dtype else nullcontext():
            output = net(with_numbers(inputs, conditions), timestep, class_labels=class_labels).sample.float()
        if not guided:
            return output
        with_label, without_label = output.chunk(2)
        step = (sampling.guidance_scale - 1) * (with_label - without_label)
        if sampling.guidance_limit is not None:
            length = step.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            step *= (sampling.guidance_limit / length.clamp(min=1e-12)).clamp(max=1)
        return with_label + step

    return predict


def latent_shape(unet: UNet2DModel) -> tuple[int, int, int]:
    """Shape of the noise of one card, pixels folded: (C * p * p, H / p, W / p)."""
    side = unet.config["sample_size"]
    height, width = (side, side) if isinstance(side, int) else side
    return unet.config["out_channels"], height, width
