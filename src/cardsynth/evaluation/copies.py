"""Detection of generated cards that copy training cards: nearest neighbours, calibrated on real cards.

A card is a near-copy if it is closer to a training card than 99 % of the real cards that were not trained on. Distances
in pixels are minimised over small shifts, so that a copy moved by a pixel or two is still detected.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from cardsynth.util.intervals import Figure, share_figure

TALLEST = 96  # pixels; taller cards are reduced before they are compared
SHIFT = 2  # largest shift of a copy in pixels, in each direction
CANDIDATES = 4  # training cards compared with each card, preselected by coarse pictures
LEVEL = 0.01  # share of unseen real cards below the threshold


@dataclass(frozen=True)
class Nearest:
    """The nearest training card of each card.

    Attributes:
        index: Index of the training card, int64 (N,).
        distance: Distance to it, float (N,).
    """

    index: torch.Tensor
    distance: torch.Tensor


@dataclass(frozen=True)
class Copying:
    """Distances from generated cards to training cards, compared with those from unseen real cards.

    Attributes:
        unit: The distance measure.
        nearest: Index of the nearest training card of each generated card.
        distance: Distance of each generated card to it.
        median: Median distance of the generated cards.
        held_out_median: Median distance of the unseen real cards.
        threshold: Distance below which a card is a near-copy.
        share: Share of near-copies among the generated cards.
        held_out_share: Share of near-copies among the unseen real cards, by two-fold cross-validation: each half is
            compared with the threshold of the other half.
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
        """Whether there are more near-copies than chance and the calibration explain."""
        return self.share.low > max(2 * LEVEL, self.held_out_share.high)


def copying(generated: Nearest, held_out: Nearest, unit: str) -> Copying:
    """Compares the distances of generated cards with those of unseen real cards.

    Args:
        generated: Nearest training cards of the generated cards.
        held_out: Nearest training cards of real cards that were not trained on.
        unit: Name of the distance measure.
    """
    distances, real_distances = generated.distance.double(), held_out.distance.double()
    even, odd = real_distances[::2], real_distances[1::2]
    real_copies = int((even < _threshold(odd)).sum()) + int((odd < _threshold(even)).sum())
    threshold = _threshold(real_distances)
    return Copying(
        unit=unit,
        nearest=generated.index.tolist(),
        distance=[round(distance, 3) for distance in distances.tolist()],
        median=round(float(distances.median()), 3),
        held_out_median=round(float(real_distances.median()), 3),
        threshold=round(threshold, 3),
        share=share_figure(int((distances < threshold).sum()), len(distances)),
        held_out_share=share_figure(real_copies, len(real_distances)),
    )


def _threshold(distances: torch.Tensor) -> float:
    return float(distances.quantile(LEVEL))


def nearest_in_features(features: torch.Tensor, training: torch.Tensor, own: torch.Tensor | None = None) -> Nearest:
    """Finds the nearest training card by Euclidean distance.

    Args:
        features: Shape (N, F).
        training: Shape (M, F).
        own: Index of each card among the training cards, int64 (N,), which is skipped; None if no card is among them.
    """
    closest = []
    for rows in torch.arange(len(features)).split(256):
        distances = torch.cdist(features[rows], training)
        if own is not None:
            distances.scatter_(1, own[rows, None], torch.inf)
        closest.append(distances.min(dim=1))
    return Nearest(torch.cat([batch.indices for batch in closest]), torch.cat([batch.values for batch in closest]))


def nearest_in_pixels(pixels: torch.Tensor, training: torch.Tensor, progress: bool = True) -> Nearest:
    """Finds the nearest training card by root mean square difference in grey levels (0 to 255), over small shifts.

    Coarse pictures of a quarter of the size select four candidates for each card.

    Args:
        pixels: Cards, uint8 (N, C, H, W); only RGB is compared.
        training: Training cards, uint8 (M, C, H, W).
        progress: Whether to show a progress bar.
    """
    factor = -(-pixels.shape[2] // TALLEST)
    coarse_training = _reduced(training, 4 * factor).flatten(1)
    indices, distances = [], []
    with tqdm(total=len(pixels), desc="Looking for copies", unit="card", disable=not progress, leave=False) as bar:
        for batch in pixels.split(128):
            apart = torch.cdist(_reduced(batch, 4 * factor).flatten(1), coarse_training)
            candidates = apart.topk(min(CANDIDATES, len(training)), largest=False).indices
            cards = _reduced(batch, factor)
            differences = [_least_difference(cards, _reduced(training[column], factor)) for column in candidates.T]
            best = torch.stack(differences).min(dim=0)
            indices.append(candidates.gather(1, best.indices[:, None])[:, 0])
            distances.append(best.values)
            bar.update(len(batch))
    return Nearest(torch.cat(indices), torch.cat(distances))


def _reduced(pixels: torch.Tensor, factor: int) -> torch.Tensor:
    return F.avg_pool2d(pixels[:, :3].float(), factor)


def _least_difference(pictures: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Returns the least root mean square difference (N,) of pictures (N, 3, H, W) over all shifts up to SHIFT."""
    height, width = pictures.shape[2] - 2 * SHIFT, pictures.shape[3] - 2 * SHIFT
    inner = pictures[:, :, SHIFT : SHIFT + height, SHIFT : SHIFT + width]
    least = torch.full((len(pictures),), torch.inf)
    for top in range(2 * SHIFT + 1):
        for left in range(2 * SHIFT + 1):
            shifted = others[:, :, top : top + height, left : left + width]
            least = torch.minimum(least, (inner - shifted).square().mean(dim=(1, 2, 3)))
    return least.sqrt()
