"""One optimiser step of a VAE: encodes cards, draws latents, and decodes them."""

from typing import ClassVar

import torch
from diffusers import ModelMixin

from cardsynth.baselines.learner import BaselineLearner
from cardsynth.baselines.nets import CardAutoencoder


class VaeLearner(BaselineLearner):
    """Encoder and decoder, trained by squared error and KL divergence (Kingma & Welling 2014, equation 10)."""

    figures: ClassVar[tuple[str, ...]] = ("loss", "gradient_norm", "reconstruction", "kl")

    def build_nets(self, channels: int, classes: int) -> dict[str, ModelMixin]:
        """The autoencoder."""
        config = self.config
        width = (config.base_channels, config.max_channels)
        return {"vae": CardAutoencoder(config.size, channels, config.latent_dim, classes, *width)}

    def optimise(self, step: int) -> torch.Tensor:
        """Takes optimiser step `step` (from 0).

        The loss is the squared error plus `kl_weight` times the KL divergence per value of the card: the likelihood of
        a normal distribution of variance kl_weight / 2.

        Returns:
            Loss, gradient norm, mean squared error of cards in [-1, 1], and KL divergence of their latents from a
            standard normal in nats per card; float32 (4,), on the device.
        """
        vae = self.nets["vae"]
        images, classes, random = self.batch_of(step)
        noise = torch.randn(len(images), self.config.latent_dim, generator=random, device=self.device)
        with self.accelerator.autocast():
            mean, log_variance = vae.encode(images)
            decoded = vae(mean + (log_variance / 2).exp() * noise, classes)
        reconstruction = (decoded.float() - images).square().mean()
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean() / 2
        loss = reconstruction + self.config.kl_weight * kl / images[0].numel()
        gradient_norm = self.descend("vae", loss)
        self.average.step(vae.parameters())
        return torch.stack([value.detach().float() for value in (loss, gradient_norm, reconstruction, kl)])
