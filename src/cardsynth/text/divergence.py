"""Tells when the loss of a fine-tune has risen far above what it was before training."""

import math
import statistics
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm.auto import tqdm

from cardsynth.core.runs import checkpoints, read_log, read_manifest
from cardsynth.core.safeguards import TrainingError, describe_checkpoint, fitting_memory
from cardsynth.core.trainer import Monitor, Trainer

PICTURES_BEFORE = 50  # whose loss is measured before training; or those of ten steps if these are more


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


class DivergenceMonitor(Monitor):
    """Stops a fine-tune whose loss rises far above what it was before training, or is not finite."""

    def start(self, trainer: Trainer, progress: Mapping[str, Any]) -> None:
        """Measures the loss before training, once, and adds the steps of the run's log."""
        before = read_manifest(trainer.run).get("loss_before") or self._measure(trainer)
        trainer.recorder.manifest |= {"loss_before": before}
        trainer.recorder.write_manifest(trainer.step)
        self._guard = DivergenceGuard(before)
        for row in read_log(trainer.run):
            self._guard.add(row["loss"])

    def _measure(self, trainer: Trainer) -> list[float]:
        learner = trainer.learner
        count = max(10, math.ceil(PICTURES_BEFORE / learner.cards_per_step))
        steps = tqdm(range(count), "Measuring the loss before training", unit="step", leave=False)
        with fitting_memory(trainer.run, 1, learner.memory_advice):
            return [round(learner.loss_of_step(step), 6) for step in steps]

    def add(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Checks the figures of a step.

        Raises:
            TrainingError: the loss or its gradient is not finite, or the loss has risen far.
        """
        lower = f"Try a learning_rate of {trainer.config.learning_rate / 10:g}, or a longer lr_warmup_steps"
        if not self.is_finite(trainer, row):
            raise TrainingError(
                f"the loss is {row['loss']} and its gradient {row['gradient_norm']} at step {row['step']};"
                f" {describe_checkpoint(trainer.run)}. {lower}, or mixed_precision no"
            )
        self._guard.add(row["loss"])
        if self._guard.diverged:
            saved = ", ".join(path.name for path in checkpoints(trainer.run)) or "none"
            raise TrainingError(
                f"stopped at step {row['step']}: the loss of the last {self._guard.count} steps is"
                f" {self._guard.rise:.1f} times what it was before training: the model forgets how to draw."
                f" Checkpoints in {trainer.run}: {saved}; samples/ shows which still draw. {lower}, and start anew"
            )
