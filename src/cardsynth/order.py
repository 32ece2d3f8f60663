"""How many steps a run has, which cards each of them sees, and how far each goes."""

import math
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from diffusers.optimization import get_scheduler

from cardsynth.config import TrainingConfig


def steps_per_epoch(config: TrainingConfig, count: int, num_processes: int = 1) -> int:
    """Optimiser steps in a pass over `count` cards."""
    return math.ceil(count / (config.train_batch_size * config.gradient_accumulation_steps * num_processes))


def total_train_steps(config: TrainingConfig, count: int, num_processes: int = 1) -> int:
    """Optimiser steps of the whole run."""
    return config.max_train_steps or config.num_epochs * steps_per_epoch(config, count, num_processes)


def batch_indices(seed: int, step: int, batch_size: int, count: int) -> torch.Tensor:
    """Which cards step `step` (from 0) sees, int64 (batch_size,): shuffled passes over all cards, end to end.

    A function of its arguments alone, so that a resumed run sees what an unbroken one does.
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = positions // count
    parts = [_order(seed, epoch, count)[positions[epochs == epoch] % count] for epoch in np.unique(epochs).tolist()]
    return torch.from_numpy(np.concatenate(parts))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, 0, epoch]).permutation(count)


def build_optimizer(
    config: TrainingConfig, parameters: Iterable[torch.nn.Parameter], total_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW, and its learning rate: warm-up from 0, then the settings' decay over `total_steps`."""
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(
        parameters,
        config.learning_rate,
        betas=(0.9, config.adam_beta2),
        weight_decay=config.weight_decay,
        fused=parameters[0].device.type in ("cpu", "cuda"),
    )
    lr_scheduler = get_scheduler(
        config.lr_scheduler,
        optimizer,
        num_warmup_steps=config.lr_warmup_steps,
        num_training_steps=total_steps,
    )
    return optimizer, lr_scheduler
