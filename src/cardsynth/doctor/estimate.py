"""What a run is going to take: memory, arithmetic and time, told before it starts."""

import math
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import psutil
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from cardsynth.baselines.config import BaselineConfig
from cardsynth.cards.dataset import GPU_SHARE, Cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.batches import total_train_steps
from cardsynth.core.config import TrainingConfig
from cardsynth.core.learner import DiffusionLearner
from cardsynth.core.model import build_unet
from cardsynth.evaluation.while_training import hold_out
from cardsynth.util.device import resolve_precision
from cardsynth.util.environment import describe_machine

CONTEXT_GB = 0.8  # what CUDA and its libraries take for themselves
LONGEST_TIMING = 60  # seconds after which timing on a CPU ends, ten steps or not
ALLOCATOR = 1.1  # memory that a GPU's allocator holds over what is in use


class EstimateError(RuntimeError):
    """A run that cannot fit: what it needs, what there is, and the nearest setting that fits."""


@dataclass(frozen=True)
class Estimate:
    """What a run takes.

    parameters: of the net. teraflops: of a step, all its cards forward and backward (10^12 operations). steps: of the
    run. memory_gb, free_gb: needed at `micro_batch` cards at a time, and there (10^9 bytes). seconds_per_step: None
    where no step was timed.
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
        """Hours of all steps, sample grids and saving left out."""
        return None if self.seconds_per_step is None else self.steps * self.seconds_per_step / 3600

    def text(self, price_per_hour: float | None = None) -> str:
        """A few lines, with the cost where the price of an hour is given."""
        lines = [
            f"device      {self.device}",
            f"net         {self.parameters / 1e6:.1f} million parameters, {self.teraflops:.3g} TFLOP a step",
            f"memory      {self.memory_gb:.1f} GB of {self.free_gb:.1f} GB free",
        ]
        if self.micro_batch < self.batch:
            lines[-1] += f", the batch of {self.batch} worked on {self.micro_batch} cards at a time"
        if self.hours is None:
            return "\n".join([*lines, f"time        {self.steps} steps, not timed"])
        rate = self.teraflops / self.seconds_per_step
        lines.append(f"speed       {self.seconds_per_step:.3g} s a step, {rate:.3g} TFLOP/s")
        lines.append(f"time        {_duration(self.hours)} for {self.steps} steps, sample grids and saving left out")
        if price_per_hour is not None:
            lines.append(f"cost        {self.hours * price_per_hour:.2f} at {price_per_hour:g} an hour")
        return "\n".join(lines)


def estimate_run(config: RunConfig, cards: Cards, memory_gb: float | None = None, timed_steps: int = 10) -> Estimate:
    """What training on these cards takes here: counted on a net without numbers, and timed over a few steps.

    memory_gb: memory to fit, in 10^9 bytes; default: what is free on the device. With it given nothing is timed, so
    that another machine's GPU can be asked for. Nothing is written. Raises EstimateError for a run that cannot fit,
    one card at a time, and ValueError for memory of 0 or less and for a
    DCGAN or a VAE.
    """
    if isinstance(config, BaselineConfig):
        raise ValueError(
            "what a run takes is estimated for diffusion alone: a DCGAN or a VAE trains in minutes, so start it, watch"
            " the time left, and stop it (Ctrl-C loses nothing)"
        )
    if memory_gb is not None and memory_gb <= 0:
        raise ValueError(f"memory_gb must be above 0, and is {memory_gb}")
    device = torch.device("cuda" if torch.cuda.is_available() and not config.cpu else "cpu")
    on_gpu = device.type == "cuda" or memory_gb is not None
    free_gb = memory_gb or free_memory_gb(device)
    channels, classes = cards.pixels.shape[1], len(cards.label_names)
    data_gb = cards.pixels.nbytes / 1e9
    data_gb = data_gb if data_gb <= GPU_SHARE * free_gb else 0.0  # more stays on disk or beside the GPU

    def needed_gb(settings: TrainingConfig, micro_batch: int) -> float:
        used = training_memory(settings, channels, classes, micro_batch, on_gpu) / 1e9 + data_gb
        return used * ALLOCATOR + CONTEXT_GB if on_gpu else used

    micro_batch = _largest_fitting(lambda size: needed_gb(config, size) <= free_gb, config.train_batch_size)
    if micro_batch is None:
        raise EstimateError(
            f"one card of {config.height}x{config.width} at a time needs {needed_gb(config, 1):.1f} GB, and"
            f" {free_gb:.1f} GB are free; {_nearest_that_fits(config, lambda other: needed_gb(other, 1) <= free_gb)}"
        )
    parameters, flops = net_size(config, channels, classes)
    batch = config.train_batch_size * config.gradient_accumulation_steps
    learner = DiffusionLearner(config, cards) if memory_gb is None else None
    seconds = _time_steps(learner, timed_steps) if learner else None
    shown, _ = hold_out(config, cards)
    return Estimate(
        parameters=parameters,
        teraflops=3 * flops * batch / 1e12,
        steps=total_train_steps(config, len(shown), learner.accelerator.num_processes if learner else 1),
        batch=config.train_batch_size,
        micro_batch=micro_batch,
        memory_gb=needed_gb(config, micro_batch),
        free_gb=free_gb,
        device=f"a GPU of {memory_gb:g} GB" if memory_gb else describe_machine(),
        seconds_per_step=seconds,
    )


def free_memory_gb(device: torch.device) -> float:
    """Memory that is free on a GPU, or on the machine for a CPU, in 10^9 bytes."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    return free / 1e9


