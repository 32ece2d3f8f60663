"""The run folder: start, log, checkpoint, save and load a trained model."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import DDPMScheduler, DiffusionPipeline, UNet2DModel

from cardsynth.cards.dataset import Cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.config import TrainingConfig
from cardsynth.core.denoise import TrainedModel, latent_shape
from cardsynth.core.presets import PRESETS
from cardsynth.util.environment import describe_environment
from cardsynth.util.files import new_folder, read_json_lines, read_object, replace_folder, write_atomically
from cardsynth.util.settings import load_config, load_run_config, save_config

WEIGHTS = "diffusion_pytorch_model.safetensors"  # as diffusers calls the weights of a net, in the net's folder
SETTINGS, MANIFEST, LOG = "settings.json", "manifest.json", "log.jsonl"

# Kinds of runs, in their manifests.
DIFFUSION = "diffusion"
FINDER = "damage finder"
TEXT = "text to card"


class RunError(RuntimeError):
    """A run folder that is missing, taken or incomplete: says which and what to do."""


def is_run(folder: str | Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    return (Path(folder) / SETTINGS).is_file() or (Path(folder) / "model_index.json").is_file()


def kind_of(run: str | Path) -> str:
    """Kind of the model of a run folder, by its manifest; a folder without one holds a diffusion model."""
    return read_manifest(run).get("kind", DIFFUSION)


def check_free(run: Path, overwrite: bool = False) -> None:
    """Raises RunError if something stands in the way of a new run; `overwrite` allows for a run."""
    if run.exists() and any(run.iterdir()):
        if not is_run(run):
            raise RunError(f"{run} holds other files and no run; choose another folder")
        if not overwrite:
            raise RunError(f"{run} holds a run already; resume it, overwrite it, or choose another folder")


def start_run(run: Path, config: Any, manifest: dict[str, Any], overwrite: bool = False) -> None:
    """Makes a run folder with its settings and manifest; raises RunError as `check_free` does."""
    check_free(run, overwrite)
    if is_run(run):
        shutil.rmtree(run)
    run.mkdir(parents=True, exist_ok=True)
    write_manifest(run, manifest)
    save_config(config, run / SETTINGS)


def write_manifest(run: Path, manifest: dict[str, Any]) -> None:
    """Writes `manifest.json` whole or not at all."""
    write_atomically(run / MANIFEST, (json.dumps(manifest, indent=2) + "\n").encode())


def read_manifest(run: str | Path) -> dict[str, Any]:
    """Reads the manifest of a run; empty without one (a plain diffusers folder); ValueError for a broken one."""
    path = Path(run) / MANIFEST
    return read_object(path) if path.is_file() else {}


def read_log(run: str | Path) -> list[dict[str, Any]]:
    """Reads the rows of `log.jsonl`, one per optimiser step; a last line that was cut off is left out."""
    return read_json_lines(Path(run) / LOG)


def truncate_log(run: Path, steps: int) -> None:
    """Keeps the rows of the first `steps` steps, so that a resumed run logs each step once."""
    rows = [json.dumps(row) + "\n" for row in read_log(run) if row["step"] <= steps]
    write_atomically(run / LOG, "".join(rows).encode())


def checkpoints(run: str | Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first; `step_000500` was saved after 500 optimiser steps."""
    folders = (Path(run) / "checkpoints").glob("step_*")
    complete = (folder for folder in folders if folder.is_dir() and folder.name.removeprefix("step_").isdecimal())
    return sorted(complete, key=checkpoint_step)


def checkpoint_step(checkpoint: Path) -> int:
    """Number of optimiser steps that a checkpoint was saved after."""
    return int(checkpoint.name.removeprefix("step_"))


def save_pipeline(run: Path, pipeline: DiffusionPipeline) -> None:
    """Saves a diffusers pipeline inside the run, each of its folders whole or not at all, safetensors only."""
    temporary = run / ".model.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    pipeline.save_pretrained(temporary, safe_serialization=True)
    for part in sorted(temporary.iterdir(), reverse=True):
        if part.is_dir():
            replace_folder(part, run / part.name)
        else:
            part.replace(run / part.name)
    temporary.rmdir()


def save_average(run: Path, unet: UNet2DModel, decay: float) -> None:
    """Saves a further average of a run's weights as `averages/DECAY`, which `UNet2DModel.from_pretrained` opens."""
    with new_folder(run / "averages" / f"{decay:g}") as folder:
        unet.save_pretrained(folder, safe_serialization=True)


