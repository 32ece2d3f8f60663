"""How the cards of a run emerge: those of the same seeds before training and after some of its epochs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cardsynth.cards.dataset import Cards
from cardsynth.cards.fitting import read_image
from cardsynth.cards.grids import GRID_PADDING, grid_columns
from cardsynth.core.runs import RunError, build_manifest, read_manifest
from cardsynth.core.sampling import generate
from cardsynth.models import build_learner
from cardsynth.util.settings import load_config


def cards_by_epoch(run: str | Path, epochs: Sequence[int], cards: Cards, count: int = 6) -> dict[str, torch.Tensor]:
    """The first `count` cards of a run's sample grids, uint8 (N, C, H, W), by epoch: `epoch 20`.

    Of an epoch without a grid the nearest that has one is taken, and named; epoch 0, the untrained net, is drawn anew.
    cards: what the run was trained on. Raises RunError for a run without grids.
    """
    run = Path(run)
    grids = {int(path.stem.removeprefix("epoch_")): path for path in (run / "samples").glob("epoch_*.png")}
    if not grids:
        raise RunError(f"{run} has no sample grids of epochs; train it for an epoch at least")
    chosen = dict.fromkeys(min(grids, key=lambda there: abs(there - epoch)) for epoch in epochs if epoch)
    found = {f"epoch {epoch}": read_grid(grids[epoch], run)[:count] for epoch in chosen}
    return ({"epoch 0": untrained_cards(run, cards, count)} if 0 in epochs else {}) | found


def untrained_cards(run: str | Path, cards: Cards, count: int) -> torch.Tensor:
    """Cards uint8 (count, C, H, W) that a run's net draws before its first step, of the seeds from 0 on."""
    config = load_config(Path(run) / "settings.json")
    learner = build_learner(config, cards)
    model = learner.model(build_manifest(config, cards), "untrained")
    return torch.cat([batch.pixels for batch in generate(model, range(count), progress=False)])


def read_grid(path: str | Path, run: str | Path) -> torch.Tensor:
    """The cards of a run's sample grid, uint8 (N, C, H, W): the inverse of `sampling.card_grid`."""
    config, has_mask = load_config(Path(run) / "settings.json"), read_manifest(run)["mask"]
    grid = torch.from_numpy(np.asarray(read_image(path)).copy()).permute(2, 0, 1)
    height, width = config.height, config.width * (1 + has_mask)
    columns = grid_columns(config.eval_batch_size)
    padding = GRID_PADDING if config.eval_batch_size > 1 else 0  # one card alone is laid out without
    tiles = []
    for place in range(config.eval_batch_size):
        row, column = divmod(place, columns)
        top, left = (number * (side + padding) + padding for number, side in ((row, height), (column, width)))
        tiles.append(grid[:, top : top + height, left : left + width])
    pixels = torch.stack(tiles)
    card, mask = pixels[..., : config.width], pixels[:, :1, :, config.width :]
    return torch.cat([card, mask], dim=1) if has_mask else card