def net_size(config: TrainingConfig, channels: int, classes: int) -> tuple[int, int]:
    """Parameters of the net, and floating point operations of one card forward (a backward pass takes twice those)."""
    with FakeTensorMode(), FlopCounterMode(display=False) as counter:
        unet = build_unet(config, channels, classes)
        parameters = sum(value.numel() for value in unet.parameters())
        _forward(unet, config, 1)
    return parameters, counter.get_total_flops()


def training_memory(config: TrainingConfig, channels: int, classes: int, micro_batch: int, half_precision: bool) -> int:
    """Bytes at the highest point of a training step, the data and an allocator's own left out.

    Weights, gradients, Adam's two moments and each average are float32; what forward and backward passes keep is
    followed on a net without numbers, with 16-bit activations where `half_precision` or the device runs bf16.
    """
    precision = resolve_precision(config.mixed_precision, torch.device("cpu"))
    half = precision != "no" or (half_precision and config.mixed_precision != "no")
    with FakeTensorMode():
        unet = build_unet(config, channels, classes).train()
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        weights = sum(value.nbytes for value in unet.parameters())
        with PeakMemory() as memory:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                output = _forward(unet, config, micro_batch)
            output.float().square().mean().backward()
    averages = 2 + len(config.other_ema_decays)  # one more than there are: the net that grids are drawn with
    standing = weights * (1 + 2 + averages)
    return standing + max(memory.peak, 2 * weights)  # an optimiser step holds gradients and one more copy


def _largest_fitting(fits: Callable[[int], bool], size: int) -> int | None:
    """The first of a size, its half, its quarter and so on down to 1 that fits."""
    while not fits(size):
        if size == 1:
            return None
        size = -(-size // 2)
    return size


def _nearest_that_fits(config: TrainingConfig, fits: Callable[[TrainingConfig], bool]) -> str:
    """Advice: the first of checkpointing, and then smaller sizes with it, that fits."""
    lighter = config.replace(gradient_checkpointing=True)
    if fits(lighter):
        return "it fits with gradient_checkpointing"
    multiple = config.patch_size * 2 ** (len(config.block_out_channels) - 1)
    for share in (0.875, 0.75, 0.625, 0.5, 0.375, 0.25):
        height, width = (max(multiple, round(side * share / multiple) * multiple) for side in config.size)
        if fits(lighter.replace(height=height, width=width)):
            return f"{height}x{width} fits with gradient_checkpointing"
    return "not even a quarter of its size fits with gradient_checkpointing: take a narrower net (block_out_channels)"


def _time_steps(learner: DiffusionLearner, steps: int) -> float:
    """Seconds of a step: the mean of `steps` after a first that warms up, or of as many as fit into a minute."""
    learner.optimise(0).tolist()
    begun, taken = time.perf_counter(), 0
    for step in tqdm(range(1, 1 + steps), "Timing", unit="step", leave=False):
        figures, taken = learner.optimise(step), step
        if learner.device.type == "cpu" and time.perf_counter() - begun > LONGEST_TIMING:
            break
    figures.tolist()
    return (time.perf_counter() - begun) / taken


def _duration(hours: float) -> str:
    seconds = math.ceil(hours * 3600)
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{hours:.1f} h"


def _forward(unet: torch.nn.Module, config: TrainingConfig, count: int) -> torch.Tensor:
    images = torch.empty(count, unet.config.in_channels, *unet.config.sample_size)
    labels = torch.zeros(count, dtype=torch.long) if unet.config.num_class_embeds else None
    return unet(images, torch.zeros(count, dtype=torch.long), class_labels=labels).sample


class PeakMemory(TorchDispatchMode):
    """Follows the bytes of all tensors made under it, and keeps their highest sum as `peak`.

    there: tensors that are not counted, nor what shares their memory.
    """

    def __init__(self, there: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = {tensor.untyped_storage()._cdata for tensor in there}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._follow(tensor.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
