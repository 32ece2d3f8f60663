"""What the doctor looks at: a run folder read, a few cards drawn from it, and its cards beside them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tqdm.auto import tqdm

from cardsynth.baselines.model import is_baseline, load_baseline
from cardsynth.baselines.variety import small_vectors
from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.config import TrainingConfig
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.model import build_unet
from cardsynth.core.runs import RunError, checkpoints, is_run, load_model, read_log, read_manifest
from cardsynth.core.sampling import CardModel, generate
from cardsynth.evaluation.timestep_loss import loss_by_timestep
from cardsynth.util.settings import load_config

MOST_LABELS = 5  # classes that are drawn, the first ones where there are more
LEAST_SEEDS = 3  # cards of each class
BINS, CARDS_A_BIN = 4, 64  # for the loss with other weights or other labels
MOST_LOOKED_AT, MOST_COMPARED = 1000, 20_000  # real cards whose nearest is sought, and among which


@dataclass(frozen=True)
class Nearest:
    """How near cards lie to real ones: root mean square difference in grey levels (0 to 255), on cards made small.

    `real` to the nearest other real card, `mirrored` from a real card's mirror image to the nearest other card, and
    `to_own_mirror` to its own; `drawn` from a drawn card and `drawn_mirrored` from its mirror image to the nearest.
    """

    real: np.ndarray
    mirrored: np.ndarray
    to_own_mirror: np.ndarray
    drawn: np.ndarray
    drawn_mirrored: np.ndarray


@dataclass(frozen=True)
class Examination:
    """All that the checks need of a run; what is missing is None or empty, and `notes` says why.

    drawn: uint8 (classes, seeds, C, H, W), the same seeds for each of `drawn_labels`. `averaged`, `raw` and `initial`
    are weights by name: those that are sampled, those being trained at the last checkpoint, and those before the first
    step. errors: loss as trained of each real card, (N,), of the `averaged` and the `raw` weights, and of the averaged
    with `other labels`; the noise is the same for all. Of a DCGAN or a VAE, whose steps are others, there are no `raw`
    and `initial` weights and no errors.
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
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Optimiser steps taken; 0 where nothing says so."""
        return self.log[-1]["step"] if self.log else (self.manifest or {}).get("steps", 0)

    @property
    def planned_steps(self) -> int:
        """Optimiser steps that the run was to take; where nothing says so, those taken."""
        planned = self.log[-1].get("total_steps") if self.log else self.config and self.config.max_train_steps
        return planned or self.steps

    @property
    def settings(self) -> RunConfig | None:
        """The run's settings, or for a folder without them what its net tells."""
        return self.config or (self.model.config if self.model else None)


def examine(
    run: str | Path, real: str | Path | Cards | None = None, count: int = 20, progress: bool = True
) -> Examination:
    """Read a run folder, draw about `count` cards from it, and compare them with the `real` ones it was trained on.

    What is missing or cannot be read is noted. Raises RunError where there is no run, and CardError for real cards that
    cannot be read.
    """
    run, notes = Path(run), []
    if not is_run(run):
        raise RunError(f"{run} is no run folder (no settings.json or model_index.json); check the path")

    def attempt(read: Callable[[], Any], missing: str = "") -> Any:
        try:
            found = read()
        except (RunError, ValueError, OSError, SafetensorError, KeyError, RuntimeError) as error:
            notes.append(f"{missing}cannot be read ({str(error).splitlines()[0]})" if missing else str(error))
            return None
        if missing and not found:
            notes.append(f"{missing}is not there")
        return found

    settings = run / "settings.json"
    config = attempt(lambda: load_config(settings) if settings.is_file() else None, "settings.json ")
    log = attempt(lambda: _steps(run), "log.jsonl ") or ()
    manifest = attempt(lambda: dict(read_manifest(run)), "manifest.json ")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    readable = manifest or not (run / "manifest.json").is_file()
    diffuses = not (manifest and is_baseline(run))
    load = load_model if diffuses else load_baseline
    model = attempt(lambda: load(run, device=device)) if readable else None
    saved = checkpoints(run)
    raw = attempt(lambda: _raw_weights(saved[-1]) if saved else None, "a checkpoint ") if diffuses else None
    if log and not _is_saved(saved, log[-1]):
        notes.append(
            f"the log goes to step {log[-1]['step']} and the last checkpoint to {saved[-1].name if saved else 'none'}:"
            " the run goes on still, or was cut off; had its loss become infinite, a lower learning_rate is the remedy"
        )
    whole = Examination(run, config, tuple(log), manifest, model, raw=raw)
    if model:
        averaged = {name: value.cpu() for name, value in model.net.state_dict().items()}
        whole = replace(whole, averaged=averaged)
        if diffuses:
            whole = replace(whole, initial=attempt(lambda: _initial_weights(model)))
    if isinstance(real, Cards):
        whole = replace(whole, real=real)
    elif real is not None:
        whole = replace(whole, real=read_cards(real, model.config if model else config or TrainingConfig().reading))
    if model and all(value.isfinite().all() for value in whole.averaged.values()):
        drawn = attempt(lambda: _draw(model, count, progress))
        if drawn is not None:
            whole = replace(whole, drawn=drawn, drawn_labels=model.labels[:MOST_LABELS])
        if diffuses and whole.real is not None:
            whole = replace(whole, errors=attempt(lambda: _errors(whole, progress)))
    if whole.real is None:
        notes.append("the real cards were not given (--real): copies and mirrored cards were not looked for")
    else:
        whole = replace(whole, nearest=_nearest(whole, progress))
        trained_on = (manifest or {}).get("data", {}).get("fingerprint")
        if trained_on not in (None, whole.real.fingerprint):
            notes.append(f"{whole.real.source} is not what the run was trained on, or has changed since")
    return replace(whole, notes=tuple(notes))


