"""Nets that turn cards into features, for figures of how close two sets of cards lie; each is named by its weights."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cardsynth.cards.dataset import Cards, normalize
from cardsynth.evaluation.judge import JudgeNet, train_judge
from cardsynth.util.device import in_threads

STEPS = 250  # of the judge's training
FARTHEST = 4.0  # standard deviations
INCEPTION_HASH = "6726825d"  # first digits of the file's SHA-256
INCEPTION = f"pt_inception-2015-12-05-{INCEPTION_HASH}.pth"
INCEPTION_SOURCE = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/" + INCEPTION
NETS = ("cardnet", "inception-2015-12-05", "dinov2", "clip")
TRANSFORMERS = {"dinov2": "facebook/dinov2-small", "clip": "openai/clip-vit-base-patch32"}


class FeatureNetError(RuntimeError):
    """A feature net whose weights are not here: says what to fetch, and where to put it."""


@dataclass(frozen=True)
class FeatureNet:
    """A net that measures cards: `name` with a hash of its weights, features a card, and the function that does it.

    measure: uint8 (N, C, H, W), of which the first three channels are looked at -> float64 (N, dimension).
    """

    name: str
    dimension: int
    measure: Callable[[torch.Tensor], torch.Tensor]

    def tag(self, one: int, other: int, size: tuple[int, int]) -> str:
        """What a figure is printed with: the net, its dimension, both counts and the size (height, width)."""
        return f"[{self.name}, {self.dimension}-d, {one} vs {other}, {size[0]}x{size[1]}]"


def build_features(name: str, real: Cards, seed: int = 0, weights: str | Path | None = None) -> FeatureNet:
    """A feature net by name: `cardnet`, `inception-2015-12-05`, `dinov2` or `clip`; nothing is downloaded.

    real: real training cards, which cardnet learns from. weights: a file or folder to load instead of the usual place.
    Raises FeatureNetError where weights are missing or damaged, and ValueError for another name.
    """
    if name == "cardnet":
        return cardnet(known_judge(real, seed), real)
    if name == "inception-2015-12-05":
        return inception(weights)
    if name in TRANSFORMERS:
        return pretrained(name, weights)
    raise ValueError(f"there is no feature net {name!r}; there are {', '.join(NETS)}")


def known_judge(real: Cards, seed: int = 0) -> JudgeNet:
    """The judge of real cards (judge.py), trained once and kept in a cache by what it was trained on.

    It learns their classes and masks, or where they have neither, which way each was turned and mirrored (after Gidaris
    et al. 2018).
    """
    shown = real if real.label_names or real.has_mask else _turned(real)
    key = hashlib.sha256(f"2 {shown.fingerprint} {tuple(shown.pixels.shape)} {seed} {STEPS}".encode()).hexdigest()
    path = cache_folder() / f"judge-{key[:16]}.safetensors"
    net = JudgeNet(len(shown.label_names)).eval()
    try:
        net.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):  # not there, or cut short
        net = train_judge(shown, steps=STEPS, seed=seed)
        save_tensors(net.state_dict(), path)
    return net


def cardnet(judge: JudgeNet, real: Cards) -> FeatureNet:
    """Features of a judge: means of its maps at each level, scaled over its real cards to mean 0 and deviation 1.

    A feature counts to four deviations from the mean: a map that is almost always empty would otherwise let one card in
    a thousand outweigh the others, in a cubic kernel.
    """
    raw = map_means(judge, real.pixels)
    mean, deviation = raw.mean(dim=0), raw.std(dim=0).clamp(min=1e-6)

    def measure(pixels: torch.Tensor) -> torch.Tensor:
        return ((map_means(judge, pixels) - mean) / deviation).clamp(-FARTHEST, FARTHEST)

    return FeatureNet(f"cardnet {_hash_of(judge.state_dict())}", len(mean), measure)


def map_means(net: JudgeNet, pixels: torch.Tensor, batch_size: int = 64) -> torch.Tensor:
    """Means of a judge's feature maps at each level, float64 (N, F), for cards uint8 (N, C, H, W)."""

    @torch.inference_mode()
    def measure(part: slice) -> torch.Tensor:
        maps, found = F.pixel_unshuffle(normalize(chunk[part]), 2), []
        for index, block in enumerate(net.down):
            maps = block(F.max_pool2d(maps, 2) if index else maps)
            found.append(maps.mean(dim=(2, 3)))
        return torch.cat(found, dim=1).double()

    parts = []
    for chunk in pixels[:, :3].split(batch_size):
        parts += in_threads(measure, len(chunk), chunk.device)
    return torch.cat(parts).clone()


