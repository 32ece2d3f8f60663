"""Stops a training run without losing anything: a full disk or a full memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cardsynth.core.runs import checkpoints
from cardsynth.util.device import is_out_of_memory


class TrainingError(RuntimeError):
    """Training cannot go on: says at which step, what is safe on disk and what to try."""


def describe_checkpoint(run: Path) -> str:
    """Says which checkpoint a run can go on from."""
    saved = checkpoints(run)
    return f"the last good checkpoint is {saved[-1]}: resume goes on from it" if saved else "nothing was saved yet"


@contextmanager
def saving(run: Path, step: int) -> Iterator[None]:
    """Turns every error of writing files into a TrainingError that says what is safe."""
    try:
        yield
    except Exception as error:
        raise TrainingError(
            f"could not write to {run} at step {step} ({str(error).splitlines()[0]});"
            f" {describe_checkpoint(run)}. Is the disk full? Free some space, then resume"
        ) from error


@contextmanager
def fitting_memory(run: Path, step: int, advice: str) -> Iterator[None]:
    """Turns an out-of-memory error into a TrainingError that says what is safe and what may fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
        raise TrainingError(f"out of memory at step {step} ({reason}); {describe_checkpoint(run)}; {advice}") from None
