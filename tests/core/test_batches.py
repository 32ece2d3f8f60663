"""Classes that take turns in training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cardsynth.core.batches import balanced_indices
from cardsynth.core.learner import DiffusionLearner
from cardsynth.evaluation.evaluate import select
from cardsynth.models import get_preset, train

BALANCED = get_preset("smoke").replace(balance_classes=True, save_image_epochs=1000)
MEMBERS = [np.arange(40), np.array([40, 41, 42]), np.array([43])]


def test_every_class_is_seen_as_often_and_each_of_its_cards_before_any_twice():
    seen = torch.cat([balanced_indices(3, step, 7, MEMBERS) for step in range(60)]).numpy()
    for of_class in MEMBERS:
        here = seen[np.isin(seen, of_class)]
        assert len(here) == 140
        for start in range(0, 140 - len(of_class), len(of_class)):
            assert sorted(here[start : start + len(of_class)]) == of_class.tolist()
    first, second = (seen[np.isin(seen, MEMBERS[0])][start : start + 40] for start in (0, 40))
    assert not np.array_equal(first, second)
    for step in range(1, 60):
        counts = [np.isin(seen[: step * 7], of_class).sum() for of_class in MEMBERS]
        assert max(counts) - min(counts) <= 1


def test_the_order_does_not_depend_on_where_it_was_begun_or_on_the_batch():
    whole = balanced_indices(3, 0, 60, MEMBERS)
    assert torch.equal(torch.cat([balanced_indices(3, step, 5, MEMBERS) for step in range(12)]), whole)
    assert torch.equal(balanced_indices(3, 7, 5, MEMBERS), whole[35:40])
    assert not torch.equal(balanced_indices(4, 0, 60, MEMBERS), whole)


def test_a_rare_class_is_trained_as_often_as_the_others(cards):
    rare = torch.nonzero(cards.labels == 4).flatten()
    few = select(cards, torch.cat([torch.nonzero(cards.labels < 4).flatten(), rare[:1]]))
    assert few.class_counts["WHITE_MARKS"] == 1
    learner, seen = DiffusionLearner(BALANCED.replace(train_batch_size=10), few), []
    take = type(few).batch

    class Watched(type(few)):
        def batch(self, indices, device):
            seen.extend(self.labels[indices].tolist())
            return take(self, indices, device)

    learner.batches.cards = Watched(few.pixels, few.labels, few.label_names)
    for step in range(3):
        learner.optimise(step)
    assert np.bincount(seen).tolist() == [6] * 5


def test_a_resumed_run_equals_an_unbroken_one(cards, tmp_path):
    for _ in train(BALANCED, cards, tmp_path / "unbroken"):
        pass
    steps = train(BALANCED, cards, tmp_path / "broken")
    for _ in range(3):
        next(steps)
    steps.close()
    for _ in train(BALANCED, cards, tmp_path / "broken", resume=True):
        pass
    one, other = (
        load_file(tmp_path / name / "unet/diffusion_pytorch_model.safetensors") for name in ("unbroken", "broken")
    )
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_cards_without_labels_cannot_be_balanced(cards):
    plain = replace(cards, labels=0 * cards.labels, label_names=())
    with pytest.raises(ValueError, match="balance_classes takes labels"):
        DiffusionLearner(BALANCED, plain)