def inception(weights: str | Path | None = None) -> FeatureNet:
    """The Inception net of 2015-12-05 that FID means, 2048 features, by torch-fidelity.

    Raises FeatureNetError where its weights are not in the cache of torch.hub, or not those.
    """
    path = Path(weights) if weights else Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION
    if not path.is_file():
        raise FeatureNetError(f"FID takes the weights {INCEPTION}: fetch {INCEPTION_SOURCE} and put it at {path}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not digest.startswith(INCEPTION_HASH):
        raise FeatureNetError(f"{path} is not the net that FID means (its SHA-256 begins {digest[:8]}); fetch it anew")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path)).eval()
    return FeatureNet(
        f"inception-2015-12-05 {digest[:4]}", 2048, _in_batches(lambda pixels: net(pixels.contiguous())[0])
    )


def pretrained(name: str, weights: str | Path | None = None) -> FeatureNet:
    """DINOv2 or CLIP from a folder or the Hub's cache on this disk, through transformers, pictures scaled to 224x224.

    Raises FeatureNetError where it is not there.
    """
    from transformers import AutoModel

    source = str(weights or TRANSFORMERS[name])
    try:
        model = AutoModel.from_pretrained(source, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        raise FeatureNetError(
            f"{name} is not on this disk: `hf download {source}` puts it into the cache, or name its folder"
        ) from error
    mean, deviation = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
    if name == "clip":
        mean, deviation = torch.tensor((0.4815, 0.4578, 0.4082)), torch.tensor((0.2686, 0.2613, 0.2758))

    def measure(pixels: torch.Tensor) -> torch.Tensor:
        images = F.interpolate(pixels.float() / 255, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
        images = (images - mean[:, None, None]) / deviation[:, None, None]
        if name == "clip":
            return model.get_image_features(images).pooler_output
        return model(images).pooler_output

    dimension = measure(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).shape[1]
    return FeatureNet(f"{name} {_hash_of(model.state_dict())}", dimension, _in_batches(measure))


def cache_folder() -> Path:
    """Where trained feature nets are kept: `$CARDSYNTH_CACHE`, or else `cardsynth` in the user's cache."""
    usual = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cardsynth"
    return Path(os.environ.get("CARDSYNTH_CACHE", usual))


def _turned(cards: Cards) -> Cards:
    """Cards as they are, mirrored, on their heads, and both, each a class."""
    pixels = [cards.pixels, cards.pixels.flip(-1), cards.pixels.flip(-2), cards.pixels.flip((-2, -1))]
    labels = torch.arange(4).repeat_interleave(len(cards))
    names = ("as it is", "mirrored", "mirrored on its head", "turned over")
    return replace(cards, pixels=torch.cat(pixels), labels=labels, label_names=names, names=(), darkness=None)


def _in_batches(measure: Callable[[torch.Tensor], torch.Tensor], batch_size: int = 32) -> Callable:
    @torch.inference_mode()
    def measured(pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat([measure(batch).double() for batch in pixels[:, :3].split(batch_size)]).clone()

    return measured


def save_tensors(stored: dict[str, torch.Tensor], path: Path) -> None:
    """Keep tensors at a place of the cache, where that can be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in stored.items()}, temporary)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()


def _hash_of(stored: dict[str, torch.Tensor]) -> str:
    """Four hexadecimal digits that tell weights apart."""
    digest = hashlib.sha256()
    for name in sorted(stored):
        digest.update(stored[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:4]
