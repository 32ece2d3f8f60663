import json

import pytest
import torch

from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.cards.grids import card_grid
from cardsynth.core.runs import RunError, load_model
from cardsynth.core.sampling import generate
from cardsynth.notebook.progress import cards_by_epoch, read_grid, untrained_cards


def test_cards_are_read_back_from_sample_grids(trained_run, card_folder):
    cards = read_cards(card_folder, (40, 32))
    shown = cards_by_epoch(trained_run, (0, 1, 2, 50), cards, count=3)
    last = max(int(path.stem[-4:]) for path in (trained_run / "samples").glob("epoch_*.png"))
    assert list(shown) == ["epoch 0", "epoch 1", "epoch 2"][: last + 1]
    assert all(pixels.shape == (3, 4, 40, 32) for pixels in shown.values())
    now = torch.cat([batch.pixels for batch in generate(load_model(trained_run), range(3), progress=False)])
    assert torch.equal(shown[f"epoch {last}"], now)
    assert torch.equal(shown["epoch 0"], untrained_cards(trained_run, cards, 3))
    assert not torch.equal(shown["epoch 0"], now)


@pytest.mark.parametrize("kind", ["diffusion", "dcgan", "vae"])
def test_places_of_a_grid_keep_their_noise_whatever_the_data(kind, trained_run, baseline_runs, cards):
    """A report's fixed noise changed when its data was loaded anew. (A DCGAN's batch norms know its data's classes.)"""
    run = trained_run if kind == "diffusion" else baseline_runs[kind]
    other = Cards(cards.pixels[:20].flip(0), cards.labels[:20].flip(0), cards.label_names)
    before, after = (untrained_cards(run, data, 6)[:, :3].flatten(1).float() for data in (cards, other))
    away = torch.cdist(before, after)
    assert (away.diagonal() < 0.5 * (away + torch.eye(6) * 1e9).min(dim=1).values).all(), away
    assert kind == "dcgan" or torch.equal(before, after)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_grids_of_any_number(trained_run, tmp_path, count):
    run = tmp_path / "run"
    run.mkdir()
    settings = json.loads((trained_run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps(settings | {"eval_batch_size": count}))
    (run / "manifest.json").write_text((trained_run / "manifest.json").read_text())
    pixels = torch.randint(0, 256, (count, 4, 40, 32), dtype=torch.uint8)
    card_grid(pixels, max(1, round(count**0.5))).save(run / "grid.png")
    assert torch.equal(read_grid(run / "grid.png", run), pixels)


def test_a_run_without_grids_is_named(tmp_path, card_folder):
    with pytest.raises(RunError, match="has no sample grids"):
        cards_by_epoch(tmp_path, (0, 1), read_cards(card_folder, (40, 32)))
