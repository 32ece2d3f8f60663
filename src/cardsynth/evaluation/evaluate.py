"""Evaluation of generated cards: distance to real cards, variety, classes, masks and copies.

Every figure has a 95% confidence interval and is accompanied by the same figure of real cards that the generator has
not seen. No generator can be better than those, except by chance.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.evaluation.classes import ClassFigures, class_figures, train_vector_classifier
from cardsynth.evaluation.copies import Copying, copying, nearest_in_features, nearest_in_pixels
from cardsynth.evaluation.features import FeatureNet, build_features, cardnet, known_judge
from cardsynth.evaluation.judge import Verdict, ask
from cardsynth.evaluation.masks import MaskFigures, clean_classes, mask_figures
from cardsynth.evaluation.metrics import frechet_distance, kernel_distance, manifold
from cardsynth.util.files import write_atomically
from cardsynth.util.intervals import Figure, TooFewSamplesError

MOST = 5000  # cards of a set whose features are compared; memory grows with the square
LEAST = 8  # smallest set of cards that can be evaluated
MANIFOLD = ("precision", "recall", "density", "coverage")


@dataclass(frozen=True)
class Distance:
    """A distance between two sets of features.

    Attributes:
        name: Name of the distance, such as KID.
        net: The feature net with its dimension, both counts and the size of the cards.
        generated: Figure of the generated cards; None if it was refused.
        floor: Figure of real cards, at the same counts.
        refused: Why there is no figure; empty if there is one.
    """

    name: str
    net: str
    generated: Figure | None
    floor: Figure | None
    refused: str = ""


@dataclass(frozen=True)
class ClassComparison:
    """Agreement of one classifier with the labels of generated cards, and of real held-out cards."""

    generated: ClassFigures
    held_out: ClassFigures


@dataclass(frozen=True)
class Evaluation:
    """All figures of generated cards.

    Attributes:
        counts: Numbers of `real`, `generated` and `held_out` cards.
        size: Height and width of the cards in pixels.
        label_names: Classes of the real cards.
        missing: Classes of the real cards without any generated card.
        how: The real cards that the figures are compared with.
        seed: Seed of the evaluation.
        distances: Distances and overlap of features.
        classes: Figures of each classifier; empty without labels.
        masks: Figures of the generated cards' masks; None without masks.
        held_out_masks: Figures of the real held-out cards' masks.
        copies: Near-copies by pixels and by features.
    """

    counts: dict[str, int]
    size: tuple[int, int]
    label_names: tuple[str, ...]
    missing: tuple[str, ...]
    how: str
    seed: int
    distances: tuple[Distance, ...]
    classes: tuple[ClassComparison, ...]
    masks: MaskFigures | None
    held_out_masks: MaskFigures | None
    copies: tuple[Copying, ...]

    def distance(self, name: str) -> Distance:
        """Returns the distance of that name, such as KID."""
        return next(distance for distance in self.distances if distance.name == name)

    def save(self, path: str | Path, **context: object) -> None:
        """Writes the figures as JSON with six digits.

        Args:
            path: Path of the file.
            context: Further entries, such as the machine and the model.
        """
        values = _rounded({**context, **asdict(self)})
        write_atomically(Path(path), (json.dumps(values, indent=2) + "\n").encode())


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list | tuple) else value


def select(cards: Cards, indices: torch.Tensor) -> Cards:
    """Returns the cards at these indices, in this order.

    Args:
        cards: Cards to select from.
        indices: int64 (N,).
    """
    names = tuple(cards.names[index] for index in indices.tolist()) if cards.names else ()
    darkness = None if cards.darkness is None else cards.darkness[indices]
    return replace(cards, pixels=cards.pixels[indices], labels=cards.labels[indices], names=names, darkness=darkness)


def shuffled(cards: Cards, seed: int) -> Cards:
    """Returns all cards in random order."""
    return select(cards, torch.randperm(len(cards), generator=torch.Generator().manual_seed(seed)))


def relabel(cards: Cards, label_names: tuple[str, ...]) -> Cards:
    """Returns the cards with labels that index another list of classes.

    Args:
        cards: Cards to relabel.
        label_names: The new list of classes.

    Raises:
        CardError: A class of the cards is not in the list.
    """
    unknown = [name for name in cards.label_names if name not in label_names]
    if unknown:
        raise CardError(
            f"{cards.source} has the classes {', '.join(unknown)}, which the real cards lack"
            f" ({', '.join(label_names) or 'no classes'}); evaluate against the cards that the model was trained on"
        )
    numbers = torch.tensor([label_names.index(name) for name in cards.label_names] or [0])
    return replace(cards, labels=numbers[cards.labels], label_names=label_names)


@dataclass(frozen=True)
class RealCards:
    """The real cards of an evaluation, by role.

    Attributes:
        training: The cards that the generator was trained on.
        known: The judge, the feature net and the support vector classifier learn from these cards.
        unseen: Neither the nets nor the generator were trained on these; their figures are the standard.
        reference: Distances are measured to these cards.
        floor: Their distance to the reference is the floor.
        copy_sources: Training cards among which the nearest neighbours of the unseen cards are sought.
        description: Description of the unseen cards.
    """

    training: Cards
    known: Cards
    unseen: Cards
    reference: Cards
    floor: Cards
    copy_sources: Cards
    description: str


def evaluate(
    training: Cards,
    generated: Cards,
    held_out: Cards | None = None,
    net: str = "cardnet",
    weights: str | Path | None = None,
    seed: int = 0,
    learn_from: Cards | None = None,
    support_vectors: bool = True,
) -> Evaluation:
    """Evaluates generated cards by comparison with real cards; all cards must have one size.

    Args:
        training: Real cards that the generator was trained on.
        generated: Generated cards. Unlabelled ones get the labels that the judge predicts, and no figures of classes.
        held_out: Real cards that the generator has not seen. By default, a fifth of the training cards is withheld
            from the classifiers, and distances are measured between halves of the training cards.
        net: Feature net for the distances; see `features.build_features`.
        weights: Weights of the feature net.
        seed: Seed of all random choices.
        learn_from: Cards that judge and feature net learn from, instead of the training cards. Use them to compare
            models with different training cards; requires `held_out`.
        support_vectors: Whether to train a support vector classifier too.

    Raises:
        CardError: Cards differ in size, are fewer than 8, or have classes that the training cards lack.
        FeatureNetError: The weights of the feature net are missing.
    """
    _check(training, generated, held_out, learn_from)
    if held_out:
        real = _with_held_out(training, held_out, learn_from or training, seed)
    else:
        real = _split(training, learn_from or training, seed)
    distance_net = None if net == "cardnet" else build_features(net, real.known, seed, weights)
    judge = known_judge(real.known, seed)
    judge_net = cardnet(judge, real.known)

    names, verdict = real.known.label_names, ask(judge, generated)
    labelled = bool(generated.label_names) or not names
    generated = relabel(generated, names) if labelled else replace(generated, labels=verdict.labels, label_names=names)
    judged = [(generated, verdict), (real.unseen, ask(judge, real.unseen))]

    masks, held_out_masks = _masks(learn_from or training, judged)
    return Evaluation(
        counts={"real": len(training), "generated": len(generated), "held_out": len(real.unseen)},
        size=training.size,
        label_names=names,
        missing=tuple(name for name, count in generated.class_counts.items() if not count),
        how=real.description,
        seed=seed,
        distances=tuple(_distances(distance_net or judge_net, shuffled(generated, seed), real, labelled)),
        classes=tuple(_classes(real.known, judged, seed, support_vectors)) if labelled and len(names) > 1 else (),
        masks=masks,
        held_out_masks=held_out_masks,
        copies=_copies(judge_net, generated, real),
    )


def _check(training: Cards, *others: Cards | None) -> None:
    for cards in (training, *(cards for cards in others if cards is not None)):
        name = cards.source or "the cards"
        if len(cards) < LEAST:
            raise CardError(f"{name}: {len(cards)} cards are too few for an evaluation, which requires {LEAST}")
        if cards.size != training.size:
            raise CardError(f"{name} measures {cards.size}, not {training.size} (height, width); read them at one size")


def _with_held_out(training: Cards, held_out: Cards, known: Cards, seed: int) -> RealCards:
    unseen = relabel(held_out, known.label_names)
    return RealCards(
        training=training,
        known=known,
        unseen=unseen,
        reference=shuffled(unseen, seed),
        floor=shuffled(known, seed),
        copy_sources=training,
        description=f"{len(unseen)} real cards that the generator has not seen",
    )


def _split(training: Cards, known: Cards, seed: int) -> RealCards:
    """Withholds a fifth of the cards from nets and classifiers, and halves all cards for the distances."""
    mixed = shuffled(known, seed)
    fifth, half, indices = len(mixed) // 5, len(mixed) // 2, torch.arange(len(mixed))
    learned = select(mixed, indices[fifth:])
    return RealCards(
        training=training,
        known=learned,
        unseen=select(mixed, indices[:fifth]),
        reference=select(mixed, indices[half:]),
        floor=select(mixed, indices[:half]),
        copy_sources=learned,
        description=(
            f"a fifth of the real cards ({fifth}) to judge by, and one half of them ({len(mixed) - half}) for distances"
        ),
    )


def _masks(real: Cards, judged: Sequence[tuple[Cards, Verdict]]) -> list[MaskFigures | None]:
    """Returns the figures of each set of cards, by the predictions of the judge; None unless all cards have masks."""
    if not all(cards.has_mask for cards in (real, *(cards for cards, _ in judged))):
        return [None] * len(judged)
    clean = clean_classes(real)
    return [mask_figures(cards, verdict.masks, clean) for cards, verdict in judged]


def _distances(net: FeatureNet, generated: Cards, real: RealCards, by_class: bool) -> Iterable[Distance]:
    """Yields distances from generated cards, and from equally many real cards, to the reference.

    Args:
        net: The feature net.
        generated: Generated cards in random order.
        real: The real cards.
        by_class: Whether the class counts of the generated cards were fixed, rather than random.
    """
    reference = _first_of_classes(real.reference, torch.bincount(real.reference.labels[:MOST]))
    sides = generated, real.floor
    if by_class:
        classes = len(generated.label_names) or 1
        counts = torch.minimum(*(torch.bincount(cards.labels[:MOST], minlength=classes) for cards in sides))
        generated, floor = (_first_of_classes(cards, counts) for cards in sides)
    else:
        generated, floor = (select(cards, torch.arange(min(*map(len, sides), MOST))) for cards in sides)
    features = [net.measure(cards.pixels) for cards in (generated, floor)]
    reference_features = net.measure(reference.pixels)
    labels = generated.labels if by_class else None
    tag = net.tag(len(generated), len(reference), generated.size)

    def compare(names: Sequence[str], measure: Callable[[torch.Tensor], Iterable[Figure]]) -> Iterable[Distance]:
        try:
            figures = zip(*(measure(side) for side in features), strict=True)
            return [Distance(name, tag, *pair) for name, pair in zip(names, figures, strict=True)]
        except TooFewSamplesError as error:
            return [Distance(name, tag, None, None, str(error)) for name in names]

    frechet = "FID" if net.name.startswith("inception") else "FD"
    yield from compare([frechet], lambda side: [frechet_distance(side, reference_features)])
    yield from compare(["KID"], lambda side: [kernel_distance(side, reference_features, labels, reference.labels)])
    yield from compare(MANIFOLD, lambda side: vars(manifold(side, reference_features)).values())


def _first_of_classes(cards: Cards, counts: torch.Tensor) -> Cards:
    """Returns the first cards of each class, as many as `counts` (C,) says, sorted by class."""
    chosen = [torch.nonzero(cards.labels == label).flatten()[:count] for label, count in enumerate(counts.tolist())]
    return select(cards, torch.cat(chosen))


def _classes(
    known: Cards, judged: Sequence[tuple[Cards, Verdict]], seed: int, support_vectors: bool
) -> Iterable[ClassComparison]:
    """Yields the figures of the judge, and of a support vector classifier if there are enough cards to train it."""

    def compare(classifier: str, predictions: Iterable[torch.Tensor]) -> ClassComparison:
        pairs = zip((cards.labels for cards, _ in judged), predictions, strict=True)
        return ClassComparison(*(class_figures(classifier, *pair, known.label_names) for pair in pairs))

    yield compare(f"convolutional net ({len(known)} cards)", (verdict.labels for _, verdict in judged))
    if support_vectors:
        with suppress(TooFewSamplesError):
            classifier = train_vector_classifier(known, seed)
            yield compare(classifier.name, (classifier.predict(cards) for cards, _ in judged))


def _copies(net: FeatureNet, generated: Cards, real: RealCards) -> tuple[Copying, Copying]:
    """Returns near-copies by pixels and by features."""
    by_pixels = copying(
        nearest_in_pixels(generated.pixels, real.training.pixels),
        nearest_in_pixels(real.unseen.pixels, real.copy_sources.pixels),
        "grey levels, root mean square",
    )
    training = net.measure(real.training.pixels)
    sources = training if real.copy_sources is real.training else net.measure(real.copy_sources.pixels)
    by_features = copying(
        nearest_in_features(net.measure(generated.pixels), training),
        nearest_in_features(net.measure(real.unseen.pixels), sources),
        f"features of {net.name}",
    )
    return by_pixels, by_features
