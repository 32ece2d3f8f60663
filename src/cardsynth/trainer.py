"""The state of one training run, and its steps: noise, predict, weigh, step, average, save."""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers.training_utils import EMAModel

from cardsynth.cards import Cards, normalize
from cardsynth.config import TrainingConfig, save_config
from cardsynth.device import backward_in_threads, build_accelerator, is_out_of_memory, largest_fitting, used_memory_mb
from cardsynth.diffusion import (
    build_noise_scheduler,
    channel_shares,
    drop_labels,
    loss_weights,
    spread_timesteps,
    training_target,
)
from cardsynth.model import build_unet
from cardsynth.order import batch_indices, build_optimizer, steps_per_epoch, total_train_steps
from cardsynth.recorder import Recorder, TrainingStep
from cardsynth.runs import (
    TrainedModel,
    build_manifest,
    check_resumable,
    checkpoints,
    is_run,
    replace_folder,
    save_model,
    start_run,
)
from cardsynth.sampling import card_grid, generate


class TrainingError(RuntimeError):
    """Training cannot go on: says at which step, what is safe on disk and what to try."""


class Trainer:
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
        self.total_steps = total_train_steps(config, len(cards), self.accelerator.num_processes)
        self.epoch_steps = steps_per_epoch(config, len(cards), self.accelerator.num_processes)
        optimizer, self.lr_scheduler = build_optimizer(config, unet.parameters(), self.total_steps)
        self.unet, self.optimizer = self.accelerator.prepare(unet, optimizer)
        self.ema = EMAModel(unet.parameters(), config.ema_decay, use_ema_warmup=True, power=3 / 4, foreach=True)
        self.ema.to(self.device)
        self.accelerator.register_for_checkpointing(self.lr_scheduler, self.ema)
        self.step, self.recorder = 0, None
        self.parameters = list(unet.parameters())
        self.manifest = build_manifest(config, cards, sum(parameter.numel() for parameter in self.parameters))
        self.manifest["mixed_precision"] = self.accelerator.mixed_precision
        self.manifest["num_processes"] = self.accelerator.num_processes
        self._open_run(resume, overwrite)
        self.cards = cards.to(self.device)

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
            if self.recorder:
                with self._saving():
                    self.recorder.log(row)
            yield replace(row, **self._save_what_is_due(row.epoch))
        if self.recorder and first < self.total_steps:
            self.recorder.write_manifest(self.step)

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
        # Dropout draws from one generator for all threads, in an order that no seed settles.
        in_threads = self.device.type == "cpu" and self.accelerator.num_processes == 1 and not config.dropout
        total_loss = 0.0
        batches = indices.to(self.device).split(config.train_batch_size)
        for index, batch in enumerate(batches):
            loss_of = self._loss_of(batch, generator, len(indices))
            if in_threads:
                total_loss += backward_in_threads(loss_of, len(batch), self.parameters)
                continue
            last = index == len(batches) - 1
            with nullcontext() if last else self.accelerator.no_sync(self.unet):
                loss = loss_of(slice(None))
                self.accelerator.backward(loss)
            total_loss += loss.item()
        gradient_norm = float(self.accelerator.clip_grad_norm_(self.parameters, config.max_grad_norm))
        if not math.isfinite(total_loss + (0 if self.accelerator.mixed_precision == "fp16" else gradient_norm)):
            raise TrainingError(
                f"the loss is {total_loss} and its gradient {gradient_norm} at step {self.step + 1};"
                f" {self._what_is_safe()}. Try a lower learning_rate, a longer lr_warmup_steps, or mixed_precision no"
            )
        self.optimizer.step()
        self.lr_scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ema.step(self.parameters)
        return total_loss, gradient_norm

    def _loss_of(self, indices: torch.Tensor, generator: torch.Generator, count: int) -> Callable[..., torch.Tensor]:
        """Weighted squared error of parts of a batch at random timesteps, as a share of the mean over `count` cards."""
        config, device = self.config, self.device
        pixels = self.cards.pixels[indices]
        if config.horizontal_flip:
            mirrored = torch.rand(len(pixels), generator=generator, device=device) < 0.5
            pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
        clean_images = normalize(pixels, config.patch_size)
        noise = torch.randn(clean_images.shape, generator=generator, device=device)
        timesteps = spread_timesteps(len(pixels), config.num_train_timesteps, generator)
        noisy_images = self.noise_scheduler.add_noise(clean_images, noise, timesteps)
        target = training_target(self.noise_scheduler, clean_images, noise, timesteps)
        weights = loss_weights(
            self.noise_scheduler, timesteps, config.loss_weighting, config.snr_gamma, config.snr_floor
        )
        shares = channel_shares(pixels.shape[1], config.mask_weight, config.patch_size).to(device)
        labels = None
        if self.cards.label_names:
            labels = self.cards.labels[indices]
            labels = drop_labels(labels, len(self.cards.label_names), config.label_dropout, generator)

        def loss_of(part: slice) -> torch.Tensor:
            class_labels = None if labels is None else labels[part]
            with self.accelerator.autocast():
                model_output = self.unet(noisy_images[part], timesteps[part], class_labels=class_labels).sample
            errors = (model_output.float() - target[part]).square().mean(dim=(2, 3)) @ shares
            return (weights[part] * errors).sum() / count

        return loss_of

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
                progress = {"step": self.step, "wall_time_s": self.recorder.wall_time_s}
                (temporary / "progress.json").write_text(json.dumps(progress))
                replace_folder(temporary, target)
                save_model(self.run, self.averaged_model().unet, self.noise_scheduler)
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
            indices = torch.zeros(batch_size, dtype=torch.long, device=self.device)
            self.accelerator.backward(self._loss_of(indices, generator, batch_size)(slice(None)))
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
        if self.recorder:
            self.recorder.close()