def _steps(run: Path) -> list[dict[str, Any]]:
    """The numbers of each logged step that has a loss."""
    rows = [row for row in read_log(run) if isinstance(row, dict)]
    rows = [{name: value for name, value in row.items() if isinstance(value, (int, float))} for row in rows]
    return [row for row in rows if {"step", "loss"} <= set(row)]


def _is_saved(saved: list[Path], last: dict[str, Any]) -> bool:
    """Whether the last logged step is in a checkpoint, or the run's last, whose checkpoints may have been deleted."""
    done = last["step"] >= last.get("total_steps", 0)
    return done or bool(saved and saved[-1].name == f"step_{last['step']:06d}")


def _raw_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    weights = load_file(checkpoint / "model.safetensors")
    return {name.removeprefix("module.").removeprefix("_orig_mod."): value for name, value in weights.items()}


def _initial_weights(model: TrainedModel) -> dict[str, torch.Tensor]:
    """Weights before the first step, made again from the run's seed."""
    with torch.random.fork_rng():
        torch.manual_seed(model.config.seed)
        channels = model.unet.config.out_channels // model.config.patch_size**2
        return build_unet(model.config, channels, len(model.labels)).state_dict()


def _draw(model: CardModel, count: int, progress: bool) -> torch.Tensor:
    """Cards uint8 (classes, seeds, C, H, W) of the same seeds for each class, by the run's own sampler and settings."""
    labels = model.labels[:MOST_LABELS] or (None,)
    seeds = range(max(LEAST_SEEDS, count // len(labels)))
    batches = [generate(model, seeds, label, progress=progress) for label in labels]
    return torch.stack([torch.cat([batch.pixels for batch in of_label]) for of_label in batches])


def _errors(whole: Examination, progress: bool) -> dict[str, np.ndarray]:
    model, real = whole.model, whole.real

    def loss(model: TrainedModel, cards: Cards) -> np.ndarray:
        return loss_by_timestep(model, cards, BINS, CARDS_A_BIN, progress=progress).weighted.mean(axis=0)

    errors = {"averaged": loss(model, real)}
    if whole.raw and whole.raw.keys() == whole.averaged.keys():
        unet = copy.deepcopy(model.unet)
        unet.load_state_dict(whole.raw)
        errors["raw"] = loss(replace(model, unet=unet), real)
    if model.labels and len(real.label_names) > 1:
        others = replace(real, labels=(real.labels + 1) % len(real.label_names))
        errors["other labels"] = loss(model, others)
    return errors


def _nearest(whole: Examination, progress: bool) -> Nearest:
    real = whole.real.pixels[:: -(-len(whole.real) // MOST_COMPARED)]
    places = torch.arange(0, len(real), -(-len(real) // MOST_LOOKED_AT))
    looked_at = real[places]
    drawn = whole.drawn.flatten(0, 1) if whole.drawn is not None else real[:0]
    sets = {"real": looked_at, "mirrored": looked_at.flip(-1), "drawn": drawn, "drawn_mirrored": drawn.flip(-1)}
    vectors = {name: small_vectors(pixels) for name, pixels in sets.items()}
    found = {name: torch.full((len(value),), torch.inf) for name, value in vectors.items()}
    to_own_mirror = _rms(vectors["real"] - vectors["mirrored"])
    chunks = torch.arange(len(real)).split(500)
    for chunk in tqdm(chunks, "Comparing cards", unit="part", disable=not progress, leave=False):
        others = small_vectors(real[chunk])
        for name, value in vectors.items():
            distance = torch.cdist(value, others) / value.shape[1] ** 0.5
            if name in ("real", "mirrored"):
                distance[places[:, None] == chunk] = torch.inf
            found[name] = torch.minimum(found[name], distance.min(dim=1).values)
    return Nearest(to_own_mirror=to_own_mirror.numpy(), **{name: value.numpy() for name, value in found.items()})


def _rms(difference: torch.Tensor) -> torch.Tensor:
    return difference.square().mean(dim=1).sqrt()
