"""Collects what the doctor's checks need: the files of a run, a few cards drawn from it, and its training cards."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cardsynth.baselines.config import BaselineConfig
from cardsynth.baselines.model import load_baseline
from cardsynth.baselines.variety import small_vectors
from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.config import TrainingConfig
from cardsynth.core.denoise import CardModel, TrainedModel
from cardsynth.core.model import build_unet
from cardsynth.core.runs import RunError, checkpoints, is_run, load_model, read_log, read_manifest
from cardsynth.core.sampling import generate
from cardsynth.evaluation.copies import nearest_in_features
from cardsynth.evaluation.timestep_loss import loss_by_timestep
from cardsynth.models import load_settings
from cardsynth.util.state import TENSORS

MOST_LABELS = 5  # the first classes, of which cards are drawn
LEAST_SEEDS = 3  # cards of each class
BINS, CARDS_PER_BIN = 4, 64  # of timesteps, for the loss with other weights or labels
MOST_QUERIES, MOST_CANDIDATES = 1000, 20_000  # real cards whose nearest card is sought, and among which it is sought
UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, SafetensorError)  # raised for broken files of a run


@dataclass(frozen=True)
class Finding:
    """A fault of a run.

    Attributes:
        name: Short name of the fault.
        severity: An `error` spoils the samples; a `warning` may.
        cause: Cause, with the measured figures.
        remedy: What to change.
    """

    name: str
    severity: Literal["error", "warning"]
    cause: str
    remedy: str


@dataclass(frozen=True)
class Nearest:
    """Distances to the nearest real card: root mean square differences in grey levels (0 to 255) of reduced cards.

    Attributes:
        real: From each real card to the nearest other one.
        mirrored: From the mirror image of each real card to the nearest other one.
        to_own_mirror: From each real card to its own mirror image.
        drawn: From each drawn card.
        drawn_mirrored: From the mirror image of each drawn card.
    """

    real: np.ndarray
    mirrored: np.ndarray
    to_own_mirror: np.ndarray
    drawn: np.ndarray
    drawn_mirrored: np.ndarray


@dataclass
class Examination:
    """The parts of a run that the checks use; a part is None or empty if it is missing or unreadable.

    Attributes:
        run: Run folder.
        config: Settings of the run.
        log: Numbers of each logged step that has a loss.
        manifest: Manifest of the run.
        model: Model with the averaged weights.
        averaged: Averaged weights by name, which are sampled.
        raw: Trained weights of the last checkpoint; None for a DCGAN or a VAE.
        initial: Weights before the first step; None for a DCGAN or a VAE.
        drawn: Drawn cards, uint8 (classes, seeds, C, H, W), with the same seeds for each of `drawn_labels`.
        drawn_labels: Classes of the drawn cards.
        real: Training cards.
        nearest: Distances of real and drawn cards to real ones.
        errors: Loss of each real card, (N,), with the same noise: with `averaged` weights, with `raw` weights, and
            with averaged weights and `other labels`. None for a DCGAN or a VAE.
        findings: Files that cannot be read.
        notes: Missing parts and other remarks.
    """

    run: Path
    config: RunConfig | None = None
    log: tuple[dict[str, Any], ...] = ()
    manifest: dict[str, Any] | None = None
    model: CardModel | None = None
    averaged: dict[str, torch.Tensor] | None = None
    raw: dict[str, torch.Tensor] | None = None
    initial: dict[str, torch.Tensor] | None = None
    drawn: torch.Tensor | None = None
    drawn_labels: tuple[str, ...] = ()
    real: Cards | None = None
    nearest: Nearest | None = None
    errors: dict[str, np.ndarray] | None = None
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Optimizer steps taken; 0 if unknown."""
        return self.log[-1]["step"] if self.log else (self.manifest or {}).get("steps", 0)

    @property
    def planned_steps(self) -> int:
        """Planned optimizer steps; those taken if unknown."""
        planned = self.log[-1].get("total_steps") if self.log else self.config and self.config.max_train_steps
        return planned or self.steps

    @property
    def settings(self) -> RunConfig | None:
        """Settings of the run, or those that the net implies if the folder has none."""
        return self.config or (self.model.config if self.model else None)

    @property
    def is_baseline(self) -> bool:
        """Whether the run is that of a DCGAN or a VAE."""
        return isinstance(self.settings, BaselineConfig)


