"""Shows how the cards of a run emerge: cards of the same seeds before training and after some of its epochs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cardsynth.cards.dataset import Cards
from cardsynth.cards.fitting import read_image
from cardsynth.cards.grids import GRID_PADDING
from cardsynth.core.runs import RunError, read_manifest
from cardsynth.core.sampling import generate
from cardsynth.models import build_learner, load_settings


def cards_by_epoch(run: str | Path, epochs: Sequence[int], cards: Cards, count: int = 6) -> dict[str, torch.Tensor]:
    """Reads the first cards of a run's sample grids.

    Args:
        run: Run folder.
        epochs: Epochs. For an epoch without a grid the nearest one with a grid is taken; 0 is the untrained net, whose
            cards are generated.
        cards: The cards that the run was trained on.
        count: Number of cards.

    Returns:
        uint8 (N, C, H, W) by epoch, with keys like `epoch 20`.

    Raises:
        RunError: If the run has no grids.
    """
    run = Path(run)
    grids = {int(path.stem.removeprefix("epoch_")): path for path in (run / "samples").glob("epoch_*.png")}
    if not grids:
        raise RunError(f"{run} has no sample grids of epochs; train it for an epoch at least")
    shown = {"epoch 0": untrained_cards(run, cards, count)} if 0 in epochs else {}
    for epoch in filter(None, epochs):
        nearest = min(grids, key=lambda other: abs(other - epoch))
        shown[f"epoch {nearest}"] = read_grid(grids[nearest], run)[:count]
    return shown


def untrained_cards(run: str | Path, cards: Cards, count: int) -> torch.Tensor:
    """Generates cards with a run's net before its first step.

    Args:
        run: Run folder.
        cards: The cards that the run was trained on.
        count: Number of cards; their seeds start at 0.

    Returns:
        uint8 (count, C, H, W).
    """
    config = load_settings(Path(run) / "settings.json")
    learner = build_learner(config, cards)
    model = learner.model("untrained")
    return torch.cat([batch.pixels for batch in generate(model, range(count), progress=False)])


def read_grid(path: str | Path, run: str | Path) -> torch.Tensor:
    """Reads the cards of a run's sample grid; the inverse of `sampling.card_grid`.

    Args:
        path: The grid.
        run: Its run folder.

    Returns:
        uint8 (N, C, H, W).
    """
    config, has_mask = load_settings(Path(run) / "settings.json"), read_manifest(run)["mask"]
    grid = torch.from_numpy(np.asarray(read_image(path)).copy()).permute(2, 0, 1)
    height, width, count = config.height, config.width * (1 + has_mask), config.eval_batch_size
    padding = GRID_PADDING if count > 1 else 0  # a single card has no padding
    tiles = grid[:, padding:, padding:].unfold(1, height, height + padding).unfold(2, width, width + padding)
    pixels = tiles.permute(1, 2, 0, 3, 4).flatten(0, 1)[:count]
    card, mask = pixels[..., : config.width], pixels[:, :1, :, config.width :]
    return torch.cat([card, mask], dim=1) if has_mask else card
