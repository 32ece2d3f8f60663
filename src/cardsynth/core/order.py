"""How many steps a run has, which cards each of them sees, and how far each goes."""

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch
from diffusers.optimization import get_scheduler

from cardsynth.core.base_config import RunConfig
from cardsynth.core.config import TrainingConfig


def steps_per_epoch(config: RunConfig, count: int, num_processes: int = 1) -> int:
    """Optimiser steps in a pass over `count` cards."""
    return math.ceil(count / (config.cards_per_process * num_processes))


def total_train_steps(config: RunConfig, count: int, num_processes: int = 1) -> int:
    """Optimiser steps of the whole run."""
    return config.max_train_steps or config.num_epochs * steps_per_epoch(config, count, num_processes)


def batch_indices(seed: int, step: int, batch_size: int, count: int) -> torch.Tensor:
    """Which cards step `step` (from 0) sees, int64 (batch_size,): shuffled passes over all cards, end to end.

    A function of its arguments alone, so that a resumed run sees what an unbroken one does.
    """
    return torch.from_numpy(_passes((seed, 0), np.arange(step * batch_size, (step + 1) * batch_size), count))


def balanced_indices(seed: int, step: int, batch_size: int, members: Sequence[np.ndarray]) -> torch.Tensor:
    """The same with the classes taking turns, so that each is seen as often; shuffled passes over each one's cards.

    members: the cards of each class, int64, none of them empty.
    """
    positions = np.arange(step * batch_size, (step + 1) * batch_size)
    chosen = np.empty(batch_size, np.int64)
    for number, of_class in enumerate(members):
        here = positions % len(members) == number
        turns = positions[here] // len(members)
        chosen[here] = of_class[_passes((seed, 2, number), turns, len(of_class))]
    return torch.from_numpy(chosen)


def _passes(key: tuple[int, ...], positions: np.ndarray, count: int) -> np.ndarray:
    """What lies at positions, ascending, of shuffled passes over `count` things, end to end."""
    epochs, places = np.divmod(positions, count)
    return np.concatenate(
        [np.empty(0, np.int64), *(_order(key, e, count)[places[epochs == e]] for e in np.unique(epochs).tolist())]
    )


@lru_cache(maxsize=32)  # two for each of so many classes
def _order(key: tuple[int, ...], epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([*key, epoch]).permutation(count).astype(np.int32)


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
