"""Trains a damage finder on 10 cards or 10,000: real ones alone, or with synthetic ones that are faded out."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cardsynth.cards.dataset import Cards
from cardsynth.core.recorder import TrainingStep, with_progress
from cardsynth.core.runs import FINDER, RunError, build_manifest, check_free, is_run, kind_of
from cardsynth.core.trainer import Trainer
from cardsynth.finder.batches import damage_classes
from cardsynth.finder.config import FinderConfig
from cardsynth.finder.learner import FinderLearner
from cardsynth.finder.net import DamageFinder, load_finder


def train_finder(
    config: FinderConfig,
    cards: Cards,
    run: str | Path,
    *,
    synthetic: Cards | None = None,
    labels: tuple[str, ...] = (),
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[TrainingStep]:
    """Trains a damage finder on cards with masks into a run folder, yielding after each optimiser step.

    The run folder gets settings, manifest, log, checkpoints, and the net as `segmentation_models_pytorch` opens it.
    Closing the generator saves a checkpoint first; with `resume` a run goes on from its last checkpoint, and ends with
    the weights of an unbroken one.

    Args:
        config: Settings of the run.
        cards: Real cards with masks, of the settings' (height, width).
        run: Run folder to write.
        synthetic: Cards that fill `synthetic_share` of each batch, with `anneal` less and less over the last half.
        labels: Damage classes; default: those of `cards`.
        resume: Go on from the last checkpoint if the folder holds a run.
        overwrite: Replace a finder that exists.

    Raises:
        CardError: Cards have no masks.
        RunError: The folder is taken, or the run in it does not fit settings or cards.
        TrainingError: The loss is not finite, memory does not suffice, or files cannot be written.
        ValueError: The architecture, the encoder or its weights do not exist.
    """
    run = Path(run)
    check_place(run, resume, overwrite)
    learner = FinderLearner(config, cards, synthetic, labels or damage_classes(cards))
    manifest = _build_manifest(config, cards, synthetic)
    yield from Trainer(learner, config, run, manifest, resume=resume, overwrite=overwrite).train()


def fit_finder(
    config: FinderConfig,
    cards: Cards,
    synthetic: Cards | None = None,
    labels: tuple[str, ...] = (),
    progress: bool = True,
) -> DamageFinder:
    """Trains a damage finder as `train_finder` does, in a temporary folder; returns it, on the CPU.

    Args:
        config: Settings of the run.
        cards: Real cards with masks.
        synthetic: Synthetic cards with masks.
        labels: Damage classes; default: those of `cards`.
        progress: Show a progress bar.
    """
    with TemporaryDirectory() as folder:
        run = Path(folder) / "finder"
        steps = train_finder(config, cards, run, synthetic=synthetic, labels=labels)
        deque(with_progress(steps) if progress else steps, maxlen=0)
        return load_finder(run)


def check_place(run: Path, resume: bool = False, overwrite: bool = False) -> None:
    """Raises RunError unless a folder is free for a finder, or holds one to resume or overwrite."""
    if is_run(run) and kind_of(run) != FINDER:
        raise RunError(f"{run} holds another kind of run ({kind_of(run)}); choose another folder")
    check_free(run, resume or overwrite)


def _build_manifest(config: FinderConfig, cards: Cards, synthetic: Cards | None) -> dict[str, Any]:
    manifest = build_manifest(config, cards) | {"kind": FINDER}
    if synthetic is not None:
        manifest["data"]["synthetic"] = len(synthetic)
        manifest["data"]["fingerprint"] += f" {synthetic.fingerprint}"
    return manifest
