"""Nets that take a mixture of classes instead of a single class."""

import copy

import torch
from diffusers import UNet2DModel
from torch import nn


class _MixedEmbedding(nn.Module):
    """Embeds mixtures of classes as weighted means of embeddings; a weight of 1 gives a class's embedding exactly."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, shares: torch.Tensor) -> torch.Tensor:
        """Maps the shares of classes, float32 (B, classes), to embeddings, float32 (B, dimension)."""
        # Autocast would round a matrix product.
        return (shares[:, :, None] * self.embedding.weight).sum(dim=1)


def mix_classes(unet: UNet2DModel) -> UNet2DModel:
    """Returns a net with shared weights whose `class_labels` are shares of classes, float32 (B, classes + 1).

    The last class means "no label". A net without classes is returned unchanged.
    """
    if unet.class_embedding is None:
        return unet
    mixed = copy.copy(unet)
    mixed._modules = {**unet._modules, "class_embedding": _MixedEmbedding(unet.class_embedding)}
    return mixed
