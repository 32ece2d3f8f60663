"""Feature nets, which turn cards into vectors for distances; a hash of the weights is part of each net's name."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from cardsynth.cards.dataset import Cards, normalize
from cardsynth.evaluation.judge import JudgeNet, train_judge
from cardsynth.util.device import in_threads
from cardsynth.util.files import write_atomically

STEPS = 250  # of the judge's training
FARTHEST = 4.0  # standard deviations at which features are clipped
INCEPTION_HASH = "6726825d"  # first digits of the file's SHA-256
INCEPTION = f"pt_inception-2015-12-05-{INCEPTION_HASH}.pth"
INCEPTION_SOURCE = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION}"
NETS = ("cardnet", "inception-2015-12-05", "dinov2", "clip")
TRANSFORMERS = {"dinov2": "facebook/dinov2-small", "clip": "openai/clip-vit-base-patch32"}
NORMALIZATION = {  # mean and standard deviation of RGB that each net was trained with
    "dinov2": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": ((0.4815, 0.4578, 0.4082), (0.2686, 0.2613, 0.2758)),
}


class FeatureNetError(RuntimeError):
    """The weights of a net are missing; the message says what to fetch and where to store it."""


@dataclass(frozen=True)
class FeatureNet:
    """A net that computes features of cards.

    Attributes:
        name: Name of the net with a hash of its weights.
        dimension: Number of features of a card.
        measure: Computes features, float64 (N, dimension), from RGB of cards uint8 (N, C, H, W).
    """

    name: str
    dimension: int
    measure: Callable[[torch.Tensor], torch.Tensor]

    def tag(self, count: int, reference_count: int, size: tuple[int, int]) -> str:
        """Returns a description to print with a figure.

        Args:
            count: Number of cards.
            reference_count: Number of reference cards.
            size: Height and width of the cards in pixels.
        """
        return f"[{self.name}, {self.dimension}-d, {count} vs {reference_count}, {size[0]}x{size[1]}]"


def build_features(name: str, real: Cards, seed: int = 0, weights: str | Path | None = None) -> FeatureNet:
    """Builds a feature net without downloading anything.

    Args:
        name: `cardnet`, `inception-2015-12-05`, `dinov2` or `clip`.
        real: Real cards that cardnet is trained on.
        seed: Seed of cardnet's training.
        weights: File or folder of weights; the default is the cache of torch.hub or of the Hugging Face Hub.

    Raises:
        FeatureNetError: The weights are missing or damaged.
        ValueError: `name` is unknown.
    """
    if name == "cardnet":
        return cardnet(known_judge(real, seed), real)
    if name == "inception-2015-12-05":
        return inception(weights)
    if name in TRANSFORMERS:
        return pretrained(name, weights)
    raise ValueError(f"there is no feature net {name!r}; choose one of {', '.join(NETS)}")


def known_judge(real: Cards, seed: int = 0) -> JudgeNet:
    """Returns the judge of real cards, trained once and cached.

    Without labels and masks it learns to recognise whether a card was flipped (after Gidaris et al. 2018).

    Args:
        real: Real cards to train on.
        seed: Seed of the training.
    """
    cards = real if real.label_names or real.has_mask else _flipped(real)
    key = hashlib.sha256(f"2 {cards.fingerprint} {tuple(cards.pixels.shape)} {seed} {STEPS}".encode()).hexdigest()
    path = cache_folder() / f"judge-{key[:16]}.safetensors"
    net = JudgeNet(len(cards.label_names)).eval()
    try:
        net.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):  # missing or truncated
        net = train_judge(cards, steps=STEPS, seed=seed)
        save_tensors(net.state_dict(), path)
    return net


def cardnet(judge: JudgeNet, real: Cards) -> FeatureNet:
    """Builds a feature net from a judge: spatial means of its feature maps, standardised on real cards.

    Features are clipped at four standard deviations. Otherwise a map that is nearly always zero would let a single card
    dominate the cubic kernel of KID.

    Args:
        judge: A trained judge.
        real: Real cards that define mean 0 and standard deviation 1 of each feature.
    """
    features = map_means(judge, real.pixels)
    mean, deviation = features.mean(dim=0), features.std(dim=0).clamp(min=1e-6)

    def measure(pixels: torch.Tensor) -> torch.Tensor:
        return ((map_means(judge, pixels) - mean) / deviation).clamp(-FARTHEST, FARTHEST)

    return FeatureNet(f"cardnet {_hash_of(judge)}", len(mean), measure)


def map_means(net: JudgeNet, pixels: torch.Tensor, batch_size: int = 64) -> torch.Tensor:
    """Computes the spatial means of a judge's feature maps at all levels.

    Args:
        net: The judge.
        pixels: Cards, uint8 (N, C, H, W); only RGB is used.
        batch_size: Cards per batch.

    Returns:
        Means, float64 (N, F).
    """

    @torch.inference_mode()
    def measure(part: slice) -> torch.Tensor:
        return torch.cat([maps.mean(dim=(2, 3)) for maps in net.encode(normalize(batch[part]))], dim=1).double()

    means = []
    for batch in pixels[:, :3].split(batch_size):
        means += in_threads(measure, len(batch), batch.device)
    return torch.cat(means).clone()


def inception(weights: str | Path | None = None) -> FeatureNet:
    """Builds the Inception net of 2015-12-05, on which FID is defined, with 2048 features, from torch-fidelity.

    Args:
        weights: File of weights; the default is the cache of torch.hub.

    Raises:
        FeatureNetError: The weights are missing or have another hash.
    """
    path = checked_weights("FID", INCEPTION_SOURCE, INCEPTION_HASH, weights)
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(path)).eval()
    measure = _in_batches(lambda pixels: net(pixels.contiguous())[0])
    return FeatureNet(f"inception-2015-12-05 {INCEPTION_HASH[:4]}", 2048, measure)


def checked_weights(metric: str, source: str, sha256: str, path: str | Path | None = None) -> Path:
    """Finds a file of weights on this disk and checks its hash.

    Args:
        metric: Name of the metric that requires the weights.
        source: URL of the file.
        sha256: First digits of its SHA-256.
        path: Path of the file; the default is the cache of torch.hub.

    Raises:
        FeatureNetError: The file is missing or has another hash.
    """
    path = Path(path) if path else Path(torch.hub.get_dir()) / "checkpoints" / source.rpartition("/")[2]
    if not path.is_file():
        raise FeatureNetError(f"{metric} requires weights that are not here: fetch {source} and put it at {path}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(sha256):
        raise FeatureNetError(
            f"{path} is damaged or is not the net of {metric}: its SHA-256 begins {digest[:8]}, not {sha256}; fetch"
            f" {source} again"
        )
    return path


def pretrained(name: str, weights: str | Path | None = None) -> FeatureNet:
    """Builds DINOv2 or CLIP with transformers; pictures are scaled to 224x224.

    Args:
        name: `dinov2` or `clip`.
        weights: Folder of the net; the default is the cache of the Hugging Face Hub.

    Raises:
        FeatureNetError: The net is not on this disk.
    """
    from transformers import AutoModel

    source = str(weights or TRANSFORMERS[name])
    try:
        model = AutoModel.from_pretrained(source, local_files_only=True).eval()
    except (OSError, ValueError) as error:
        raise FeatureNetError(
            f"{name} is not on this disk: `hf download {source}` stores it in the cache, or name its folder"
        ) from error
    mean, deviation = (torch.tensor(values)[:, None, None] for values in NORMALIZATION[name])

    def measure(pixels: torch.Tensor) -> torch.Tensor:
        images = F.interpolate(pixels.float() / 255, (224, 224), mode="bicubic", antialias=True).clamp(0, 1)
        images = (images - mean) / deviation
        return (model.get_image_features(images) if name == "clip" else model(images)).pooler_output

    dimension = measure(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)).shape[1]
    return FeatureNet(f"{name} {_hash_of(model)}", dimension, _in_batches(measure))


def cache_folder() -> Path:
    """Returns the cache of trained nets: `$CARDSYNTH_CACHE`, or `cardsynth` in the user's cache."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cardsynth"
    return Path(os.environ.get("CARDSYNTH_CACHE", default))


