"""Writes what a run says of itself while it trains: log, TensorBoard, manifest and wall time."""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from cardsynth.core.runs import truncate_log, write_manifest

SCALARS = ("loss", "learning_rate", "gradient_norm", "images_per_second", "memory_mb", "kid", "variety")
SCALARS += ("generator_loss", "discriminator_loss", "real_score", "fake_score", "reconstruction", "kl")


@dataclass(frozen=True)
class TrainingStep:
    """One optimiser step: its number from 1, loss, learning rate, gradient norm, speed, memory, and what it saved.

    kid: KID against held-out cards with its interval, where it was measured after this step; kid_time_share: the share
    of the run's time that these measurements took so far.

    Of a DCGAN: both players' losses (`loss` is the generator's), how sure the discriminator was that real and generated
    cards are real (0 to 1), and where it was measured the variety of the cards (`baselines/variety.py`). Of a VAE: the
    mean squared error and the KL divergence, in nats a card, that `loss` is made of.
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
    generator_loss: float | None = None
    discriminator_loss: float | None = None
    real_score: float | None = None
    fake_score: float | None = None
    variety: float | None = None
    reconstruction: float | None = None
    kl: float | None = None
    kid: float | None = None
    kid_low: float | None = None
    kid_high: float | None = None
    kid_time_share: float | None = None
    grid: Path | None = None
    checkpoint: Path | None = None


class Recorder:
    """Records a run from `step` on; `wall_time_s` seconds were spent before."""

    def __init__(self, run: Path, manifest: dict[str, Any], step: int, wall_time_s: float) -> None:
        self.run, self.manifest = run, manifest
        self._before, self._started = wall_time_s, time.perf_counter()
        self._open(step)

    def _open(self, step: int) -> None:
        truncate_log(self.run, step)
        self._log = (self.run / "log.jsonl").open("a")
        self._tensorboard = SummaryWriter(str(self.run / "tensorboard"), purge_step=step + 1)

    def rewind(self, step: int) -> None:
        """Go on from an earlier step: what was logged after it is dropped."""
        self.close()
        self._open(step)

    @property
    def wall_time_s(self) -> float:
        """Seconds spent on the run so far, in all its sessions."""
        return round(self._before + time.perf_counter() - self._started, 1)

    def log(self, step: TrainingStep) -> None:
        """Add an optimiser step to `log.jsonl` and TensorBoard."""
        values = asdict(step).items()
        row = {name: value for name, value in values if value is not None and name not in ("grid", "checkpoint")}
        self._log.write(json.dumps(row) + "\n")
        self._log.flush()
        for name in row.keys() & set(SCALARS):
            self._tensorboard.add_scalar(name, row[name], row["step"])

    def save_grid(self, grid: Image.Image, path: Path, step: int) -> None:
        """Save a sample grid, and show it in TensorBoard."""
        path.parent.mkdir(exist_ok=True)
        grid.save(path)
        self._tensorboard.add_image("samples", np.asarray(grid), step, dataformats="HWC")

    def write_manifest(self, step: int) -> None:
        """Write the manifest as of a step."""
        write_manifest(self.run, self.manifest | {"steps": step, "wall_time_s": self.wall_time_s})

    def close(self) -> None:
        """Close the log files."""
        self._log.close()
        # On a full disk TensorBoard's writer fails here once more, and would hide the error that ended the run.
        with suppress(OSError):
            self._tensorboard.close()
