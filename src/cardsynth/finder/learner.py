"""One optimiser step of a damage finder: batch, augmentation, loss, AdamW with one cycle of the learning rate."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss

from cardsynth.cards.dataset import Cards
from cardsynth.core.runs import RunError
from cardsynth.core.trainer import Learner
from cardsynth.finder.batches import FinderBatches, augment
from cardsynth.finder.config import FinderConfig
from cardsynth.finder.kind import finder_kind
from cardsynth.finder.net import build_finder, save_net
from cardsynth.util.device import build_accelerator


class FinderLearner(Learner):
    """The segmentation net, its optimiser and its steps.

    The loss is cross-entropy plus Dice (Milletari et al. 2016). Equal arguments give equal weights at an equal number
    of threads. Batch norm needs the whole batch, so `relieve` cannot split it. There is no sample grid, since a finder
    generates no cards.

    Args:
        config: Settings of the run.
        cards: Real cards with masks.
        synthetic: Synthetic cards with masks, if any.
        labels: Damage classes.

    Raises:
        CardError: Cards have no masks.
        RunError: There are several processes.
        ValueError: The architecture, the encoder or its weights do not exist.
    """

    def __init__(
        self, config: FinderConfig, cards: Cards, synthetic: Cards | None = None, labels: tuple[str, ...] = ()
    ) -> None:
        self.config, self.accelerator = config, build_accelerator(config.mixed_precision, config.cpu)
        if self.accelerator.num_processes > 1:
            raise RunError("a damage finder trains on one device: start it without accelerate launch")
        self.finder = build_finder(config, labels).to(self.accelerator.device).train()
        self.total_steps, self.cards_per_step = config.max_train_steps, config.train_batch_size
        self.epoch_steps = -(-len(cards) // config.train_batch_size)
        self._batches = FinderBatches(config, cards, synthetic, self.finder.labels)
        optimizer = torch.optim.AdamW(self.finder.parameters(), config.learning_rate, weight_decay=config.weight_decay)
        self.lr_scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=self.total_steps
        )
        self.optimizer = self.accelerator.prepare(optimizer)
        self._generator = torch.Generator().manual_seed(config.seed)
        self._dice = DiceLoss("multiclass", classes=list(range(1, 1 + len(self.finder.labels))))

    @property
    def about(self) -> dict[str, Any]:
        """What the manifest says of the net: its kind, damage classes and number of parameters."""
        parameters = sum(value.numel() for value in self.finder.parameters())
        labels = self.finder.labels
        return {**finder_kind(self.config, labels), "labels": list(labels), "parameters": parameters}

    @property
    def memory_advice(self) -> str:
        """What to do if memory does not suffice."""
        return f"take a smaller train_batch_size than {self.config.train_batch_size}, or a smaller size or encoder"

    def optimise(self, step: int) -> torch.Tensor:
        """Takes optimiser step `step` (from 0); returns its loss and gradient norm, (2,), on the device."""
        images, targets = augment(*self._batches.batch(step), self._generator, self.config.flips)
        images, targets = images.to(self.accelerator.device), targets.to(self.accelerator.device)
        with self.accelerator.autocast():
            logits = self.finder(images)
        loss = F.cross_entropy(logits.float(), targets) + self._dice(logits.float(), targets)
        self.accelerator.backward(loss)
        self.accelerator.unscale_gradients()
        gradients = [value.grad for value in self.finder.parameters() if value.grad is not None]
        gradient_norm = torch.nn.utils.get_total_norm(gradients)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.lr_scheduler.step()
        return torch.stack([loss.detach(), gradient_norm])

    def save_model(self, run: Path, checkpoint: Path) -> None:
        """Saves the net inside the run."""
        save_net(self.finder.net, run)

    def stateful(self) -> dict[str, Any]:
        """Returns net, optimiser and schedule of the learning rate by name."""
        scaler = {"scaler": self.accelerator.scaler} if self.accelerator.scaler else {}
        return {"net": self.finder, "optimizer": self.optimizer, "lr_scheduler": self.lr_scheduler, **scaler}

    def state(self) -> dict[str, Any]:
        """Returns all that resuming needs, except settings and data."""
        return super().state() | {"generator": self._generator.get_state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        super().load_state(state)
        self._generator.set_state(state["generator"].cpu())
