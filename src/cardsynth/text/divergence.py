"""Tells when the loss of a fine-tune has risen far above what it was before training."""

import math
import statistics
from collections import deque
from collections.abc import Sequence


class DivergenceGuard:
    """Tells when a loss has risen far above what it was before training, over many steps.

    The last LAST losses count as risen if their geometric mean is RATIO times that of those before training, and the
    difference is ERRORS standard errors (Welch's test on logarithms, since the loss of noise spreads over orders of
    magnitude with the timestep).

    Args:
        before: losses of the untrained model on batches like those of the steps.
    """

    LAST, FEWEST, RATIO, ERRORS = 50, 20, 1.5, 5.0

    def __init__(self, before: Sequence[float]) -> None:
        self._before = [_log(loss) for loss in before]
        self._last: deque[float] = deque(maxlen=self.LAST)

    def add(self, loss: float) -> None:
        """Adds the loss of a step, above 0."""
        self._last.append(_log(loss))

    @property
    def rise(self) -> float:
        """Loss of the last steps divided by the loss before training."""
        return math.exp(statistics.fmean(self._last) - statistics.fmean(self._before)) if self._last else 1.0

    @property
    def count(self) -> int:
        """Number of steps that the rise is computed over."""
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
