"""Surface damage with exact masks: one damage laid on a card, its soft and hard mask, boxes and severity."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from cardsynth.cards.boxes import mask_boxes
from cardsynth.render.damage.films import LEAST, Layer, lay
from cardsynth.render.damage.gum import full_card, light
from cardsynth.render.damage.marks import crease, hickey, pen_mark, scratch
from cardsynth.render.damage.shapes import Card
from cardsynth.render.damage.spots import residue, small, toning, water_ring, wax_stain, white_marks

KINDS: dict[str, Callable[[np.random.Generator, Card], list[Layer]]] = {
    "FULL_CARD": full_card,
    "LIGHT": light,
    "SMALL": small,
    "WHITE_MARKS": white_marks,
    "WAX_STAIN": wax_stain,
    "RESIDUE": residue,
    "TONING": toning,
    "CREASE": crease,
    "SCRATCH": scratch,
    "WATER_RING": water_ring,
    "HICKEY": hickey,
    "PEN_MARK": pen_mark,
}
SEVERITIES = (0.25, 2.0)  # the least and the most of the dial
CARD_SHARE = 0.5  # a pixel is the card's from this coverage on


@dataclass(frozen=True)
class Damage:
    """One damage of a card, and how severe it is.

    soft: uint8 (H, W), how much of its film lies on each pixel; 0 is untouched, 255 is there in full.
    hard: uint8 (H, W), 255 where it would show on the card's bare stock (`Film.visible`), 0 elsewhere.
    boxes: [x, y, width, height] of the hard mask's connected parts, in pixels.
    covered: the hard mask's share of the card, 0 to 1.
    darkness: mean absolute change of lightness within the hard mask, in grey levels of 255 (ITU-R BT.601 luma).
    """

    kind: str
    soft: np.ndarray
    hard: np.ndarray
    boxes: list[list[int]]
    covered: float
    darkness: float

    @property
    def row(self) -> dict:
        """What the card's metadata say of it."""
        return {
            "kind": self.kind,
            "bbox": self.boxes,
            "covered": round(self.covered, 4),
            "darkness": round(self.darkness, 1),
        }


def damage_card(
    picture: np.ndarray, clean: np.ndarray, area: np.ndarray, kind: str, rng: np.random.Generator, severity: float = 1.0
) -> tuple[np.ndarray, Damage]:
    """Lay one damage on a picture of a card, uint8 (H, W, 3), that may be damaged already.

    clean: the undamaged card, which decides where the damage lies; area: float32 (H, W), the card's own coverage of the
    picture, 0 to 1. severity: factor of the damage's area; its films are as much thicker as its lengths grow.
    Returns the damaged picture, a copy that outside the soft mask equals `picture`, and the damage.
    """
    scale = math.sqrt(severity)
    on_card = area >= CARD_SHARE
    damaged = picture.copy()
    soft, hard = np.zeros(area.shape, np.uint8), np.zeros(area.shape, bool)
    card = Card(clean, area, scale)
    for film, amount in KINDS[kind](rng, card):
        amount = amount * (on_card * np.float32(scale))
        amount[amount < LEAST] = 0
        lay(damaged, film, amount)
        soft = np.maximum(soft, np.minimum(amount * 255 + 0.5, 255).astype(np.uint8))
        hard |= amount >= film.visible(card.stock)
    return damaged, describe(kind, picture, damaged, soft, hard, on_card)


def describe(
    kind: str, before: np.ndarray, after: np.ndarray, soft: np.ndarray, hard: np.ndarray, on_card: np.ndarray
) -> Damage:
    """A damage by the pictures before and after it, uint8 (H, W, 3), its masks and where the card is, bool (H, W)."""
    change = np.abs(_grey(after) - _grey(before))[hard]
    mask = hard.astype(np.uint8) * 255
    return Damage(
        kind=kind,
        soft=soft,
        hard=mask,
        boxes=mask_boxes(mask),
        covered=float(hard.sum() / max(1, on_card.sum())),
        darkness=float(change.mean()) if len(change) else 0.0,
    )


def _grey(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).convert("L"), np.int16)
