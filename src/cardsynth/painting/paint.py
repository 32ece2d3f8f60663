"""Paints damage of a class onto known cards at the model's own size, where masks say."""

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

# Fresh noise at every step makes damage and card fit each other, as RePaint's resampling does.
SAMPLER = "sde-dpmsolver++"
ATTEMPTS = 10  # masks sampled for a card before it is given up
NEXT_ATTEMPT = 1_000_003  # added to the seed for each further attempt


def clean_class(model: TrainedModel) -> str:
    """Returns the class of cards without damage: the run's negative label, or else CLEAN."""
    return model.config.negative_label or CLASSES[0]


def damage_labels(model: TrainedModel, seeds: Sequence[int], labels: str | Sequence[str] | None) -> list[str | None]:
    """Chooses a class of damage for each seed.

    Args:
        model: A diffusion model with masks.
        seeds: Whole numbers.
        labels: One class, or one for each seed; default: the model's damaged classes in turn, by seed.

    Returns:
        A class for each seed; None for a model without classes.

    Raises:
        ValueError: If the model has no masks or is no diffusion model, for the class of clean cards, and as
            `choose_labels` does.
    """
    if not isinstance(model, TrainedModel):
        raise ValueError(f"{model.name} is no diffusion model, so it cannot paint onto cards; take another")
    if not model.has_mask:
        raise ValueError(f"{model.name} was trained without masks, so it cannot paint where a mask says; take another")
    clean = clean_class(model)
    damaged = [label for label in model.labels if label != clean]
    if labels is None and damaged:
        labels = [damaged[seed % len(damaged)] for seed in seeds]
    chosen = choose_labels(model, seeds, labels)
    if clean in chosen:
        raise ValueError(f"{clean} is the class of cards without damage; paint one of {', '.join(damaged)}")
    return chosen


def paint(
    model: TrainedModel,
    clean: torch.Tensor,
    masks: torch.Tensor,
    labels: str | Sequence[str] | None,
    seeds: Sequence[int],
    **sampling: Any,
) -> torch.Tensor:
    """Paints damage onto clean cards.

    Outside its mask a card stays exactly the same; inside it the print remains visible as far as the damage lets it
    through.

    Args:
        model: A diffusion model with masks.
        clean: uint8 (N, 3, H, W) of the model's size.
        masks: bool or uint8 (N, H, W), nonzero where damage is to be painted.
        labels: Classes of damage, see `damage_labels`.
        seeds: Distinct whole numbers.
        **sampling: See `find_veils`.

    Returns:
        uint8 (N, 4, H, W); the fourth channel is the mask.

    Raises:
        ValueError: As `find_veils` does.
    """
    masks = masks.bool()[:, None]
    veils = find_veils(model, clean, masks[:, 0], labels, seeds, **sampling)
    damaged = (veils.over(clean.float()) + 0.5).clamp(0, 255).to(torch.uint8)
    return torch.cat([torch.where(masks, damaged, clean), masks.to(torch.uint8) * 255], dim=1)


def find_veils(
    model: TrainedModel,
    clean: torch.Tensor,
    masks: torch.Tensor,
    labels: str | Sequence[str] | None,
    seeds: Sequence[int],
    sampler: str = SAMPLER,
    **sampling: Any,
) -> Veil:
    """Lets a model paint damage onto clean cards and returns how the damage changes their print.

    Args:
        model: A diffusion model with masks.
        clean: uint8 (N, 3, H, W) of the model's size.
        masks: bool (N, H, W), none of them empty.
        labels: Classes of damage, see `damage_labels`.
        seeds: Distinct whole numbers. The damage of a card depends on its seed, and not on the other cards.
        sampler: See `sampling.generate`.
        **sampling: See `sampling.generate`.

    Returns:
        The veils of all cards.

    Raises:
        ValueError: If shapes, masks, labels or seeds do not fit.
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
    """Generates cards and returns their masks without specks.

    If almost nothing remains of a mask (see `masks.LEAST_BOX` and `masks.TRACE`), another card is generated for it.

    Args:
        model: A diffusion model with masks.
        labels: Classes of damage, see `damage_labels`.
        seeds: Distinct whole numbers.
        **sampling: See `sampling.generate`.

    Returns:
        bool (N, H, W).

    Raises:
        ValueError: If a mask is still empty after ten attempts, and as `find_veils` does.
    """
    labels = damage_labels(model, seeds, labels)
    masks = torch.zeros(len(seeds), *model.config.size, dtype=torch.bool)
    missing = list(range(len(seeds)))
    for attempt in range(ATTEMPTS):
        missing_seeds = [seeds[index] + attempt * NEXT_ATTEMPT for index in missing]
        missing_labels = [labels[index] for index in missing] if model.labels else None
        cards = torch.cat([batch.pixels for batch in generate(model, missing_seeds, missing_labels, **sampling)])
        masks[missing] = torch.from_numpy(np.stack([_without_specks(mask) for mask in cards[:, 3].numpy()]))
        missing = (masks.float().mean(dim=(1, 2)) <= TRACE).nonzero().flatten().tolist()
        if not missing:
            return masks
    raise ValueError(f"{model.name} generates cards with empty masks; give masks instead, or train it longer")


def _without_specks(mask: np.ndarray) -> np.ndarray:
    components, count = ndimage.label(mask, structure=np.ones((3, 3)))
    return (np.bincount(components.ravel(), minlength=count + 1) >= LEAST_BOX)[components] & (mask > 0)
