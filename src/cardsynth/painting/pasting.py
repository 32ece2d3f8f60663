"""Copy-paste augmentation: moves, rotates and flips real damage onto other real cards (Ghiasi et al. 2021)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.evaluation.masks import clean_classes

INSIDE = 0.5  # minimum share of a moved damage that lies on the card
TRIES = 20
ZOOM, TURN = (0.7, 1.4), 25.0  # range of scale factors; rotation in degrees to each side
FEATHER = 3  # pixels over which the edge is blended


@dataclass(frozen=True)
class MovedDamage:
    """A real damage at a new position.

    Attributes:
        ground: uint8 (4, H, W), the card to lay it on.
        picture: float (3, H, W), the damaged card, moved.
        mask: bool (H, W), its mask.
        label: Its class number.
    """

    ground: torch.Tensor
    picture: torch.Tensor
    mask: torch.Tensor
    label: int


def move_damage(cards: Cards, count: int, seed: int = 0, clean: torch.Tensor | None = None) -> Iterator[MovedDamage]:
    """Moves, rotates, scales and flips damage at random, the damaged classes in turn.

    Args:
        cards: Cards with masks.
        count: Number of damages.
        seed: Equal arguments give equal damages.
        clean: uint8 (N, 3, H, W), undamaged pictures to lay damage on; default: the cards of the undamaged classes. If
            there are none, all cards are used, and their own damage remains below.

    Yields:
        One damage at a time.

    Raises:
        CardError: If no card has damage.
    """
    undamaged = clean_classes(cards)
    has_damage = (cards.pixels[:, 3] >= 128).flatten(1).any(dim=1)
    damaged_classes = [number for number in range(max(1, len(cards.label_names))) if number not in undamaged]
    members = (torch.nonzero((cards.labels == number) & has_damage).flatten() for number in damaged_classes)
    by_class = [indices for indices in members if len(indices)]
    if not by_class:
        raise CardError(f"{cards.source or 'the cards'}: no card has damage that could be moved; add masks of damage")
    grounds = cards.pixels
    if clean is not None and len(clean):
        grounds = F.pad(clean, (0, 0, 0, 0, 0, 1))
    elif undamaged:
        grounds = cards.pixels[torch.isin(cards.labels, torch.tensor(sorted(undamaged)))]
    random = np.random.default_rng([seed, 0])
    for number in range(count):
        source = int(random.choice(by_class[number % len(by_class)]))
        ground = grounds[int(random.integers(len(grounds)))]
        yield MovedDamage(ground, *_moved(cards.pixels[source], random), int(cards.labels[source]))


def paste_damage(cards: Cards, count: int, seed: int = 0, clean: torch.Tensor | None = None) -> Cards:
    """Creates new cards from the damages of `move_damage` on their grounds, with labels and moved masks.

    Args:
        cards: See `move_damage`.
        count: Number of new cards.
        seed: See `move_damage`.
        clean: See `move_damage`.

    Returns:
        `count` cards with masks.

    Raises:
        CardError: If no card has damage.
    """
    pixels, labels = [], []
    for damage in move_damage(cards, count, seed, clean):
        mask = damage.mask.float()
        padded = F.pad(mask[None], (FEATHER // 2,) * 4, mode="replicate")
        alpha = torch.maximum(F.avg_pool2d(padded, FEATHER, 1)[0], mask)
        picture = damage.ground[:3] * (1 - alpha) + damage.picture * alpha
        both = damage.mask | (damage.ground[3] >= 128)
        pixels.append(torch.cat([picture.round(), 255.0 * both[None]]).to(torch.uint8))
        labels.append(damage.label)
    return Cards(torch.stack(pixels), torch.tensor(labels), cards.label_names, source=f"{cards.source}, pasted")


def _moved(card: torch.Tensor, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the picture, float (3, H, W), and mask, bool (H, W), of a card, moved so that its damage stays on it."""
    height, width = card.shape[1:]
    rows, columns = torch.nonzero(card[3] >= 128, as_tuple=True)
    center = np.array([columns.double().mean() * 2 / width - 1, rows.double().mean() * 2 / height - 1])
    area, ratio = len(rows), height / width
    for _ in range(TRIES):
        zoom, turn = random.uniform(*ZOOM), np.deg2rad(random.uniform(-TURN, TURN))
        target = random.uniform(-0.9, 0.9, 2)
        rotation = np.array([[np.cos(turn), -np.sin(turn) * ratio], [np.sin(turn) / ratio, np.cos(turn)]])
        matrix = rotation / zoom * random.choice((-1.0, 1.0), 2)
        theta = torch.tensor(np.column_stack([matrix, center - matrix @ target]), dtype=torch.float)
        grid = F.affine_grid(theta[None], [1, 4, height, width], align_corners=False)
        moved = F.grid_sample(card[None].float(), grid, padding_mode="border", align_corners=False)[0]
        inside = F.grid_sample(card[None, 3:].float(), grid, padding_mode="zeros", align_corners=False)[0, 0]
        mask = inside >= 128
        if mask.sum() >= INSIDE * area * zoom**2:
            return moved[:3], mask
    return card[:3].float(), card[3] >= 128
