"""How alike two pictures are: MSE, SSIM, LPIPS and the cosine of features, pair by pair."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from cardsynth.features import FeatureNet, FeatureNetError

METRICS = ("mse", "ssim", "lpips", "cosine")
ALEXNET = "alexnet-owt-7be5be79.pth"
ALEXNET_SOURCE = f"https://download.pytorch.org/models/{ALEXNET}"


def compare_pairs(
    first: torch.Tensor, second: torch.Tensor, metrics: Sequence[str] = ("mse", "ssim"), net: FeatureNet | None = None
) -> dict[str, torch.Tensor]:
    """Each metric of each pair, float64 (N,); pictures are uint8 (N, C, H, W), of which RGB is compared.

    `mse` and `lpips` are distances, 0 for equal pictures; `ssim` and `cosine` are similarities, 1 for equal pictures.
    mse: mean squared error of values in 0 to 1. ssim: Wang et al. 2004, window of 11. lpips: Zhang et al. 2018, on
    AlexNet. cosine: of the features of `net`. Raises ValueError for other metrics or shapes, FeatureNetError where the
    backbone of LPIPS is not on this disk.
    """
    unknown = sorted(set(metrics) - set(METRICS))
    if unknown or not metrics:
        raise ValueError(f"there is no metric {', '.join(unknown) or '(none given)'}; there are {', '.join(METRICS)}")
    if first.shape != second.shape:
        raise ValueError(f"pairs are of one size: {tuple(first.shape)} and {tuple(second.shape)}")
    if "cosine" in metrics and net is None:
        raise ValueError("cosine compares features: give a feature net")
    one, other = (pixels[:, :3].double() / 255 for pixels in (first, second))
    measures: dict[str, Callable[[], torch.Tensor]] = {
        "mse": lambda: (one - other).square().mean(dim=(1, 2, 3)),
        "ssim": lambda: _ssim(one, other),
        "lpips": lambda: _lpips(one.float(), other.float()),
        "cosine": lambda: F.cosine_similarity(net.measure(first), net.measure(second)),
    }
    return {name: measures[name]() for name in metrics}


def _ssim(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    from torchmetrics.functional.image import structural_similarity_index_measure

    return structural_similarity_index_measure(one, other, data_range=1.0, reduction="none").reshape(-1)


def _lpips(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    backbone = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    if not backbone.is_file():
        raise FeatureNetError(f"LPIPS takes AlexNet's weights: fetch {ALEXNET_SOURCE} and put it at {backbone}")
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

    pairs = zip(one.split(1), other.split(1), strict=True)
    with torch.inference_mode():
        found = [learned_perceptual_image_patch_similarity(a, b, net_type="alex", normalize=True) for a, b in pairs]
    return torch.stack(found).double().reshape(-1).clone()
