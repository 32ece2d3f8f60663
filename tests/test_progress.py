import json

import pytest
import torch

from cardsynth.cards import read_cards
from cardsynth.progress import cards_by_epoch, read_grid, untrained_cards
from cardsynth.runs import RunError, load_model
from cardsynth.sampling import card_grid, generate


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