def examine(
    run: str | Path, real: str | Path | Cards | None = None, count: int = 20, progress: bool = True
) -> Examination:
    """Reads a run folder, draws cards from it, and compares them with its training cards.

    Args:
        run: Run folder, finished or not. Nothing is written to it.
        real: Training cards, or their folder.
        count: Approximate number of cards to draw.
        progress: Show progress bars.

    Raises:
        RunError: `run` is not a run folder.
        CardError: `real` cannot be read.
    """
    examined = Examination(Path(run))
    if not is_run(run):
        raise RunError(f"{run} is not a run folder (no settings.json or model_index.json); check the path")
    for step in (read_settings, read_steps, load_net, read_checkpoint):
        examined.findings += step(examined)
    examined.real = real
    if real is not None and not isinstance(real, Cards):
        examined.real = read_cards(real, (examined.settings or TrainingConfig()).reading)
    draw_cards(examined, count, progress)
    compare_with_real(examined, progress)
    return examined


def read_settings(examined: Examination) -> Iterator[Finding]:
    """Reads `settings.json` and `manifest.json`."""
    yield from _read(examined, "config", "settings.json", load_settings)
    yield from _read(examined, "manifest", "manifest.json", lambda path: read_manifest(path.parent))


def read_steps(examined: Examination) -> Iterator[Finding]:
    """Reads the steps of `log.jsonl`."""

    def read(path: Path) -> tuple[dict[str, Any], ...]:
        rows = [row for row in read_log(path.parent) if isinstance(row, dict)]
        rows = [{name: value for name, value in row.items() if isinstance(value, (int, float))} for row in rows]
        return tuple(row for row in rows if {"step", "loss"} <= set(row))

    yield from _read(examined, "log", "log.jsonl", read)


def load_net(examined: Examination) -> Iterator[Finding]:
    """Loads the model, and rebuilds its weights before the first step from the run's seed."""
    parts = {"settings.json": examined.config, "manifest.json": examined.manifest}
    if any(part is None and (examined.run / name).is_file() for name, part in parts.items()):
        return  # a broken file, which has its own finding
    load = load_baseline if examined.is_baseline else load_model
    try:
        model = load(examined.run, device="cuda" if torch.cuda.is_available() else "cpu")
    except RunError as error:  # no weights yet
        examined.notes.append(str(error))
        return
    except UNREADABLE as error:
        yield _unreadable("the model", error)
        return
    examined.model = model
    examined.averaged = {name: value.cpu() for name, value in model.net.state_dict().items()}
    if examined.config and not examined.is_baseline:
        with torch.random.fork_rng():
            torch.manual_seed(model.config.seed)
            channels = model.unet.config.out_channels // model.config.patch_size**2
            examined.initial = build_unet(model.config, channels, len(model.labels)).state_dict()


def read_checkpoint(examined: Examination) -> Iterator[Finding]:
    """Reads the trained weights of the last checkpoint, and compares its step with that of the log."""

    def read(folder: Path) -> dict[str, torch.Tensor]:
        if not (folder / "model.safetensors").is_file():  # written by version 0.1.0
            state = load_file(folder / TENSORS)
            return {name.removeprefix("unet."): value for name, value in state.items() if name.startswith("unet.")}
        weights = load_file(folder / "model.safetensors")
        return {name.removeprefix("module.").removeprefix("_orig_mod."): value for name, value in weights.items()}

    saved = checkpoints(examined.run)
    last = saved[-1].name if saved else "none"
    if not examined.is_baseline:
        yield from _read(examined, "raw", f"checkpoints/{last if saved else 'step_*'}", read)
    if not examined.log or examined.log[-1]["step"] >= examined.log[-1].get("total_steps", 0):
        return
    step = examined.log[-1]["step"]
    if last != f"step_{step:06d}":
        examined.notes.append(
            f"the log ends at step {step} and the last checkpoint is {last}: the run is in progress or was interrupted;"
            " if its loss had become infinite, lower the learning_rate"
        )


