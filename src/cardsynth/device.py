"""Device, precision and memory: what the hardware can do, and what fits."""

from collections.abc import Callable

import psutil
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from cardsynth.config import TrainingConfig


def resolve_precision(mixed_precision: str, device: torch.device) -> str:
    """The precision that the hardware runs well: `auto` is bf16 where there are instructions for it, else `no`."""
    if device.type == "cuda":
        if mixed_precision == "auto":
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        return mixed_precision
    has_bf16 = device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    if mixed_precision in ("auto", "bf16"):
        return "bf16" if has_bf16 else "no"
    return "no"


def build_accelerator(config: TrainingConfig) -> Accelerator:
    """An Accelerator for the settings' device and precision, also where the process had one of another precision."""
    AcceleratorState._reset_state(reset_partial_state=False)
    probe = Accelerator(cpu=config.cpu)
    precision = resolve_precision(config.mixed_precision, probe.device)
    AcceleratorState._reset_state(reset_partial_state=False)
    return Accelerator(cpu=config.cpu, mixed_precision=precision)


def used_memory_mb(device: torch.device) -> float:
    """Peak memory of a GPU, or the process's memory on a CPU, in MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return psutil.Process().memory_info().rss / 1e6


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU or the machine has too little memory."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def largest_fitting(attempt: Callable[[int], None], batch_size: int) -> int | None:
    """The largest halving of a batch size with which `attempt` does not run out of memory; None if 1 does not fit."""
    while batch_size > 1:
        batch_size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        try:
            attempt(batch_size)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        else:
            return batch_size
    return None
