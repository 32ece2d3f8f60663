"""Trains a damage finder: on 10 cards or 10,000, real ones alone or with synthetic ones that are faded out."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import DiceLoss
from tqdm.auto import tqdm

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.evaluation.masks import clean_classes
from cardsynth.finder.config import FinderConfig
from cardsynth.finder.net import DamageFinder, build_finder
from cardsynth.util.device import resolve_precision

MOST_SHIFT, MOST_TURN, MOST_ZOOM, MOST_LIGHT = 0.06, 5.0, 0.1, 0.15  # of height or width, degrees, factor, factor


def damage_classes(cards: Cards) -> tuple[str, ...]:
    """The classes of cards that have damage: all but those most of whose masks are empty."""
    clean = clean_classes(cards)
    return tuple(name for number, name in enumerate(cards.label_names) if number not in clean)


def damage_targets(cards: Cards, labels: tuple[str, ...]) -> torch.Tensor:
    """What a finder should see at each pixel, int64 (N, H, W): 0 undamaged, else 1 + the place of the card's class.

    The damage of a card is of its class; in cards without classes all damage is of one. Raises CardError for cards
    without masks.
    """
    if not cards.has_mask:
        raise CardError(f"{cards.source or 'the cards'}: no masks, and a damage finder learns from them; add masks")
    numbers = [labels.index(name) + 1 if name in labels else 0 for name in cards.label_names] or [1]
    of_card = torch.tensor(numbers)[cards.labels]
    return torch.where(cards.pixels[:, 3] >= 128, of_card[:, None, None], 0)


def train_finder(
    config: FinderConfig,
    cards: Cards,
    synthetic: Cards | None = None,
    labels: tuple[str, ...] = (),
    progress: bool = True,
) -> DamageFinder:
    """Train a finder on cards with masks: AdamW, one cycle, cross-entropy and Dice (Milletari et al. 2016).

    synthetic: cards that fill `synthetic_share` of each batch, and with `anneal` ever fewer of it over the last half.
    labels: the damage classes; default: those of the cards. Cards are shown moved, turned, zoomed and relit a little,
    and with `flips` mirrored. Equal arguments give equal weights at an equal number of threads. Raises CardError for
    cards without masks.
    """
    labels = labels or damage_classes(cards)
    finder = build_finder(config, labels)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    finder.to(device).train()
    pools = [(cards, damage_targets(cards, finder.labels), _passes(len(cards), config.seed, 0))]
    if synthetic is not None and len(synthetic):
        targets = damage_targets(synthetic, finder.labels)
        pools.append((synthetic, targets, _passes(len(synthetic), config.seed, 1)))
    steps, size = config.max_train_steps, config.train_batch_size
    optimizer = torch.optim.AdamW(finder.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.learning_rate, total_steps=steps)
    generator = torch.Generator().manual_seed(config.seed)
    dice = DiceLoss("multiclass", classes=list(range(1, 1 + len(finder.labels))))
    bf16 = resolve_precision("auto", device) == "bf16"
    for step in tqdm(range(steps), "Training the damage finder", unit="step", leave=False, disable=not progress):
        fading = min(1.0, 2 * (1 - step / steps)) if config.anneal else 1.0
        made = round(size * config.synthetic_share * fading) if len(pools) > 1 else 0
        parts = [
            (pool.pixels[chosen, :3], targets[chosen])
            for (pool, targets, passes), count in zip(pools, (size - made, made), strict=False)
            if count
            for chosen in [torch.tensor([next(passes) for _ in range(count)])]
        ]
        pixels, targets = (torch.cat(part) for part in zip(*parts, strict=True))
        images, targets = augment(pixels, targets, generator, config.flips)
        images, targets = images.to(device), targets.to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = finder(images)
        loss = F.cross_entropy(logits.float(), targets) + dice(logits.float(), targets)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
    return finder.cpu().eval().requires_grad_(False)


def _passes(count: int, seed: int, stream: int) -> Iterator[int]:
    """Places of `count` cards, all of them once, in a new order, and so on."""
    random = np.random.default_rng([seed, stream])
    while True:
        yield from random.permutation(count).tolist()


def augment(
    pixels: torch.Tensor, targets: torch.Tensor, generator: torch.Generator, flips: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cards uint8 (B, 3, H, W) and targets int64 (B, H, W), moved, turned, zoomed, relit: images in about [-1, 1].

    Edges are repeated; a card and its target are moved alike.
    """
    count, _, height, width = pixels.shape

    def spread(most: float, columns: int = 1) -> torch.Tensor:
        return (2 * torch.rand(count, columns, generator=generator) - 1) * most

    turn = torch.deg2rad(spread(MOST_TURN))[:, 0]
    zoom = 1 + spread(MOST_ZOOM)[:, 0]
    mirror = torch.where(torch.rand(count, 2, generator=generator) < (0.5 if flips else 0.0), -1.0, 1.0)
    cos, sin, ratio = turn.cos() * zoom, turn.sin() * zoom, height / width
    shift = spread(2 * MOST_SHIFT, 2)
    rows = torch.stack([cos * mirror[:, 0], -sin * ratio * mirror[:, 1], shift[:, 0]], dim=1)
    columns = torch.stack([sin / ratio * mirror[:, 0], cos * mirror[:, 1], shift[:, 1]], dim=1)
    grid = F.affine_grid(torch.stack([rows, columns], dim=1), [count, 3, height, width], align_corners=False)
    images = F.grid_sample(pixels.float() / 127.5 - 1, grid, padding_mode="border", align_corners=False)
    moved = F.grid_sample(targets[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
    contrast, light = 1 + spread(MOST_LIGHT)[:, :, None, None], spread(MOST_LIGHT)[:, :, None, None]
    return images * contrast + light, moved[:, 0].long()
