"""The run folder: start, log, checkpoint, save and load a trained model."""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, UNet2DModel

from cardsynth.core.base_config import RunConfig
from cardsynth.core.config import TrainingConfig, load_config, save_config
from cardsynth.core.kind import DIFFUSION, diffusion_kind
from cardsynth.util.files import read_object, replace_folder, write_atomically

VERSIONS_OF = ("cardsynth", "torch", "torchvision", "diffusers", "transformers", "peft", "accelerate", "datasets")
VERSIONS_OF += ("huggingface_hub", "numpy")
WEIGHTS = "diffusion_pytorch_model.safetensors"  # as diffusers calls the weights of a net, in the net's folder

# What the manifests of runs that are no diffusion model say that they are.
FINDER = "damage finder"
TEXT = "text to card"

# Settings that a resumed run may change; all others make another run.
MAY_CHANGE = {
    "preset", "num_epochs", "max_train_steps", "save_image_epochs", "save_model_epochs", "checkpoints_total_limit",
    "sampler", "num_inference_steps", "guidance_scale", "negative_label", "guidance_limit",
    "guidance_interval", "compile_mode", "gradient_checkpointing", "cpu", "mixed_precision", "skip_bad",
    "push_to_hub", "hub_model_id", "hub_private_repo",
}  # fmt: skip


class RunError(RuntimeError):
    """A run folder that is missing, taken or incomplete: says which and what to do."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained net with all that sampling needs; `labels` is empty for a net without classes.

    number_ranges: least and most of each condition among the training cards, by class ("all" where there are none).
    """

    unet: UNet2DModel
    noise_scheduler: DDPMScheduler
    config: TrainingConfig
    labels: tuple[str, ...] = ()
    has_mask: bool = False
    number_ranges: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    name: str = ""
    revision: str = ""

    @property
    def net(self) -> UNet2DModel:
        """The net that is sampled, by the name that it has in every kind of model."""
        return self.unet


