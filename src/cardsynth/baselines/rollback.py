"""Roll-back of a GAN that has gone wrong: to its last sound checkpoint, and on from there by another way."""

import warnings
from collections.abc import Mapping
from typing import Any

from cardsynth.baselines.collapse import ALIKE, MOST_ROLLBACKS, CollapseGuard
from cardsynth.core.runs import checkpoints, read_log
from cardsynth.core.safeguards import TrainingError
from cardsynth.core.trainer import Monitor, Trainer, read_progress


class RollbackMonitor(Monitor):
    """Watches a GAN and rolls it back when it collapses; the run's manifest lists the roll-backs."""

    def __init__(self) -> None:
        self.guard = CollapseGuard()
        self._rollbacks: list[dict[str, Any]] | None = None

    def start(self, trainer: Trainer, progress: Mapping[str, Any]) -> None:
        """Begins, or goes on after the steps of the run's log."""
        if self._rollbacks is None:
            self._rollbacks = list(progress.get("rollbacks", []))
        if self._rollbacks and trainer.recorder:
            trainer.recorder.manifest |= {"rollbacks": self._rollbacks}
        self.guard.start(read_log(trainer.run))

    def add(self, trainer: Trainer, row: dict[str, Any]) -> None:
        """Adds the figures of a step; those that are not finite count as a failure, which is rolled back."""
        self.guard.add(row)

    def failure(self) -> str:
        """Says what has gone wrong; empty if all is well."""
        return self.guard.reason()

    def go_back(self, trainer: Trainer, failure: str) -> None:
        """Goes back to the last sound checkpoint, with other random numbers and half the learning rate.

        Raises:
            TrainingError: no sound checkpoint was saved, or the run was rolled back too often.
        """
        saved = [path for path in checkpoints(trainer.run) if read_progress(path).get("sound", True)]
        config = trainer.learner.config
        lower = f"a lower learning_rate than {config.learning_rate:g}, or a larger train_batch_size"
        count = len(self._rollbacks)
        if count == MOST_ROLLBACKS or not saved:
            before = f"it was rolled back {count} times" if saved else "nothing sound was saved before"
            raise TrainingError(
                f"the training has gone wrong at step {trainer.step}: {failure}; {before}. Train anew with {lower}"
            )
        step = read_progress(saved[-1])["step"]
        self._rollbacks.append({"from": trainer.step, "to": step, "reason": failure})
        warnings.warn(
            f"the training has gone wrong at step {trainer.step}: {failure}. It goes on from step {step}, with other"
            f" random numbers and half the learning rate (rollback {count + 1} of {MOST_ROLLBACKS})."
            f" If it comes again, train anew with {lower}",
            stacklevel=3,
        )
        if trainer.recorder:
            trainer.recorder.manifest |= {"rollbacks": self._rollbacks}
        trainer.go_back(saved[-1])
        trainer.learner.restart(count + 1)

    def progress(self, trainer: Trainer) -> dict[str, Any]:
        """Returns whether the model is sound, and the roll-backs so far."""
        sound = not self.guard.reason(**trainer.learner.measure())
        return {"sound": sound, "rollbacks": self._rollbacks}

    def finish(self, trainer: Trainer) -> None:
        """Warns if the cards of the finished model are all alike."""
        variety = self.guard.variety
        if variety is not None and variety < ALIKE:
            warnings.warn(
                f"mode collapse: the cards of {trainer.run} differ {variety:.2f} times as much as real ones; look at"
                " samples/, and train it longer or anew with another seed or a lower learning_rate",
                stacklevel=3,
            )
