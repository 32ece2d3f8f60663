"""A training run: takes steps, logs, draws and saves, so that it can go on from where it was stopped.

The trainer knows nothing of the kind of model: a `Learner` takes the steps, a `Monitor` watches them, and a
`Measurement` adds figures at the end of an epoch.
"""

import json
import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from PIL import Image

from cardsynth.core.base_config import BaseConfig
from cardsynth.core.recorder import Recorder, TrainingStep
from cardsynth.core.runs import SETTINGS, check_resumable, checkpoints, is_run, start_run
from cardsynth.core.safeguards import TrainingError, describe_checkpoint, fitting_memory, saving
from cardsynth.util.device import LateValues, retry_in_less_memory, used_memory_mb
from cardsynth.util.files import new_folder
from cardsynth.util.settings import save_config
from cardsynth.util.state import load_state, save_state

PROGRESS = "progress.json"


class Learner:
    """The nets, optimisers and averages of a run, and its steps; a subclass is a kind of model.

    Attributes:
        figures: names of the numbers that `optimise` returns: `loss`, `gradient_norm`, and any others.
        total_steps: optimiser steps of the run.
        epoch_steps: optimiser steps of a pass over the cards.
        cards_per_step: cards of one optimiser step, on all processes.
        lr_scheduler: schedule of the learning rate; a subclass without one overrides `learning_rate`.
        about: what the manifest says of the nets.
        memory_advice: what to do if memory does not suffice.
    """

    figures: ClassVar[tuple[str, ...]] = ("loss", "gradient_norm")
    accelerator: Accelerator
    total_steps: int
    epoch_steps: int
    cards_per_step: int
    lr_scheduler: torch.optim.lr_scheduler.LRScheduler
    about: dict[str, Any]
    memory_advice: str

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return float(self.lr_scheduler.get_last_lr()[0])

    def optimise(self, step: int) -> torch.Tensor:
        """Takes optimiser step `step` (from 0); returns its `figures`, on the device."""
        raise NotImplementedError

    def relieve(self) -> str:
        """Makes a step need less memory, training the same; returns how, or an empty text if it cannot."""
        return ""

    def measure(self) -> dict[str, float]:
        """Returns further figures at the end of an epoch."""
        return {}

    def sample_grid(self) -> Image.Image | None:
        """Draws samples of the averaged model from fixed seeds; None for a model that draws nothing."""

    def save_model(self, run: Path, checkpoint: Path) -> None:
        """Saves the averaged weights inside the run, to be opened with its manifest; `checkpoint` is being written."""
        raise NotImplementedError

    def stateful(self) -> dict[str, Any]:
        """Returns the parts that have a `state_dict` which resuming needs, by name."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Returns all that resuming needs, except settings and data, as nested dicts of tensors and numbers."""
        return {name: part.state_dict() for name, part in self.stateful().items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        for name, part in self.stateful().items():
            part.load_state_dict(state[name])


# Measures the model at the end of some epochs, such as KID against held-out cards. Called with the learner, the number
# of the epoch, whether training is done, and the seconds of the whole run so far; returns no figures if none are due.
Measurement = Callable[[Any, int, bool, float], dict[str, float]]


class Monitor:
    """Watches the steps of a run, and stops it at a loss that is not finite."""

    def start(self, trainer: "Trainer", progress: Mapping[str, Any]) -> None:
        """Begins, or goes on after the steps of the run's log; `progress`: that of the checkpoint."""

    def add(self, trainer: "Trainer", row: dict[str, Any]) -> None:
        """Checks the figures of a step.

        Raises:
            TrainingError: the loss or its gradient is not finite.
        """
        if not self.is_finite(trainer, row):
            raise TrainingError(
                f"the loss is {row['loss']} and its gradient {row['gradient_norm']} at step {row['step']};"
                f" {describe_checkpoint(trainer.run)}. Try a lower learning_rate, a longer lr_warmup_steps, or"
                " mixed_precision no"
            )

    def is_finite(self, trainer: "Trainer", row: dict[str, Any]) -> bool:
        """Whether loss and gradient are finite; the gradient scaler of fp16 handles gradients that are not."""
        return math.isfinite(
            row["loss"] + (0 if trainer.accelerator.mixed_precision == "fp16" else row["gradient_norm"])
        )

    def failure(self) -> str:
        """Says why the run must go back to a checkpoint; empty if all is well."""
        return ""

    def go_back(self, trainer: "Trainer", failure: str) -> None:
        """Goes back to a checkpoint after a failure, by `Trainer.go_back`."""

    def progress(self, trainer: "Trainer") -> dict[str, Any]:
        """Returns what a checkpoint keeps for `start`."""
        return {}

    def finish(self, trainer: "Trainer") -> None:
        """Is called after the last step."""


@dataclass(frozen=True)
class _Pending:
    """A step that was taken and whose figures have not been read yet."""

    step: int
    learning_rate: float
    figures: LateValues


def steps_ahead(device: torch.device) -> int:
    """Number of steps that a device may have queued while the figures of earlier ones are read and logged."""
    return 8 if device.type == "cuda" else 0


class Trainer:
    """A learner and its run folder; `train` drives them.

    Args:
        learner: takes the steps.
        config: settings of the run.
        run: run folder.
        manifest: describes the run; the learner's `about` is added.
        resume: go on from the last checkpoint if the folder holds a run.
        overwrite: replace a run that exists.
        monitor: watches the steps.
        measurement: adds figures at the end of an epoch.

    Raises:
        RunError: the folder is taken, or the run does not fit settings or data.
    """

    def __init__(
        self,
        learner: Learner,
        config: BaseConfig,
        run: Path,
        manifest: dict[str, Any],
        *,
        resume: bool = False,
        overwrite: bool = False,
        monitor: Monitor | None = None,
        measurement: Measurement | None = None,
    ) -> None:
        self.learner, self.config, self.run = learner, config, run
        self.accelerator, self.monitor = learner.accelerator, monitor or Monitor()
        self.measurement = measurement
        precision, processes = self.accelerator.mixed_precision, self.accelerator.num_processes
        self.manifest = manifest | learner.about | {"mixed_precision": precision, "num_processes": processes}
        self.step, self.recorder = 0, None
        self._pending: deque[_Pending] = deque()
        progress = self._open_run(resume, overwrite)
        if self.accelerator.is_main_process:
            self.recorder = Recorder(run, self.manifest, self.step, progress.get("wall_time_s", 0.0))
        self.monitor.start(self, progress)
        self._begun = self._last_read = time.perf_counter()
        self._first = self.step

    def _open_run(self, resume: bool, overwrite: bool) -> dict[str, Any]:
        """Starts the run, or loads its last checkpoint and returns that checkpoint's progress."""
        progress: dict[str, Any] = {}
        if resume and is_run(self.run):
            check_resumable(self.run, self.config, self.manifest)
            if saved := checkpoints(self.run):
                progress = self._load(saved[-1])
            if self.accelerator.is_main_process:
                save_config(self.config, self.run / SETTINGS)
        elif self.accelerator.is_main_process:
            start_run(self.run, self.config, self.manifest, overwrite)
        self.accelerator.wait_for_everyone()
        return progress

    def _load(self, checkpoint: Path) -> dict[str, Any]:
        progress = read_progress(checkpoint)
        self.learner.load_state(load_state(checkpoint, self.accelerator.device))
        self.step = progress["step"]
        return progress

    def train(self) -> Iterator[TrainingStep]:
        """Takes the steps to the end, yielding each; closing the generator saves a checkpoint first."""
        try:
            yield from self._steps()
        except GeneratorExit:
            self.save_checkpoint()
            raise
        finally:
            if self.recorder:
                self.recorder.close()

    def _steps(self) -> Iterator[TrainingStep]:
        learner = self.learner
        ahead = steps_ahead(self.accelerator.device)
        if self.step == 0 and self.config.is_grid_due(0, 0, False):
            self._save_grid(0)
        while self.step < learner.total_steps:
            learning_rate = learner.learning_rate
            with self._fitting_memory():
                figures = retry_in_less_memory(lambda: learner.optimise(self.step), learner.relieve, self.step + 1)
            self.step += 1
            self._pending.append(_Pending(self.step, learning_rate, LateValues(figures)))
            done, epoch = self.step == learner.total_steps, self.epoch
            epoch_ends = done or self.step % learner.epoch_steps == 0
            grid_due = done or self.config.is_grid_due(self.step, epoch, epoch_ends)
            checkpoint_due = done or self.config.is_checkpoint_due(self.step, epoch, epoch_ends)
            waits = epoch_ends or grid_due or checkpoint_due
            rows = self._read(0 if waits else ahead, self._measure(done) if epoch_ends else {})
            failure = self.monitor.failure()
            if not failure:
                saved = {"grid": self._save_grid(epoch)} if grid_due else {}
                saved |= {"checkpoint": self.save_checkpoint()} if checkpoint_due else {}
                if saved:
                    rows[-1] = replace(rows[-1], **saved)
                    self._last_read = time.perf_counter()
            yield from rows
            if failure:
                self.monitor.go_back(self, failure)
        if self.recorder and self._first < learner.total_steps:
            self.recorder.write_manifest(self.step)
            self.monitor.finish(self)

    @property
    def epoch(self) -> int:
        """Number of the pass over the cards that the last step belongs to, from 1."""
        return math.ceil(self.step / self.learner.epoch_steps)

    def _measure(self, done: bool) -> dict[str, float]:
        """Returns what is measured at the end of an epoch; its time does not count as training time."""
        begun = time.perf_counter()
        figures = self.learner.measure()
        if self.measurement:
            elapsed = self.recorder.wall_time_s if self.recorder else 0.0
            with self._fitting_memory():
                figures = figures | self.measurement(self.learner, self.epoch, done, elapsed)
        self._last_read += time.perf_counter() - begun
        return figures

    def _read(self, keep: int, figures_of_last: Mapping[str, float]) -> list[TrainingStep]:
        """Reads and logs the figures of all pending steps but the last `keep`."""
        rows = []
        while len(self._pending) > keep:
            pending = self._pending.popleft()
            figures = dict(zip(self.learner.figures, pending.figures.read(), strict=True))
            now = time.perf_counter()
            seconds_per_step = (now - self._begun) / (pending.step - self._first)
            row = TrainingStep(
                step=pending.step,
                total_steps=self.learner.total_steps,
                epoch=math.ceil(pending.step / self.learner.epoch_steps),
                loss=figures.pop("loss"),
                learning_rate=pending.learning_rate,
                gradient_norm=figures.pop("gradient_norm"),
                images_per_second=self.learner.cards_per_step / (now - self._last_read),
                memory_mb=used_memory_mb(self.accelerator.device),
                seconds_left=seconds_per_step * (self.learner.total_steps - pending.step),
                figures=figures | ({} if self._pending else dict(figures_of_last)),
            )
            self._last_read = now
            if self.recorder:
                with self._saving():
                    self.recorder.log(row)
            rows.append(row)
            try:
                self.monitor.add(self, row.row())
            except TrainingError:
                self._pending.clear()
                raise
        return rows

    def save_checkpoint(self) -> Path:
        """Saves the averaged model and all that resuming needs; returns the checkpoint's folder."""
        self._read(0, {})
        target = self.run / "checkpoints" / f"step_{self.step:06d}"
        with self._saving():
            if self.recorder:
                with new_folder(target) as folder:
                    save_state(self.learner.state(), folder)
                    progress = {"step": self.step, "wall_time_s": self.recorder.wall_time_s}
                    (folder / PROGRESS).write_text(json.dumps(progress | self.monitor.progress(self)))
                    # The model first: a run that dies in between goes on from the checkpoint before, and saves both.
                    self.learner.save_model(self.run, folder)
                self.recorder.write_manifest(self.step)
                for old in checkpoints(self.run)[: -self.config.checkpoints_total_limit]:
                    shutil.rmtree(old)
            self.accelerator.wait_for_everyone()
        return target

    def go_back(self, checkpoint: Path) -> None:
        """Goes back to an earlier checkpoint: later checkpoints and log rows are dropped."""
        self._pending.clear()
        progress = self._load(checkpoint)
        if self.recorder:
            saved = checkpoints(self.run)
            for later in saved[saved.index(checkpoint) + 1 :]:
                shutil.rmtree(later)
            self.recorder.rewind(self.step)
            self.recorder.write_manifest(self.step)
        self.accelerator.wait_for_everyone()
        self.monitor.start(self, progress)
        self._begun = self._last_read = time.perf_counter()
        self._first = self.step

    def _save_grid(self, epoch: int) -> Path | None:
        path = self.run / "samples" / f"{self.config.grid_name(self.step, epoch)}.png"
        grid = None
        if self.recorder:
            with self._saving(), self._fitting_memory():
                grid = self.learner.sample_grid()
                if grid:
                    self.recorder.save_grid(grid, path, self.step)
        self.accelerator.wait_for_everyone()
        return path if grid else None

    def _saving(self) -> AbstractContextManager[None]:
        return saving(self.run, self.step)

    def _fitting_memory(self) -> AbstractContextManager[None]:
        return fitting_memory(self.run, self.step + 1, self.learner.memory_advice)


def read_progress(checkpoint: Path) -> dict[str, Any]:
    """Reads how far a run was when a checkpoint was saved: `step`, `wall_time_s`, and what the monitor keeps."""
    return json.loads((checkpoint / PROGRESS).read_text())
