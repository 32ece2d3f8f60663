import json

import numpy as np
import pytest
import torch

from cardsynth.cards import Cards, stack_cards
from cardsynth.config import CLASSES
from cardsynth.evaluation import agreement, evaluate, mask_iou, nearest_cards, relabel, select
from cardsynth.folder import CardError
from cardsynth.judge import Verdict, ask, train_judge
from cardsynth.render import draw_cards
from cardsynth.report import write_report


@pytest.fixture(scope="module")
def drawn():
    return stack_cards(draw_cards(300, (40, 32), seed=0, workers=1))


@pytest.fixture(scope="module")
def judge(drawn):
    return train_judge(drawn)


@pytest.fixture(scope="module")
def fresh():
    return stack_cards(draw_cards(60, (40, 32), seed=5000, workers=1))


def test_a_judge_knows_cards_that_it_has_not_seen(judge, fresh):
    found = agreement(fresh, ask(judge, fresh))
    assert found.accuracy > 0.8
    assert found.mean_mask_iou > 0.5
    assert set(found.mask_iou) == set(CLASSES) - {"CLEAN"}


def test_a_judge_doubts_wrong_labels_and_masks(judge, fresh):
    wrong_labels = Cards(fresh.pixels, (fresh.labels + 1) % 5, fresh.label_names)
    assert agreement(wrong_labels, ask(judge, wrong_labels)).accuracy < 0.2
    pixels = fresh.pixels.clone()
    pixels[:, 3] = pixels[:, 3].flip(0)
    wrong_masks = Cards(pixels, fresh.labels, fresh.label_names)
    right, wrong = (agreement(cards, ask(judge, cards)).mean_mask_iou for cards in (fresh, wrong_masks))
    assert wrong < right / 2


def test_agreement_counts_by_hand():
    pixels = torch.zeros(3, 4, 4, 4, dtype=torch.uint8)
    pixels[1, 3, :2] = 255
    pixels[2, 3, :, :1] = 255
    cards = Cards(pixels, torch.tensor([0, 1, 1]), ("CLEAN", "SMALL"))
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[1, :1] = True
    masks[2, :, :2] = True
    found = agreement(cards, Verdict(torch.tensor([0, 1, 0]), masks))
    assert found.confusion == [[1, 0], [1, 1]]
    assert found.accuracy == pytest.approx(2 / 3, abs=1e-4)
    assert found.class_accuracy == {"CLEAN": 1.0, "SMALL": 0.5}
    assert found.mask_iou == {"SMALL": 0.5}


def test_mask_iou_by_hand():
    one = torch.zeros(3, 2, 2, dtype=torch.bool)
    other = one.clone()
    one[0, 0], other[0, :, 0] = True, True
    one[1] = other[1] = True
    found = mask_iou(one, other)
    np.testing.assert_allclose(found.numpy(), [1 / 3, 1, np.nan])


def test_a_copy_is_found(drawn, fresh):
    planted = fresh.pixels.clone()
    planted[7] = drawn.pixels[123]
    nearest, distance = nearest_cards(Cards(planted, fresh.labels, fresh.label_names), drawn)
    assert nearest[7] == 123
    assert distance[7] < 0.5
    assert distance.median() > 10


def test_distances_are_in_grey_levels():
    dark, light = (torch.full((1, 3, 4, 4), value, dtype=torch.uint8) for value in (100, 130))
    _, distance = nearest_cards(Cards(light, torch.zeros(1)), Cards(dark, torch.zeros(1)))
    assert distance.item() == pytest.approx(30, rel=1e-3)


def test_evaluation_and_page(drawn, fresh, tmp_path):
    figures = evaluate(drawn, fresh)
    page = write_report(tmp_path / "report", drawn, fresh, figures, title="<fresh> cards")
    saved = json.loads((tmp_path / "report/figures.json").read_text())
    assert saved["generated"]["count"] == 60
    assert saved["held_out"]["count"] == 60
    assert saved["generated"]["accuracy"] > 0.8
    assert saved["chance"] == 0.2
    assert len(saved["nearest"]) == 60
    text = page.read_text()
    assert "&lt;fresh&gt; cards" in text
    assert text.count("data:image/png;base64,") == 4
    assert "://" not in text
    assert (tmp_path / "report/grid.png").is_file()


def test_cards_without_classes_or_masks_are_judged_by_distance_alone(drawn, fresh):
    def plain(cards):
        return Cards(cards.pixels[:, :3], torch.zeros(len(cards), dtype=torch.long))

    figures = evaluate(plain(drawn), plain(fresh))
    assert figures.generated.accuracy is None
    assert figures.generated.mean_mask_iou is None
    assert figures.median_distance > 0


def test_classes_that_training_cards_lack_are_named(drawn):
    other = Cards(drawn.pixels, drawn.labels, ("A", "B", "C", "D", "E"), source="mine")
    with pytest.raises(CardError, match="mine has the classes A, B, C, D, E"):
        evaluate(drawn, other)


def test_labels_keep_their_names_in_another_order(drawn):
    few = select(drawn, torch.nonzero(drawn.labels >= 3).flatten())
    few = Cards(few.pixels, few.labels - 3, few.label_names[3:])
    again = relabel(few, drawn.label_names)
    assert again.class_counts == {"CLEAN": 0, "FULL_CARD": 0, "LIGHT": 0, "SMALL": 60, "WHITE_MARKS": 60}
