"""Models of every kind that draws cards, by one set of names: presets, settings, training and opening.

The only module that knows all kinds; a new kind of model is added here.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cardsynth.baselines.config import BASELINE_PRESETS, DCGAN, VAE, BaselineConfig
from cardsynth.core.base_config import RunConfig
from cardsynth.core.config import TrainingConfig
from cardsynth.core.presets import PRESETS as DIFFUSION_PRESETS
from cardsynth.util.settings import load_run_config, read_config_file

if TYPE_CHECKING:
    import torch

    from cardsynth.baselines.learner import BaselineLearner
    from cardsynth.cards.dataset import Cards
    from cardsynth.core.denoise import CardModel
    from cardsynth.core.learner import DiffusionLearner
    from cardsynth.core.recorder import TrainingStep
    from cardsynth.core.trainer import Trainer

PRESETS: dict[str, RunConfig] = {**DIFFUSION_PRESETS, **BASELINE_PRESETS}


def get_preset(name: str) -> RunConfig:
    """Returns the settings of a preset; raises ValueError that lists the presets if there is none of that name."""
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; the presets are {', '.join(PRESETS)}")
    return PRESETS[name]


def load_settings(path: str | Path) -> RunConfig:
    """Reads the settings file of a run of any kind that draws cards.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not JSON, or a setting is unknown or wrong; the message names file and setting.
    """
    default = BaselineConfig() if "kind" in read_config_file(path) else TrainingConfig()
    return load_run_config(path, PRESETS, default)


def check_settings(config: RunConfig) -> None:
    """Raises ValueError, naming sizes that fit, for a (height, width) that the settings' net does not take."""
    if isinstance(config, BaselineConfig):
        from cardsynth.baselines.nets import halvings

        halvings(config.size)
    elif isinstance(config, TrainingConfig):
        from cardsynth.core.model import check_size

        check_size(*config.size, len(config.block_out_channels), config.patch_size)


def build_learner(
    config: RunConfig, cards: "Cards", shown: "torch.Tensor | None" = None
) -> "DiffusionLearner | BaselineLearner":
    """Builds the learner for settings.

    Args:
        config: settings of a run of any kind.
        cards: the cards.
        shown: indices of the cards to learn from; default: all.

    Raises:
        ValueError: cards or size do not fit the settings.
    """
    if isinstance(config, TrainingConfig):
        from cardsynth.core.learner import DiffusionLearner

        return DiffusionLearner(config, cards, shown)
    from cardsynth.baselines.gan import GanLearner
    from cardsynth.baselines.vae import VaeLearner

    return (VaeLearner if config.kind == VAE else GanLearner)(config, cards, shown)


def train(
    config: RunConfig, cards: "Cards", run: str | Path, *, resume: bool = False, overwrite: bool = False
) -> "Iterator[TrainingStep]":
    """Trains a model of the settings' kind on cards into a run folder, yielding after each optimiser step.

    The run folder gets settings, manifest, log, sample grids, checkpoints and the averaged weights. Closing the
    generator saves a checkpoint first; with `resume` a run goes on from its last checkpoint, and ends with the weights
    of an unbroken one. With `kid_epochs`, KID against held-out cards is measured on the way. A GAN that collapses is
    rolled back.

    Args:
        config: settings of the run, such as `get_preset("card")`.
        cards: cards of the settings' (height, width), as `read_cards(source, config.reading)` reads them.
        run: run folder to write.
        resume: go on from the last checkpoint if the folder holds a run.
        overwrite: replace a run that exists.

    Raises:
        RunError: the folder is taken, or the run in it does not fit settings or cards.
        TrainingError: the loss is not finite, memory does not suffice, or files cannot be written.
        ValueError: the cards do not fit the settings.
    """
    yield from build_trainer(config, cards, run, resume=resume, overwrite=overwrite).train()


def build_trainer(
    config: RunConfig, cards: "Cards", run: str | Path, *, resume: bool = False, overwrite: bool = False
) -> "Trainer":
    """Builds the trainer that `train` drives; arguments and errors as there."""
    from cardsynth.baselines.rollback import RollbackMonitor
    from cardsynth.core.runs import build_manifest
    from cardsynth.core.trainer import Trainer
    from cardsynth.evaluation.while_training import KidMeasurement, hold_out

    run = Path(run)
    shown, held_out = hold_out(config, cards)
    learner = build_learner(config, cards, shown)
    is_gan = isinstance(config, BaselineConfig) and config.kind == DCGAN
    measurement = None
    if len(held_out) and learner.accelerator.is_main_process:
        measurement = KidMeasurement(config, cards, held_out, run if resume else None)
    return Trainer(
        learner,
        config,
        run,
        build_manifest(config, cards),
        resume=resume,
        overwrite=overwrite,
        monitor=RollbackMonitor() if is_gan else None,
        measurement=measurement,
    )


def open_model(
    model: str | Path,
    revision: str | None = None,
    device: "str | torch.device | None" = None,
    ema_decay: float | None = None,
) -> "CardModel":
    """Opens the model of a run folder or of a Hub id like name/model.

    Args:
        model: run folder, or id on the Hub.
        revision: branch, tag or commit on the Hub.
        device: device of the net; default: a GPU if available.
        ema_decay: which of a diffusion run's averages to take; default: its main one.

    Raises:
        HubError: there is no such model on the Hub, or it cannot be reached.
        RunError: the folder holds no model that draws cards.
    """
    from cardsynth.baselines.model import load_baseline
    from cardsynth.core.runs import DIFFUSION, RunError, kind_of, load_model
    from cardsynth.hub.push_pull import pull_run
    from cardsynth.util.device import default_device

    device = device or default_device()
    name = "" if Path(model).is_dir() else str(model)
    run = pull_run(model, revision=revision, kinds=(DIFFUSION, DCGAN, VAE))
    if kind_of(run) not in (DCGAN, VAE):
        return load_model(run, name=name, device=device, ema_decay=ema_decay)
    if ema_decay is not None:
        raise RunError(f"{model} keeps one average of its weights only; leave the EMA decay out")
    return load_baseline(run, name, device)
