"""A model whose cards follow its latents by one matrix: what walks, steps and inversion can be checked on by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class MatrixModel:
    """Cards (4, 8, 6) that show a latent of 5 numbers and the class weights, and that can be encoded again."""

    name: str = "matrix"
    labels: tuple[str, ...] = ("CLEAN", "SMALL")
    has_mask: bool = True
    latent_shape: tuple[int, ...] = (5,)
    batches: list[int] = field(default_factory=list)

    @property
    def _matrix(self) -> torch.Tensor:
        return torch.linalg.qr(torch.randn(4 * 8 * 6, 7, generator=torch.Generator().manual_seed(0)))[0]

    def seed_latents(self, seeds: Sequence[int]) -> torch.Tensor:
        return torch.stack([torch.randn(5, generator=torch.Generator().manual_seed(seed)) for seed in seeds])

    def decode(self, latents: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
        self.batches.append(len(latents))
        images = torch.cat([latents, class_weights], dim=1) @ self._matrix.T
        return (images * 100 + 128).round().clamp(0, 255).to(torch.uint8).reshape(-1, 4, 8, 6)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        return ((pixels.float().flatten(1) - 128) / 100 @ self._matrix)[:, :5]
