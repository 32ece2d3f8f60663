"""Augmentation: what is moved where."""

import pytest
import torch

from cardsynth.cards.augment import shifted_crop


@pytest.mark.parametrize(("top", "left"), [(2, 2), (0, 3), (4, 0)])
def test_a_crop_is_the_card_moved_with_its_edges_repeated(top, left):
    pixels = torch.randint(0, 256, (3, 4, 7, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    rows = (torch.arange(7) + top - 2).clamp(0, 6)
    columns = (torch.arange(5) + left - 2).clamp(0, 4)
    assert torch.equal(shifted_crop(pixels, top, left, 2), pixels[:, :, rows[:, None], columns].float())
