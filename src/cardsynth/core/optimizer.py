"""AdamW and its learning rate schedule."""

from collections.abc import Iterable
from typing import Any

import torch
from diffusers.optimization import get_scheduler


def build_optimizer(
    config: Any, parameters: Iterable[torch.nn.Parameter], total_steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Builds AdamW and its learning rate schedule: warm-up from 0, then decay over `total_steps`.

    Args:
        config: settings with `learning_rate`, `adam_beta2`, `weight_decay`, `lr_scheduler` and `lr_warmup_steps`.
        parameters: what is trained.
        total_steps: optimiser steps of the run.
    """
    parameters = list(parameters)
    betas, fused = (0.9, config.adam_beta2), parameters[0].device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(
        parameters, config.learning_rate, betas, weight_decay=config.weight_decay, fused=fused
    )
    lr_scheduler = get_scheduler(
        config.lr_scheduler, optimizer, num_warmup_steps=config.lr_warmup_steps, num_training_steps=total_steps
    )
    return optimizer, lr_scheduler
