"""Training as a generator of small steps, which a notebook or the command drives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tqdm.auto import tqdm

from cardsynth.cards.dataset import Cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.recorder import TrainingStep
from cardsynth.core.trainer import Trainer


def train(
    config: RunConfig, cards: Cards, run: str | Path, *, resume: bool = False, overwrite: bool = False
) -> Iterator[TrainingStep]:
    """Train on cards of the settings' (height, width) into a run folder, yielding after each optimiser step.

    The run folder gets settings, manifest, log, sample grids, checkpoints, and the averaged weights as a diffusers
    pipeline. Closing the generator saves a checkpoint first; with `resume` a run goes on from its last checkpoint, and
    ends with the weights of an unbroken one. Raises RunError for a folder that is taken or does not fit, and
    TrainingError for a loss that is not finite, memory that does not suffice, and files that cannot be written.
    """
    yield from take_steps(Trainer(config, cards, Path(run), resume, overwrite))


class Stepper(Protocol):
    """A run that takes steps, and can be saved in between."""

    def steps(self) -> Iterator[TrainingStep]:
        """The steps to the end."""

    def save_checkpoint(self) -> object:
        """Save all that going on takes."""

    def close(self) -> None:
        """Close the log files."""


def take_steps(trainer: Stepper) -> Iterator[TrainingStep]:
    """The steps of a trainer; closing them saves a checkpoint first."""
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
