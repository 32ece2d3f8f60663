"""Surface damage with exact masks: lays one damage on a card and returns its masks, boxes and severity."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from cardsynth.cards.boxes import mask_boxes
from cardsynth.render.damage.films import THINNEST, Layer, lay
from cardsynth.render.damage.gum import full_card, light
from cardsynth.render.damage.marks import crease, hickey, pen_mark, scratch
from cardsynth.render.damage.shapes import Card
from cardsynth.render.damage.spots import residue, small, toning, water_ring, wax_stain, white_marks

# Each kind of damage is named after the function that draws it.
KINDS: dict[str, Callable[[Card], list[Layer]]] = {
    function.__name__.upper(): function
    for function in (
        full_card,
        light,
        small,
        white_marks,
        wax_stain,
        residue,
        toning,
        crease,
        scratch,
        water_ring,
        hickey,
        pen_mark,
    )
}
SEVERITIES = (0.25, 2.0)  # minimum and maximum
CARD_COVERAGE = 0.5  # from which a pixel belongs to the card


@dataclass(frozen=True)
class Damage:
    """One damage of a card, and its severity.

    Attributes:
        kind: Name of the kind, a key of KINDS.
        soft: uint8 (H, W), thickness of the damage's film on each pixel: 0 is untouched, 255 a full film.
        hard: uint8 (H, W), 255 where the damage would show on the card's bare stock (`Film.visible`), 0 elsewhere.
        boxes: [x, y, width, height] of the hard mask's connected components, in pixels.
        covered: Fraction of the card that the hard mask covers.
        darkness: Mean absolute change of lightness within the hard mask, in grey levels of 255 (ITU-R BT.601 luma).
    """

    kind: str
    soft: np.ndarray
    hard: np.ndarray
    boxes: list[list[int]]
    covered: float
    darkness: float

    @property
    def row(self) -> dict[str, Any]:
        """Its entry in the card's metadata."""
        covered, darkness = round(self.covered, 4), round(self.darkness, 1)
        return {"kind": self.kind, "bbox": self.boxes, "covered": covered, "darkness": darkness}


def damage_card(
    picture: np.ndarray, clean: np.ndarray, area: np.ndarray, kind: str, rng: np.random.Generator, severity: float = 1.0
) -> tuple[np.ndarray, Damage]:
    """Lays one damage on a picture of a card, which may be damaged already.

    Args:
        picture: uint8 (H, W, 3).
        clean: The undamaged card, uint8 (H, W, 3), which decides where the damage lies.
        area: Coverage of the pixels by the card, float32 (H, W) in 0 to 1.
        kind: A key of KINDS.
        rng: Draws the damage.
        severity: Factor of the damage's area. Lengths and the thickness of films grow by its square root.

    Returns:
        The damaged picture, a copy that equals `picture` where the soft mask is 0, and the damage.
    """
    scale = math.sqrt(severity)
    on_card = area >= CARD_COVERAGE
    damaged = picture.copy()
    soft, hard = np.zeros(area.shape, np.uint8), np.zeros(area.shape, bool)
    card = Card(clean, area, scale, rng)
    for film, thickness in KINDS[kind](card):
        thickness = thickness * (on_card * np.float32(scale))
        thickness[thickness < THINNEST] = 0
        lay(damaged, film, thickness)
        soft = np.maximum(soft, np.minimum(thickness * 255 + 0.5, 255).astype(np.uint8))
        hard |= thickness >= film.visible(card.stock)
    return damaged, describe(kind, picture, damaged, soft, hard, on_card)


def describe(
    kind: str, before: np.ndarray, after: np.ndarray, soft: np.ndarray, hard: np.ndarray, on_card: np.ndarray
) -> Damage:
    """Describes a damage by pictures and masks.

    Args:
        kind: Name of the kind.
        before: The picture without it, uint8 (H, W, 3).
        after: The picture with it, uint8 (H, W, 3).
        soft: Its soft mask, uint8 (H, W).
        hard: Its hard mask, bool (H, W).
        on_card: Where the card is, bool (H, W).
    """
    change = np.abs(_grey(after) - _grey(before))[hard]
    mask = hard.astype(np.uint8) * 255
    covered = float(hard.sum() / max(1, on_card.sum()))
    return Damage(kind, soft, mask, mask_boxes(mask), covered, darkness=float(change.mean()) if len(change) else 0.0)


def _grey(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).convert("L"), np.int16)
