"""A training run: steps taken, logged, drawn and saved, so that it can go on from where it was stopped."""

import json
import math
import shutil
import time
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cardsynth.baselines.collapse import ALIKE, MOST_ROLLBACKS
from cardsynth.baselines.learners import build_learner
from cardsynth.cards.dataset import Cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.config import save_config
from cardsynth.core.recorder import Recorder, TrainingStep
from cardsynth.core.runs import build_manifest, check_resumable, checkpoints, is_run, read_log, start_run
from cardsynth.core.safeguards import TrainingError, fitting_memory, saving, what_is_safe
from cardsynth.core.sampling import AnyModel, card_grid, generate, grid_columns
from cardsynth.evaluation.while_training import Validation, hold_out
from cardsynth.util.device import LateValues, used_memory_mb
from cardsynth.util.files import replace_folder


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

    def __init__(self, config: RunConfig, cards: Cards, run: Path, resume: bool, overwrite: bool) -> None:
        self.config, self.run = config, run
        shown, held_out = hold_out(config, cards)
        self.learner = build_learner(config, cards, shown)
        self.accelerator = self.learner.accelerator
        self.step, self.recorder = 0, None
        self._taken: deque[_Taken] = deque()
        self._rollbacks: list[dict[str, Any]] = []
        self.manifest = build_manifest(config, cards) | self.learner.about
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
            self._tell_rollbacks()
        self._start_guard()

    def _resume(self) -> float:
        """Load the last checkpoint, where there is one; returns the seconds that were spent before it."""
        check_resumable(self.run, self.config, self.manifest)
        wall_time_s = 0.0
        saved = checkpoints(self.run)
        if saved:
            self.learner.load_state(saved[-1])
            progress = _progress(saved[-1])
            self.step, wall_time_s = progress["step"], progress["wall_time_s"]
            self._rollbacks = progress.get("rollbacks", [])
        if self.accelerator.is_main_process:
            save_config(self.config, self.run / "settings.json")
        return wall_time_s

    def steps(self) -> Iterator[TrainingStep]:
        learner = self.learner
        ahead = steps_ahead(learner.device)
        while self.step < learner.total_steps:
            learning_rate = learner.learning_rate
            with self._fitting_memory():
                figures = LateValues(learner.optimise(self.step))
            self.step += 1
            self._taken.append(_Taken(self.step, learning_rate, figures))
            done = self.step == learner.total_steps
            epoch_ends = done or self.step % learner.epoch_steps == 0
            measured = {**learner.measure(), **self._measure_kid(done)} if epoch_ends else {}
            rows = self._read(keep=0 if epoch_ends else ahead, of_last=measured)
            wrong = learner.guard.reason() if learner.guard else ""
            if epoch_ends and not wrong:
                rows[-1] = replace(rows[-1], **self._save_what_is_due(rows[-1].epoch, done))
            yield from rows
            if wrong:
                self._roll_back(wrong)
        if self.recorder and self._first < learner.total_steps:
            self.recorder.write_manifest(self.step)
            self._warn_of_likeness()

    def _roll_back(self, wrong: str) -> None:
        """Go back to the last sound checkpoint, and on from there by another way; raises TrainingError at last."""
        saved = [path for path in checkpoints(self.run) if _progress(path).get("sound", True)]
        lower = f"a lower learning_rate than {self.config.learning_rate:g}, or a larger train_batch_size"
        if len(self._rollbacks) == MOST_ROLLBACKS or not saved:
            before = f"it was rolled back {len(self._rollbacks)} times" if saved else "nothing sound was saved before"
            raise TrainingError(
                f"the training has gone wrong at step {self.step}: {wrong}; {before}. Train anew with {lower}"
            )
        at, self.step = self.step, _progress(saved[-1])["step"]
        self._rollbacks.append({"from": at, "to": self.step, "reason": wrong})
        warnings.warn(
            f"the training has gone wrong at step {at}: {wrong}. It goes on from step {self.step}, with other random"
            f" numbers and half the learning rate (rollback {len(self._rollbacks)} of {MOST_ROLLBACKS})."
            f" If it comes again, train anew with {lower}",
            stacklevel=2,
        )
        self._taken.clear()
        self.learner.load_state(saved[-1])
        self.learner.turn(len(self._rollbacks))
        if self.recorder:
            for later in checkpoints(self.run):
                if later > saved[-1]:
                    shutil.rmtree(later)
            self.recorder.rewind(self.step)
            self._tell_rollbacks()
            self.recorder.write_manifest(self.step)
        self.accelerator.wait_for_everyone()
        self._start_guard()
        self._begun, self._first, self._last_read = time.perf_counter(), self.step, time.perf_counter()

    def _tell_rollbacks(self) -> None:
        if self._rollbacks:
            self.recorder.manifest |= {"rollbacks": self._rollbacks}

    def _start_guard(self) -> None:
        if self.learner.guard:
            self.learner.guard.start(read_log(self.run))

    def _warn_of_likeness(self) -> None:
        variety = self.learner.guard and self.learner.guard.variety
        if variety is not None and variety < ALIKE:
            warnings.warn(
                f"mode collapse: the cards of {self.run} differ {variety:.2f} times as much as real ones; look at"
                " samples/, and train it longer or anew with another seed or a lower learning_rate",
                stacklevel=2,
            )

    def _measure_kid(self, done: bool) -> dict[str, float]:
        """KID against the held-out cards, where it is due."""
        elapsed = self.recorder.wall_time_s if self.recorder else 0.0
        epoch = math.ceil(self.step / self.learner.epoch_steps)
        if not self.validation or not self.validation.is_due(epoch, done, elapsed):
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
            figures = dict(zip(self.learner.figures, taken.figures.read(), strict=True))
            now = time.perf_counter()
            seconds_a_step = (now - self._begun) / (taken.step - self._first)
            row = TrainingStep(
                step=taken.step,
                total_steps=self.learner.total_steps,
                epoch=math.ceil(taken.step / self.learner.epoch_steps),
                learning_rate=taken.learning_rate,
                images_per_second=self.learner.cards_per_step / (now - self._last_read),
                memory_mb=used_memory_mb(self.learner.device),
                seconds_left=seconds_a_step * (self.learner.total_steps - taken.step),
                **figures,
                **(of_last or {} if not self._taken else {}),
            )
            self._last_read = now
            if self.recorder:
                with self._saving():
                    self.recorder.log(row)
            rows.append(row)
            if self.learner.guard:
                self.learner.guard.add(asdict(row))
                continue
            overflow_is_handled = self.accelerator.mixed_precision == "fp16"
            if not math.isfinite(row.loss + (0 if overflow_is_handled else row.gradient_norm)):
                self._taken.clear()
                raise TrainingError(
                    f"the loss is {row.loss} and its gradient {row.gradient_norm} at step {taken.step};"
                    f" {what_is_safe(self.run)}. Try a lower learning_rate, a longer lr_warmup_steps, or"
                    " mixed_precision no"
                )
        return rows

    def _save_what_is_due(self, epoch: int, done: bool) -> dict[str, Path]:
        saved: dict[str, Path] = {}
        if done or epoch % self.config.save_image_epochs == 0:
            saved["grid"] = self._save_grid(epoch)
        if done or epoch % self.config.save_model_epochs == 0:
            saved["checkpoint"] = self.save_checkpoint()
        self._last_read = time.perf_counter()
        return saved

    def averaged_model(self) -> AnyModel:
        """The model with the averaged weights as they are now."""
        return self.learner.model(self.manifest, self.run.name)

    def save_checkpoint(self) -> Path:
        """Save averaged model and all that resuming needs; returns the checkpoint's folder."""
        self._read()
        target = self.run / "checkpoints" / f"step_{self.step:06d}"
        temporary = target.with_name(f".{target.name}.tmp")
        with self._saving():
            if self.accelerator.is_main_process:
                shutil.rmtree(temporary, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            self.learner.save_state(temporary)
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                progress = {"step": self.step, "wall_time_s": self.recorder.wall_time_s}
                if guard := self.learner.guard:
                    sound = not guard.reason(**self.learner.measure())
                    progress |= {"sound": sound, "rollbacks": self._rollbacks}
                (temporary / "progress.json").write_text(json.dumps(progress))
                replace_folder(temporary, target)
                self.learner.save_model(self.run)
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
                grid = card_grid(pixels, grid_columns(len(pixels)))
                self.recorder.save_grid(grid, path, self.step)
        self.accelerator.wait_for_everyone()
        return path

    def _saving(self) -> AbstractContextManager[None]:
        return saving(self.run, self.step)

    def _fitting_memory(self) -> AbstractContextManager[None]:
        return fitting_memory(self.run, self.step + 1, self.learner.memory_advice)

    def close(self) -> None:
        """Close the log files."""
        if self.recorder:
            self.recorder.close()


def _progress(checkpoint: Path) -> dict[str, Any]:
    return json.loads((checkpoint / "progress.json").read_text())
