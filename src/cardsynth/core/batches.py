"""Batches of a run: which cards each optimiser step sees, and the seed of its random numbers."""

import math
from collections.abc import Sequence

import numpy as np
import torch

from cardsynth.cards.dataset import Cards
from cardsynth.core.base_config import RunConfig
from cardsynth.util.shuffle import shuffled_passes


def steps_per_epoch(config: RunConfig, count: int, num_processes: int = 1) -> int:
    """Number of optimiser steps in a pass over `count` cards."""
    return math.ceil(count / (config.cards_per_process * num_processes))


def total_train_steps(config: RunConfig, count: int, num_processes: int = 1) -> int:
    """Number of optimiser steps of the whole run."""
    return config.max_train_steps or config.num_epochs * steps_per_epoch(config, count, num_processes)


def batch_indices(seed: int, step: int, batch_size: int, count: int) -> torch.Tensor:
    """Indices of the cards that step `step` (from 0) sees, int64 (batch_size,): shuffled passes over all cards.

    They depend on nothing but the arguments, so that a resumed run sees the same cards as an unbroken one.
    """
    return torch.from_numpy(shuffled_passes((seed, 0), np.arange(step * batch_size, (step + 1) * batch_size), count))


def balanced_indices(seed: int, step: int, batch_size: int, members: Sequence[np.ndarray]) -> torch.Tensor:
    """The same with the classes in turn, so that each is seen equally often; shuffled passes over each class.

    Args:
        seed: seed of the run.
        step: number of the step, from 0.
        batch_size: cards in the batch.
        members: indices of the cards of each class, int64; no class is empty.
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    chosen = np.empty(batch_size, np.int64)
    for number, of_class in enumerate(members):
        here = positions % len(members) == number
        turns = positions[here] // len(members)
        chosen[here] = of_class[shuffled_passes((seed, 2, number), turns, len(of_class))]
    return torch.from_numpy(chosen)


class StepBatches:
    """Cards and random numbers of each step on one process, by (seed, step) alone: a resumed run sees the same.

    Args:
        config: settings of the run.
        cards: the cards.
        shown: indices of the cards to learn from; None: all.
        device: device of the batches.
        rank: number of this process.
        num_processes: number of processes.

    Attributes:
        total_steps: optimiser steps of the run.
        epoch_steps: optimiser steps of a pass over the cards.

    Raises:
        ValueError: the cards do not fit the settings.
    """

    def __init__(
        self,
        config: RunConfig,
        cards: Cards,
        shown: torch.Tensor | None,
        device: torch.device,
        rank: int = 0,
        num_processes: int = 1,
    ) -> None:
        if cards.size != config.size:
            raise ValueError(f"the cards measure {cards.size} and the settings say {config.size} (height, width)")
        if config.balance_classes and not cards.label_names:
            raise ValueError(f"balance_classes takes labels, and {cards.source or 'the cards'} have none")
        self.config, self.cards, self.device = config, cards.to(device), device
        self._rank, self._num_processes = rank, num_processes
        self.shown = torch.arange(len(cards)) if shown is None else shown
        self.total_steps = total_train_steps(config, len(self.shown), num_processes)
        self.epoch_steps = steps_per_epoch(config, len(self.shown), num_processes)
        of_label = cards.labels.cpu()[self.shown]
        self._members = [torch.nonzero(of_label == label).flatten().numpy() for label in of_label.unique()]

    @property
    def cards_per_step(self) -> int:
        """Number of cards of one optimiser step, on all processes."""
        return self.config.cards_per_process * self._num_processes

    def indices(self, step: int) -> torch.Tensor:
        """Indices of the cards that this process sees in step `step` (from 0), int64, on the CPU."""
        if self.config.balance_classes:
            places = balanced_indices(self.config.seed, step, self.cards_per_step, self._members)
        else:
            places = batch_indices(self.config.seed, step, self.cards_per_step, len(self.shown))
        share = self.config.cards_per_process
        return self.shown[places[self._rank * share : (self._rank + 1) * share]]

    def seed(self, step: int, attempt: int = 0) -> int:
        """Seed of this process's random numbers in a step; `attempt`: number of roll-backs of the run so far."""
        entropy = [self.config.seed, 1, step, self._rank, *([attempt] if attempt else [])]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)

    def batch(self, indices: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns pixels uint8 (B, C, H, W), half of them mirrored with `horizontal_flip`, and labels int64 (B,)."""
        pixels, labels = self.cards.batch(indices, self.device)
        if self.config.horizontal_flip:
            mirrored = torch.rand(len(pixels), generator=generator, device=self.device) < 0.5
            pixels = torch.where(mirrored[:, None, None, None], pixels.flip(-1), pixels)
        return pixels, labels
