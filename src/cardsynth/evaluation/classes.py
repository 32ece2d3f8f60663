"""Agreement between the labels of cards and a classifier: accuracy, confusion matrix, precision and recall."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from cardsynth.cards.dataset import Cards
from cardsynth.util.intervals import Figure, TooFewSamplesError, share_figure

GRID = {"svc__C": (1, 10, 100), "svc__gamma": ("scale", 0.001, 0.01, 0.1)}  # of the published classifier
SVC_HEIGHT = 20  # pixels; cards are reduced to this height
SVC_CARDS = 4000  # largest training set, as published; the training time grows with its square


@dataclass(frozen=True)
class ClassFigures:
    """Agreement of a classifier with the labels of cards.

    Attributes:
        classifier: Name of the classifier.
        count: Number of cards.
        accuracy: Share of cards whose predicted class equals the label.
        chance: Accuracy of guessing.
        label_names: Names of the classes.
        confusion: Counts of cards by label (row) and predicted class (column).
        precision: For each predicted class, the share of its cards with this label.
        recall: For each label, the share of its cards that are predicted so.
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
    classifier: str, labels: torch.Tensor, predicted: torch.Tensor, label_names: Sequence[str]
) -> ClassFigures:
    """Compares labels with predicted classes.

    Args:
        classifier: Name of the classifier.
        labels: Labels of the cards, int64 (N,).
        predicted: Predicted classes, int64 (N,).
        label_names: Names of the classes.

    Raises:
        TooFewSamplesError: There are no cards.
    """
    accuracy = share_figure(int((labels == predicted).sum()), len(labels))
    confusion = confusion_matrix(labels.numpy(), predicted.numpy(), labels=range(len(label_names)))

    def shares(totals: np.ndarray) -> dict[str, Figure]:
        counts = zip(label_names, confusion.diagonal().tolist(), totals.tolist(), strict=True)
        return {name: share_figure(correct, total) for name, correct, total in counts if total}

    return ClassFigures(
        classifier=classifier,
        count=len(labels),
        accuracy=accuracy,
        chance=1 / len(label_names),
        label_names=tuple(label_names),
        confusion=confusion.tolist(),
        precision=shares(confusion.sum(axis=0)),
        recall=shares(confusion.sum(axis=1)),
    )


@dataclass(frozen=True)
class VectorClassifier:
    """A support vector classifier of reduced pictures.

    Attributes:
        model: The fitted classifier.
        c: Regularisation parameter chosen on the validation split.
        gamma: Kernel coefficient chosen on the validation split.
        validation_accuracy: Accuracy on the validation split with these parameters, 0 to 1.
        count: Number of training cards.
    """

    model: Pipeline
    c: float
    gamma: str | float
    validation_accuracy: float
    count: int

    @property
    def name(self) -> str:
        """Name printed beside the figures."""
        return f"SVC (C {self.c:g}, gamma {self.gamma}, {self.count} cards, chosen on a quarter of them)"

    def predict(self, cards: Cards) -> torch.Tensor:
        """Returns the predicted class of each card, int64 (N,)."""
        return torch.from_numpy(self.model.predict(_vectors(cards)))


def train_vector_classifier(cards: Cards, seed: int = 0) -> VectorClassifier:
    """Trains a support vector classifier; a quarter of the cards selects C and gamma from the published grid.

    Args:
        cards: Training cards with labels; at most 4,000 of them are used. Do not test the classifier on them.
        seed: Seed of the sample and of the split.

    Raises:
        TooFewSamplesError: There are fewer than two classes, or fewer than four cards in a class.
    """
    counts = torch.bincount(cards.labels)
    counts = counts[counts > 0]
    if len(counts) < 2 or counts.min() < 4:
        raise TooFewSamplesError("a support vector classifier requires two classes and four cards of each")
    order = torch.randperm(len(cards), generator=torch.Generator().manual_seed(seed))[:SVC_CARDS]
    split = StratifiedShuffleSplit(1, test_size=0.25, random_state=seed)
    search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), GRID, cv=split)
    search.fit(_vectors(cards)[order.numpy()], cards.labels[order].numpy())
    c, gamma = (search.best_params_[name] for name in GRID)
    return VectorClassifier(search.best_estimator_, c, gamma, float(search.best_score_), len(order))


def _vectors(cards: Cards) -> np.ndarray:
    """Returns reduced pictures as rows, float32 (N, F)."""
    height, width = cards.size
    reduced_height = min(height, SVC_HEIGHT)
    size = (reduced_height, max(1, round(width * reduced_height / height)))
    batches = [F.interpolate(batch[:, :3].float(), size, mode="area") for batch in cards.pixels.split(512)]
    return torch.cat(batches).flatten(1).numpy() / 255
