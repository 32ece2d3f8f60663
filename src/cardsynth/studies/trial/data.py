"""What a trial is made of: real cards to learn from and to test on, parted by groups, clean pictures, drawn cards."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.cards.folder import find_cards
from cardsynth.cards.splits import groups_of, split_groups
from cardsynth.evaluation.evaluate import relabel, select
from cardsynth.evaluation.masks import clean_classes
from cardsynth.finder.config import FinderConfig


@dataclass(frozen=True)
class TrialData:
    """Real cards to learn from, real cards to test on that nothing learns from, and where there are such, further
    undamaged real pictures uint8 (N, 3, H, W), and drawn cards; all of one size."""

    real: Cards
    test: Cards
    clean: torch.Tensor | None = None
    drawn: Cards | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of all of them."""
        clean = hashlib.sha256(self.clean.numpy().tobytes()).hexdigest()[:12] if self.clean is not None else ""
        others = [cards.fingerprint for cards in (self.real, self.test, self.drawn) if cards is not None]
        return " ".join([*others, clean]).strip()


def read_trial_data(
    config: FinderConfig,
    real: str | Path,
    test: str | Path | None = None,
    clean: str | Path | None = None,
    drawn: str | Path | None = None,
    group_by: str | None = None,
    test_share: float = 0.5,
) -> TrialData:
    """Cards of folders, at a finder's size and fit. Without `test`, a share of the real cards is kept for testing.

    Cards that belong together (`splits.groups_of`; group_by: a regular expression over file names) are kept on one
    side. clean: undamaged real pictures; default: all undamaged cards that are not tested on. Raises CardError for what
    cannot be read, and for test or drawn cards of classes that the real ones do not have.
    """

    def read(folder: str | Path, use_masks: bool = True) -> Cards:
        return read_cards(folder, config.size, fit=config.fit, portrait=config.portrait, use_masks=use_masks)

    learned = read(real)
    if test is not None:
        tested = relabel(read(test), learned.label_names)
    else:
        group_of = dict(zip(*_names_and_groups(real, group_by), strict=True))
        groups = [group_of[name] for name in learned.names]
        labels = [learned.label_names[label] if learned.label_names else None for label in learned.labels.tolist()]
        sides = split_groups(groups, labels, (1 - test_share, test_share))
        learned, tested = (select(learned, torch.tensor(side)) for side in sides)
    if clean is not None:
        pictures = read(clean, use_masks=False).pixels
    else:
        undamaged = torch.isin(learned.labels, torch.tensor(sorted(clean_classes(learned)), dtype=torch.long))
        pictures = learned.pixels[undamaged, :3] if undamaged.any() else None
    return TrialData(learned, tested, pictures, relabel(read(drawn), learned.label_names) if drawn else None)


def _names_and_groups(folder: str | Path, group_by: str | None) -> tuple[list[str], list[str]]:
    cards = find_cards(folder)
    return [card.name for card in cards], groups_of(cards, group_by)


@dataclass(frozen=True)
class Draw:
    """One draw of real cards: so many of each class, the first of an order that the draw's number settles."""

    count: int
    number: int

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.count:03d}_{self.number}"

    def cards(self, real: Cards) -> Cards:
        """The real cards of the draw: of a class with fewer, all. A larger count holds those of a smaller one."""
        random = np.random.default_rng([self.number, 5])
        classes = range(max(1, len(real.label_names)))
        orders = [random.permutation(torch.nonzero(real.labels == label).flatten()) for label in classes]
        return select(real, torch.from_numpy(np.concatenate([order[: self.count] for order in orders])))
