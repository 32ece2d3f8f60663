"""Similarity of pairs of pictures: MSE, SSIM, LPIPS and the cosine of features."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from cardsynth.evaluation.features import FeatureNet, checked_weights

METRICS = ("mse", "ssim", "lpips", "cosine")
SMALLEST = {"mse": 1, "ssim": 11, "lpips": 31, "cosine": 1}  # least height and width in pixels
ALEXNET_SHA256 = "7be5be79"  # first digits of the file's SHA-256
ALEXNET = f"alexnet-owt-{ALEXNET_SHA256}.pth"
ALEXNET_SOURCE = f"https://download.pytorch.org/models/{ALEXNET}"
BATCH = 32


def compare_pairs(
    first: torch.Tensor, second: torch.Tensor, metrics: Sequence[str] = ("mse", "ssim"), net: FeatureNet | None = None
) -> dict[str, torch.Tensor]:
    """Computes each metric of each pair of pictures, on RGB.

    `mse` and `lpips` are distances, 0 for equal pictures; `ssim` and `cosine` are similarities, 1 for equal pictures.

    * `mse`: mean squared error of values in 0 to 1.
    * `ssim`: Wang et al. 2004 with a Gaussian window of 11 pixels, averaged over RGB and over the windows inside the
      picture (torchmetrics also counts windows that cross the edge).
    * `lpips`: Zhang et al. 2018, on AlexNet.
    * `cosine`: of the features of `net`.

    Args:
        first: First pictures, uint8 (N, C, H, W).
        second: Second pictures, of the same shape.
        metrics: Names of the metrics.
        net: Feature net for `cosine`.

    Returns:
        For each metric, values of shape (N,), float64.

    Raises:
        ValueError: A metric is unknown, or the pictures are not uint8, differ in shape, or are smaller than a metric
            requires (11 pixels for ssim, 31 for lpips).
        FeatureNetError: The weights of LPIPS are not on this disk.
    """
    _check(first, second, metrics, net)
    measures: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
        "mse": lambda first, second: (_scaled(first) - _scaled(second)).square().mean(dim=(1, 2, 3)),
        "ssim": _ssim,
        "cosine": lambda first, second: F.cosine_similarity(net.measure(first), net.measure(second)),
    }
    if "lpips" in metrics:
        measures["lpips"] = _load_lpips()
    batches = list(zip(first.split(BATCH), second.split(BATCH), strict=True))
    values: dict[str, list[torch.Tensor]] = {name: [] for name in metrics}
    for batch in tqdm(batches, "comparing pairs", unit="batch", disable=len(batches) < 8):
        for name in values:
            values[name].append(measures[name](*batch).double().cpu())
    return {name: torch.cat(parts) for name, parts in values.items()}


def lpips_backbone() -> Path:
    """Returns the file of AlexNet's weights, which LPIPS requires, in the cache of torch.hub.

    Raises:
        FeatureNetError: The file is missing or damaged; nothing is downloaded.
    """
    return checked_weights("LPIPS (AlexNet)", ALEXNET_SOURCE, ALEXNET_SHA256)


def _check(first: torch.Tensor, second: torch.Tensor, metrics: Sequence[str], net: FeatureNet | None) -> None:
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown or not metrics:
        names = ", ".join(unknown) or "(none given)"
        raise ValueError(f"there is no metric {names}; choose from {', '.join(METRICS)}")
    shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
    if first.shape != second.shape:
        raise ValueError(f"the pictures of a pair must have one size, and have {shapes}; read them at one size")
    if first.dim() != 4 or first.shape[1] < 3 or len(first) == 0 or {first.dtype, second.dtype} != {torch.uint8}:
        raise ValueError(
            f"the pictures must be uint8 (N, 3 or more, H, W), and are {first.dtype} and {second.dtype} {shapes}"
        )
    height, width = first.shape[2:]
    for name in metrics:
        if min(height, width) < SMALLEST[name]:
            raise ValueError(
                f"{name} requires pictures of at least {SMALLEST[name]}x{SMALLEST[name]} pixels, and these measure"
                f" {height}x{width} (height x width); read them larger, or leave out {name}"
            )
    if "cosine" in metrics and net is None:
        raise ValueError("cosine requires a feature net; evaluation.features.build_features builds one")


def _scaled(pixels: torch.Tensor) -> torch.Tensor:
    return pixels[:, :3].double() / 255


def _ssim(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    from torchmetrics.functional.image import structural_similarity_index_measure

    _, by_pixel = structural_similarity_index_measure(
        _scaled(first), _scaled(second), data_range=1.0, reduction="none", return_full_image=True
    )
    edge = SMALLEST["ssim"] // 2  # windows around these pixels cross the edge, where torchmetrics pads by reflection
    return by_pixel[..., edge:-edge, edge:-edge].mean(dim=(1, 2, 3))


def _load_lpips() -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Returns LPIPS on AlexNet for pictures uint8 (N, C, H, W)."""
    lpips_backbone()
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    net = LearnedPerceptualImagePatchSimilarity(net_type="alex").net

    @torch.inference_mode()
    def measure(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        first, second = (_scaled(pixels).float().cpu() for pixels in (first, second))
        return net(first, second, normalize=True).double().reshape(-1)

    return measure
