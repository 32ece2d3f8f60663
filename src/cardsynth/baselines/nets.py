"""Nets of the baselines: generator, discriminator and autoencoder for any height, width, channels and classes."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from torch.nn.utils.parametrizations import spectral_norm

SMALLEST = 8  # height and width that the nets take at least
FIRST_SIDE = 4  # shorter side of the smallest feature map, at least; under twice as much
WEIGHT_DEVIATION = 0.02  # of a DCGAN's first weights (Radford et al. 2016, section 4)
SLOPE = 0.2  # of LeakyReLU (the same)


def halvings(size: tuple[int, int]) -> int:
    """Number of halvings from a card of (height, width) to the smallest feature map: 4 for 64x64.

    Raises:
        ValueError: the card is too small.
    """
    if min(size) < SMALLEST:
        raise ValueError(f"a DCGAN or VAE takes heights and widths from {SMALLEST}, not {size[0]}x{size[1]}")
    return int(math.log2(min(size) / FIRST_SIDE))


def channels_by_size(size: tuple[int, int], base_channels: int, max_channels: int) -> list[int]:
    """Channels of the feature maps, from half the size of a card down to the smallest."""
    return [min(max_channels, base_channels * 2**level) for level in range(halvings(size))]


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(math.gcd(8, channels), channels)


def _bounded(kind: str, layer: nn.Module) -> nn.Module:
    """Returns a layer, with spectral normalization of its weights for that kind of norm (Miyato et al. 2018)."""
    return spectral_norm(layer) if kind == "spectral" else layer


class CardGenerator(ModelMixin, ConfigMixin):
    """Latents -> cards, by transposed convolutions that double the size (Radford et al. 2016, figure 1).

    A size that the halvings do not divide is drawn slightly larger and cropped about its centre.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: tuple[int, int],
        out_channels: int = 3,
        latent_dim: int = 100,
        num_classes: int = 0,
        base_channels: int = 64,
        max_channels: int = 512,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        channels = channels_by_size(sample_size, base_channels, max_channels)
        # One row of weights a class: of a mixture of classes, the mixture of their embeddings.
        self.class_embedding = nn.Linear(num_classes, latent_dim, bias=False) if num_classes else None
        self.first_map = [-(-side // 2 ** len(channels)) for side in sample_size]
        inputs = latent_dim * (2 if num_classes else 1)
        self.project = nn.Linear(inputs, channels[-1] * math.prod(self.first_map))
        self.first_norm = _norm(norm, channels[-1])
        layers: list[nn.Module] = []
        for wide, narrow in zip(channels[:0:-1], channels[-2::-1], strict=True):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), _norm(norm, narrow), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(channels[0], out_channels, 4, 2, 1))

    def forward(self, latents: torch.Tensor, class_weights: torch.Tensor | None = None) -> torch.Tensor:
        """Latents (B, latent_dim), class weights (B, classes), one-hot or mixed -> cards (B, C, H, W) in [-1, 1]."""
        if self.class_embedding is not None:
            latents = torch.cat([latents, self.class_embedding(class_weights)], dim=1)
        maps = self.project(latents).unflatten(1, (-1, *self.first_map))
        images = self.layers(F.relu(self.first_norm(maps)))
        height, width = self.config.sample_size
        top, left = (images.shape[2] - height) // 2, (images.shape[3] - width) // 2
        return torch.tanh(images[:, :, top : top + height, left : left + width])


