"""Mixtures of classes: a net that takes the share of each class where it took one class."""

import copy

import torch
from diffusers import UNet2DModel
from torch import nn


class _MixedEmbedding(nn.Module):
    """Weighted means of an embedding's rows; exactly a row where its weight is 1 and the others are 0."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, shares: torch.Tensor) -> torch.Tensor:
        """Shares of the rows, float32 (B, rows) -> float32 (B, dimension)."""
        # A matrix product would be rounded under autocast.
        return (shares[:, :, None] * self.embedding.weight).sum(dim=1)


def mix_classes(unet: UNet2DModel) -> UNet2DModel:
    """The same net, its weights shared, whose `class_labels` are shares of all its classes, float32 (B, classes + 1).

    The last class stands for "no label". A net without classes stays as it is.
    """
    if unet.class_embedding is None:
        return unet
    mixed = copy.copy(unet)
    mixed._modules = {**unet._modules, "class_embedding": _MixedEmbedding(unet.class_embedding)}
    return mixed
