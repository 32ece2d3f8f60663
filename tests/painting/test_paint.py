"""Damage painted by a model onto known cards, at its own size."""

from dataclasses import replace

import pytest
import torch

from cardsynth.cards.dataset import normalize
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.diffusion import SAMPLERS, build_noise_scheduler, noise_ratio
from cardsynth.core.model import build_unet
from cardsynth.core.runs import load_model
from cardsynth.core.sampling import GeneratedBatch, generate
from cardsynth.painting.paint import find_veils, paint, sample_masks
from cardsynth.painting.veils import COVERING, KnownCards, find_veil


@pytest.fixture(scope="module")
def model(trained_run):
    return load_model(trained_run)


@pytest.fixture(scope="module")
def clean(cards):
    return cards.pixels[: 6 * 5 : 5, :3].clone()


@pytest.fixture
def masks():
    masks = torch.zeros(6, 40, 32, dtype=torch.bool)
    for place, mask in enumerate(masks):
        mask[5 + place : 20 + place, 4:25] = True
    return masks


def painted(model, clean, masks, seeds=range(6), labels="SMALL", **how):
    return paint(model, clean, masks, labels, list(seeds), progress=False, **how)


def test_outside_the_mask_the_card_is_itself_to_the_bit(model, clean, masks):
    made = painted(model, clean, masks)
    assert made.shape == (6, 4, 40, 32)
    assert torch.equal(made[:, 3], masks.to(torch.uint8) * 255)
    same = (made[:, :3] == clean).all(dim=1)
    assert same[~masks].all()
    assert not same[masks].any()


def test_a_card_and_its_seed_are_the_same_damage_among_any_others(model, clean, masks):
    made = painted(model, clean, masks)
    alone = painted(model, clean[4:5], masks[4:5], [4])
    assert torch.equal(alone[0], made[4])
    assert torch.equal(painted(model, clean, masks, batch_size=1), made)
    assert not torch.equal(painted(model, clean[4:5], masks[4:5], [5]), alone)
    assert not torch.equal(painted(model, clean[4:5], masks[4:5], [4], "FULL_CARD"), alone)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_net_paints_on_the_very_card_with_the_very_mask(model, clean, masks, sampler):
    """What comes out of the sampler is the known card already, wherever it is known."""
    known = KnownCards(clean.float(), masks[:, None], model.config.patch_size)
    how = {"sampler": sampler, "num_inference_steps": 4, "labels": "LIGHT", "progress": False}
    made = torch.cat([batch.pixels for batch in generate(model, range(6), known=known, **how)])
    assert ((made[:, :3].int() - clean).abs().amax(dim=1)[~masks] <= 1).all()
    assert torch.equal(made[:, 3], masks.to(torch.uint8) * 255)


def test_a_veil_has_the_mean_colour_of_what_was_painted_and_keeps_the_print(clean, masks):
    clean, weights = clean.float(), masks[:, None].float()
    flat = torch.tensor([120.0, 80.0, 40.0])[:, None, None].expand_as(clean)
    veil = find_veil(flat, clean, weights, noise_ratio=1000.0)
    seen = veil.over(clean)
    for card, look, mask in zip(clean, seen, masks, strict=True):
        torch.testing.assert_close(look[:, mask].mean(dim=1), torch.tensor([120.0, 80.0, 40.0]), atol=0.1, rtol=0)
        correlation = torch.corrcoef(torch.stack([look[1, mask], card[1, mask]]))[0, 1]
        assert correlation > 0.999


def test_no_veil_leaves_the_range_of_light(clean, masks):
    weights = masks[:, None].float()
    for painted_light in (0.0, 30.0, 128.0, 250.0, 255.0):
        veil = find_veil(torch.full_like(clean.float(), painted_light), clean.float(), weights)
        inside = weights.expand(-1, 3, -1, -1) > 0
        for print_light in (0.0, 255.0):
            seen = veil.over(torch.full_like(clean.float(), print_light))[inside]
            assert seen.min() >= -0.01
            assert seen.max() <= 255.01
        assert veil.gain[inside].min() >= 0


def test_what_is_painted_outside_the_mask_and_no_change_make_no_veil(clean, masks):
    clean, weights = clean.float(), masks[:, None].float()
    elsewhere = torch.where(masks[:, None], clean, 255 - clean)
    veil = find_veil(elsewhere, clean, weights)
    assert torch.equal(veil.over(clean)[weights.expand_as(clean) > 0], clean[weights.expand_as(clean) > 0])


def test_darker_and_paler_damage_let_print_through_as_far_as_light_or_darkness_is_left():
    clean, mask = torch.full((1, 3, 8, 8), 200.0), torch.ones(1, 1, 8, 8)
    darker = find_veil(torch.full_like(clean, 50.0), clean, mask)
    torch.testing.assert_close(darker.gain, torch.full_like(clean, 0.25**COVERING))
    paler = find_veil(torch.full_like(clean, 244.0), clean, mask)
    torch.testing.assert_close(paler.gain, torch.full_like(clean, 0.2**COVERING))


