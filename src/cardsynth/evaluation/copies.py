"""Which generated cards are copies of training cards: nearest neighbours, calibrated on real cards.

A card counts as a near-copy where it lies nearer to a training card than all but one in a hundred of the real cards
that were not trained on. In pixels, two cards are laid over each other as well as they go, so that a copy moved by a
pixel or two is still one.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from cardsynth.evaluation.metrics import Figure, share_figure

TALLEST = 96  # pixels at which cards are compared; taller ones are made smaller first
SHIFT = 2  # pixels that a copy may be moved by, in each direction
CANDIDATES = 4  # training cards that are laid over each card, nearest first by a coarse picture
LEVEL = 0.01  # share of unseen real cards that lie nearer to a training card than the threshold


@dataclass(frozen=True)
class Nearest:
    """The nearest training card of each card: its `index` int64 (N,), and `distance` float (N,)."""

    index: torch.Tensor
    distance: torch.Tensor


@dataclass(frozen=True)
class Copying:
    """How near generated cards lie to training cards, by one distance (`unit` says which).

    `nearest` and `distance` are of each generated card; `median` and `held_out_median` of generated and of unseen real
    cards; below `threshold` a card is a near-copy. `share` of the generated cards are, where `held_out_share` of the
    unseen real cards would be, counted with thresholds from the other half of them.
    """

    unit: str
    nearest: list[int]
    distance: list[float]
    median: float
    held_out_median: float
    threshold: float
    share: Figure
    held_out_share: Figure

    @property
    def alarming(self) -> bool:
        """Whether more cards are near-copies than chance and the calibration can account for."""
        return self.share.low > max(2 * LEVEL, self.held_out_share.high)


def copying(found: Nearest, held_out: Nearest, unit: str) -> Copying:
    """Judge the distances of generated cards by those of real cards that were not trained on."""
    distance, usual = found.distance.double(), held_out.distance.double()
    halves = usual[::2], usual[1::2]
    flagged = sum(int((one < _threshold(other)).sum()) for one, other in (halves, halves[::-1]))
    threshold = _threshold(usual)
    return Copying(
        unit=unit,
        nearest=found.index.tolist(),
        distance=[round(value, 3) for value in distance.tolist()],
        median=round(float(distance.median()), 3),
        held_out_median=round(float(usual.median()), 3),
        threshold=round(threshold, 3),
        share=share_figure(int((distance < threshold).sum()), len(distance)),
        held_out_share=share_figure(flagged, len(usual)),
    )


def _threshold(distances: torch.Tensor) -> float:
    return float(distances.quantile(LEVEL))


def nearest_in_features(features: torch.Tensor, training: torch.Tensor) -> Nearest:
    """The nearest training card by Euclidean distance of features (N, F) and (M, F)."""
    closest = [torch.cdist(part, training).min(dim=1) for part in features.split(256)]
    return Nearest(torch.cat([one.indices for one in closest]), torch.cat([one.values for one in closest]))


def nearest_in_pixels(pixels: torch.Tensor, training: torch.Tensor, progress: bool = True) -> Nearest:
    """The nearest training card by root mean square difference in grey levels (0 to 255), best laid over.

    pixels, training: uint8 (N, C, H, W) and (M, C, H, W), of which RGB is compared. Four candidates a card are found by
    a coarse picture of a quarter of the size.
    """
    shrink = -(-pixels.shape[2] // TALLEST)
    coarse = _vectors(training, 4 * shrink)
    indices, distances = [], []
    bar = tqdm(total=len(pixels), desc="Looking for copies", unit="card", disable=not progress, leave=False)
    with bar:
        for part in pixels.split(128):
            squared = torch.cdist(_vectors(part, 4 * shrink), coarse)
            candidates = squared.topk(min(CANDIDATES, len(training)), largest=False).indices
            shown = _smaller(part, shrink)
            found = torch.stack([_laid_over(shown, _smaller(training[column], shrink)) for column in candidates.T])
            best = found.min(dim=0)
            indices.append(candidates.gather(1, best.indices[:, None])[:, 0])
            distances.append(best.values)
            bar.update(len(part))
    return Nearest(torch.cat(indices), torch.cat(distances))


def _smaller(pixels: torch.Tensor, by: int) -> torch.Tensor:
    return F.avg_pool2d(pixels[:, :3].float(), by)


def _vectors(pixels: torch.Tensor, by: int) -> torch.Tensor:
    """Coarse pictures float (N, F), cell means of `by` pixels, which a shift by a pixel changes little."""
    return _smaller(pixels, by).flatten(1)


def _laid_over(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Least root mean square difference (N,) of pictures (N, 3, H, W) over all shifts of up to SHIFT pixels."""
    height, width = one.shape[2] - 2 * SHIFT, one.shape[3] - 2 * SHIFT
    inner = one[:, :, SHIFT : SHIFT + height, SHIFT : SHIFT + width]
    least = torch.full((len(one),), torch.inf)
    for down in range(2 * SHIFT + 1):
        for across in range(2 * SHIFT + 1):
            moved = other[:, :, down : down + height, across : across + width]
            least = torch.minimum(least, (inner - moved).square().mean(dim=(1, 2, 3)))
    return least.sqrt()
