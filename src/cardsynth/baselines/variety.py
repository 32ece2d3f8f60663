"""Variety of generated cards relative to real ones: the mean difference of two cards of one class."""

import numpy as np
import torch
import torch.nn.functional as F

from cardsynth.baselines.model import BaselineModel
from cardsynth.cards.dataset import Cards

LONGEST_SIDE = 40  # of a card, in pixels, where cards are compared
PAIRS = 48  # of cards that are compared
FIRST_SEED = 900_000_000  # of the generated ones: seeds that nobody looks at


def small_vectors(pixels: torch.Tensor) -> torch.Tensor:
    """Colours of downscaled cards: uint8 (N, C, H, W) -> float32 (N, F) in 0 to 255."""
    factor = max(1, max(pixels.shape[2:]) // LONGEST_SIDE)
    return F.avg_pool2d(pixels[:, :3].float(), factor).flatten(1)


def pair_distance(pixels: torch.Tensor) -> float:
    """Mean root-mean-square difference, in grey levels, of cards 1 and 2, 3 and 4, and so on."""
    vectors = small_vectors(pixels)
    return (vectors[::2] - vectors[1::2]).square().mean(dim=1).sqrt().mean().item()


class VarietyProbe:
    """Measures the variety of a model's cards: the difference of pairs of one class, divided by that of real pairs.

    A collapsed generator, whose cards depend on nothing but their class, has a variety near 0; real cards have 1. The
    pairs are always the same.
    """

    def __init__(self, cards: Cards, seed: int = 0) -> None:
        random, labels = np.random.default_rng([seed, 3]), cards.labels.cpu().numpy()
        members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        members = [of_class for of_class in members if len(of_class) > 1] or [np.arange(len(cards))]
        pairs = [random.choice(members[number % len(members)], 2, replace=False) for number in range(PAIRS)]
        places = torch.from_numpy(np.concatenate(pairs))
        pixels, chosen = cards.batch(places, "cpu")
        self._labels = [cards.label_names[label] if cards.label_names else None for label in chosen.tolist()]
        self._real = max(pair_distance(pixels), 1e-6)

    def measure(self, model: BaselineModel) -> float:
        """Variety of a model's cards relative to real ones, about 0 to 1."""
        latents = model.seed_latents(range(FIRST_SEED, FIRST_SEED + 2 * PAIRS))
        return pair_distance(model.decode(latents, model.class_weights(self._labels))) / self._real
