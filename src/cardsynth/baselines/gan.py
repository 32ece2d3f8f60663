"""One optimiser step of a DCGAN: a step of the discriminator, then one of the generator."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from diffusers import ModelMixin

from cardsynth.baselines.config import BaselineConfig
from cardsynth.baselines.learner import BaselineLearner
from cardsynth.baselines.nets import CardDiscriminator, CardGenerator, start_dcgan
from cardsynth.baselines.variety import VarietyProbe
from cardsynth.cards.dataset import Cards


class GanLearner(BaselineLearner):
    """Generator and discriminator, trained by the losses of Goodfellow et al. 2014, the generator's not saturating."""

    figures: ClassVar[tuple[str, ...]] = (
        *("loss", "gradient_norm", "generator_loss", "discriminator_loss", "real_score", "fake_score"),
    )

    def __init__(self, config: BaselineConfig, cards: Cards, shown: torch.Tensor | None = None) -> None:
        super().__init__(config, cards, shown)
        self._probe = VarietyProbe(cards, config.seed)

    def build_nets(self, channels: int, classes: int) -> dict[str, ModelMixin]:
        """Generator and discriminator, with the first weights of a DCGAN."""
        config = self.config
        width = (config.base_channels, config.max_channels)
        nets = {
            "generator": CardGenerator(config.size, channels, config.latent_dim, classes, *width),
            "discriminator": CardDiscriminator(config.size, channels, classes, *width, config.discriminator_norm),
        }
        for net in nets.values():
            start_dcgan(net)
        return nets

    def optimise(self, step: int) -> torch.Tensor:
        """Take optimiser step `step` (from 0) of both players; returns its `figures`, (6,), not waited for.

        The generator's loss, as `loss` and `generator_loss`, its gradient's norm, the discriminator's loss, and how
        sure the discriminator was on average that real and generated cards are real (0 to 1).
        """
        generator, discriminator = self.nets["generator"], self.nets["discriminator"]
        real, classes, random = self.batch_of(step)
        latents = torch.randn(len(real), self.config.latent_dim, generator=random, device=self.device)
        with self.accelerator.autocast():
            fake = generator(latents, classes)
            of_real, of_fake = discriminator(real, classes).float(), discriminator(fake.detach(), classes).float()
        discriminator_loss = F.softplus(-of_real).mean() + F.softplus(of_fake).mean()
        self.descend("discriminator", discriminator_loss)
        with self.accelerator.autocast():
            generator_loss = F.softplus(-discriminator(fake, classes).float()).mean()
        gradient_norm = self.descend("generator", generator_loss)
        self.average.step(generator.parameters())
        scores = of_real.sigmoid().mean(), of_fake.sigmoid().mean()
        figures = (generator_loss, gradient_norm, generator_loss, discriminator_loss, *scores)
        return torch.stack([value.detach().float() for value in figures])

    def measure(self) -> dict[str, float]:
        """Returns the variety of the generator's cards (see `variety.py`)."""
        return {"variety": self._probe.measure(self.model("the generator"))}
