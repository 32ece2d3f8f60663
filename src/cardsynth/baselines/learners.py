"""The learner of each kind of run, and what a trainer asks of it."""

from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator

from cardsynth.baselines.collapse import CollapseGuard
from cardsynth.baselines.config import VAE, BaselineConfig
from cardsynth.baselines.gan import GanLearner
from cardsynth.baselines.model import BaselineModel
from cardsynth.baselines.nets import halvings
from cardsynth.baselines.vae import VaeLearner
from cardsynth.cards.dataset import Cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.learner import Learner
from cardsynth.core.model import check_size
from cardsynth.core.runs import TrainedModel


class AnyLearner(Protocol):
    """Nets, optimisers and averages of a run, and its steps.

    figures: names of the numbers of a step, fields of `TrainingStep`. about: what the manifest says of the nets.
    total_steps, epoch_steps, cards_per_step: optimiser steps of the run and of a pass over the cards, and cards of a
    step, of all processes. guard: what notices that the run has gone wrong and is to be rolled back; None: nothing.
    """

    accelerator: Accelerator
    device: torch.device
    figures: tuple[str, ...]
    total_steps: int
    epoch_steps: int
    cards_per_step: int
    about: dict[str, Any]
    learning_rate: float
    memory_advice: str
    guard: CollapseGuard | None

    def optimise(self, step: int) -> torch.Tensor:
        """Take optimiser step `step` (from 0); returns its `figures`, not waited for."""

    def measure(self) -> dict[str, float]:
        """What is measured after an epoch: fields of `TrainingStep`."""

    def model(self, manifest: dict[str, Any], name: str) -> TrainedModel | BaselineModel:
        """The model with the averaged weights as they are now, to sample from."""

    def save_model(self, run: Path) -> None:
        """Save the averaged weights inside the run, to be opened with its manifest."""

    def save_state(self, folder: Path) -> None:
        """Write all that going on takes; every process calls it."""

    def load_state(self, folder: Path) -> None:
        """Go on from what `save_state` wrote."""

    def turn(self, attempt: int) -> None:
        """Take another way than before, after the `attempt`-th rollback; only asked for where there is a guard."""


def check_settings(config: RunConfig) -> None:
    """Raise ValueError, naming sizes that fit, for a (height, width) that the settings' net does not take."""
    if isinstance(config, BaselineConfig):
        halvings(config.size)
    else:
        check_size(*config.size, len(config.block_out_channels), config.patch_size)


def build_learner(config: RunConfig, cards: Cards, shown: torch.Tensor | None = None) -> AnyLearner:
    """The learner for settings; `shown`: indices of the cards to learn from, default all.

    Raises ValueError for cards or sizes that do not fit the settings.
    """
    if isinstance(config, BaselineConfig):
        return (VaeLearner if config.kind == VAE else GanLearner)(config, cards, shown)
    return Learner(config, cards, shown)