class _Halving(nn.Module):
    """Strided convolutions down to the smallest feature map; `shape`: of that, (C, h, w)."""

    def __init__(
        self, size: tuple[int, int], in_channels: int, base_channels: int, max_channels: int, norm: str
    ) -> None:
        super().__init__()
        channels = channels_by_size(size, base_channels, max_channels)
        layers: list[nn.Module] = []
        for level, (narrow, wide) in enumerate(zip([in_channels, *channels], channels, strict=False)):
            layers.append(_bounded(norm, nn.Conv2d(narrow, wide, 4, 2, 1)))
            # None on the first (Radford et al. 2016, section 3).
            layers += [_norm(norm, wide)] if level and norm != "spectral" else []
            layers.append(nn.LeakyReLU(SLOPE))
        self.layers = nn.Sequential(*layers)
        self.shape = (channels[-1], *(side // 2 ** len(channels) for side in size))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


class CardDiscriminator(ModelMixin, ConfigMixin):
    """Cards -> logits of being real; classes enter by projection (Miyato & Koyama 2018, equation 3)."""

    @register_to_config
    def __init__(
        self,
        sample_size: tuple[int, int],
        in_channels: int = 3,
        num_classes: int = 0,
        base_channels: int = 64,
        max_channels: int = 512,
        norm: str = "spectral",
    ) -> None:
        super().__init__()
        self.halving = _Halving(sample_size, in_channels, base_channels, max_channels, norm)
        channels, *side = self.halving.shape
        # The published discriminator, with batch norm, has no map of the batch's spread.
        self.sees_spread = norm == "spectral"
        self.judge = _bounded(norm, nn.Linear((channels + self.sees_spread) * math.prod(side), 1))
        self.class_embedding = None
        if num_classes:
            self.class_embedding = _bounded(norm, nn.Linear(num_classes, channels, bias=False))

    def forward(self, images: torch.Tensor, class_weights: torch.Tensor | None = None) -> torch.Tensor:
        """Cards (B, C, H, W) in [-1, 1], class weights one-hot (B, classes) -> logits (B,), above 0: real.

        With spectral norm, one more feature map holds the spread of the batch's features, which exposes mode collapse
        (minibatch standard deviation, Karras et al. 2018, section 3).
        """
        maps = judged = self.halving(images)
        if self.sees_spread:
            differences = maps.float().std(dim=0, correction=0).mean().expand(len(maps), 1, *maps.shape[2:])
            judged = torch.cat([maps, differences.to(maps)], dim=1)
        logits = self.judge(judged.flatten(1)).squeeze(1)
        if self.class_embedding is not None:
            logits = logits + (self.class_embedding(class_weights) * maps.sum(dim=(2, 3))).sum(dim=1)
        return logits


class CardAutoencoder(ModelMixin, ConfigMixin):
    """A variational autoencoder: cards -> mean and log variance of a latent vector -> cards (Kingma & Welling 2014).

    Only the decoder knows the class, so a latent describes a card apart from its class.
    """

    @register_to_config
    def __init__(
        self,
        sample_size: tuple[int, int],
        channels: int = 3,
        latent_dim: int = 100,
        num_classes: int = 0,
        base_channels: int = 64,
        max_channels: int = 512,
    ) -> None:
        super().__init__()
        self.halving = _Halving(sample_size, channels, base_channels, max_channels, "group")
        self.moments = nn.Linear(math.prod(self.halving.shape), 2 * latent_dim)
        self.decoder = CardGenerator(
            sample_size, channels, latent_dim, num_classes, base_channels, max_channels, norm="group"
        )

    def encode(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log variance (B, latent_dim) of the latents of cards (B, C, H, W) in [-1, 1]."""
        mean, log_variance = self.moments(self.halving(images).flatten(1)).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 10)

    def forward(self, latents: torch.Tensor, class_weights: torch.Tensor | None = None) -> torch.Tensor:
        """Cards (B, C, H, W) in [-1, 1] of latents (B, latent_dim); as of `CardGenerator`."""
        return self.decoder(latents, class_weights)


def start_dcgan(net: nn.Module) -> None:
    """Draws a DCGAN's initial weights: normal, deviation 0.02, those of norms around 1 (Radford et al. 2016)."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, WEIGHT_DEVIATION)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, WEIGHT_DEVIATION)
            nn.init.zeros_(module.bias)
