"""Damage of a class painted by a trained model onto known cards, where masks say, at the model's own size."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from cardsynth.cards.labels import CLASSES
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.sampling import choose_labels, generate
from cardsynth.evaluation.masks import LEAST_BOX, TRACE
from cardsynth.painting.veils import KnownCards, Veil, find_veil

# Fresh noise at every step takes damage and card to each other, as RePaint's way back and forth does.
SAMPLER = "sde-dpmsolver++"
ATTEMPTS = 10  # masks that are sampled for a card before it is given up
NEXT_ATTEMPT = 1_000_003  # added to the seed for the next of them


def clean_class(model: TrainedModel) -> str:
    """The class of cards without damage: that which the run's guidance leads away from, or else CLEAN."""
    return model.config.negative_label or CLASSES[0]


def damage_labels(model: TrainedModel, seeds: Sequence[int], labels: str | Sequence[str] | None) -> list[str | None]:
    """One class of damage for each seed: the given one or ones, else each seed's turn of the model's classes but CLEAN.

    Raises ValueError for a model without masks or that is no diffusion model, for the class of clean cards, and as
    `choose_labels` does.
    """
    if not isinstance(model, TrainedModel):
        raise ValueError(f"{model.name} is no diffusion model, so it cannot paint onto cards; take another")
    if not model.has_mask:
        raise ValueError(f"{model.name} was trained without masks, so it cannot be told where to paint; take another")
    clean = clean_class(model)
    kinds = [label for label in model.labels if label != clean]
    if labels is None and kinds:
        labels = [kinds[seed % len(kinds)] for seed in seeds]
    chosen = choose_labels(model, seeds, labels)
    if clean in chosen:
        raise ValueError(f"{clean} is the class of cards without damage; paint one of {', '.join(kinds)}")
    return chosen


def paint(
    model: TrainedModel,
    clean: torch.Tensor,
    masks: torch.Tensor,
    labels: str | Sequence[str] | None,
    seeds: Sequence[int],
    **sampling: Any,
) -> torch.Tensor:
    """Damaged cards uint8 (N, 4, H, W), the mask as fourth channel, of clean ones uint8 (N, 3, H, W).

    masks: bool or uint8 (N, H, W), true where there is to be damage; elsewhere a card stays as it is to the bit, and
    within it its print shows through as far as the damage lets it. Other arguments and errors as of `find_veils`.
    """
    masks = masks.bool()[:, None]
    veils = find_veils(model, clean, masks[:, 0], labels, seeds, **sampling)
    seen = (veils.over(clean.float()) + 0.5).clamp(0, 255).to(torch.uint8)
    return torch.cat([torch.where(masks, seen, clean), masks.to(torch.uint8) * 255], dim=1)


def find_veils(
    model: TrainedModel,
    clean: torch.Tensor,
    masks: torch.Tensor,
    labels: str | Sequence[str] | None,
    seeds: Sequence[int],
    sampler: str = SAMPLER,
    **sampling: Any,
) -> Veil:
    """The damage that a model paints onto clean cards, as what it does to their print.

    clean: uint8 (N, 3, H, W) of the model's size; masks: bool (N, H, W), none of them empty; labels: classes of damage
    (see `damage_labels`); seeds: different whole numbers, a card's damage depends on its seed and not on the other
    cards. sampler, sampling: as of `generate`. Raises ValueError for shapes, masks, labels or seeds that do not fit.
    """
    labels = damage_labels(model, seeds, labels)
    shape = (len(seeds), 3, *model.config.size)
    if clean.shape != shape or masks.shape != (shape[0], *shape[2:]):
        raise ValueError(
            f"{model.name} paints {shape[0]} seeds on cards of shape {shape} with masks of {(shape[0], *shape[2:])},"
            f" and these are of {tuple(clean.shape)} and {tuple(masks.shape)}"
        )
    if empty := (~masks.flatten(1).any(dim=1)).nonzero().flatten().tolist():
        raise ValueError(f"the mask of card {empty[0]} is empty, as are {len(empty)} of {len(masks)}: nothing to paint")
    known = KnownCards(clean.float(), masks[:, None], model.config.patch_size)
    batches = generate(model, seeds, labels if model.labels else None, known=known, sampler=sampler, **sampling)
    painted = torch.cat([batch.pixels for batch in batches])[:, :3].float()
    return find_veil(painted, known.clean, known.masks.float())


def sample_masks(
    model: TrainedModel, labels: str | Sequence[str] | None, seeds: Sequence[int], **sampling: Any
) -> torch.Tensor:
    """Masks bool (N, H, W) of cards that the model generates, without specks; arguments as of `find_veils`.

    Where next to nothing is left of a seed's mask (see `masks.LEAST_BOX` and `masks.TRACE`), another card is drawn.
    Raises ValueError where ten cards are no better, and as `find_veils`.
    """
    labels = damage_labels(model, seeds, labels)
    masks = torch.zeros(len(seeds), *model.config.size, dtype=torch.bool)
    missing = list(range(len(seeds)))
    for attempt in range(ATTEMPTS):
        now = [seeds[place] + attempt * NEXT_ATTEMPT for place in missing]
        wanted = [labels[place] for place in missing] if model.labels else None
        drawn = torch.cat([batch.pixels for batch in generate(model, now, wanted, **sampling)])
        masks[missing] = torch.from_numpy(np.stack([_without_specks(mask) for mask in drawn[:, 3].numpy()]))
        missing = (masks.float().mean(dim=(1, 2)) <= TRACE).nonzero().flatten().tolist()
        if not missing:
            return masks
    raise ValueError(f"{model.name} generates cards with empty masks; give masks instead, or train it longer")


def _without_specks(mask: np.ndarray) -> np.ndarray:
    components, count = ndimage.label(mask, structure=np.ones((3, 3)))
    return (np.bincount(components.ravel(), minlength=count + 1) >= LEAST_BOX)[components] & (mask > 0)
