"""How good are generated cards: of their class, under their masks, and not copied from the training cards."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from cardsynth.cards import Cards
from cardsynth.folder import CardError, write_atomically
from cardsynth.judge import Verdict, ask, train_judge


@dataclass(frozen=True)
class Agreement:
    """How far a judge agrees with the labels and masks of cards.

    `confusion` counts cards by label (row) and judged class (column). `mask_iou` is the mean over a class's cards of
    the intersection over union of mask and judged damage (0 to 1); cards without damage in either are left out.
    """

    count: int
    accuracy: float | None
    class_accuracy: dict[str, float]
    confusion: list[list[int]]
    mask_iou: dict[str, float]
    mean_mask_iou: float | None


@dataclass(frozen=True)
class Evaluation:
    """Figures of generated cards, with the judge's on cards that are known to be right beside them.

    `nearest` holds, for each generated card, the index of the closest training card, and `distance` their root mean
    square difference in grey levels (0 to 255) at half size; `fresh_distance` is the median for held-out real cards.
    """

    label_names: list[str]
    generated: Agreement
    held_out: Agreement
    chance: float | None
    judged_with: str
    nearest: list[int]
    distance: list[float]
    median_distance: float
    fresh_distance: float

    def save(self, path: str | Path) -> None:
        """Write the figures as JSON."""
        write_atomically(Path(path), (json.dumps(asdict(self), indent=2) + "\n").encode())


def select(cards: Cards, indices: torch.Tensor) -> Cards:
    """The cards at these indices, in their order."""
    names = tuple(cards.names[index] for index in indices.tolist()) if cards.names else ()
    return replace(cards, pixels=cards.pixels[indices], labels=cards.labels[indices], names=names)


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


def agreement(cards: Cards, verdict: Verdict) -> Agreement:
    """Compare cards' own labels and masks with what a judge says of them."""
    names = cards.label_names
    confusion = torch.zeros(len(names), len(names), dtype=torch.long)
    for label, judged in zip(cards.labels.tolist(), verdict.labels.tolist(), strict=True):
        if names:
            confusion[label, judged] += 1
    right, of_class = confusion.diagonal(), confusion.sum(dim=1)
    iou = {}
    if cards.has_mask:
        masks = cards.pixels[:, 3] >= 128
        per_card, damaged = mask_iou(verdict.masks, masks), masks.any(dim=(1, 2))
        for index, name in enumerate(names or ("all",)):
            chosen = cards.labels == index if names else torch.ones(len(cards), dtype=torch.bool)
            # A class that is mostly without damage by its own masks has no overlap to measure.
            if damaged[chosen].float().mean() > 0.5:
                iou[name] = round(per_card[chosen].nanmean().item(), 4)
    return Agreement(
        count=len(cards),
        accuracy=round(right.sum().item() / len(cards), 4) if names else None,
        class_accuracy={n: round((r / c).item(), 4) for n, r, c in zip(names, right, of_class, strict=True) if c},
        confusion=confusion.tolist(),
        mask_iou=iou,
        mean_mask_iou=round(float(np.mean(list(iou.values()))), 4) if iou else None,
    )


def mask_iou(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Intersection over union of bool masks (N, H, W), (N,) in 0 to 1; NaN where both are empty."""
    intersection = (one & other).sum(dim=(1, 2))
    union = (one | other).sum(dim=(1, 2))
    return torch.where(union > 0, intersection / union, torch.nan)


def nearest_cards(cards: Cards, training: Cards) -> tuple[torch.Tensor, torch.Tensor]:
    """For each card the closest training card: its index (N,), and their RMS difference in grey levels at half size."""

    def vectors(pixels: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(pixels[:, :3].float(), 2).flatten(1)

    squared = torch.cdist(vectors(cards.pixels), vectors(training.pixels)).square()
    closest = squared.min(dim=1)
    return closest.indices, (closest.values / vectors(training.pixels[:1]).shape[1]).sqrt()


def evaluate(training: Cards, generated: Cards, known: Cards | None = None, seed: int = 0) -> Evaluation:
    """Judge generated cards by a net trained on `known` cards (default: the training cards), a fifth held out.

    All are of one (height, width). Raises CardError for classes that the training cards do not have.
    """
    known = relabel(known or training, training.label_names)
    generated = relabel(generated, training.label_names)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(known)))
    held_out, shown = select(known, order[: len(known) // 5]), select(known, order[len(known) // 5 :])
    net = train_judge(shown, seed=seed)
    nearest, distance = nearest_cards(generated, training)
    if known.fingerprint == training.fingerprint:
        _, fresh_distance = nearest_cards(held_out, shown)
    else:
        _, fresh_distance = nearest_cards(held_out, training)
    return Evaluation(
        label_names=list(training.label_names),
        generated=agreement(generated, ask(net, generated)),
        held_out=agreement(held_out, ask(net, held_out)),
        chance=round(1 / len(training.label_names), 4) if training.label_names else None,
        judged_with=f"a net trained on {len(shown)} known cards of {known.size[0]}x{known.size[1]}, seed {seed}",
        nearest=nearest.tolist(),
        distance=[round(value, 2) for value in distance.tolist()],
        median_distance=round(distance.median().item(), 2),
        fresh_distance=round(fresh_distance.median().item(), 2),
    )