def test_noise_is_as_strong_as_its_ratio_says():
    scheduler = build_noise_scheduler("squaredcos_cap_v2")
    timestep = torch.tensor(500)
    alone = (
        scheduler.add_noise(torch.zeros(1), torch.ones(1), timestep),
        scheduler.add_noise(torch.ones(1), torch.zeros(1), timestep),
    )
    assert noise_ratio(scheduler, timestep) == pytest.approx((alone[0] / alone[1]).item(), rel=1e-5)


def test_known_cards_are_what_the_net_is_given(clean, masks):
    known = KnownCards(clean.float(), masks[:, None], patch_size=2)
    guess = torch.zeros(3, 16, 20, 16)
    kept = known.of(slice(4, 7)).keep(guess, 0.5)
    last = torch.cat([clean[5], masks[5][None] * 255])
    expected = normalize(last[None].to(torch.uint8), 2)[0]
    outside = ~torch.nn.functional.pixel_unshuffle(masks[5][None, None], 2)[0].repeat(4, 1, 1)
    torch.testing.assert_close(kept[1][outside], expected[outside])
    assert torch.equal(kept[1], kept[2])


def test_sampled_masks_are_those_of_the_seeds_generated_cards(model):
    plain = torch.cat([batch.pixels for batch in generate(model, range(4), "SMALL", progress=False)])[:, 3] > 0
    found = sample_masks(model, "SMALL", range(4), progress=False)
    assert not (found & ~plain).any()
    assert found.sum() > 0.5 * plain.sum()


def test_specks_are_no_damage_and_cards_without_any_are_drawn_anew(model, monkeypatch):
    asked = []

    def made_by_hand(model, seeds, labels, **how):
        asked.append((list(seeds), list(labels)))
        pixels = torch.zeros(len(seeds), 4, 40, 32, dtype=torch.uint8)
        for card, seed in zip(pixels, seeds, strict=True):
            card[3, 2, 30] = card[3, 30, 2:5] = 255
            if seed != 1:
                card[3, 10:14, 5:8] = 255
        yield GeneratedBatch(pixels, list(seeds), list(labels), [{}] * len(seeds))

    monkeypatch.setattr("cardsynth.painting.paint.generate", made_by_hand)
    found = sample_masks(model, ["SMALL", "LIGHT", "SMALL"], [0, 1, 2])
    assert torch.equal(found, found[:1].expand(3, -1, -1))
    assert found[0].nonzero().tolist() == [[row, column] for row in range(10, 14) for column in range(5, 8)]
    assert asked == [([0, 1, 2], ["SMALL", "LIGHT", "SMALL"]), ([1_000_004], ["LIGHT"])]
    monkeypatch.setattr("cardsynth.painting.paint.NEXT_ATTEMPT", 0)
    with pytest.raises(ValueError, match="generates cards with empty masks"):
        sample_masks(model, "SMALL", [0, 1])


def test_classes_take_turns_and_the_clean_one_is_none_of_them(model, clean, masks):
    in_turn = painted(model, clean, masks, labels=None)
    named = painted(model, clean, masks, labels=[model.labels[1 + seed % 4] for seed in range(6)])
    assert torch.equal(in_turn, named)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "CLEAN"}, "CLEAN is the class of cards without damage; paint one of FULL_CARD, LIGHT"),
        ({"labels": "GUM"}, "knows no class GUM"),
        ({"seeds": [0, 1, 2, 3, 4, 4]}, "different whole numbers"),
        ({"seeds": [0, 1]}, "paints 2 seeds on cards of shape"),
        ({"masks": torch.zeros(6, 40, 32)}, "mask of card 0 is empty, as are 6 of 6"),
        ({"clean": torch.zeros(6, 3, 20, 16, dtype=torch.uint8)}, r"of shape \(6, 3, 40, 32\)"),
    ],
)
def test_what_cannot_be_painted_is_refused(model, clean, masks, changes, message):
    with pytest.raises(ValueError, match=message):
        painted(model, **({"clean": clean, "masks": masks} | changes))


def test_a_model_needs_masks_and_no_classes(model, clean, masks):
    with pytest.raises(ValueError, match="trained without masks"):
        painted(replace(model, has_mask=False), clean, masks)
    plain = TrainedModel(
        build_unet(model.config, 4).eval(), build_noise_scheduler(), model.config, has_mask=True, name="plain"
    )
    made = painted(plain, clean, masks, labels=None)
    assert ((made[:, :3] == clean).all(dim=1) | masks).all()
    with pytest.raises(ValueError, match="without classes, so it takes no label"):
        find_veils(plain, clean, masks, "SMALL", range(6))
