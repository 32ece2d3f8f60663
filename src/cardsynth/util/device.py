"""Device, precision and memory: what the hardware can do, and what fits."""

import gc
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psutil
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

Item = TypeVar("Item")
Result = TypeVar("Result")


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


def default_device() -> torch.device:
    """A CUDA GPU if available, else Apple's GPU, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def build_accelerator(mixed_precision: str = "auto", cpu: bool = False) -> Accelerator:
    """An Accelerator of a precision (`auto`: what the hardware runs well), also where the process had another one.

    cpu: use the CPU even if there is a GPU.
    """
    AcceleratorState._reset_state(reset_partial_state=False)
    probe = Accelerator(cpu=cpu)
    precision = resolve_precision(mixed_precision, probe.device)
    AcceleratorState._reset_state(reset_partial_state=False)
    return Accelerator(cpu=cpu, mixed_precision=precision)


def in_threads(function: Callable[[slice], Result], count: int, device: torch.device) -> list[Result]:
    """Results of `function` for parts of `count` items, in order: on a CPU a few parts, each in a thread of its own.

    Threads that share the items need not wait for each other at every operation, as PyTorch's own threads do: on two
    idle cores a training step takes 0.8 of the time, on busy ones far less. A part has two items or more.
    """
    threads = torch.get_num_threads()
    parts = max(1, min(threads, count // 2)) if device.type == "cpu" else 1
    slices = [slice(index * count // parts, (index + 1) * count // parts) for index in range(parts)]
    if parts == 1:
        return [function(slices[0])]
    torch.set_num_threads(max(1, threads // parts))
    try:
        with ThreadPoolExecutor(parts) as pool:
            return list(pool.map(function, slices))
    finally:
        torch.set_num_threads(threads)


def in_own_threads(function: Callable[[Item, threading.Event], Result], items: Sequence[Item]) -> list[Result]:
    """Results of `function` for items on the CPU, in order: several at once, each by one thread from end to end.

    So the bits of a result do not depend on the number of items. An error, or Ctrl-C, sets the event that each call is
    given, and waits until the calls that run have ended.
    """
    threads, stopped = torch.get_num_threads(), threading.Event()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            try:
                return list(pool.map(lambda item: function(item, stopped), items))
            except BaseException:
                stopped.set()
                raise
    finally:
        torch.set_num_threads(threads)


def in_parts(
    draw: Callable[[slice, threading.Event], torch.Tensor], count: int, at_once: int, device: torch.device
) -> torch.Tensor:
    """What `draw` makes of `count` cards, `at_once` at a time; on a CPU side by side, a thread each, unless it is 1.

    Beside the last few, cards are drawn that are thrown away (the parts reach beyond `count`), so that always the same
    number goes through a net.
    """
    parts = [slice(start, start + at_once) for start in range(0, count, at_once)]
    if device.type == "cpu" and at_once > 1:
        drawn = in_own_threads(draw, parts)
    else:
        drawn = [draw(part, threading.Event()) for part in parts]
    return torch.cat(drawn)[:count]


def backward_in_threads(
    loss_of: Callable[[slice], torch.Tensor], items: slice, parameters: Sequence[torch.nn.Parameter]
) -> float:
    """Add to the parameters' gradients that of a loss which is the sum of `loss_of` over parts of `items`.

    Returns the loss. Parts are added up in order, so that the same call gives the same bits.
    """

    def gradients(part: slice) -> tuple[float, tuple[torch.Tensor, ...]]:
        loss = loss_of(slice(items.start + part.start, items.start + part.stop))
        return loss.item(), torch.autograd.grad(loss, parameters, materialize_grads=True)

    total = 0.0
    for loss, parts in in_threads(gradients, items.stop - items.start, parameters[0].device):
        total += loss
        for parameter, gradient in zip(parameters, parts, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    return total


class LateValues:
    """Numbers that a device may still owe: `read` waits for them alone, not for the work queued behind them."""

    def __init__(self, values: torch.Tensor) -> None:
        self._values, self._done = values, None
        if values.is_cuda:
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._done = torch.cuda.Event()
            self._done.record()

    def read(self) -> list[float]:
        """The numbers."""
        if self._done:
            self._done.synchronize()
        return self._values.tolist()


def compile_net(net: torch.nn.Module, mode: str, device: torch.device, try_out: Callable[[Callable], None]) -> Callable:
    """A net compiled by torch.compile, or the net itself where that is not wanted or does not work, and says why.

    mode: `no`; `default`; `reduce-overhead`, which also records CUDA graphs; `max-autotune`; or `auto`: `default` on
    CUDA, and `no` on a CPU, where it was measured to gain nothing. `try_out` runs a net once as it is going to be run.
    """
    if mode == "auto":
        mode = "default" if device.type == "cuda" else "no"
    if mode == "no":
        return net
    compiled = torch.compile(net, mode=mode)
    try:
        try_out(compiled)
    except Exception as error:  # compilers fail in many ways; a net that is wrong itself fails again, uncompiled
        if is_out_of_memory(error):
            raise
        torch.compiler.reset()
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"not compiled ({mode}), and slower for it: {reason}", stacklevel=2)
        return net
    return compiled


def used_memory_mb(device: torch.device) -> float:
    """Peak memory of a GPU, or the process's memory on a CPU, in MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return psutil.Process().memory_info().rss / 1e6


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU or the machine has too little memory."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)


def free_memory() -> None:
    """Give a GPU's cached memory back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def retry_in_less_memory(work: Callable[[], Result], relieve: Callable[[], str], step: int) -> Result:
    """Returns `work()`; after an out-of-memory error calls `relieve` and tries again.

    Args:
        work: computes the result; starts over when it is called again.
        relieve: makes `work` need less memory and says how; returns an empty text if it cannot.
        step: number of the step, for the message.
    """
    while True:
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or not (relief := relieve()):
                raise
            reason = str(error).splitlines()[0]
        free_memory()
        print(f"\nOut of memory at step {step} ({reason}): from here on {relief}.", file=sys.stderr, flush=True)
