from dataclasses import replace

import pytest
import torch

from cardsynth.cards.dataset import Cards, stack_cards
from cardsynth.cards.folder import CardError
from cardsynth.painting.pasting import FEATHER, paste_damage
from cardsynth.render.draw import draw_cards


@pytest.fixture(scope="module")
def drawn() -> Cards:
    return stack_cards(draw_cards(15, (48, 40), 0, workers=1, styles=("a",)))


def test_damage_of_each_class_lies_on_an_undamaged_card(drawn):
    pasted = paste_damage(drawn, 20, seed=1)
    assert pasted.class_counts == {"CLEAN": 0, "FULL_CARD": 5, "LIGHT": 5, "SMALL": 5, "WHITE_MARKS": 5}
    grounds = drawn.pixels[drawn.labels == 0, :3]
    for card in pasted.pixels:
        mask = card[3] >= 128
        assert mask.any()
        near = torch.nn.functional.max_pool2d(mask[None].float(), FEATHER, 1, FEATHER // 2)[0] > 0
        equal = (card[:3] == grounds).all(dim=1) | near
        assert equal.flatten(1).all(dim=1).any(), "beside its damage a card is one of the undamaged ones"
        assert (card[:3, mask].float() - grounds[:, :, mask].float()).abs().amax(dim=(1, 2)).min() > 0


def test_damage_is_moved_and_no_two_are_alike(drawn):
    masks = paste_damage(drawn, 12).pixels[:, 3].flatten(1)
    assert len({tuple(mask.tolist()) for mask in masks}) == 12
    own = {tuple(mask.tolist()) for mask in drawn.pixels[:, 3].flatten(1)}
    assert not own & {tuple(mask.tolist()) for mask in masks}


def test_equal_arguments_give_equal_cards(drawn):
    one, same, other = (paste_damage(drawn, 6, seed).pixels for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_other_undamaged_pictures_may_be_given(drawn):
    blue = torch.zeros(3, 3, 48, 40, dtype=torch.uint8)
    blue[:, 2] = 255
    pasted = paste_damage(drawn, 4, clean=blue)
    assert all((card[2] == 255).float().mean() > 0.1 for card in pasted.pixels[-2:])


def test_without_undamaged_cards_the_damage_beneath_stays_labelled(drawn):
    damaged = torch.nonzero(drawn.labels == drawn.label_names.index("SMALL")).flatten()
    cards = replace(
        drawn, pixels=drawn.pixels[damaged], labels=torch.zeros(len(damaged), dtype=torch.long), label_names=()
    )
    pasted = paste_damage(cards, 6)
    own = cards.pixels[:, 3] >= 128
    for card in pasted.pixels:
        assert (own & ~(card[3] >= 128)).flatten(1).any(dim=1).logical_not().any()


def test_cards_without_damage_have_none_to_paste(drawn):
    empty = drawn.pixels.clone()
    empty[:, 3] = 0
    with pytest.raises(CardError, match="no card has damage"):
        paste_damage(replace(drawn, pixels=empty), 3)
