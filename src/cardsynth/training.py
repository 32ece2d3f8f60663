"""Training as a generator of small steps: noise, predict, weigh, step, average, save."""

import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers.optimization import get_scheduler
from diffusers.training_utils import EMAModel
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from cardsynth.cards import Cards, normalize
from cardsynth.config import TrainingConfig, save_config
from cardsynth.device import build_accelerator, is_out_of_memory, largest_fitting, used_memory_mb
from cardsynth.diffusion import build_noise_scheduler, drop_labels, loss_weights, spread_timesteps, training_target
from cardsynth.model import build_unet
from cardsynth.order import batch_indices, steps_per_epoch, total_train_steps
from cardsynth.runs import (
    TrainedModel,
    build_manifest,
    check_resumable,
    checkpoints,
    is_run,
    replace_folder,
    save_model,
    start_run,
    truncate_log,
    write_manifest,
)
from cardsynth.sampling import card_grid, generate


class TrainingError(RuntimeError):
    """Training cannot go on: says at which step, what is safe on disk and what to try."""


@dataclass(frozen=True)
class TrainingStep:
    """One optimiser step: its number from 1, loss, learning rate, gradient norm, speed, memory, and what it saved."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    learning_rate: float
    gradient_norm: float
    images_per_second: float
    memory_mb: float
    seconds_left: float
    grid: Path | None = None
    checkpoint: Path | None = None


def train(
    config: TrainingConfig, cards: Cards, run: str | Path, *, resume: bool = False, overwrite: bool = False
) -> Iterator[TrainingStep]:
    """Train on cards of the settings' (height, width) into a run folder, yielding after each optimiser step.

    The run folder gets settings, manifest, log, sample grids, checkpoints, and the averaged weights as a diffusers
    pipeline. Closing the generator saves a checkpoint first; with `resume` a run goes on from its last checkpoint, and
    ends with the weights of an unbroken one. Raises RunError for a folder that is taken or does not fit, and
    TrainingError for a loss that is not finite, memory that does not suffice, and files that cannot be written.
    """
    trainer = _Trainer(config, cards, Path(run), resume, overwrite)
    try:
        yield from trainer.steps()
    except GeneratorExit:
        trainer.save_checkpoint()
        raise
    finally:
        trainer.close()


def with_progress(steps: Iterator[TrainingStep]) -> Iterator[TrainingStep]:
    """The same steps under a progress bar with loss, learning rate and time left."""
    with tqdm(desc="Training", unit="step") as bar:
        for step in steps:
            bar.total = step.total_steps
            bar.set_postfix_str(f"epoch {step.epoch}, loss {step.loss:.4f}, lr {step.learning_rate:.1e}", refresh=False)
            bar.update(step.step - bar.n)
            yield step


class _Trainer:
    """State of one training run: nets, optimiser, counters; `steps` drives it."""

    def __init__(self, config: TrainingConfig, cards: Cards, run: Path, resume: bool, overwrite: bool) -> None:
        if cards.size != config.size:
            raise ValueError(f"the cards measure {cards.size} and the settings say {config.size} (height, width)")
        self.config, self.run = config, run
        self.accelerator = build_accelerator(config)
        self.device = self.accelerator.device
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            unet = build_unet(config, cards.pixels.shape[1], len(cards.label_names))
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        self.averaged_unet = deepcopy(unet).to(self.device).eval().requires_grad_(False)
        self.noise_scheduler = build_noise_scheduler(
            config.beta_schedule, config.prediction_type, config.num_train_timesteps
        )
        optimizer = torch.optim.AdamW(
            unet.parameters(), config.learning_rate, (0.9, config.adam_beta2), weight_decay=config.weight_decay
        )
        self.total_steps = total_train_steps(config, len(cards), self.accelerator.num_processes)
        self.epoch_steps = steps_per_epoch(config, len(cards), self.accelerator.num_processes)
        self.lr_scheduler = get_scheduler(
            config.lr_scheduler,
            optimizer,
            num_warmup_steps=config.lr_warmup_steps,
            num_training_steps=self.total_steps,
        )
        self.unet, self.optimizer = self.accelerator.prepare(unet, optimizer)
        self.ema = EMAModel(unet.parameters(), config.ema_decay, use_ema_warmup=True, power=3 / 4, foreach=True)
        self.ema.to(self.device)
        self.accelerator.register_for_checkpointing(self.lr_scheduler, self.ema)
        self.step, self.wall_time, self.writer = 0, 0.0, None
        parameters = sum(parameter.numel() for parameter in unet.parameters())
        self.manifest = build_manifest(config, cards, parameters)
        self.manifest["mixed_precision"] = self.accelerator.mixed_precision
        self.manifest["num_processes"] = self.accelerator.num_processes
        self._open_run(resume, overwrite)
        self.cards = cards.to(self.device)
        self.started = time.perf_counter()

    def _open_run(self, resume: bool, overwrite: bool) -> None:
        if resume and is_run(self.run):
            self._resume()
        elif self.accelerator.is_main_process:
            start_run(self.run, self.config, self.manifest, overwrite)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            truncate_log(self.run, self.step)
            self.log = (self.run / "log.jsonl").open("a")
            self.writer = SummaryWriter(str(self.run / "tensorboard"), purge_step=self.step + 1)

    def _resume(self) -> None:
        check_resumable(self.run, self.config, self.manifest)
        saved = checkpoints(self.run)
        if saved:
            self.accelerator.load_state(str(saved[-1]))
            progress = json.loads((saved[-1] / "progress.json").read_text())
            self.step, self.wall_time = progress["step"], progress["wall_time_s"]
        if self.accelerator.is_main_process:
            save_config(self.config, self.run / "settings.json")

    def steps(self) -> Iterator[TrainingStep]:
        first, begun = self.step, time.perf_counter()
        cards_per_step = self.config.train_batch_size * self.config.gradient_accumulation_steps
        cards_per_step *= self.accelerator.num_processes
        while self.step < self.total_steps:
            before = time.perf_counter()
            learning_rate = self.lr_scheduler.get_last_lr()[0]
            with self._fitting_memory():
                loss, gradient_norm = self._optimise()
            self.step += 1
            now = time.perf_counter()
            row = TrainingStep(
                step=self.step,
                total_steps=self.total_steps,
                epoch=math.ceil(self.step / self.epoch_steps),
                loss=loss,
                learning_rate=learning_rate,
                gradient_norm=gradient_norm,
                images_per_second=cards_per_step / (now - before),
                memory_mb=used_memory_mb(self.device),
                seconds_left=(now - begun) / (self.step - first) * (self.total_steps - self.step),
            )
            self._log(row)
            yield replace(row, **self._save_what_is_due(row.epoch))
        if first < self.total_steps:
            self._write_manifest()

    def _optimise(self) -> tuple[float, float]:
        """One optimiser step; returns its loss and gradient norm."""
        config, rank = self.config, self.accelerator.process_index
        share = config.train_batch_size * config.gradient_accumulation_steps
        indices = batch_indices(config.seed, self.step, share * self.accelerator.num_processes, len(self.cards))[
            rank * share : (rank + 1) * share
        ]
        seed = int(np.random.SeedSequence([config.seed, 1, self.step, rank]).generate_state(1, np.uint64)[0] >> 1)
        generator = torch.Generator(self.device).manual_seed(seed)
        if config.dropout:
            torch.manual_seed(seed)
        total_loss = 0.0
        batches = indices.to(self.device).split(config.train_batch_size)
        for index, batch in enumerate(batches):
            last = index == len(batches) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.unet):
                loss = self._loss(batch, generator) / len(batches)
                self.accelerator.backward(loss)
            total_loss += loss.item()
        gradient_norm = float(self.accelerator.clip_grad_norm_(self.unet.parameters(), config.max_grad_norm))
        if not math.isfinite(total_loss + (0 if self.accelerator.mixed_precision == "fp16" else gradient_norm)):
            raise TrainingError(
                f"the loss is {total_loss} and its gradient {gradient_norm} at step {self.step + 1};"
                f" {self._what_is_safe()}. Try a lower learning_rate, a longer lr_warmup_steps, or mixed_precision no"
            )
        self.optimizer.step()
        self.lr_scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.step(self.accelerator.unwrap_model(self.unet).parameters())
        return total_loss, gradient_norm

    def _loss(self, indices: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Weighted mean squared error of one batch at random timesteps."""
        config, device = self.config, self.device
        pixels = self.cards.pixels[indices]
        if config.horizontal_flip:
            mirrored = torch.rand(len(pixels), generator=generator, device=device) < 0.5
            pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
        clean_images = normalize(pixels, config.patch_size)
        noise = torch.randn(clean_images.shape, generator=generator, device=device)
        timesteps = spread_timesteps(len(pixels), config.num_train_timesteps, generator)
        noisy_images = self.noise_scheduler.add_noise(clean_images, noise, timesteps)
        labels = None
        if self.cards.label_names:
            labels = self.cards.labels[indices]
            labels = drop_labels(labels, len(self.cards.label_names), config.label_dropout, generator)
        with self.accelerator.autocast():
            model_output = self.unet(noisy_images, timesteps, class_labels=labels).sample
        target = training_target(self.noise_scheduler, clean_images, noise, timesteps)
        weights = loss_weights(self.noise_scheduler, timesteps, config.loss_weighting, config.snr_gamma)
        return (weights * (model_output.float() - target).square().mean(dim=(1, 2, 3))).mean()

    def _save_what_is_due(self, epoch: int) -> dict[str, Path]:
        saved: dict[str, Path] = {}
        done = self.step == self.total_steps
        if self.step % self.epoch_steps and not done:
            return saved
        if done or epoch % self.config.save_image_epochs == 0:
            saved["grid"] = self._save_grid(epoch)
        if done or epoch % self.config.save_model_epochs == 0:
            saved["checkpoint"] = self.save_checkpoint()
        return saved

    def averaged_model(self) -> TrainedModel:
        """The model with the averaged weights as they are now."""
        self.ema.copy_to(self.averaged_unet.parameters())
        return TrainedModel(
            unet=self.averaged_unet,
            noise_scheduler=self.noise_scheduler,
            config=self.config,
            labels=tuple(self.manifest["labels"]),
            has_mask=self.manifest["mask"],
            name=self.run.name,
        )

    def save_checkpoint(self) -> Path:
        """Save averaged model and all that resuming needs; returns the checkpoint's folder."""
        target = self.run / "checkpoints" / f"step_{self.step:06d}"
        temporary = target.with_name(f".{target.name}.tmp")
        with self._saving():
            if self.accelerator.is_main_process:
                shutil.rmtree(temporary, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            self.accelerator.save_state(str(temporary))
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                wall_time = self.wall_time + time.perf_counter() - self.started
                progress = {"step": self.step, "wall_time_s": round(wall_time, 1)}
                (temporary / "progress.json").write_text(json.dumps(progress))
                replace_folder(temporary, target)
                save_model(self.run, self.averaged_model().unet, self.noise_scheduler)
                self._write_manifest()
                for old in checkpoints(self.run)[: -self.config.checkpoints_total_limit]:
                    shutil.rmtree(old)
        return target

    def _save_grid(self, epoch: int) -> Path:
        path = self.run / "samples" / f"epoch_{epoch:04d}.png"
        if self.accelerator.is_main_process:
            with self._saving(), self._fitting_memory():
                batches = list(generate(self.averaged_model(), range(self.config.eval_batch_size), progress=False))
                pixels = torch.cat([batch.pixels for batch in batches])
                path.parent.mkdir(exist_ok=True)
                grid = card_grid(pixels, columns=max(1, round(len(pixels) ** 0.5)))
                grid.save(path)
                self.writer.add_image("samples", np.asarray(grid), self.step, dataformats="HWC")
        self.accelerator.wait_for_everyone()
        return path

    def _log(self, row: TrainingStep) -> None:
        if not self.accelerator.is_main_process:
            return
        logged = {name: value for name, value in asdict(row).items() if name not in ("grid", "checkpoint")}
        with self._saving():
            self.log.write(json.dumps(logged) + "\n")
            self.log.flush()
        for name in ("loss", "learning_rate", "gradient_norm", "images_per_second", "memory_mb"):
            self.writer.add_scalar(name, logged[name], row.step)

    def _write_manifest(self) -> None:
        if self.accelerator.is_main_process:
            wall_time = self.wall_time + time.perf_counter() - self.started
            self.manifest |= {"steps": self.step, "wall_time_s": round(wall_time, 1)}
            write_manifest(self.run, self.manifest)

    def _what_is_safe(self) -> str:
        saved = checkpoints(self.run)
        return f"the last good checkpoint is {saved[-1]}: resume goes on from it" if saved else "nothing was saved yet"

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Turn whatever keeps files from being written into a TrainingError that says what is safe."""
        try:
            yield
        except Exception as error:
            raise TrainingError(
                f"could not write to {self.run} at step {self.step} ({str(error).splitlines()[0]});"
                f" {self._what_is_safe()}. Is the disk full? Free some space, then resume"
            ) from error

    @contextmanager
    def _fitting_memory(self) -> Iterator[None]:
        """Turn a full memory into a TrainingError that says what fits."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(self._what_fits(str(error).splitlines()[0])) from None

    def _what_fits(self, reason: str) -> str:
        config = self.config
        self.optimizer.zero_grad(set_to_none=True)

        def attempt(batch_size: int) -> None:
            generator = torch.Generator(self.device).manual_seed(0)
            self.accelerator.backward(self._loss(torch.zeros(batch_size, dtype=torch.long), generator))
            self.optimizer.zero_grad(set_to_none=True)

        fitting = largest_fitting(attempt, config.train_batch_size)
        if fitting is None:
            advice = "not even one card at a time fits: turn on gradient_checkpointing, or take a smaller size or net"
        else:
            more = math.ceil(config.train_batch_size / fitting) * config.gradient_accumulation_steps
            advice = f"train_batch_size {fitting} with gradient_accumulation_steps {more} fits, and trains alike"
        return (
            f"out of memory at step {self.step + 1} with train_batch_size {config.train_batch_size} ({reason});"
            f" {self._what_is_safe()}; {advice}"
        )

    def close(self) -> None:
        """Close the log files."""
        if self.writer:
            self.writer.close()
            self.log.close()
