"""Folders with and without prepared cards, and whether two readings gave the same."""

import contextlib
from pathlib import Path

import torch

from cardsynth.cards import cache
from cardsynth.cards.dataset import Cards

SIZE = (24, 16)


def caches(folder: Path) -> list[str]:
    """Names of a folder's caches, and of what else is left of preparing them."""
    names = (path.name for path in (folder / cache.CACHE_FOLDER).glob("*"))
    return sorted(name for name in names if name not in (".gitignore", ".lock"))


@contextlib.contextmanager
def uncached():
    before, cache.CACHED_FROM = cache.CACHED_FROM, 10**9
    yield
    cache.CACHED_FROM = before


def assert_equal(cards: Cards, others: Cards) -> None:
    assert torch.equal(cards.pixels, others.pixels)
    assert torch.equal(cards.labels, others.labels)
    assert (cards.pixels.dtype, cards.labels.dtype) == (torch.uint8, torch.int64)
    for name in ("label_names", "names", "source", "skipped", "fingerprint", "has_mask", "class_counts"):
        assert getattr(cards, name) == getattr(others, name), name
