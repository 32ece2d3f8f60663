"""Cards of a trial's arms: the real and synthetic cards that a damage finder learns from, and how they are made."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.core.config import TrainingConfig
from cardsynth.core.runs import checkpoints, load_model
from cardsynth.core.sampling import generate
from cardsynth.evaluation.copies import copying, nearest_in_pixels
from cardsynth.evaluation.evaluate import relabel, select
from cardsynth.evaluation.judge import ask, train_judge
from cardsynth.evaluation.masks import clean_classes, mask_iou
from cardsynth.models import train
from cardsynth.painting.paint import paint
from cardsynth.painting.pasting import move_damage, paste_damage
from cardsynth.studies.trial.config import Arm


@dataclass(frozen=True)
class Sources:
    """Cards that the arms of one draw are made from.

    Args:
        real: The draw's real cards.
        clean: Undamaged real pictures to paste and paint on, uint8 (N, 3, H, W); None takes the undamaged real cards.
        drawn: All drawn cards.
    """

    real: Cards
    clean: torch.Tensor | None = None
    drawn: Cards | None = None


def train_generator(config: TrainingConfig, real: Cards, run: Path) -> None:
    """Trains a generator on the real cards alone, from its last checkpoint; a finished run is left as it is.

    Args:
        config: Settings of the generator.
        real: Real cards of a draw.
        run: Run folder.
    """
    if checkpoints(run) and checkpoints(run)[-1].name == f"step_{config.max_train_steps:06d}":
        return
    deque(train(config, real, run, resume=True), maxlen=0)


def make_cards(kind: str, sources: Sources, count: int, seed: int, run: Path, generated: Cards | None = None) -> Cards:
    """Makes synthetic cards of the real cards' classes; the classes alternate, so the first cards have every class.

    Args:
        kind: `pasted` or `painted` (damage from `pasting.move_damage`), `drawn` (a random part of the drawn cards),
            `generated`, or `filtered` (the generated cards that a judge doubts least).
        sources: Cards to make them from.
        count: Number of cards.
        seed: Seed of all random choices.
        run: Run folder of the generator, for kinds that use one.
        generated: Generated cards to filter.

    Raises:
        CardError: There are no drawn cards.
    """
    if kind == "pasted":
        return paste_damage(sources.real, count, seed, sources.clean)
    if kind == "drawn":
        if sources.drawn is None:
            raise CardError("the trial has no drawn cards; give a folder of them, or leave the drawn arms out")
        drawn = relabel(sources.drawn, sources.real.label_names)
        mixed = torch.randperm(len(drawn), generator=torch.Generator().manual_seed(seed))
        return select(drawn, _in_turn(mixed, drawn)[:count])
    if kind == "painted":
        return _painted(sources, count, seed, run)
    if kind == "generated":
        return _generated(sources.real, count, run)
    return filter_cards(generated, sources.real, count, seed)


def _generated(real: Cards, count: int, run: Path) -> Cards:
    model = load_model(run)
    batches = list(generate(model, range(count), progress=False))
    labels = [model.labels.index(label) if label else 0 for batch in batches for label in batch.labels]
    return Cards(
        torch.cat([batch.pixels for batch in batches]), torch.tensor(labels), model.labels, source="generated cards"
    )


def _painted(sources: Sources, count: int, seed: int, run: Path) -> Cards:
    model, real = load_model(run), sources.real
    damages = list(move_damage(real, count, seed, sources.clean))
    labels = torch.tensor([damage.label for damage in damages])
    pixels = paint(
        model,
        torch.stack([damage.ground[:3] for damage in damages]),
        torch.stack([damage.mask for damage in damages]),
        [real.label_names[label] for label in labels] if real.label_names else None,
        range(count),
    )
    return Cards(pixels, labels, real.label_names, source="painted cards")


def filter_cards(generated: Cards, real: Cards, count: int, seed: int) -> Cards:
    """Selects generated cards whose class and mask a judge doubts least, as evenly over the classes as possible.

    The judge is trained on the real cards. Near-copies of real cards are rejected first, then cards whose class the
    judge does not confirm, then cards whose mask agrees least with the damage that the judge finds. A card with neither
    mask nor found damage agrees.

    Args:
        generated: Generated cards.
        real: Real cards of the draw.
        count: Number of cards to select.
        seed: Seed of the judge.
    """
    verdict = ask(train_judge(real, seed=seed), generated)
    agree = mask_iou(verdict.masks, generated.pixels[:, 3] >= 128).nan_to_num(1.0)
    half = torch.arange(len(real)) % 2 == 0
    copies = copying(
        nearest_in_pixels(generated.pixels, real.pixels),
        nearest_in_pixels(real.pixels[half], real.pixels[~half]),
        "grey levels",
    )
    copied = torch.tensor(copies.distance) < copies.threshold
    doubt = 2.0 * copied + (verdict.labels != generated.labels).float() + (1 - agree)
    return select(generated, _in_turn(torch.argsort(doubt, stable=True), generated)[:count])


def _in_turn(order: torch.Tensor, cards: Cards) -> torch.Tensor:
    """Rearranges an order of cards so that classes alternate: the first card of each class, then the second, ..."""
    labels = cards.labels[order]
    ranks = torch.zeros_like(order)
    for label in labels.unique():
        ranks[labels == label] = torch.arange(int((labels == label).sum()))
    return order[torch.argsort(ranks, stable=True)]


def cards_of_arm(arm: Arm, sources: Sources, by_kind: dict[str, Cards], count: int) -> tuple[Cards, Cards | None]:
    """Returns the cards that an arm's finder learns from, and the synthetic cards that fade out during training.

    An arm without real cards learns from its synthetic cards, which then do not fade out.

    Args:
        arm: The arm.
        sources: Cards of the draw.
        by_kind: Synthetic cards by kind.
        count: Number of synthetic cards, in equal parts of each kind.
    """
    share = -(-count // max(1, len(by_kind)))
    parts = [select(cards, torch.arange(min(share, len(cards)))) for cards in by_kind.values()]
    synthetic = _joined(parts) if parts else None
    if not arm.real:
        return synthetic, None
    return _with_clean(sources) if arm.clean else sources.real, synthetic


def _joined(parts: Sequence[Cards]) -> Cards:
    pixels, labels = (torch.cat([getattr(part, name) for part in parts]) for name in ("pixels", "labels"))
    return replace(parts[0], pixels=pixels, labels=labels, names=(), darkness=None)


def _with_clean(sources: Sources) -> Cards:
    """Returns the real cards, with the clean pictures added as undamaged cards."""
    if sources.clean is None:
        return sources.real
    undamaged = min(clean_classes(sources.real), default=0)
    pixels = F.pad(sources.clean, (0, 0, 0, 0, 0, 1))
    return _joined([sources.real, replace(sources.real, pixels=pixels, labels=torch.full((len(pixels),), undamaged))])
