"""Drawn cards laid on a ground with room around them: plain white, or noise, another for each card."""

from dataclasses import replace
from typing import Literal

import numpy as np

from cardsynth.render.draw import DrawnCard

Ground = Literal["white", "noise"]
WHITE = 245  # of a lit backdrop, in grey levels
GRAINS = (1, 4, 16)  # pixels of the blocks that noise is made of


def inner_size(size: tuple[int, int], margin: float) -> tuple[int, int]:
    """Height and width of the card within a picture of `size`, with `margin`, a share of them, on each side."""
    height, width = (side - 2 * round(margin * side) for side in size)
    return height, width


def lay_on_ground(card: DrawnCard, size: tuple[int, int], ground: Ground) -> DrawnCard:
    """A card in the middle of a picture of `size` (height, width), all its masks and boxes moved with it.

    Noise is colours of blocks of several sizes added up, drawn from the card's seed. Raises ValueError for a picture
    smaller than the card.
    """
    height, width = card.mask.shape
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    if min(top, left) < 0:
        raise ValueError(f"a card of {height}x{width} does not lie in a picture of {size[0]}x{size[1]}")
    inside = slice(top, top + height), slice(left, left + width)
    around = np.full((*size, 3), WHITE, np.uint8) if ground == "white" else _noise(card.row["seed"], size)

    def moved(picture: np.ndarray, onto: np.ndarray) -> np.ndarray:
        laid = onto.copy()
        laid[inside] = picture
        return laid

    nothing = np.zeros(size, np.uint8)
    row = {key: card.row[key] for key in ("label", "seed", "text", "style", "layout")}
    row["ground"] = ground
    row["damages"] = [one | {"bbox": _shifted(one["bbox"], top, left)} for one in card.row["damages"]]
    row["objects"] = card.row["objects"] | {"bbox": _shifted(card.row["objects"]["bbox"], top, left)}
    return replace(
        card,
        image=moved(card.image, around),
        twin=moved(card.twin, around),
        mask=moved(card.mask, nothing),
        soft_mask=moved(card.soft_mask, nothing),
        row=row,
    )


def _noise(seed: int, size: tuple[int, int]) -> np.ndarray:
    random = np.random.default_rng([seed, 4])
    total = np.zeros((*size, 3))
    for grain in GRAINS:
        blocks = random.uniform(-1, 1, (-(-size[0] // grain), -(-size[1] // grain), 3))
        total += blocks.repeat(grain, axis=0).repeat(grain, axis=1)[: size[0], : size[1]]
    return (127.5 * (1 + total / len(GRAINS))).round().astype(np.uint8)


def _shifted(boxes: list[list[int]], top: int, left: int) -> list[list[int]]:
    return [[x + left, y + top, width, height] for x, y, width, height in boxes]
