"""Is a card of its class: accuracy, confusion, precision and recall of what a classifier says of labelled cards."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm.auto import tqdm

from cardsynth.cards.dataset import Cards
from cardsynth.evaluation.metrics import Figure, TooFewCards, share_figure

GRID = [(c, gamma) for c in (1, 10, 100) for gamma in ("scale", 0.001, 0.01, 0.1)]  # of the published classifier
SVC_HEIGHT = 20  # pixels to which cards are made smaller for it
SVC_CARDS = 4000  # that it learns from at most, as the published one did: its time grows with their square


@dataclass(frozen=True)
class ClassFigures:
    """How far a classifier agrees with the labels of cards.

    `confusion` counts cards by label (row) and by what the classifier says (column). precision: the share of the cards
    that it takes for a class that are labelled so; recall: the share of a class's cards that it knows. A class without
    such cards is not named.
    """

    classifier: str
    count: int
    accuracy: Figure
    chance: float
    label_names: tuple[str, ...]
    confusion: list[list[int]]
    precision: dict[str, Figure]
    recall: dict[str, Figure]


def class_figures(
    classifier: str, labels: torch.Tensor, said: torch.Tensor, label_names: Sequence[str]
) -> ClassFigures:
    """Compare labels with what a classifier says, both int64 (N,); raises TooFewCards for no cards."""
    confusion = torch.zeros(len(label_names), len(label_names), dtype=torch.long)
    confusion.index_put_((labels, said), torch.ones(len(labels), dtype=torch.long), accumulate=True)
    right, of_class, taken = confusion.diagonal().tolist(), confusion.sum(dim=1).tolist(), confusion.sum(dim=0).tolist()
    named = list(zip(label_names, right, of_class, taken, strict=True))
    return ClassFigures(
        classifier=classifier,
        count=len(labels),
        accuracy=share_figure(sum(right), len(labels)),
        chance=1 / len(label_names),
        label_names=tuple(label_names),
        confusion=confusion.tolist(),
        precision={name: share_figure(r, total) for name, r, _, total in named if total},
        recall={name: share_figure(r, total) for name, r, total, _ in named if total},
    )


@dataclass(frozen=True)
class VectorClassifier:
    """A support vector classifier of small pictures, with the settings that a validation split chose."""

    model: Pipeline
    c: float
    gamma: str | float
    validation_accuracy: float
    count: int

    @property
    def name(self) -> str:
        """What a figure is printed with."""
        return f"SVC (C {self.c:g}, gamma {self.gamma}, {self.count} cards, chosen on a quarter of them)"

    def say(self, cards: Cards) -> torch.Tensor:
        """The class of each card, int64 (N,)."""
        return torch.from_numpy(self.model.predict(_vectors(cards)))


def train_vector_classifier(cards: Cards, seed: int = 0) -> VectorClassifier:
    """Choose C and gamma from the published grid on a quarter of the cards, then train on all of them.

    Of more than 4,000 cards, 4,000 are drawn. The cards that figures are given for are none of them. Raises TooFewCards
    for fewer than two classes, or four cards of a class.
    """
    counts = torch.bincount(cards.labels)
    counts = counts[counts > 0]
    if len(counts) < 2 or counts.min() < 4:
        raise TooFewCards("a classifier takes two classes, and four cards of each")
    order = torch.randperm(len(cards), generator=torch.Generator().manual_seed(seed))[:SVC_CARDS]
    vectors, labels = _vectors(cards)[order.numpy()], cards.labels[order].numpy()
    split = StratifiedShuffleSplit(1, test_size=0.25, random_state=seed)
    shown, kept = next(split.split(vectors, labels))
    best = (-1.0, *GRID[0])
    for c, gamma in tqdm(GRID, "Choosing the SVC's settings", leave=False):
        accuracy = float(_svc(c, gamma).fit(vectors[shown], labels[shown]).score(vectors[kept], labels[kept]))
        if accuracy > best[0]:
            best = (accuracy, c, gamma)
    accuracy, c, gamma = best
    return VectorClassifier(_svc(c, gamma).fit(vectors, labels), c, gamma, accuracy, len(labels))


def _svc(c: float, gamma: str | float) -> Pipeline:
    return make_pipeline(StandardScaler(), SVC(C=c, gamma=gamma))


def _vectors(cards: Cards) -> np.ndarray:
    """Small pictures as rows, float32 (N, F)."""
    height, width = cards.size
    small = (min(height, SVC_HEIGHT), max(1, round(width * min(height, SVC_HEIGHT) / height)))
    parts = [F.interpolate(part[:, :3].float(), small, mode="area") for part in cards.pixels.split(512)]
    return torch.cat(parts).flatten(1).numpy() / 255
