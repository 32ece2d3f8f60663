"""Base of the learners of a DCGAN and a VAE: nets, Adam, averaged weights and their state."""

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ModelMixin
from diffusers.training_utils import EMAModel
from PIL import Image

from cardsynth.baselines.config import BaselineConfig
from cardsynth.baselines.kind import baseline_kind
from cardsynth.baselines.model import BaselineModel, save_baseline
from cardsynth.cards.dataset import Cards, normalize
from cardsynth.core.batches import StepBatches
from cardsynth.core.sampling import sample_grid
from cardsynth.core.trainer import Learner
from cardsynth.util.device import build_accelerator

BATCHES_OF_STATISTICS, CARDS_OF_STATISTICS = 8, 64  # by which the batch norms of averaged weights are set


class BaselineLearner(Learner):
    """Nets, optimisers and averages of a run; a subclass builds the nets and takes the steps.

    The first net is the one that is sampled. Batch norm needs the whole batch, so `relieve` cannot split it.

    Args:
        config: settings of the run.
        cards: the cards.
        shown: indices of the cards to learn from; default: all.

    Raises:
        ValueError: the cards do not fit the settings.
    """

    def __init__(self, config: BaselineConfig, cards: Cards, shown: torch.Tensor | None = None) -> None:
        self.config = config
        self.accelerator = build_accelerator(config.mixed_precision, config.cpu)
        if self.accelerator.mixed_precision == "fp16":  # whose overflows would need a scale for each player
            self.accelerator = build_accelerator("no", config.cpu)
        self.device, processes = self.accelerator.device, self.accelerator.num_processes
        self.batches = StepBatches(config, cards, shown, self.device, self.accelerator.process_index, processes)
        self.total_steps, self.epoch_steps = self.batches.total_steps, self.batches.epoch_steps
        self.cards_per_step = self.batches.cards_per_step
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.nets = self.build_nets(cards.pixels.shape[1], len(cards.label_names))
        for net in self.nets.values():
            net.to(self.device, memory_format=torch.channels_last).train()
        self.optimizers = {
            name: torch.optim.Adam(
                net.parameters(), config.learning_rate, betas=(config.adam_beta1, 0.999), fused=self._fused
            )
            for name, net in self.nets.items()
        }
        sampled = next(iter(self.nets.values()))
        self._averaged = deepcopy(sampled).eval().requires_grad_(False)
        self._averaged_at: tuple[int, int] | None = None
        self.average = EMAModel(sampled.parameters(), config.ema_decay, use_ema_warmup=True, power=3 / 4, foreach=True)
        self.average.to(self.device)
        self.attempt = 0  # how often the run was rolled back

    def build_nets(self, channels: int, classes: int) -> dict[str, ModelMixin]:
        """Builds the nets, by name, with initial weights."""
        raise NotImplementedError

    @property
    def _fused(self) -> bool:
        return self.device.type in ("cpu", "cuda")

    @property
    def about(self) -> dict[str, Any]:
        """What the manifest says of the nets: kind and numbers of parameters."""
        first, *others = ((name, sum(value.numel() for value in net.parameters())) for name, net in self.nets.items())
        counts = {"parameters": first[1]} | {f"{name}_parameters": count for name, count in others}
        cards = self.batches.cards
        return {**baseline_kind(self.config, cards.label_names, cards.has_mask), **counts}

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return next(iter(self.optimizers.values())).param_groups[0]["lr"]

    @property
    def memory_advice(self) -> str:
        """What to do if memory does not suffice."""
        return (
            f"take a smaller train_batch_size than {self.config.train_batch_size}, or a smaller size or base_channels"
        )

    def batch_of(self, step: int) -> tuple[torch.Tensor, torch.Tensor | None, torch.Generator]:
        """Returns a step's cards (B, C, H, W) in [-1, 1], classes one-hot (B, classes), and random generator."""
        generator = torch.Generator(self.device).manual_seed(self.batches.seed(step, self.attempt))
        pixels, labels = self.batches.batch(self.batches.indices(step), generator)
        images = normalize(pixels).contiguous(memory_format=torch.channels_last)
        return images, self._one_hot(labels), generator

    def _one_hot(self, labels: torch.Tensor) -> torch.Tensor | None:
        classes = len(self.batches.cards.label_names)
        return F.one_hot(labels, classes).float() if classes else None

    def descend(self, name: str, loss: torch.Tensor) -> torch.Tensor:
        """Takes a gradient step of a net, averaged over all processes; returns the gradient's norm, ()."""
        parameters = list(self.nets[name].parameters())
        gradients = torch.autograd.grad(loss, parameters)
        if self.accelerator.num_processes > 1:
            gradients = [self.accelerator.reduce(gradient, "mean") for gradient in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizers[name].step()
        self.optimizers[name].zero_grad(set_to_none=True)
        return torch.nn.utils.get_total_norm(gradients)

    def model(self, name: str = "") -> BaselineModel:
        """The model with the averaged weights as they are now; another call changes its net."""
        cards, name = self.batches.cards, name or "the model in training"
        return BaselineModel(self._averaged_net(), self.config, cards.label_names, cards.has_mask, name)

    def sample_grid(self) -> Image.Image:
        """Draws the cards of the first seeds with the averaged weights."""
        return sample_grid(self.model(), self.config.eval_batch_size)

    def _averaged_net(self) -> ModelMixin:
        now = (self.attempt, self.average.optimization_step)
        if self._averaged_at != now:
            self.average.copy_to(self._averaged.parameters())
            self._set_statistics(self._averaged)
            self._averaged_at = now
        return self._averaged

    @torch.no_grad()
    def _set_statistics(self, net: ModelMixin) -> None:
        """Recomputes the batch norm statistics of the averaged weights, which differ from those of the trained ones."""
        norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        if not norms:
            return
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # all batches weigh alike
        net.train()
        generator = torch.Generator().manual_seed(self.config.seed)
        count = BATCHES_OF_STATISTICS * CARDS_OF_STATISTICS
        latents = torch.randn(count, self.config.latent_dim, generator=generator).to(self.device)
        places = torch.randint(len(self.batches.shown), (count,), generator=generator)
        labels = self.batches.cards.labels[self.batches.shown[places].to(self.device)]
        for part in torch.arange(count, device=self.device).split(CARDS_OF_STATISTICS):
            net(latents[part], self._one_hot(labels[part]))
        net.eval()

    def save_model(self, run: Path, checkpoint: Path) -> None:
        """Saves the net with its averaged weights inside the run."""
        save_baseline(run, self.config.kind, self._averaged_net())

    def stateful(self) -> dict[str, Any]:
        """Returns nets, optimisers and the average by name."""
        optimizers = {f"{name} optimizer": optimizer for name, optimizer in self.optimizers.items()}
        return {**self.nets, **optimizers, "average": self.average}

    def state(self) -> dict[str, Any]:
        """Returns all that resuming needs, except settings and data: every net, its optimiser, and the averages."""
        return super().state() | {"attempt": self.attempt}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        super().load_state(state)
        self.attempt, self._averaged_at = state["attempt"], None

    def restart(self, attempt: int) -> None:
        """Goes on with other random numbers and half the learning rate, after the `attempt`-th roll-back."""
        self.attempt = attempt
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate / 2**attempt
