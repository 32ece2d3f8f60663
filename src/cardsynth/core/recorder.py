"""Records a run while it trains: log, TensorBoard if it is installed, manifest and wall time."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from cardsynth.core.runs import truncate_log, write_manifest

NOT_PLOTTED = ("step", "total_steps", "epoch", "seconds_left", "kid_low", "kid_high", "kid_time_share")


@dataclass(frozen=True)
class TrainingStep:
    """One optimiser step.

    Attributes:
        step: number of the step, from 1.
        loss: value of the loss.
        gradient_norm: norm of the gradient before clipping.
        images_per_second: training rate of all processes.
        memory_mb: peak memory of a GPU, or memory of the process on a CPU.
        seconds_left: estimated time to the end.
        figures: further numbers by name, such as `kid` with its interval `kid_low` and `kid_high` where KID
            was measured after this step, and what a model of another kind reports.
        grid: the sample grid that was saved after this step.
        checkpoint: the checkpoint that was saved after this step.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    learning_rate: float
    gradient_norm: float
    images_per_second: float
    memory_mb: float
    seconds_left: float
    figures: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    grid: Path | None = None
    checkpoint: Path | None = None

    def row(self) -> dict[str, Any]:
        """The numbers of the step, as a row of `log.jsonl`."""
        numbers = {name: value for name, value in vars(self).items() if name not in ("figures", "grid", "checkpoint")}
        return numbers | dict(self.figures)


class Recorder:
    """Records a run from `step` on; `wall_time_s` seconds were spent before."""

    def __init__(self, run: Path, manifest: dict[str, Any], step: int, wall_time_s: float) -> None:
        self.run, self.manifest = run, manifest
        self._before, self._started = wall_time_s, time.perf_counter()
        self._open(step)

    def _open(self, step: int) -> None:
        truncate_log(self.run, step)
        self._log = (self.run / "log.jsonl").open("a")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:  # an extra
            self._tensorboard = None
        else:
            self._tensorboard = SummaryWriter(str(self.run / "tensorboard"), purge_step=step + 1)

    def rewind(self, step: int) -> None:
        """Goes back to an earlier step: what was logged after it is dropped."""
        self.close()
        self._open(step)

    @property
    def wall_time_s(self) -> float:
        """Seconds spent on the run so far, in all its sessions."""
        return round(self._before + time.perf_counter() - self._started, 1)

    def log(self, step: TrainingStep) -> None:
        """Adds an optimiser step to `log.jsonl` and TensorBoard."""
        row = step.row()
        self._log.write(json.dumps(row) + "\n")
        self._log.flush()
        if self._tensorboard:
            for name in row.keys() - set(NOT_PLOTTED):
                self._tensorboard.add_scalar(name, row[name], step.step)

    def save_grid(self, grid: Image.Image, path: Path, step: int) -> None:
        """Saves a sample grid, and shows it in TensorBoard."""
        path.parent.mkdir(exist_ok=True)
        grid.save(path)
        if self._tensorboard:
            self._tensorboard.add_image("samples", np.asarray(grid), step, dataformats="HWC")

    def write_manifest(self, step: int) -> None:
        """Writes the manifest as of a step."""
        write_manifest(self.run, self.manifest | {"steps": step, "wall_time_s": self.wall_time_s})

    def close(self) -> None:
        """Closes the log files."""
        self._log.close()
        if self._tensorboard:
            # On a full disk TensorBoard's writer fails here once more, and would hide the error that ended the run.
            with suppress(OSError):
                self._tensorboard.close()


def with_progress(steps: Iterator[TrainingStep]) -> Iterator[TrainingStep]:
    """Shows a progress bar with loss, learning rate and time left while steps are taken."""
    with tqdm(desc="Training", unit="step") as bar:
        for step in steps:
            bar.total = step.total_steps
            bar.set_postfix_str(f"epoch {step.epoch}, loss {step.loss:.4f}, lr {step.learning_rate:.1e}", refresh=False)
            bar.update(step.step - bar.n)
            yield step
