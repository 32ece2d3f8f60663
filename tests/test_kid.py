"""The benchmarks' KID: that it is the published estimate, unbiased, and that its error bar is one."""

import numpy as np
import torch
from kid import kid, pair_weights


def drawn(count, seed, shift=0.0, classes=1):
    """Features of `classes` classes that take turns and lie far apart."""
    labels = torch.arange(count) % classes
    features = torch.from_numpy(np.random.default_rng(seed).normal(shift, 1, (count, 4)))
    return features + 2 * labels[:, None], labels


def test_one_class_gives_the_published_estimate():
    (x, x_labels), (y, y_labels) = drawn(30, 0), drawn(40, 1, shift=0.5)
    kernel = lambda a, b: ((a @ b.T / 4 + 1) ** 3).numpy()  # noqa: E731
    within_x = (kernel(x, x).sum() - np.trace(kernel(x, x))) / (30 * 29)
    within_y = (kernel(y, y).sum() - np.trace(kernel(y, y))) / (40 * 39)
    expected = within_x + within_y - 2 * kernel(x, y).mean()
    assert np.isclose(kid(x, x_labels, y, y_labels).value, expected)


def test_cards_of_classes_that_take_turns_are_as_far_as_their_error_says():
    found = [kid(*drawn(100, seed, classes=5), *drawn(200, 1000 + seed, classes=5)) for seed in range(12)]
    values, errors = (np.array([getattr(distance, name) for distance in found]) for name in ("value", "error"))
    assert abs(values.mean()) < 2 * values.std() / 12**0.5 + 1e-9
    assert 0.4 < errors.mean() / values.std() < 2.5
    far = kid(*drawn(100, 0, shift=1, classes=5), *drawn(200, 1000, classes=5))
    assert far.low > max(distance.high for distance in found)


def test_every_pair_of_classes_weighs_the_same():
    labels, others = np.array([3, 3, 3, 7]), np.array([3, 7, 7])
    weights = pair_weights(labels, others, same_cards=False)
    assert np.isclose(weights[:3, 0].sum(), 0.25)
    assert np.isclose(weights[3, 1:].sum(), 0.25)
    labels = np.array([0, 0, 0, 1, 1])
    weights = pair_weights(labels, labels, same_cards=True)
    assert not weights.diagonal().any()
    assert np.isclose(weights[:3, :3].sum(), 0.25)
    assert np.isclose(weights[3:, 3:].sum(), 0.25)
