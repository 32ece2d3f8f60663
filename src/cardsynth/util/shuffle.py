"""Shuffled passes over things, a function of seed and position, so that resumed work sees what unbroken work does."""

from functools import lru_cache

import numpy as np


def shuffled_passes(key: tuple[int, ...], positions: np.ndarray, count: int) -> np.ndarray:
    """Returns what lies at some positions of shuffled passes over `count` things, end to end.

    Args:
        key: seeds of the order.
        positions: ascending int64 (N,), from 0.
        count: number of things.

    Returns:
        Numbers of the things, int64 (N,), each from 0 to `count` - 1.
    """
    epochs, places = np.divmod(positions, count)
    return np.concatenate(
        [np.empty(0, np.int64), *(_order(key, e, count)[places[epochs == e]] for e in np.unique(epochs).tolist())]
    )


@lru_cache(maxsize=32)  # two for each of so many classes
def _order(key: tuple[int, ...], epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([*key, epoch]).permutation(count).astype(np.int32)
