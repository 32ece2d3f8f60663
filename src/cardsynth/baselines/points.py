"""Points in latent space: those of seeds, the class weights that go with them, and what shapes a model takes."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F


def seed_points(shape: Sequence[int], seeds: Sequence[int]) -> torch.Tensor:
    """Standard normal latents float32 (B, *shape) on the CPU, each from its seed alone."""
    return torch.stack([torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def one_hot(label_names: Sequence[str], labels: Sequence[str | None]) -> torch.Tensor | None:
    """Labels as class weights, 1 or 0, float32 (B, classes); None where there are no classes."""
    if not label_names:
        return None
    return F.one_hot(torch.tensor([label_names.index(label) for label in labels]), len(label_names)).float()


def check_points(model: Any, latents: torch.Tensor, class_weights: torch.Tensor | None) -> None:
    """Raise ValueError unless latents and class weights have the shapes that a model (see `LatentModel`) takes."""
    if not len(latents) or tuple(latents.shape[1:]) != tuple(model.latent_shape):
        raise ValueError(
            f"{model.name} takes latents of shape (cards, {', '.join(map(str, model.latent_shape))}), at least one,"
            f" and these are {tuple(latents.shape)}"
        )
    wanted = (len(latents), len(model.labels)) if model.labels else None
    given = None if class_weights is None else tuple(class_weights.shape)
    if given != wanted:
        raise ValueError(f"{model.name} takes class weights of shape {wanted} with these latents, and got {given}")