def load_model(
    run: str | Path, name: str = "", device: str | torch.device = "cpu", ema_decay: float | None = None
) -> TrainedModel:
    """Loads the diffusion model of a run folder, or of any diffusers folder with a UNet2DModel and a DDPM schedule.

    Args:
        run: the folder.
        name: name of the model; default: that of the folder.
        device: device of the net.
        ema_decay: which of the run's averages to take; default: its main one.

    Raises:
        RunError: there is no such folder or average, or no model in it yet.
    """
    run = Path(run)
    if not is_run(run):
        raise RunError(f"{run} is no run folder (no settings.json or model_index.json); check the path")
    settings = run / SETTINGS
    config = load_run_config(settings, PRESETS, TrainingConfig()) if settings.is_file() else None
    folder = run / "unet"
    if ema_decay is not None and not (config and ema_decay == config.ema_decay):
        folder = _average_folder(run, ema_decay)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise RunError(f"{run} has no saved model yet (unet/ is missing); train on: its first save comes with an epoch")
    # Around `to`, diffusers' wrapper hides `self` from type checkers.
    unet = UNet2DModel.from_pretrained(folder).to(device).eval().requires_grad_(False)  # pyright: ignore[reportArgumentType]
    if unet.device.type == "cuda":
        unet.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    noise_scheduler = cast(DDPMScheduler, DDPMScheduler.from_pretrained(run, subfolder="scheduler"))
    manifest = read_manifest(run)
    if config is None:
        _, height, width = latent_shape(unet)
        config = TrainingConfig(height=height, width=width)
    return TrainedModel(
        unet=unet,
        noise_scheduler=noise_scheduler,
        config=config,
        labels=tuple(manifest.get("labels", ())),
        has_mask=manifest.get("mask", False),
        number_ranges=manifest.get("numbers", {}),
        name=name or run.resolve().name,
        revision=revision_of(run, weights),
    )


def revision_of(run: Path, weights: Path) -> str:
    """Identifies a run's model: the commit of one pulled from the Hub, else a hash of its weights."""
    if run.resolve().parent.name == "snapshots":
        return run.resolve().name
    return hashlib.sha256(weights.read_bytes()).hexdigest()[:12]


def _average_folder(run: Path, decay: float) -> Path:
    folder = run / "averages" / f"{decay:g}"
    if not folder.is_dir():
        others = sorted(path.name for path in (run / "averages").glob("[!.]*"))
        raise RunError(
            f"{run} has no average of decay {decay:g} beside its main one; it has {', '.join(others) or 'none'}"
            " (other_ema_decays keeps more, in training)"
        )
    return folder


def build_manifest(config: RunConfig, cards: Cards) -> dict[str, Any]:
    """Describes a run for its readers: classes, data, versions, commit, seed, machine."""
    conditions = getattr(config, "conditions", ())
    return {
        "labels": list(cards.label_names),
        "mask": cards.has_mask,
        "numbers": cards.ranges(conditions) if conditions else {},
        "height": config.height,
        "width": config.width,
        "data": {
            "source": Path(cards.source).name if Path(cards.source).exists() else cards.source,
            "count": len(cards),
            "classes": cards.class_counts,
            "fingerprint": cards.fingerprint,
            "skipped": list(cards.skipped),
            "darkness": _hash_of_darkness(cards) if "darkness" in conditions else None,
        },
        **describe_environment(),
        "seed": config.seed,
        "steps": 0,
        "wall_time_s": 0.0,
    }


def _hash_of_darkness(cards: Cards) -> str | None:
    return None if cards.darkness is None else hashlib.sha256(cards.darkness.cpu().numpy().data).hexdigest()[:16]


def check_resumable(run: Path, config: Any, manifest: dict[str, Any]) -> None:
    """Raises RunError unless a run can go on with these settings, and with the cards that the manifest describes."""
    old_manifest = read_manifest(run)
    kind, new_kind = old_manifest.get("kind", DIFFUSION), manifest.get("kind", DIFFUSION)
    if kind != new_kind:
        raise RunError(f"{run} is another kind of run ({kind}, not {new_kind}); choose another folder")
    old = load_config(run / SETTINGS, type(config)())
    names = [field.name for field in dataclasses.fields(config) if field.name not in config.may_change]
    changed = [name for name in names if getattr(old, name) != getattr(config, name)]
    if changed:
        raise RunError(
            f"{run} was trained with other settings ({', '.join(changed)}); resume with those of its settings.json,"
            " or choose another folder"
        )
    trained_on, given = old_manifest["data"], manifest["data"]
    if any(trained_on.get(name) != given.get(name) for name in ("fingerprint", "darkness")):
        raise RunError(f"{run} was trained on other cards; resume with the same, or choose another folder")