def save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Saves tensors in the cache; does nothing if it is not writable.

    Args:
        tensors: Tensors by name.
        path: Path of the safetensors file.
    """
    with suppress(OSError):
        write_atomically(path, save({name: tensor.contiguous() for name, tensor in tensors.items()}))


def _flipped(cards: Cards) -> Cards:
    """Returns the cards upright, mirrored, upside down, and both; each is a class."""
    pixels = [cards.pixels, cards.pixels.flip(-1), cards.pixels.flip(-2), cards.pixels.flip((-2, -1))]
    labels = torch.arange(4).repeat_interleave(len(cards))
    names = ("as it is", "mirrored", "mirrored on its head", "turned over")
    return replace(cards, pixels=torch.cat(pixels), labels=labels, label_names=names, names=(), darkness=None)


def _in_batches(
    measure: Callable[[torch.Tensor], torch.Tensor], batch_size: int = 32
) -> Callable[[torch.Tensor], torch.Tensor]:
    @torch.inference_mode()
    def measure_all(pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat([measure(batch).double() for batch in pixels[:, :3].split(batch_size)]).clone()

    return measure_all


def _hash_of(net: torch.nn.Module) -> str:
    """Returns four hexadecimal digits that depend on the weights."""
    digest = hashlib.sha256()
    for _, tensor in sorted(net.state_dict().items()):
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:4]