def _read(examined: Examination, attribute: str, name: str, read: Callable[[Path], Any]) -> Iterator[Finding]:
    """Reads a file of the run into an attribute. A missing file becomes a note, and a broken one a finding."""
    path = examined.run / name
    if not path.exists():
        examined.notes.append(f"{name} is missing")
        return
    try:
        setattr(examined, attribute, read(path))
    except UNREADABLE as error:
        yield _unreadable(name, error)


def _unreadable(name: str, error: Exception) -> Finding:
    cause = (str(error).splitlines() or [type(error).__name__])[0]
    remedy = "restore it from a copy, or train on (--resume) from an intact checkpoint"
    return Finding(f"{name} cannot be read", "warning", cause, remedy)


def draw_cards(examined: Examination, count: int, progress: bool) -> None:
    """Draws the same seeds for each class with the run's own sampler and settings, if its weights are finite."""
    model = examined.model
    if not model or not all(value.isfinite().all() for value in examined.averaged.values()):
        return
    labels = model.labels[:MOST_LABELS] or (None,)
    seeds = range(max(LEAST_SEEDS, count // len(labels)))
    try:
        batches = [list(generate(model, seeds, label, progress=progress)) for label in labels]
    except (ValueError, RuntimeError) as error:
        examined.notes.append(f"no cards were drawn: {error}")
        return
    examined.drawn = torch.stack([torch.cat([batch.pixels for batch in of_label]) for of_label in batches])
    examined.drawn_labels = model.labels[:MOST_LABELS]


def compare_with_real(examined: Examination, progress: bool) -> None:
    """Measures losses on the real cards and distances to them."""
    real = examined.real
    if real is None:
        examined.notes.append("the real cards were not given (--real): copies and mirrored cards were not sought")
        return
    examined.nearest = _nearest(examined)
    fingerprint = (examined.manifest or {}).get("data", {}).get("fingerprint")
    if fingerprint not in (None, real.fingerprint):
        examined.notes.append(f"{real.source} is not what the run was trained on, or has changed since")
    if examined.drawn is None or examined.is_baseline:
        return
    try:
        examined.errors = _losses(examined, progress)
    except ValueError as error:
        examined.notes.append(f"the loss on the real cards was not measured: {error}")


def _losses(examined: Examination, progress: bool) -> dict[str, np.ndarray]:
    model, real = examined.model, examined.real

    def loss(model: TrainedModel, cards: Cards) -> np.ndarray:
        return loss_by_timestep(model, cards, BINS, CARDS_PER_BIN, progress=progress).weighted.mean(axis=0)

    losses = {"averaged": loss(model, real)}
    if examined.raw and examined.raw.keys() == examined.averaged.keys():
        unet = copy.deepcopy(model.unet)
        unet.load_state_dict(examined.raw)
        losses["raw"] = loss(replace(model, unet=unet), real)
    if model.labels and len(real.label_names) > 1:
        others = replace(real, labels=(real.labels + 1) % len(real.label_names))
        losses["other labels"] = loss(model, others)
    return losses


def _nearest(examined: Examination) -> Nearest:
    candidates = examined.real.pixels[:: -(-len(examined.real) // MOST_CANDIDATES)]
    indices = torch.arange(0, len(candidates), -(-len(candidates) // MOST_QUERIES))
    real, vectors = candidates[indices], _vectors(candidates)
    drawn = examined.drawn.flatten(0, 1) if examined.drawn is not None else candidates[:0]

    def distance(pixels: torch.Tensor, own: torch.Tensor | None = None) -> np.ndarray:
        nearest = nearest_in_features(_vectors(pixels), vectors, own)
        return (nearest.distance / vectors.shape[1] ** 0.5).numpy()

    return Nearest(
        real=distance(real, indices),
        mirrored=distance(real.flip(-1), indices),
        to_own_mirror=(_vectors(real) - _vectors(real.flip(-1))).square().mean(dim=1).sqrt().numpy(),
        drawn=distance(drawn),
        drawn_mirrored=distance(drawn.flip(-1)),
    )


def _vectors(pixels: torch.Tensor) -> torch.Tensor:
    return torch.cat([small_vectors(part) for part in pixels.split(500)])
