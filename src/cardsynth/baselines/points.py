"""Points in latent space: latents of seeds, class weights, and a check of their shapes."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F


def seed_points(shape: Sequence[int], seeds: Sequence[int]) -> torch.Tensor:
    """Draws standard normal latents float32 (B, *shape) on the CPU, each from its own seed."""
    return torch.stack([torch.randn(tuple(shape), generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def one_hot(label_names: Sequence[str], labels: Sequence[str | None]) -> torch.Tensor | None:
    """Returns labels as one-hot class weights, float32 (B, classes); None without classes."""
    if not label_names:
        return None
    return F.one_hot(torch.tensor([label_names.index(label) for label in labels]), len(label_names)).float()


def check_points(model: Any, latents: torch.Tensor, class_weights: torch.Tensor | None) -> None:
    """Raises ValueError unless latents and class weights have the shapes that a model (see `LatentModel`) takes."""
    if not len(latents) or tuple(latents.shape[1:]) != tuple(model.latent_shape):
        raise ValueError(
            f"{model.name} takes latents of shape (cards, {', '.join(map(str, model.latent_shape))}), at least one,"
            f" and these are {tuple(latents.shape)}"
        )
    wanted = (len(latents), len(model.labels)) if model.labels else None
    given = None if class_weights is None else tuple(class_weights.shape)
    if given != wanted:
        raise ValueError(f"{model.name} takes class weights of shape {wanted} with these latents, and got {given}")