def is_run(folder: str | Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    return (Path(folder) / "settings.json").is_file() or (Path(folder) / "model_index.json").is_file()


def is_finder(run: str | Path) -> bool:
    """Whether a folder holds a damage finder (see `cardsynth.finder.net`)."""
    return read_manifest(run).get("kind") == FINDER


def start_run(run: Path, config: Any, manifest: dict[str, Any], overwrite: bool = False) -> None:
    """Make a run folder with its settings and manifest; raises RunError where something stands in the way."""
    if run.exists() and any(run.iterdir()):
        if not is_run(run):
            raise RunError(f"{run} holds other files and no run; choose another folder")
        if not overwrite:
            raise RunError(f"{run} holds a run already; resume it, overwrite it, or choose another folder")
        shutil.rmtree(run)
    run.mkdir(parents=True, exist_ok=True)
    write_manifest(run, manifest)
    save_config(config, run / "settings.json")


def write_manifest(run: Path, manifest: dict[str, Any]) -> None:
    """Write `manifest.json` whole or not at all."""
    write_atomically(run / "manifest.json", (json.dumps(manifest, indent=2) + "\n").encode())


def read_manifest(run: str | Path) -> dict[str, Any]:
    """The manifest of a run; empty where there is none (a plain diffusers folder); ValueError for a broken one."""
    path = Path(run) / "manifest.json"
    return read_object(path) if path.is_file() else {}


def read_log(run: str | Path) -> list[dict[str, Any]]:
    """Rows of `log.jsonl`, one an optimiser step; a last line that was cut off is left out."""
    rows = []
    path = Path(run) / "log.jsonl"
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def truncate_log(run: Path, steps: int) -> None:
    """Keep the rows of the first `steps` steps, so that a resumed run logs each step once."""
    rows = [json.dumps(row) + "\n" for row in read_log(run) if row["step"] <= steps]
    write_atomically(run / "log.jsonl", "".join(rows).encode())


def checkpoints(run: str | Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first; `step_000500` was taken after 500 optimiser steps."""
    return sorted(path for path in (Path(run) / "checkpoints").glob("step_*") if path.is_dir())


def save_model(run: Path, unet: UNet2DModel, noise_scheduler: DDPMScheduler) -> None:
    """Save net and noise schedule as a diffusers pipeline folder inside the run, safetensors only."""
    save_pipeline(run, DDPMPipeline(unet, noise_scheduler))


def save_pipeline(run: Path, pipeline: DiffusionPipeline) -> None:
    """Save a diffusers pipeline inside the run, each of its folders whole or not at all, safetensors only."""
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
    """Save a further average of a run's weights as `averages/DECAY`, which `UNet2DModel.from_pretrained` opens."""
    target = run / "averages" / f"{decay:g}"
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    unet.save_pretrained(temporary, safe_serialization=True)
    replace_folder(temporary, target)


def load_model(
    run: str | Path, name: str = "", device: str | torch.device = "cpu", ema_decay: float | None = None
) -> TrainedModel:
    """The model of a run folder, or of any diffusers folder with a UNet2DModel and a DDPM schedule, ready to sample.

    ema_decay: which of the run's averages to take; default: its main one. Raises RunError when there is no such folder
    or average, or no model in it yet.
    """
    run = Path(run)
    if not is_run(run):
        raise RunError(f"{run} is no run folder (no settings.json or model_index.json); check the path")
    config = load_config(run / "settings.json") if (run / "settings.json").is_file() else None
    folder = run / "unet"
    if ema_decay is not None and not (config and ema_decay == config.ema_decay):
        folder = _average_folder(run, ema_decay)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise RunError(f"{run} has no saved model yet (unet/ is missing); train on: its first save comes with an epoch")
    unet = UNet2DModel.from_pretrained(folder).to(device).eval().requires_grad_(False)
    if unet.device.type == "cuda":
        unet.to(memory_format=torch.channels_last)
    noise_scheduler = DDPMScheduler.from_pretrained(run, subfolder="scheduler")
    manifest = read_manifest(run)
    if config is None:
        side = unet.config.sample_size
        height, width = (side, side) if isinstance(side, int) else side
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
    """What tells a run's model from its others: the commit of what was pulled from the Hub, else its weights' hash."""
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


def describe_environment() -> dict[str, Any]:
    """Versions, git commit and machine, for a manifest or a table of measurements."""
    versions = {"python": platform.python_version()}
    versions |= {package: importlib.metadata.version(package) for package in VERSIONS_OF}
    return {"versions": versions, "git_commit": _git_commit(), "machine": describe_machine()}


def describe_machine() -> str:
    """Processor or GPU, number of cores and operating system, in a line."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join([*gpus, processor, f"{os.cpu_count()} cores", platform.system()])


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def build_manifest(config: RunConfig, cards: Any) -> dict[str, Any]:
    """What a reader needs to place a run: kind, classes, data, versions, commit, seed, machine."""
    manifest = {
        "labels": list(cards.label_names),
        "mask": cards.has_mask,
        "numbers": cards.ranges(config.conditions) if config.conditions else {},
        "height": config.height,
        "width": config.width,
        "data": {
            "source": Path(cards.source).name if Path(cards.source).exists() else cards.source,
            "count": len(cards),
            "classes": cards.class_counts,
            "fingerprint": cards.fingerprint,
            "skipped": list(cards.skipped),
            "darkness": _hash_of_darkness(cards) if "darkness" in config.conditions else None,
        },
        **describe_environment(),
        "seed": config.seed,
        "steps": 0,
        "wall_time_s": 0.0,
    }
    return manifest | diffusion_kind(manifest, vars(config))


def _hash_of_darkness(cards: Any) -> str:
    return hashlib.sha256(cards.darkness.cpu().numpy()).hexdigest()[:16]


def check_resumable(run: Path, config: Any, manifest: dict[str, Any], may_change: Collection[str] = MAY_CHANGE) -> None:
    """Raise RunError unless a run can go on with these settings, and with the cards that the manifest describes."""
    kind, wanted = (one.get("kind", DIFFUSION) for one in (read_manifest(run), manifest))
    if kind != wanted:
        raise RunError(f"{run} is another kind of run ({kind}, not {wanted}); choose another folder")
    old = load_config(run / "settings.json", type(config)())
    names = [field.name for field in dataclasses.fields(config) if field.name not in may_change]
    changed = [name for name in names if getattr(old, name) != getattr(config, name)]
    if changed:
        raise RunError(
            f"{run} was trained with other settings ({', '.join(changed)}); resume with those of its settings.json,"
            " or choose another folder"
        )
    trained_on, given = read_manifest(run)["data"], manifest["data"]
    if any(trained_on.get(name) != given.get(name) for name in ("fingerprint", "darkness")):
        raise RunError(f"{run} was trained on other cards; resume with the same, or choose another folder")
