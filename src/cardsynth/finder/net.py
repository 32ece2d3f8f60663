"""The damage finder: a segmentation net that locates and classifies damage on pictures of cards."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy import ndimage
from torch import nn

from cardsynth.core.runs import FINDER, SETTINGS, RunError, kind_of, read_manifest
from cardsynth.finder.config import FinderConfig
from cardsynth.util.settings import load_config

WEIGHTS = "model.safetensors"  # as segmentation_models_pytorch calls the weights of a net
DAMAGE = "damage"  # the only class of a finder whose cards have no classes
WHOLE_CARD = ("FULL_CARD",)  # classes whose damage is one, however many parts it has


class DamageFinder(nn.Module):
    """A segmentation net for cards of any size.

    Args:
        net: Maps images to logits of background and classes; takes sizes that `2 ** encoder_depth` divides.
        config: Settings of the run.
        labels: Damage classes.
    """

    def __init__(self, net: nn.Module, config: FinderConfig, labels: tuple[str, ...]) -> None:
        super().__init__()
        self.net, self.config, self.labels = net, config, labels

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits (B, 1 + classes, H, W), undamaged first, for RGB images (B, 3, H, W) in [-1, 1]."""
        height, width = images.shape[2:]
        multiple = 2**self.config.encoder_depth
        padded = F.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        return self.net(padded)[:, :, :height, :width]


def build_finder(config: FinderConfig, labels: tuple[str, ...] = ()) -> DamageFinder:
    """Builds an untrained finder; the settings' seed initialises its weights.

    Args:
        config: Settings of the run.
        labels: Damage classes; none: the single class `damage`.

    Raises:
        ValueError: The architecture or encoder does not exist, or its weights are not on this machine.
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
class Detection:
    """A damage detected on a card: class, box [x, y, width, height] in pixels, and score in 0 to 1."""

    label: str
    box: tuple[int, int, int, int]
    score: float


@torch.inference_mode()
def damage_probabilities(finder: DamageFinder, pixels: torch.Tensor, batch_size: int = 32) -> torch.Tensor:
    """Predicts the probability of each class at each pixel.

    Args:
        finder: The finder.
        pixels: uint8 (N, C, H, W); the first three channels are used.
        batch_size: Number of cards in a batch.

    Returns:
        float32 (N, 1 + classes, H, W) on the CPU, undamaged first; sums to 1 over the classes.
    """
    device = next(finder.parameters()).device
    batches = pixels[:, :3].split(batch_size)
    return torch.cat([finder(batch.to(device).float() / 127.5 - 1).float().softmax(dim=1).cpu() for batch in batches])


def detect_damages(probabilities: torch.Tensor, labels: tuple[str, ...], min_pixels: int = 4) -> list[Detection]:
    """Returns the damages of a card: connected regions in which a class is the most probable.

    All regions of a class in `WHOLE_CARD` form one damage.

    Args:
        probabilities: float (1 + classes, H, W), as of `damage_probabilities`.
        labels: Damage classes.
        min_pixels: Smaller regions are left out.

    Returns:
        Damages by descending score, the mean probability over the region.
    """
    classes = probabilities.argmax(dim=0).numpy()
    damages = []
    for number, label in enumerate(labels, start=1):
        regions, count = ndimage.label(classes == number, structure=np.ones((3, 3)))
        if label in WHOLE_CARD and count:
            regions = (regions > 0).astype(np.int32)
        scores = probabilities[number].numpy()
        for region, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
            inside = regions[rows, columns] == region
            if inside.sum() >= min_pixels:
                box = (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
                damages.append(Detection(label, box, float(scores[rows, columns][inside].mean())))
    return sorted(damages, key=lambda damage: -damage.score)


def save_net(net: nn.Module, run: Path) -> None:
    """Saves a net in a run folder for `segmentation_models_pytorch.from_pretrained`, each file whole or not at all."""
    temporary = run / ".model.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    net.save_pretrained(temporary)
    (temporary / "README.md").unlink()  # of segmentation_models_pytorch; the model card of cardsynth says more
    for file in sorted(temporary.iterdir(), reverse=True):  # weights before config.json
        file.replace(run / file.name)
    temporary.rmdir()


def load_finder(run: str | Path, device: str | torch.device = "cpu") -> DamageFinder:
    """Loads the finder of a run folder for inference.

    Args:
        run: Run folder of `train_finder`.
        device: Device of the net.

    Raises:
        RunError: The folder holds no damage finder.
        ValueError: A setting is unknown or wrong; the message names file and setting.
    """
    run = Path(run)
    if kind_of(run) != FINDER or not (run / WEIGHTS).is_file():
        raise RunError(f"{run} holds no damage finder; train one with `cardsynth train-finder`, or check the path")
    config, labels = load_config(run / SETTINGS, FinderConfig()), tuple(read_manifest(run)["labels"])
    net = _build_net(config.replace(encoder_weights=None), 1 + len(labels))
    net.load_state_dict(load_file(run / WEIGHTS))
    finder = DamageFinder(net, config, labels)
    return finder.to(device).eval().requires_grad_(False)
