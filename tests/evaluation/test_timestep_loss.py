from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from cardsynth.core.denoise import TrainedModel
from cardsynth.core.diffusion import build_noise_scheduler
from cardsynth.core.runs import load_model
from cardsynth.evaluation.timestep_loss import loss_by_timestep
from cardsynth.models import get_preset, train
from cardsynth.util.intervals import standard_error


@pytest.fixture(scope="module")
def model(trained_run):
    return load_model(trained_run)


class Guess(nn.Module):
    """A net that takes half of what it sees for noise, and says so as noise, card or velocity."""

    device, config = torch.device("cpu"), SimpleNamespace(out_channels=16)

    def __init__(self, noise_scheduler):
        super().__init__()
        self.noise_scheduler = noise_scheduler

    def forward(self, noisy_images, timesteps, class_labels=None):
        alpha_prod = self.noise_scheduler.alphas_cumprod[timesteps].double()[:, None, None, None]
        seen, noise = noisy_images.double(), noisy_images.double() / 2
        card = (seen - (1 - alpha_prod).sqrt() * noise) / alpha_prod.sqrt()
        velocity = alpha_prod.sqrt() * noise - (1 - alpha_prod).sqrt() * card
        kinds = {"epsilon": noise, "sample": card, "v_prediction": velocity}
        return SimpleNamespace(sample=kinds[self.noise_scheduler.config.prediction_type])


def test_one_guess_has_one_error_of_the_noise_whatever_is_predicted(cards):
    found = []
    for prediction_type in ("epsilon", "sample", "v_prediction"):
        noise_scheduler = build_noise_scheduler("linear", prediction_type)
        config = get_preset("smoke").replace(prediction_type=prediction_type)
        model = TrainedModel(Guess(noise_scheduler), noise_scheduler, config, has_mask=True)
        found.append(loss_by_timestep(model, cards, bins=4, progress=False).epsilon)
    assert np.allclose(found[0], found[1], rtol=1e-3)
    assert np.allclose(found[0], found[2], rtol=1e-3)
    # Of pure noise half is taken for noise: a quarter of its square is the error.
    assert found[0][-1].mean() == pytest.approx(0.25, rel=0.1)


def test_the_weighted_loss_is_the_one_that_was_trained(cards, tmp_path):
    config = get_preset("smoke").replace(max_train_steps=30, learning_rate=1e-12, label_dropout=0.0, ema_decay=0.0)
    config = config.replace(mixed_precision="no")
    losses = [step.loss for step in train(config, cards, tmp_path / "run")]
    found = loss_by_timestep(load_model(tmp_path / "run"), cards, count=None, progress=False)
    errors = found.weighted.mean(axis=0)
    mean, error = errors.mean(), standard_error(errors)
    allowed = 4 * np.hypot(error, np.std(losses) / len(losses) ** 0.5)
    assert abs(mean - np.mean(losses)) < allowed < 0.1 * mean


def test_the_seed_settles_it_and_batches_do_not_matter(model, cards):
    one, same, other = (
        loss_by_timestep(model, cards, 3, 9, seed, batch_size, progress=False)
        for seed, batch_size in ((0, 32), (0, 2), (1, 32))
    )
    assert one.edges == (0, 333, 667, 1000)
    assert one.epsilon.shape == one.weighted.shape == (3, 9)
    assert np.allclose(one.epsilon, same.epsilon, rtol=1e-4)
    assert not np.allclose(one.epsilon, other.epsilon, rtol=1e-2)


def test_the_label_of_each_card_is_given(model, cards):
    right = loss_by_timestep(model, cards, 2, progress=False)
    reordered = replace(cards, labels=4 - cards.labels, label_names=cards.label_names[::-1])
    assert np.array_equal(loss_by_timestep(model, reordered, 2, progress=False).epsilon, right.epsilon)
    swapped = replace(cards, labels=4 - cards.labels)
    assert not np.array_equal(loss_by_timestep(model, swapped, 2, progress=False).epsilon, right.epsilon)
    without = replace(cards, labels=0 * cards.labels, label_names=())
    assert not np.array_equal(loss_by_timestep(model, without, 2, progress=False).epsilon, right.epsilon)


def test_cards_that_do_not_fit_are_refused(model, cards):
    with pytest.raises(ValueError, match="the cards measure"):
        loss_by_timestep(model, replace(cards, pixels=cards.pixels[:, :, :20]))
    with pytest.raises(ValueError, match="no masks"):
        loss_by_timestep(model, replace(cards, pixels=cards.pixels[:, :3]))
    with pytest.raises(ValueError, match="does not know"):
        loss_by_timestep(model, replace(cards, label_names=("A", "B", "C", "D", "E")))
    with pytest.raises(ValueError, match="bins"):
        loss_by_timestep(model, cards, bins=0)
