"""KID of cards: how far their features lie from those of drawn cards, with an error bar (Binkowski et al. 2018).

The features are those of a judge net trained on drawn cards alone, so no downloaded weights are needed and no generated
card has a say in what counts. They are means of its feature maps at each level: texture, print and damage, not place.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from cardsynth.cards import Cards, normalize, stack_cards
from cardsynth.device import in_threads
from cardsynth.evaluation import agreement, select
from cardsynth.judge import JudgeNet, ask, train_judge
from cardsynth.render import draw_cards

STEPS = 600
GROUPS = 20


@dataclass(frozen=True)
class Ruler:
    """A trained net and the features float64 (N, F) of real cards, each scaled to mean 0 and deviation 1 over them."""

    net: JudgeNet
    mean: torch.Tensor
    deviation: torch.Tensor
    real: torch.Tensor
    accuracy: float


@dataclass(frozen=True)
class Distance:
    """A KID and its standard error; `low` and `high` bound its 95 % interval."""

    value: float
    error: float

    @property
    def low(self) -> float:
        """Lower end of the interval."""
        return self.value - 1.96 * self.error

    @property
    def high(self) -> float:
        """Upper end of the interval."""
        return self.value + 1.96 * self.error


def build_ruler(
    size: tuple[int, int], styles: tuple[str, ...], train_count: int, real_count: int, seed: int, first_seed: int
) -> Ruler:
    """Train the net on `train_count` cards of (height, width), and measure `real_count` others; none is drawn twice."""
    cards = stack_cards(draw_cards(train_count + real_count, size, seed=first_seed, styles=styles))
    shown = select(cards, torch.arange(train_count))
    real = select(cards, torch.arange(train_count, train_count + real_count))
    net = train_judge(shown, steps=STEPS, seed=seed)
    seen = raw_features(net, shown.pixels)
    ruler = Ruler(net, seen.mean(dim=0), seen.std(dim=0).clamp(min=1e-6), torch.empty(0), class_accuracy(net, real))
    return replace(ruler, real=features(ruler, real.pixels))


def class_accuracy(net: JudgeNet, cards: Cards) -> float:
    """Share of cards whose class the net names."""
    return agreement(cards, ask(net, cards)).accuracy or 0.0


def raw_features(net: JudgeNet, pixels: torch.Tensor, batch_size: int = 64) -> torch.Tensor:
    """Means of the net's feature maps at each level, float64 (N, F), for cards uint8 (N, C, H, W)."""

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
    return torch.cat(parts)


def features(ruler: Ruler, pixels: torch.Tensor) -> torch.Tensor:
    """Scaled features float64 (N, F) of cards uint8 (N, C, H, W)."""
    return (raw_features(ruler.net, pixels) - ruler.mean) / ruler.deviation


def squared_mmd(kernel_xx: np.ndarray, kernel_yy: np.ndarray, kernel_xy: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy from the kernel's values (Gretton et al. 2012, equation 3)."""
    m, n = len(kernel_xx), len(kernel_yy)
    within_x = (kernel_xx.sum() - np.trace(kernel_xx)) / (m * (m - 1))
    within_y = (kernel_yy.sum() - np.trace(kernel_yy)) / (n * (n - 1))
    return float(within_x + within_y - 2 * kernel_xy.mean())


def kid(generated: torch.Tensor, real: torch.Tensor, groups: int = GROUPS) -> Distance:
    """KID of features (N, F) and (M, F): cubic kernel, unbiased, over all cards.

    Its error is the jackknife's: the spread of what is found when one of `groups` groups of cards is left out, first
    of the generated, then of the real (Efron & Tibshirani 1993, chapter 11; the two are independent).
    """
    x, y = generated.numpy(), real.numpy()
    kernels = [(a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y))]
    variance = 0.0
    for side in (0, 1):
        count = len((x, y)[side])
        found = []
        for group in range(groups):
            kept = np.arange(count) % groups != group
            of_x, of_y = (kept, np.ones(len(y), bool)) if side == 0 else (np.ones(len(x), bool), kept)
            found.append(
                squared_mmd(
                    kernels[0][np.ix_(of_x, of_x)], kernels[1][np.ix_(of_y, of_y)], kernels[2][np.ix_(of_x, of_y)]
                )
            )
        variance += (groups - 1) * np.var(found)
    return Distance(squared_mmd(*kernels), float(np.sqrt(variance)))
