"""Figures of classifiers: counted by hand, and of a trained one."""

import pytest
import torch

from cardsynth.cards.dataset import Cards, stack_cards
from cardsynth.evaluation.classes import GRID, class_figures, train_vector_classifier
from cardsynth.render.draw import draw_cards
from cardsynth.util.intervals import TooFewSamplesError


def test_figures_by_hand():
    labels, predicted = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 0, 1, 1, 1, 0])
    found = class_figures("mine", labels, predicted, ["A", "B", "C"])
    assert found.confusion == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    assert found.accuracy.value == pytest.approx(4 / 6)
    assert found.accuracy.low < 4 / 6 < found.accuracy.high
    assert {name: figure.value for name, figure in found.recall.items()} == pytest.approx({"A": 2 / 3, "B": 1, "C": 0})
    assert {name: figure.value for name, figure in found.precision.items()} == pytest.approx({"A": 2 / 3, "B": 2 / 3})
    assert found.chance == pytest.approx(1 / 3)


@pytest.mark.slow
def test_a_vector_classifier_learns_and_says_what_it_chose():
    cards = stack_cards(draw_cards(200, (40, 32), seed=0, styles=("a",), workers=1))
    found = train_vector_classifier(cards)
    assert found.c in GRID["svc__C"]
    assert found.gamma in GRID["svc__gamma"]
    unseen = stack_cards(draw_cards(50, (40, 32), seed=5000, styles=("a",), workers=1))
    right = (found.predict(unseen) == unseen.labels).float().mean()
    assert right > 0.5
    assert abs(right - found.validation_accuracy) < 0.3
    assert "200 cards" in found.name
    again = train_vector_classifier(cards)
    assert torch.equal(again.predict(unseen), found.predict(unseen))


@pytest.mark.slow
def test_settings_are_not_chosen_on_what_cannot_be_learnt():
    """Labels that have nothing to do with the pictures: accuracy on unseen cards is what guessing gives."""
    cards = stack_cards(draw_cards(150, (40, 32), seed=0, styles=("a",), workers=1))
    at_random = Cards(cards.pixels, torch.randint(0, 2, (150,), generator=torch.Generator().manual_seed(1)), ("A", "B"))
    assert abs(train_vector_classifier(at_random).validation_accuracy - 0.5) < 0.25


def test_too_few_cards_are_refused():
    cards = stack_cards(draw_cards(15, (40, 32), seed=0, workers=1))
    with pytest.raises(TooFewSamplesError, match="four cards of each"):
        train_vector_classifier(cards)
    with pytest.raises(TooFewSamplesError, match="two classes"):
        train_vector_classifier(Cards(cards.pixels, torch.zeros(15, dtype=torch.long), ("A",)))
