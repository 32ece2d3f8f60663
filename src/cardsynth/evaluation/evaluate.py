"""How good are generated cards: how close to real ones, how varied, of their class, under their masks, and not copied.

Every figure has an interval of 95 %, and beside it stands the same figure of real cards that the generator has not
seen: no generator can do better, but by chance.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.evaluation.classes import ClassFigures, class_figures, train_vector_classifier
from cardsynth.evaluation.copies import Copying, copying, nearest_in_features, nearest_in_pixels
from cardsynth.evaluation.features import FeatureNet, build_features, cardnet, known_judge
from cardsynth.evaluation.judge import Verdict, ask
from cardsynth.evaluation.masks import MaskFigures, clean_classes, mask_figures
from cardsynth.evaluation.metrics import Figure, TooFewCards, frechet_distance, kernel_distance, manifold
from cardsynth.util.files import write_atomically

MOST = 5000  # cards of a set whose features are compared: memory grows with the square
LEAST = 8  # cards of a set that are judged at all


@dataclass(frozen=True)
class Distance:
    """A figure of two sets of features, and its floor, that of real cards against real cards, at the same counts.

    `net` names the feature net, with its dimension, both counts and the size. Where there is no figure, `refused` says
    why.
    """

    name: str
    net: str
    generated: Figure | None
    floor: Figure | None
    refused: str = ""


@dataclass(frozen=True)
class Beside:
    """What a classifier says of generated cards, and of real held-out ones."""

    generated: ClassFigures
    held_out: ClassFigures


@dataclass(frozen=True)
class Evaluation:
    """All figures of generated cards; `classes`, `masks` and `held_out_masks` are empty for cards without them.

    missing: classes of the real cards that none of the generated ones has.
    """

    counts: dict[str, int]
    size: tuple[int, int]
    label_names: tuple[str, ...]
    missing: tuple[str, ...]
    how: str
    seed: int
    distances: tuple[Distance, ...]
    classes: tuple[Beside, ...]
    masks: MaskFigures | None
    held_out_masks: MaskFigures | None
    copies: tuple[Copying, ...]

    def distance(self, name: str) -> Distance:
        """The figure of a name, like KID."""
        return next(one for one in self.distances if one.name == name)

    def save(self, path: str | Path, **others: Any) -> None:
        """Write the figures as JSON, with what else is known of them (machine, model)."""
        values = _rounded({**others, **asdict(self)})
        write_atomically(Path(path), (json.dumps(values, indent=2) + "\n").encode())


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list | tuple) else value


def select(cards: Cards, indices: torch.Tensor) -> Cards:
    """The cards at these indices, in their order."""
    names = tuple(cards.names[index] for index in indices.tolist()) if cards.names else ()
    darkness = None if cards.darkness is None else cards.darkness[indices]
    return replace(cards, pixels=cards.pixels[indices], labels=cards.labels[indices], names=names, darkness=darkness)


def shuffled(cards: Cards, seed: int) -> Cards:
    """All cards, in an order that a seed draws."""
    return select(cards, torch.randperm(len(cards), generator=torch.Generator().manual_seed(seed)))


def relabel(cards: Cards, label_names: tuple[str, ...]) -> Cards:
    """Cards with their labels counted in another list of classes; raises CardError for one that is not in it."""
    unknown = [name for name in cards.label_names if name not in label_names]
    if unknown:
        raise CardError(
            f"{cards.source} has the classes {', '.join(unknown)}, which the real cards have not"
            f" ({', '.join(label_names) or 'no classes'}); evaluate against the cards that the model was trained on"
        )
    places = torch.tensor([label_names.index(name) for name in cards.label_names] or [0])
    return replace(cards, labels=places[cards.labels], label_names=label_names)


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
    """Judge generated cards by real ones: those that the generator was trained on, and others that it has not seen.

    Without `held_out`, a fifth of the training cards is kept from the classifiers, to test them and to calibrate the
    search for copies, and the distances are to one half of the training cards, their floor that of the other half. net,
    weights: what measures distances, as of `features.build_features`. learn_from: cards that judge and feature net
    learn from instead of the training cards, so that models trained on other cards are judged alike; it takes
    `held_out`. support_vectors: ask a support vector classifier too. Generated cards without labels are taken for what
    the judge takes them for, and get no figures of classes. All cards are of one (height, width). Raises CardError for
    other sizes, fewer than 8 cards or classes that the training cards do not have, and FeatureNetError for a net that
    is not here.
    """
    given = [cards for cards in (held_out, learn_from) if cards is not None]
    for cards in (training, generated, *given):
        if len(cards) < LEAST:
            raise CardError(f"{cards.source or 'the cards'}: {len(cards)} cards cannot be judged; it takes {LEAST}")
        if cards.size != training.size:
            raise CardError(
                f"the cards measure {training.size} and {cards.size} (height, width); read them at one size"
            )
    known = learn_from or training
    label_names, mixed = known.label_names, shuffled(known, seed)
    fifth, half = len(mixed) // 5, len(mixed) // 2
    if held_out:
        unseen, shown, copied = relabel(held_out, label_names), known, training
        reference, others = shuffled(unseen, seed), mixed
        how = f"{len(unseen)} real cards that the generator has not seen"
    else:
        unseen, shown = select(mixed, torch.arange(fifth)), select(mixed, torch.arange(fifth, len(mixed)))
        reference, copied = select(mixed, torch.arange(half, len(mixed))), shown
        others = select(mixed, torch.arange(half))
        how = f"a fifth of the real cards ({fifth}) to judge by, and one half of them ({len(reference)}) for distances"
    measured = None if net == "cardnet" else build_features(net, shown, seed, weights)
    judge = known_judge(shown, seed)
    own = cardnet(judge, shown)
    labelled = bool(generated.label_names) or not label_names
    said = ask(judge, generated)
    if labelled:
        generated = relabel(generated, label_names)
    else:
        generated = replace(generated, labels=said.labels, label_names=label_names)
    sets, verdicts = (generated, unseen), (said, ask(judge, unseen))
    clean = clean_classes(known) if known.has_mask else set()
    masked = known.has_mask and generated.has_mask and unseen.has_mask
    masks = (
        [mask_figures(one, of.masks, clean) for one, of in zip(sets, verdicts, strict=True)] if masked else [None] * 2
    )
    return Evaluation(
        counts={"real": len(training), "generated": len(generated), "held_out": len(unseen)},
        size=training.size,
        label_names=label_names,
        missing=tuple(name for name, count in generated.class_counts.items() if not count),
        how=how,
        seed=seed,
        distances=_distances(measured or own, shuffled(generated, seed), others, reference, labelled),
        classes=_classes(shown, sets, verdicts, seed, support_vectors) if labelled and len(label_names) > 1 else (),
        masks=masks[0],
        held_out_masks=masks[1],
        copies=_copies(own, training, generated, copied, unseen),
    )


def _distances(
    net: FeatureNet, generated: Cards, others: Cards, reference: Cards, labelled: bool
) -> tuple[Distance, ...]:
    """The figures of generated cards and of as many real ones of the same classes, against the same real reference.

    labelled: whether the generated cards were made class by class; else they and the real ones are of random classes.
    """
    if labelled:
        counts = [
            torch.bincount(cards.labels[:MOST], minlength=len(cards.label_names) or 1) for cards in (generated, others)
        ]
        one, other = (_of_classes(cards, torch.minimum(*counts)) for cards in (generated, others))
    else:
        some = torch.arange(min(len(generated), len(others), MOST))
        one, other = (select(cards, some) for cards in (generated, others))
    reference = _of_classes(reference, torch.bincount(reference.labels[:MOST]))
    features = [net.measure(cards.pixels) for cards in (one, other)]
    real, labels, real_labels = net.measure(reference.pixels), one.labels if labelled else None, reference.labels
    tag = net.tag(len(features[0]), len(real), generated.size)
    fd = "FID" if net.name.startswith("inception") else "FD"
    rows = [
        _distance(fd, tag, lambda one: frechet_distance(one, real), features),
        _distance("KID", tag, lambda one: kernel_distance(one, real, labels, real_labels), features),
    ]
    try:
        found = [vars(manifold(one, real)) for one in features]
        rows += [Distance(name, tag, *(one[name] for one in found)) for name in found[0]]
    except TooFewCards as error:
        rows += [Distance(name, tag, None, None, str(error)) for name in ("precision", "recall", "density", "coverage")]
    return tuple(rows)


def _of_classes(cards: Cards, counts: torch.Tensor) -> Cards:
    """The first so many cards of each class, class by class."""
    chosen = [torch.nonzero(cards.labels == label).flatten()[:count] for label, count in enumerate(counts.tolist())]
    return select(cards, torch.cat(chosen))


def _distance(
    name: str, tag: str, measure: Callable[[torch.Tensor], Figure], features: Sequence[torch.Tensor]
) -> Distance:
    try:
        return Distance(name, tag, *(measure(one) for one in features))
    except TooFewCards as error:
        return Distance(name, tag, None, None, str(error))


def _classes(
    shown: Cards, sets: Sequence[Cards], verdicts: Sequence[Verdict], seed: int, support_vectors: bool
) -> tuple[Beside, ...]:
    """What the judge says of two sets of cards, and a support vector classifier, where it has cards enough to learn."""
    names, judge = shown.label_names, f"convolutional net ({len(shown)} cards)"
    found = [
        Beside(*(class_figures(judge, one.labels, of.labels, names) for one, of in zip(sets, verdicts, strict=True)))
    ]
    if not support_vectors:
        return tuple(found)
    with suppress(TooFewCards):
        support = train_vector_classifier(shown, seed)
        found.append(Beside(*(class_figures(support.name, one.labels, support.say(one), names) for one in sets)))
    return tuple(found)


def _copies(net: FeatureNet, training: Cards, generated: Cards, shown: Cards, unseen: Cards) -> tuple[Copying, ...]:
    """Copies by pixels and by features; unseen cards are held against those of `shown`, which they are none of."""
    features = {id(cards): net.measure(cards.pixels) for cards in (training, generated, shown, unseen)}
    return (
        copying(
            nearest_in_pixels(generated.pixels, training.pixels),
            nearest_in_pixels(unseen.pixels, shown.pixels),
            "grey levels, root mean square",
        ),
        copying(
            nearest_in_features(features[id(generated)], features[id(training)]),
            nearest_in_features(features[id(unseen)], features[id(shown)]),
            f"features of {net.name}",
        ),
    )
