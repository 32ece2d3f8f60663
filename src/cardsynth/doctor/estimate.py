"""Estimates the memory, arithmetic and time of a training run before it starts."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch
from diffusers import UNet2DModel
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from cardsynth.baselines.config import BaselineConfig
from cardsynth.cards.dataset import GPU_SHARE, Cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.batches import total_train_steps
from cardsynth.core.config import TrainingConfig
from cardsynth.core.learner import DiffusionLearner
from cardsynth.core.model import build_unet
from cardsynth.doctor.activations import Precision, SavedBytes
from cardsynth.evaluation.while_training import hold_out
from cardsynth.util.device import resolve_precision
from cardsynth.util.environment import describe_machine

CONTEXT_GB = 0.8  # memory of CUDA and its libraries
ALLOCATOR = 1.1  # memory that a GPU's allocator reserves, as a multiple of the memory in use
LONGEST_TIMING = 60  # seconds after which timing on a CPU ends
SHARES_OF_SIZE = (1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25)  # of the sides of a card, tried when nothing else fits


class EstimateError(RuntimeError):
    """A run does not fit into memory; the message names the required and free memory and a setting that fits."""


@dataclass(frozen=True)
class Estimate:
    """The cost of a run.

    Attributes:
        parameters: Parameters of the net.
        teraflops: Operations of an optimizer step, forward and backward, in 10^12.
        steps: Optimizer steps of the run.
        batch: Cards in a batch.
        micro_batch: Cards processed at a time, so that a step fits into memory.
        memory_gb: Required memory in 10^9 bytes: measured on this machine's GPU, and counted otherwise.
        free_gb: Available memory in 10^9 bytes.
        device: Name of the device.
        seconds_per_step: Measured time of an optimizer step; None if no step was timed.
    """

    parameters: int
    teraflops: float
    steps: int
    batch: int
    micro_batch: int
    memory_gb: float
    free_gb: float
    device: str
    seconds_per_step: float | None = None

    @property
    def hours(self) -> float | None:
        """Hours of all steps, excluding sample grids and saving; None if no step was timed."""
        return None if self.seconds_per_step is None else self.steps * self.seconds_per_step / 3600

    def text(self, price_per_hour: float | None = None) -> str:
        """Returns a few lines of text, with the cost of the run if the price of an hour is given."""
        lines = [
            f"device      {self.device}",
            f"net         {self.parameters / 1e6:.1f} million parameters, {self.teraflops:.3g} TFLOP a step",
            f"memory      {self.memory_gb:.1f} GB of {self.free_gb:.1f} GB free",
        ]
        if self.micro_batch < self.batch:
            lines[-1] += f", the batch of {self.batch} processed {self.micro_batch} cards at a time"
        if self.hours is None:
            return "\n".join([*lines, f"time        {self.steps} steps, not timed"])
        rate = self.teraflops / self.seconds_per_step
        lines.append(f"speed       {self.seconds_per_step:.3g} s a step, {rate:.3g} TFLOP/s")
        lines.append(f"time        {_duration(self.hours)} for {self.steps} steps, sample grids and saving left out")
        if price_per_hour is not None:
            lines.append(f"cost        {self.hours * price_per_hour:.2f} at {price_per_hour:g} an hour")
        return "\n".join(lines)


def estimate_run(config: RunConfig, cards: Cards, memory_gb: float | None = None, timed_steps: int = 10) -> Estimate:
    """Estimates the cost of training on cards. Takes a few real steps on this machine and writes nothing.

    Args:
        config: Settings of a diffusion run.
        cards: Training cards.
        memory_gb: Memory of another machine's GPU in 10^9 bytes, for which memory is counted and no step is taken;
            None for this machine, whose free memory counts.
        timed_steps: Steps to time.

    Raises:
        EstimateError: Not even one card at a time fits.
        ValueError: `memory_gb` is not positive, or the settings are those of a DCGAN or a VAE.
    """
    if isinstance(config, BaselineConfig):
        raise ValueError(
            "estimates cover diffusion models only. A DCGAN or a VAE trains in minutes: start it, watch the remaining"
            " time, and stop it with Ctrl-C if needed (nothing is lost)"
        )
    if memory_gb is not None and memory_gb <= 0:
        raise ValueError(f"memory_gb must be above 0, and is {memory_gb}")
    device = torch.device("cuda" if torch.cuda.is_available() and not config.cpu else "cpu")
    on_gpu = device.type == "cuda" or memory_gb is not None
    free_gb = memory_gb or free_memory_gb(device)
    channels, classes = cards.pixels.shape[1], len(cards.label_names)
    data_gb = cards.pixels.nbytes / 1e9
    data_gb = data_gb if data_gb <= GPU_SHARE * free_gb else 0.0  # larger data stay on disk or in the machine's memory

    def required_gb(settings: TrainingConfig, micro_batch: int) -> float:
        used = training_memory(settings, channels, classes, micro_batch, on_gpu) / 1e9 + data_gb
        return used * ALLOCATOR + CONTEXT_GB if on_gpu else used

    micro_batch = _largest_fitting(lambda size: required_gb(config, size) <= free_gb, config.train_batch_size)
    if micro_batch is None:
        raise EstimateError(
            f"one card of {config.height}x{config.width} at a time needs {required_gb(config, 1):.1f} GB, and"
            f" {free_gb:.1f} GB are free; {_advice(config, lambda other: required_gb(other, 1) <= free_gb)}"
        )
    parameters, flops = net_size(config, channels, classes)
    used_gb, seconds, processes = required_gb(config, micro_batch), None, 1
    if memory_gb is None:
        standing = torch.cuda.memory_allocated() if on_gpu else 0
        learner = DiffusionLearner(config, cards)
        seconds, processes = _time_steps(learner, timed_steps), learner.accelerator.num_processes
        if on_gpu:
            micro_batch = learner.micro_batch
            used_gb = (torch.cuda.max_memory_allocated() - standing) / 1e9 * ALLOCATOR + CONTEXT_GB
    training_cards, _ = hold_out(config, cards)
    return Estimate(
        parameters=parameters,
        teraflops=3 * flops * config.train_batch_size * config.gradient_accumulation_steps / 1e12,
        steps=total_train_steps(config, len(training_cards), processes),
        batch=config.train_batch_size,
        micro_batch=micro_batch,
        memory_gb=used_gb,
        free_gb=free_gb,
        device=f"a GPU of {memory_gb:g} GB" if memory_gb else describe_machine(),
        seconds_per_step=seconds,
    )


def free_memory_gb(device: torch.device) -> float:
    """Returns the free memory of a GPU, or of the machine for a CPU, in 10^9 bytes."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return free / 1e9


