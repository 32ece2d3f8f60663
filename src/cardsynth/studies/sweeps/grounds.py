"""Lays drawn cards on a larger background: plain white, or different noise for each card."""

from dataclasses import replace
from typing import Literal

import numpy as np

from cardsynth.render.draw import DrawnCard

Ground = Literal["white", "noise"]
WHITE = 245  # grey level of a lit backdrop
GRAINS = (1, 4, 16)  # sides of the noise's blocks in pixels


def inner_size(size: tuple[int, int], margin: float) -> tuple[int, int]:
    """Returns the size of a card within a picture.

    Args:
        size: (height, width) of the picture in pixels.
        margin: Room on each side, as a share of the picture's side.
    """
    height, width = (side - 2 * round(margin * side) for side in size)
    return height, width


def lay_on_ground(card: DrawnCard, size: tuple[int, int], ground: Ground) -> DrawnCard:
    """Lays a card in the middle of a picture; masks and boxes move with it.

    Args:
        card: The card.
        size: (height, width) of the picture in pixels.
        ground: Background. Noise adds up blocks of random color in several sizes, drawn from the card's seed.

    Raises:
        ValueError: The picture is smaller than the card.
    """
    height, width = card.mask.shape
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    if min(top, left) < 0:
        raise ValueError(f"a card of {height}x{width} does not fit into a picture of {size[0]}x{size[1]}")
    around = np.full((*size, 3), WHITE, np.uint8) if ground == "white" else _noise(card.row["seed"], size)
    pictures = {
        "image": around,
        "twin": around,
        "mask": np.zeros(size, np.uint8),
        "soft_mask": np.zeros(size, np.uint8),
    }
    for name, onto in pictures.items():
        pictures[name] = onto.copy()
        pictures[name][top : top + height, left : left + width] = getattr(card, name)
    row = {key: card.row[key] for key in ("label", "seed", "text", "style", "layout")} | {"ground": ground}
    row["damages"] = [damage | {"bbox": _shifted(damage["bbox"], top, left)} for damage in card.row["damages"]]
    row["objects"] = card.row["objects"] | {"bbox": _shifted(card.row["objects"]["bbox"], top, left)}
    return replace(card, row=row, **pictures)


def _noise(seed: int, size: tuple[int, int]) -> np.ndarray:
    random = np.random.default_rng([seed, 4])
    total = np.zeros((*size, 3))
    for grain in GRAINS:
        blocks = random.uniform(-1, 1, (-(-size[0] // grain), -(-size[1] // grain), 3))
        total += blocks.repeat(grain, axis=0).repeat(grain, axis=1)[: size[0], : size[1]]
    return (127.5 * (1 + total / len(GRAINS))).round().astype(np.uint8)


def _shifted(boxes: list[list[int]], top: int, left: int) -> list[list[int]]:
    return [[x + left, y + top, width, height] for x, y, width, height in boxes]
