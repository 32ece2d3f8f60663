"""Cards of a trial: real cards to learn from and to test on, split by groups, clean pictures, and drawn cards."""

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
    """Cards of a trial, all of one size.

    Args:
        real: Real cards to learn from.
        test: Real cards to test on; nothing learns from them.
        clean: Additional undamaged real pictures, uint8 (N, 3, H, W).
        drawn: Drawn cards.
    """

    real: Cards
    test: Cards
    clean: torch.Tensor | None = None
    drawn: Cards | None = None

    @property
    def fingerprint(self) -> str:
        """Hash of all cards."""
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
    """Reads the cards of a trial from folders, at the size and fit of a damage finder.

    Args:
        config: Settings of the finder.
        real: Folder of real cards with masks.
        test: Folder of real cards to test on; None holds a share of the real cards out.
        clean: Folder of undamaged real pictures; None takes all undamaged cards that are not tested on.
        drawn: Folder of drawn cards.
        group_by: Regular expression over file names for `splits.groups_of`; cards of a group stay on one side.
        test_share: Share of the real cards to test on, 0 to 1.

    Raises:
        CardError: Cards cannot be read, or test or drawn cards have classes that the real cards lack.
    """

    def read(folder: str | Path, use_masks: bool = True) -> Cards:
        return read_cards(folder, config.size, fit=config.fit, portrait=config.portrait, use_masks=use_masks)

    learned = read(real)
    if test is not None:
        tested = relabel(read(test), learned.label_names)
    else:
        cards = find_cards(real)
        group_of = dict(zip([card.name for card in cards], groups_of(cards, group_by), strict=True))
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


@dataclass(frozen=True)
class Draw:
    """A random draw of real cards.

    Args:
        count: Number of cards of each class.
        number: Number of the draw, which seeds it.
    """

    count: int
    number: int

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{self.count:03d}_{self.number}"

    def cards(self, real: Cards) -> Cards:
        """Returns the drawn cards, all cards of a small class; a larger count includes the cards of a smaller one."""
        random = np.random.default_rng([self.number, 5])
        classes = range(max(1, len(real.label_names)))
        orders = [random.permutation(torch.nonzero(real.labels == label).flatten()) for label in classes]
        return select(real, torch.from_numpy(np.concatenate([order[: self.count] for order in orders])))