def net_size(config: TrainingConfig, channels: int, classes: int) -> tuple[int, int]:
    """Counts the parameters of a net and its operations for one card forward; a backward pass takes twice as many."""
    unet = _meta_unet(config, channels, classes)
    with FlopCounterMode(display=False) as counter:
        _forward(unet, 1)
    return sum(value.numel() for value in unet.parameters()), counter.get_total_flops()


def training_memory(config: TrainingConfig, channels: int, classes: int, micro_batch: int, on_gpu: bool) -> int:
    """Counts the bytes at the highest point of an optimizer step, excluding the data and the allocator's reserve.

    Weights, gradients, Adam's two moments and each average are float32. Activations are those that autograd saves,
    in 16 bits under autocast.

    Args:
        config: Settings of the run.
        channels: Channels of a card: 3, or 4 with a mask.
        classes: Number of classes.
        micro_batch: Cards processed at a time.
        on_gpu: Whether the step runs on a GPU, where autocast keeps norms in float32.
    """
    setting = config.mixed_precision
    half = (setting if on_gpu else resolve_precision(setting, torch.device("cpu"))) != "no"
    unet = _meta_unet(config, channels, classes)
    activations = SavedBytes(unet)
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing(activations.checkpoint)
    with activations, Precision(half, on_gpu):
        _forward(unet, micro_batch).float().square().mean()
    weights = sum(value.nbytes for value in unet.parameters())
    averages = 2 + len(config.other_ema_decays)  # includes the copy of the net that draws sample grids
    # The update of the weights holds the gradients and one temporary copy.
    return weights * (1 + 2 + averages) + max(activations.peak, 2 * weights)


def _meta_unet(config: TrainingConfig, channels: int, classes: int) -> UNet2DModel:
    with torch.device("meta"):
        return build_unet(config, channels, classes).train()


def _forward(unet: UNet2DModel, count: int) -> torch.Tensor:
    with torch.device("meta"):
        images = torch.empty(count, unet.config.in_channels, *unet.config.sample_size)
        zeros = torch.zeros(count, dtype=torch.long)
    return unet(images, zeros, class_labels=zeros if unet.config.num_class_embeds else None).sample


def _largest_fitting(fits: Callable[[int], bool], size: int) -> int | None:
    """Halves a size until it fits; None if 1 does not fit."""
    while not fits(size):
        if size == 1:
            return None
        size = -(-size // 2)
    return size


def _advice(config: TrainingConfig, fits: Callable[[TrainingConfig], bool]) -> str:
    """Returns the first remedy that fits: gradient checkpointing, then smaller cards with it."""
    multiple = config.patch_size * 2 ** (len(config.block_out_channels) - 1)
    for share in SHARES_OF_SIZE:
        height, width = (max(multiple, round(side * share / multiple) * multiple) for side in config.size)
        if fits(config.replace(gradient_checkpointing=True, height=height, width=width)):
            return f"{'it' if share == 1 else f'{height}x{width}'} fits with gradient_checkpointing"
    return "not even a quarter of its size fits with gradient_checkpointing: take a narrower net (block_out_channels)"


def _time_steps(learner: DiffusionLearner, steps: int) -> float:
    """Returns the mean seconds per step after a warm-up step; timing on a CPU ends after `LONGEST_TIMING`."""
    learner.optimise(0).tolist()
    begin, count = time.perf_counter(), 0
    for step in tqdm(range(1, 1 + steps), "Timing", unit="step", leave=False):
        figures, count = learner.optimise(step), step
        if learner.device.type == "cpu" and time.perf_counter() - begin > LONGEST_TIMING:
            break
    figures.tolist()
    return (time.perf_counter() - begin) / count


def _duration(hours: float) -> str:
    seconds = math.ceil(hours * 3600)
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{hours:.1f} h"
