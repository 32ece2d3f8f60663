"""Hashes that tell the weights of nets apart."""

import hashlib
from collections.abc import Mapping

import torch


def hash_weights(weights: Mapping[str, torch.Tensor], with_names: bool = True) -> str:
    """Returns the SHA-256 of a net's weights.

    Args:
        weights: State dict of the net.
        with_names: Hash the names of the weights too.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        if with_names:
            digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
