"""The damage finder: a segmentation net that tells where a card is damaged and by what, from pictures alone."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import nn

from cardsynth.core.runs import FINDER, RunError, kind_of, read_manifest
from cardsynth.finder.config import FinderConfig
from cardsynth.finder.kind import finder_kind
from cardsynth.util.environment import describe_environment
from cardsynth.util.files import replace_folder, write_atomically

DAMAGE = "damage"  # the one class of a finder whose cards have no classes


class DamageFinder(nn.Module):
    """A segmentation net for RGB cards (B, 3, H, W) in [-1, 1] of any size; `labels` are the damage classes it knows.

    Returns logits (B, 1 + len(labels), H, W), of which the first are those of undamaged card.
    """

    def __init__(self, net: nn.Module, config: FinderConfig, labels: tuple[str, ...]) -> None:
        super().__init__()
        self.net, self.config, self.labels = net, config, labels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        height, width = images.shape[2:]
        multiple = 2**self.config.encoder_depth
        padded = F.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        return self.net(padded)[:, :, :height, :width]


def build_finder(config: FinderConfig, labels: tuple[str, ...] = ()) -> DamageFinder:
    """An untrained finder of these damage classes (none: of one, `damage`), its weights drawn from the settings' seed.

    Raises ValueError for an architecture or encoder that there is not, and for weights that are not on this machine.
    """
    labels = tuple(labels) or (DAMAGE,)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        return DamageFinder(_build_net(config, 1 + len(labels)), config, labels)


def _build_net(config: FinderConfig, classes: int) -> nn.Module:
    file = config.encoder_weights if config.encoder_weights and Path(config.encoder_weights).is_file() else None
    if config.encoder_weights and not file and config.encoder_weights != "imagenet":
        raise ValueError(f"encoder_weights: there is no file {config.encoder_weights}; give a file, imagenet, or none")
    options = {"encoder_depth": config.encoder_depth, "decoder_channels": config.decoder_channels}
    try:
        net = smp.create_model(
            config.architecture,
            config.encoder_name,
            encoder_weights=None if file else config.encoder_weights,
            classes=classes,
            **(options if config.architecture.lower() in ("unet", "unetplusplus", "manet", "linknet") else {}),
        )
    except KeyError as error:
        raise ValueError(f"segmentation-models-pytorch has no such net: {error}; see its list of encoders") from error
    except OSError as error:
        raise ValueError(
            f"the weights of {config.encoder_name} are not on this machine, and could not be fetched ({error});"
            " give a file of weights, or train from scratch (encoder_weights none)"
        ) from error
    if file:
        net.encoder.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return net


@dataclass(frozen=True)
class FoundDamage:
    """One damage that was found on a card: class, box [x, y, width, height] in pixels, and score in 0 to 1."""

    label: str
    box: tuple[int, int, int, int]
    score: float


@torch.inference_mode()
def damage_shares(finder: DamageFinder, pixels: torch.Tensor, batch_size: int = 32) -> torch.Tensor:
    """How sure a finder is of each class at each pixel: float32 (N, 1 + classes, H, W), adding up to 1.

    pixels: uint8 (N, C, H, W), whose first three channels are looked at.
    """
    device = next(finder.parameters()).device
    found = []
    for part in pixels[:, :3].split(batch_size):
        found.append(finder(part.to(device).float() / 127.5 - 1).float().softmax(dim=1).cpu())
    return torch.cat(found)


def found_damages(
    shares: torch.Tensor, labels: tuple[str, ...], least: int = 4, whole: tuple[str, ...] = ("FULL_CARD",)
) -> list[FoundDamage]:
    """Damages of one card: connected parts of each class's pixels, of `least` pixels or more, the surest first.

    shares: float (1 + classes, H, W) of `damage_shares`. The score of a part is the mean share of its pixels. Classes
    in `whole` are one damage each, however many parts it has.
    """
    classes = shares.argmax(dim=0).numpy()
    found = []
    for number, label in enumerate(labels, start=1):
        parts, count = ndimage.label(classes == number, structure=np.ones((3, 3)))
        if label in whole and count:
            parts = (parts > 0).astype(np.int32)
        sure = shares[number].numpy()
        for place, (rows, columns) in enumerate(ndimage.find_objects(parts), start=1):
            inside = parts[rows, columns] == place
            if inside.sum() >= least:
                box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
                found.append(FoundDamage(label, box, float(sure[rows, columns][inside].mean())))
    return sorted(found, key=lambda damage: -damage.score)


def check_place(run: str | Path, overwrite: bool = False) -> Path:
    """The folder for a finder; raises RunError where something else is there, or a finder, unless `overwrite`."""
    run = Path(run)
    if run.exists() and any(run.iterdir()):
        if kind_of(run) != FINDER:
            raise RunError(f"{run} holds other files and no damage finder; choose another folder")
        if not overwrite:
            raise RunError(f"{run} holds a damage finder already; overwrite it, or choose another folder")
    return run


def save_finder(finder: DamageFinder, run: str | Path, manifest: dict[str, Any]) -> Path:
    """Save a finder as a run folder that `segmentation_models_pytorch.from_pretrained` opens too; returns the folder.

    manifest: what is known of its training. A finder that is there is replaced once the new one is written.
    """
    run = Path(run)
    temporary = run.with_name(f".{run.name}.tmp")
    finder.net.save_pretrained(temporary)
    (temporary / "README.md").unlink()  # huggingface_hub's, which says less than the model card of `hub`
    kind = finder_kind(finder.config, finder.labels)
    known = {**kind, "labels": list(finder.labels), **manifest, **describe_environment()}
    for name, values in (("settings.json", asdict(finder.config)), ("manifest.json", known)):
        write_atomically(temporary / name, (json.dumps(values, indent=2) + "\n").encode())
    replace_folder(temporary, run)
    return run


def load_finder(run: str | Path, device: str | torch.device = "cpu") -> DamageFinder:
    """The finder of a run folder, ready to look; raises RunError where the folder holds none."""
    run = Path(run)
    if kind_of(run) != FINDER:
        raise RunError(f"{run} holds no damage finder; train one with `cardsynth train-finder`, or check the path")
    config = FinderConfig(**json.loads((run / "settings.json").read_text()))
    labels = read_manifest(run)["labels"]
    finder = DamageFinder(smp.from_pretrained(run), config, tuple(labels))
    return finder.to(device).eval().requires_grad_(False)
