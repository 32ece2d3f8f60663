"""A training run: steps taken, logged, drawn and saved, so that it can go on from where it was stopped."""

import json
import math
import shutil
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cardsynth.cards import Cards
from cardsynth.config import TrainingConfig, save_config
from cardsynth.device import LateValues, used_memory_mb
from cardsynth.learner import Learner
from cardsynth.recorder import Recorder, TrainingStep
from cardsynth.runs import (
    TrainedModel,
    build_manifest,
    check_resumable,
    checkpoints,
    is_run,
    read_log,
    replace_folder,
    save_average,
    save_model,
    start_run,
)
from cardsynth.safeguards import TrainingError, fitting_memory, saving, what_is_safe
from cardsynth.sampling import card_grid, generate
from cardsynth.validation import Validation, hold_out


def steps_ahead(device: torch.device) -> int:
    """How many steps a device may have queued while the figures of those before them are read and logged."""
    return 8 if device.type == "cuda" else 0


@dataclass(frozen=True)
class _Taken:
    """A step that was taken and whose figures have not been read yet."""

    step: int
    learning_rate: float
    figures: LateValues


class Trainer:
    """A learner and its run folder; `steps` drives them."""

    def __init__(self, config: TrainingConfig, cards: Cards, run: Path, resume: bool, overwrite: bool) -> None:
        self.config, self.run = config, run
        shown, held_out = hold_out(config, cards)
        self.learner = Learner(config, cards, shown)
        self.accelerator = self.learner.accelerator
        self.step, self.recorder = 0, None
        self._taken: deque[_Taken] = deque()
        self.manifest = build_manifest(config, cards, sum(value.numel() for value in self.learner.parameters))
        self.manifest["mixed_precision"] = self.accelerator.mixed_precision
        self.manifest["num_processes"] = self.accelerator.num_processes
        self._open_run(resume, overwrite)
        self.validation = None
        if len(held_out) and self.recorder:
            shares = [row["kid_time_share"] for row in read_log(run) if "kid_time_share" in row]
            before = shares[-1] * self.recorder.wall_time_s if shares else 0.0
            self.validation = Validation(config, cards, held_out, before)
        self._begun = self._last_read = time.perf_counter()
        self._first = self.step

    def _open_run(self, resume: bool, overwrite: bool) -> None:
        wall_time_s = 0.0
        if resume and is_run(self.run):
            wall_time_s = self._resume()
        elif self.accelerator.is_main_process:
            start_run(self.run, self.config, self.manifest, overwrite)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.recorder = Recorder(self.run, self.manifest, self.step, wall_time_s)

    def _resume(self) -> float:
        """Load the last checkpoint, where there is one; returns the seconds that were spent before it."""
        check_resumable(self.run, self.config, self.manifest)
        wall_time_s = 0.0
        saved = checkpoints(self.run)
        if saved:
            self.accelerator.load_state(str(saved[-1]))
            progress = json.loads((saved[-1] / "progress.json").read_text())
            self.step, wall_time_s = progress["step"], progress["wall_time_s"]
        if self.accelerator.is_main_process:
            save_config(self.config, self.run / "settings.json")
        return wall_time_s

    def steps(self) -> Iterator[TrainingStep]:
        learner = self.learner
        ahead = steps_ahead(learner.device)
        while self.step < learner.total_steps:
            learning_rate = learner.lr_scheduler.get_last_lr()[0]
            with self._fitting_memory():
                figures = LateValues(learner.optimise(self.step))
            self.step += 1
            self._taken.append(_Taken(self.step, learning_rate, figures))
            done = self.step == learner.total_steps
            epoch_ends = done or self.step % learner.epoch_steps == 0
            kid = self._measure_kid(done) if epoch_ends and self.validation else {}
            rows = self._read(keep=0 if epoch_ends else ahead, of_last=kid)
            if epoch_ends:
                rows[-1] = replace(rows[-1], **self._save_what_is_due(rows[-1].epoch, done))
            yield from rows
        if self.recorder and self._first < learner.total_steps:
            self.recorder.write_manifest(self.step)

    def _measure_kid(self, done: bool) -> dict[str, float]:
        """KID against the held-out cards, where it is due."""
        elapsed = self.recorder.wall_time_s
        if not self.validation.is_due(math.ceil(self.step / self.learner.epoch_steps), done, elapsed):
            return {}
        before = self.validation.seconds
        with self._fitting_memory():
            found = self.validation.measure(self.averaged_model())
        took = self.validation.seconds - before
        self._last_read += took
        values = {"kid": found.value, "kid_low": found.low, "kid_high": found.high}
        return values | {"kid_time_share": round(self.validation.seconds / (elapsed + took), 4)}

    def _read(self, keep: int = 0, of_last: dict[str, float] | None = None) -> list[TrainingStep]:
        """Read and log the figures of all steps taken but the last `keep`; raises TrainingError for one not finite.

        of_last: what else is known after the last step.
        """
        rows = []
        while len(self._taken) > keep:
            taken = self._taken.popleft()
            loss, gradient_norm = taken.figures.read()
            now = time.perf_counter()
            seconds_a_step = (now - self._begun) / (taken.step - self._first)
            row = TrainingStep(
                step=taken.step,
                total_steps=self.learner.total_steps,
                epoch=math.ceil(taken.step / self.learner.epoch_steps),
                loss=loss,
                learning_rate=taken.learning_rate,
                gradient_norm=gradient_norm,
                images_per_second=self.learner.cards_per_step / (now - self._last_read),
                memory_mb=used_memory_mb(self.learner.device),
                seconds_left=seconds_a_step * (self.learner.total_steps - taken.step),
                **(of_last or {} if not self._taken else {}),
            )
            self._last_read = now
            if self.recorder:
                with self._saving():
                    self.recorder.log(row)
            overflow_is_handled = self.accelerator.mixed_precision == "fp16"
            if not math.isfinite(loss + (0 if overflow_is_handled else gradient_norm)):
                self._taken.clear()
                raise TrainingError(
                    f"the loss is {loss} and its gradient {gradient_norm} at step {taken.step};"
                    f" {what_is_safe(self.run)}. Try a lower learning_rate, a longer lr_warmup_steps, or"
                    " mixed_precision no"
                )
            rows.append(row)
        return rows

    def _save_what_is_due(self, epoch: int, done: bool) -> dict[str, Path]:
        saved: dict[str, Path] = {}
        if done or epoch % self.config.save_image_epochs == 0:
            saved["grid"] = self._save_grid(epoch)
        if done or epoch % self.config.save_model_epochs == 0:
            saved["checkpoint"] = self.save_checkpoint()
        self._last_read = time.perf_counter()
        return saved

    def averaged_model(self) -> TrainedModel:
        """The model with the averaged weights as they are now."""
        return TrainedModel(
            unet=self.learner.averaged_unet(),
            noise_scheduler=self.learner.noise_scheduler,
            config=self.config,
            labels=tuple(self.manifest["labels"]),
            has_mask=self.manifest["mask"],
            number_ranges=self.manifest["numbers"],
            name=self.run.name,
        )

    def save_checkpoint(self) -> Path:
        """Save averaged model and all that resuming needs; returns the checkpoint's folder."""
        self._read()
        target = self.run / "checkpoints" / f"step_{self.step:06d}"
        temporary = target.with_name(f".{target.name}.tmp")
        with self._saving():
            if self.accelerator.is_main_process:
                shutil.rmtree(temporary, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            self.accelerator.save_state(str(temporary))
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                progress = {"step": self.step, "wall_time_s": self.recorder.wall_time_s}
                (temporary / "progress.json").write_text(json.dumps(progress))
                replace_folder(temporary, target)
                for decay in self.config.other_ema_decays:
                    save_average(self.run, self.learner.averaged_unet(decay), decay)
                save_model(self.run, self.learner.averaged_unet(), self.learner.noise_scheduler)
                self.recorder.write_manifest(self.step)
                for old in checkpoints(self.run)[: -self.config.checkpoints_total_limit]:
                    shutil.rmtree(old)
        return target

    def _save_grid(self, epoch: int) -> Path:
        path = self.run / "samples" / f"epoch_{epoch:04d}.png"
        if self.accelerator.is_main_process:
            with self._saving(), self._fitting_memory():
                batches = list(generate(self.averaged_model(), range(self.config.eval_batch_size), progress=False))
                pixels = torch.cat([batch.pixels for batch in batches])
                grid = card_grid(pixels, columns=max(1, round(len(pixels) ** 0.5)))
                self.recorder.save_grid(grid, path, self.step)
        self.accelerator.wait_for_everyone()
        return path

    def _saving(self) -> AbstractContextManager[None]:
        return saving(self.run, self.step)

    def _fitting_memory(self) -> AbstractContextManager[None]:
        several = self.accelerator.num_processes > 1
        advice = (
            f"take a smaller train_batch_size than {self.config.train_batch_size}, with more"
            " gradient_accumulation_steps"
            if several and self.config.train_batch_size > 1
            else "not even one card at a time fits: turn on gradient_checkpointing, or take a smaller size or net"
        )
        return fitting_memory(self.run, self.step + 1, advice)

    def close(self) -> None:
        """Close the log files."""
        if self.recorder:
            self.recorder.close()
