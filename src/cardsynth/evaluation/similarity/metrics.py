"""How alike two pictures are: MSE, SSIM, LPIPS and the cosine of features, pair by pair."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from cardsynth.evaluation.features import FeatureNet, FeatureNetError

METRICS = ("mse", "ssim", "lpips", "cosine")
SMALLEST = {"mse": 1, "ssim": 11, "lpips": 31, "cosine": 1}  # height and width that a metric takes
ALEXNET = "alexnet-owt-7be5be79.pth"
ALEXNET_SHA256 = "7be5be79"  # its first digits
ALEXNET_SOURCE = f"https://download.pytorch.org/models/{ALEXNET}"
BATCH = 32


def compare_pairs(
    first: torch.Tensor, second: torch.Tensor, metrics: Sequence[str] = ("mse", "ssim"), net: FeatureNet | None = None
) -> dict[str, torch.Tensor]:
    """Each metric of each pair, float64 (N,); pictures are uint8 (N, C, H, W), of which RGB is compared.

    `mse` and `lpips` are distances, 0 for equal pictures; `ssim` and `cosine` are similarities, 1 for equal pictures.
    mse: mean squared error of values in 0 to 1. ssim: Wang et al. 2004, Gaussian window of 11 pixels, mean over RGB and
    over the windows that lie inside (torchmetrics alone also counts those that reach over the edge). lpips: Zhang et
    al. 2018, on AlexNet. cosine: of the features of `net`.
    Raises ValueError for other metrics, for pictures that are not uint8, of unequal shape, or smaller than a metric
    takes (11 pixels for ssim, 31 for lpips), and FeatureNetError where the backbone of LPIPS is not on this disk.
    """
    _check(first, second, metrics, net)
    measures: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
        "mse": lambda one, other: (_scaled(one) - _scaled(other)).square().mean(dim=(1, 2, 3)),
        "ssim": lambda one, other: _ssim(_scaled(one), _scaled(other)),
        "cosine": lambda one, other: F.cosine_similarity(net.measure(one).double(), net.measure(other).double()),
    }
    if "lpips" in metrics:
        measures["lpips"] = _load_lpips()
    batches = list(zip(first.split(BATCH), second.split(BATCH), strict=True))
    found: dict[str, list[torch.Tensor]] = {name: [] for name in metrics}
    for one, other in tqdm(batches, "comparing pairs", unit="batch", disable=len(batches) < 8):
        for name in found:
            found[name].append(measures[name](one, other).double().cpu())
    return {name: torch.cat(values) for name, values in found.items()}


def lpips_backbone() -> Path:
    """Where AlexNet's weights lie, which LPIPS compares pictures by; nothing is downloaded.

    Raises FeatureNetError where they are not in the cache of torch.hub, or not those.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    if not path.is_file():
        raise FeatureNetError(f"LPIPS takes AlexNet's weights: fetch {ALEXNET_SOURCE} and put it at {path}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(ALEXNET_SHA256):
        raise FeatureNetError(
            f"{path} is damaged or not the net that LPIPS means: its SHA-256 begins {digest[:8]}, not {ALEXNET_SHA256};"
            f" fetch {ALEXNET_SOURCE} anew"
        )
    return path


def _check(first: torch.Tensor, second: torch.Tensor, metrics: Sequence[str], net: FeatureNet | None) -> None:
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown or not metrics:
        raise ValueError(f"there is no metric {', '.join(unknown) or '(none given)'}; there are {', '.join(METRICS)}")
    if first.shape != second.shape:
        raise ValueError(
            f"pairs are of one size: {tuple(first.shape)} and {tuple(second.shape)}; read them at one size"
        )
    if first.dim() != 4 or first.shape[1] < 3 or len(first) == 0 or {first.dtype, second.dtype} != {torch.uint8}:
        raise ValueError(
            f"pictures to compare are uint8 (N, 3 or more, H, W), and not {first.dtype} and {second.dtype}"
            f" {tuple(first.shape)}"
        )
    for name in metrics:
        if min(first.shape[2:]) < SMALLEST[name]:
            raise ValueError(
                f"{name} takes pictures of {SMALLEST[name]}x{SMALLEST[name]} (height x width) or more, and these"
                f" measure {first.shape[2]}x{first.shape[3]}; read them larger, or leave {name} out"
            )
    if "cosine" in metrics and net is None:
        raise ValueError(
            "cosine compares features: give a feature net, as evaluation.features.build_features makes one"
        )


def _scaled(pixels: torch.Tensor) -> torch.Tensor:
    return pixels[:, :3].double() / 255


def _ssim(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    from torchmetrics.functional.image import structural_similarity_index_measure

    _, by_pixel = structural_similarity_index_measure(
        one, other, data_range=1.0, reduction="none", return_full_image=True
    )
    edge = SMALLEST["ssim"] // 2  # windows about these pixels reach over the picture's edge, where torchmetrics mirrors
    return by_pixel[..., edge:-edge, edge:-edge].mean(dim=(1, 2, 3))


def _load_lpips() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """LPIPS of pictures uint8 (N, C, H, W) on AlexNet, which is read from disk once."""
    lpips_backbone()
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    net = LearnedPerceptualImagePatchSimilarity(net_type="alex").net

    @torch.inference_mode()
    def measure(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        one, other = (_scaled(pixels).float().cpu() for pixels in (one, other))
        return net(one, other, normalize=True).double().reshape(-1)

    return measure
