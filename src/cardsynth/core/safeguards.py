"""What stops a training run without losing anything: a disk or memory that is full, a loss that goes wrong."""

import math
import statistics
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cardsynth.core.runs import checkpoints
from cardsynth.util.device import is_out_of_memory


class TrainingError(RuntimeError):
    """Training cannot go on: says at which step, what is safe on disk and what to try."""


def what_is_safe(run: Path) -> str:
    """Which checkpoint a run can go on from."""
    saved = checkpoints(run)
    return f"the last good checkpoint is {saved[-1]}: resume goes on from it" if saved else "nothing was saved yet"


@contextmanager
def saving(run: Path, step: int) -> Iterator[None]:
    """Turn whatever keeps files from being written into a TrainingError that says what is safe."""
    try:
        yield
    except Exception as error:
        raise TrainingError(
            f"could not write to {run} at step {step} ({str(error).splitlines()[0]});"
            f" {what_is_safe(run)}. Is the disk full? Free some space, then resume"
        ) from error


@contextmanager
def fitting_memory(run: Path, step: int, advice: str) -> Iterator[None]:
    """Turn a full memory into a TrainingError that says what is safe and what may fit."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        reason = str(error).splitlines()[0]
        raise TrainingError(f"out of memory at step {step} ({reason}); {what_is_safe(run)}; {advice}") from None


class DivergenceGuard:
    """Tells when a loss has risen far above what it was before training, over many steps.

    before: losses of the untrained model on batches like the steps'. The last LAST losses count as risen where their
    geometric mean is RATIO times that of those before, and so by ERRORS standard errors (of Welch's test, on
    logarithms: the noise's loss spreads over orders of magnitude with the timestep).
    """

    LAST, FEWEST, RATIO, ERRORS = 50, 20, 1.5, 5.0

    def __init__(self, before: Sequence[float]) -> None:
        self._before = [_log(loss) for loss in before]
        self._last: deque[float] = deque(maxlen=self.LAST)

    def add(self, loss: float) -> None:
        """Take note of a step's loss, above 0."""
        self._last.append(_log(loss))

    @property
    def rise(self) -> float:
        """How many times the loss of the last steps is that before training."""
        return math.exp(statistics.fmean(self._last) - statistics.fmean(self._before)) if self._last else 1.0

    @property
    def count(self) -> int:
        """How many steps the rise is taken over."""
        return len(self._last)

    @property
    def diverged(self) -> bool:
        """Whether the loss has risen so far that chance does not explain it."""
        if len(self._last) < self.FEWEST or self.rise < self.RATIO:
            return False
        error = sum(statistics.variance(losses) / len(losses) for losses in (self._before, list(self._last))) ** 0.5
        return math.log(self.rise) > self.ERRORS * error


def _log(loss: float) -> float:
    return math.log(max(loss, 1e-30))
