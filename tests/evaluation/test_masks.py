"""Masks against seen damage, counted by hand."""

import numpy as np
import pytest
import torch

from cardsynth.cards.dataset import Cards
from cardsynth.evaluation.masks import box_iou, clean_classes, mask_figures, mask_iou


def cards_with(*masks, labels=None, names=("CLEAN", "SMALL")):
    masks = torch.stack([torch.as_tensor(mask, dtype=torch.uint8) * 255 for mask in masks])
    pixels = torch.cat([torch.zeros(len(masks), 3, *masks.shape[1:], dtype=torch.uint8), masks[:, None]], dim=1)
    return Cards(pixels, torch.tensor(labels or [1] * len(masks)), names)


def block(top, left, height, width, size=(20, 20)):
    mask = torch.zeros(size, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_mask_iou_by_hand():
    one = torch.zeros(3, 2, 2, dtype=torch.bool)
    other = one.clone()
    one[0, 0], other[0, :, 0] = True, True
    one[1] = other[1] = True
    np.testing.assert_allclose(mask_iou(one, other).numpy(), [1 / 3, 1, np.nan])


def test_figures_by_hand():
    own = [block(2, 2, 4, 4), block(10, 10, 4, 4), block(0, 0, 0, 0)]
    seen = [block(2, 2, 4, 4), block(10, 10, 4, 2) | block(2, 2, 3, 3), block(0, 0, 0, 0)]
    found = mask_figures(cards_with(*own, labels=[1, 1, 0]), torch.stack(seen), clean={0})
    assert set(found.iou) == {"SMALL"}
    assert found.mean_iou.value == pytest.approx((1 + 8 / (16 + 9)) / 2)
    assert found.box_precision.value == 1  # the second mask's box and the half of it that is seen: IoU 0.5
    assert found.box_recall.value == pytest.approx(2 / 3)
    assert found.uncovered.value == pytest.approx((0 + 9 / 17) / 2)
    assert found.masked_when_clean.value == 0


def test_a_pixel_beside_the_mask_is_not_uncovered_and_two_are():
    own, wider = block(8, 8, 4, 4), (block(7, 7, 6, 6), block(6, 6, 8, 8))
    found = [mask_figures(cards_with(own, own), torch.stack([seen, seen]), set()).uncovered.value for seen in wider]
    assert found == pytest.approx([0, (64 - 36) / 64])


def test_masks_on_clean_cards_are_counted():
    cards = cards_with(block(0, 0, 3, 3), block(0, 0, 0, 0), labels=[0, 0])
    found = mask_figures(cards, torch.zeros(2, 20, 20, dtype=torch.bool), clean={0})
    assert found.masked_when_clean.value == 0.5
    assert found.mean_iou is None
    assert found.box_precision is None


def test_the_class_without_damage_is_found_by_its_masks():
    cards = cards_with(block(0, 0, 0, 0), block(0, 0, 0, 0), block(3, 3, 5, 5), labels=[0, 0, 1])
    assert clean_classes(cards) == {0}


def test_boxes_by_hand():
    assert box_iou([0, 0, 4, 4], [2, 0, 4, 4]) == pytest.approx(8 / 24)
    assert box_iou([0, 0, 2, 2], [5, 5, 2, 2]) == 0
    assert box_iou([1, 1, 3, 3], [1, 1, 3, 3]) == 1
