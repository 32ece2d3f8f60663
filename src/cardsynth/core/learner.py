"""One optimiser step of diffusion training: net, noise, loss, optimiser and averaged weights, on one device."""

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMPipeline, UNet2DModel
from diffusers.training_utils import EMAModel
from PIL import Image

from cardsynth.cards.dataset import Cards, normalize
from cardsynth.cards.number_planes import hide_numbers, with_numbers
from cardsynth.core.batches import StepBatches
from cardsynth.core.config import TrainingConfig
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.diffusion import (
    build_noise_scheduler,
    channel_shares,
    drop_labels,
    loss_weights,
    spread_timesteps,
    training_target,
)
from cardsynth.core.model import build_unet
from cardsynth.core.optimizer import build_optimizer
from cardsynth.core.runs import save_average, save_pipeline
from cardsynth.core.sampling import sample_grid
from cardsynth.core.trainer import Learner
from cardsynth.util.device import backward_in_threads, build_accelerator, compile_net


class DiffusionLearner(Learner):
    """Net, optimiser and averages of a diffusion run, and its steps.

    Args:
        config: settings of the run.
        cards: the cards.
        shown: indices of the cards to learn from; default: all.

    Raises:
        ValueError: the cards do not fit the settings.
    """

    def __init__(self, config: TrainingConfig, cards: Cards, shown: torch.Tensor | None = None) -> None:
        for condition in config.conditions:
            if not cards.knows(condition):
                lacking = {"covered": "masks", "darkness": "`darkness` or `damages` in their metadata"}[condition]
                raise ValueError(f"conditions names {condition}, and {cards.source or 'the cards'} have no {lacking}")
        self.config = config
        self.accelerator = build_accelerator(config.mixed_precision, config.cpu)
        self.device, processes = self.accelerator.device, self.accelerator.num_processes
        self.batches = StepBatches(config, cards, shown, self.device, self.accelerator.process_index, processes)
        self.total_steps, self.epoch_steps = self.batches.total_steps, self.batches.epoch_steps
        self.cards_per_step, self.cards = self.batches.cards_per_step, self.batches.cards
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            unet = build_unet(config, cards.pixels.shape[1], len(cards.label_names))
        if config.gradient_checkpointing:
            unet.enable_gradient_checkpointing()
        if self.device.type == "cuda":
            # Around `to`, diffusers' wrapper hides `self` from type checkers.
            unet.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._averaged_unet = deepcopy(unet).to(self.device).eval().requires_grad_(False)
        schedule = config.beta_schedule, config.prediction_type, config.num_train_timesteps
        self.noise_scheduler = build_noise_scheduler(*schedule)
        optimizer, self.lr_scheduler = build_optimizer(config, unet.parameters(), self.total_steps)
        self.unet, self.optimizer = self.accelerator.prepare(unet, optimizer)
        self.parameters = list(unet.parameters())
        self.averages = {
            decay: EMAModel(self.parameters, decay, use_ema_warmup=True, power=3 / 4, foreach=True)
            for decay in (config.ema_decay, *config.other_ema_decays)
        }
        for average in self.averages.values():
            average.to(self.device)
        timesteps = torch.arange(config.num_train_timesteps)
        self._weights = loss_weights(
            self.noise_scheduler, timesteps, config.loss_weighting, config.snr_gamma, config.snr_floor
        ).to(self.device)
        self._shares = channel_shares(cards.pixels.shape[1], config.mask_weight, config.patch_size).to(self.device)
        # Dropout draws from one generator for all threads, in an order that no seed settles.
        self._in_threads = self.device.type == "cpu" and processes == 1 and not config.dropout
        self.micro_batch = config.train_batch_size
        self._net = compile_net(self.unet, config.compile_mode, self.device, self._try_out)

    def optimise(self, step: int) -> torch.Tensor:
        """Takes optimiser step `step` (from 0); returns its loss and gradient norm, (2,), on the device."""
        loss = self._gradients(step)
        gradient_norm = self.accelerator.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        assert gradient_norm is not None
        self.optimizer.step()
        self.lr_scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        for average in self.averages.values():
            average.step(self.parameters)
        return torch.stack([loss, gradient_norm.detach().to(loss)])

    def relieve(self) -> str:
        """Halves the part of a batch that goes through the net at once; the gradients stay the same."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.accelerator.num_processes > 1 or self.micro_batch == 1:
            return ""
        self.micro_batch = -(-self.micro_batch // 2)
        return f"the batch is worked on {self.micro_batch} cards at a time, and trains alike"

    def _gradients(self, step: int) -> torch.Tensor:
        """Adds up the gradients of a step's batches; returns its loss, (), on the device."""
        config, indices = self.config, self.batches.indices(step)
        seed = self.batches.seed(step)
        generator = torch.Generator(self.device).manual_seed(seed)
        if config.dropout:
            torch.manual_seed(seed)
        total = torch.zeros((), device=self.device)
        batches = indices.split(config.train_batch_size)
        for index, batch in enumerate(batches):
            last = index == len(batches) - 1
            total += self._backward(self._loss_of(batch, generator, len(indices)), len(batch), last)
        return total

    def _backward(self, loss_of: Callable[[slice], torch.Tensor], count: int, last: bool) -> torch.Tensor:
        """Adds the gradients of a batch of `count` cards, a part that fits memory at a time; returns its loss."""
        parts = [slice(start, min(start + self.micro_batch, count)) for start in range(0, count, self.micro_batch)]
        total = torch.zeros((), device=self.device)
        for part in parts:
            if self._in_threads:
                total += backward_in_threads(loss_of, part, self.parameters)
                continue
            with nullcontext() if last and part is parts[-1] else self.accelerator.no_sync(self.unet):
                loss = loss_of(part)
                self.accelerator.backward(loss)
            total += loss.detach()
        return total

    def _loss_of(
        self, indices: torch.Tensor, generator: torch.Generator, count: int
    ) -> Callable[[slice], torch.Tensor]:
        """Weighted squared error of parts of a batch at random timesteps, as a share of the mean over `count` cards."""
        config, classes = self.config, len(self.cards.label_names)
        # The batch: pixels uint8, folded and scaled to [-1, 1].
        pixels, labels = self.batches.batch(indices, generator)
        clean_images = normalize(pixels, config.patch_size)
        # Forward diffusion: noise of each card's own timestep.
        noise = torch.randn(clean_images.shape, generator=generator, device=self.device)
        timesteps = spread_timesteps(len(pixels), config.num_train_timesteps, generator)
        # diffusers declares int32 timesteps, and takes int64 ones.
        noisy_images = self.noise_scheduler.add_noise(clean_images, noise, timesteps)  # pyright: ignore[reportArgumentType]
        # What the net should predict (noise, card or velocity), and how much its error weighs at each timestep.
        target = training_target(self.noise_scheduler, clean_images, noise, timesteps)
        weights = self._weights[timesteps]
        # Conditions: a share of labels and numbers is hidden, so that guidance can compare with and without.
        unlabelled = torch.zeros_like(labels, dtype=torch.bool)
        if classes:
            labels = drop_labels(labels, classes, config.label_dropout, generator)
            unlabelled = labels == classes
        if config.conditions:
            shares = self.cards.numbers(config.conditions, indices, pixels)
            noisy_images = with_numbers(noisy_images, hide_numbers(shares, unlabelled, generator))
        if self.device.type == "cuda":
            noisy_images = noisy_images.contiguous(memory_format=torch.channels_last)

        def loss_of(part: slice) -> torch.Tensor:
            # Prediction, and its squared error by channel, weighted.
            class_labels = labels[part] if classes else None
            with self.accelerator.autocast():
                noise_pred = self._net(noisy_images[part], timesteps[part], class_labels=class_labels).sample
            errors = (noise_pred.float() - target[part]).square().mean(dim=(2, 3)) @ self._shares
            return (weights[part] * errors).sum() / count

        return loss_of

    def _try_out(self, net: Callable) -> None:
        """Runs a net forward and backward once, as a step does, and leaves no trace."""
        self._net = net
        generator = torch.Generator(self.device).manual_seed(0)
        indices = torch.zeros(self.micro_batch, dtype=torch.long)
        self.accelerator.backward(self._loss_of(indices, generator, len(indices))(slice(None)))
        self.optimizer.zero_grad(set_to_none=True)

    def averaged_unet(self, decay: float | None = None) -> UNet2DModel:
        """The net with the averaged weights as they are now. There is one such net: another call changes it.

        Args:
            decay: which of the averages; default: the main one.
        """
        self.averages[decay or self.config.ema_decay].copy_to(self._averaged_unet.parameters())
        return self._averaged_unet

    @property
    def about(self) -> dict[str, Any]:
        """What the manifest says of the net: its number of parameters."""
        return {"parameters": sum(value.numel() for value in self.parameters)}

    @property
    def memory_advice(self) -> str:
        """What to do if memory does not suffice."""
        if self.accelerator.num_processes > 1 and self.config.train_batch_size > 1:
            return (
                f"take a smaller train_batch_size than {self.config.train_batch_size}, with more"
                " gradient_accumulation_steps"
            )
        return "not even one card at a time fits: turn on gradient_checkpointing, or take a smaller size or net"

    @cached_property
    def _number_ranges(self) -> dict[str, dict[str, tuple[float, float]]]:
        return self.cards.ranges(self.config.conditions) if self.config.conditions else {}

    def model(self, name: str = "") -> TrainedModel:
        """The model with the averaged weights as they are now; another call changes its net."""
        return TrainedModel(
            unet=self.averaged_unet(),
            noise_scheduler=self.noise_scheduler,
            config=self.config,
            labels=self.cards.label_names,
            has_mask=self.cards.has_mask,
            number_ranges=self._number_ranges,
            name=name or "the model in training",
        )

    def sample_grid(self) -> Image.Image:
        """Draws the cards of the first seeds with the averaged weights."""
        return sample_grid(self.model(), self.config.eval_batch_size)

    def save_model(self, run: Path, checkpoint: Path) -> None:
        """Saves the net with each of its averages inside the run, the main one as a diffusers pipeline."""
        for decay in self.config.other_ema_decays:
            save_average(run, self.averaged_unet(decay), decay)
        save_pipeline(run, DDPMPipeline(self.averaged_unet(), self.noise_scheduler))

    def stateful(self) -> dict[str, Any]:
        """Returns net, optimiser, schedule of the learning rate and averages by name."""
        averages = {f"average {decay:g}": average for decay, average in self.averages.items()}
        scaler = {"scaler": self.accelerator.scaler} if self.accelerator.scaler else {}
        parts = {"unet": self.accelerator.unwrap_model(self.unet), "optimizer": self.optimizer}
        return {**parts, "lr_scheduler": self.lr_scheduler, **averages, **scaler}
