"""A common interface to the latent space of every kind of model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Event
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel

from cardsynth.baselines.points import check_points, one_hot, seed_points
from cardsynth.core.base_config import SamplingConfig
from cardsynth.core.denoise import (
    TrainedModel,
    build_predictor,
    cards_at_once,
    denoise,
    latent_shape,
    resolve_sampling,
    to_pixels,
)
from cardsynth.core.diffusion import STOCHASTIC
from cardsynth.core.sampling import choose_labels
from cardsynth.latents.mixtures import mix_classes
from cardsynth.util.device import in_parts

DETERMINISTIC = "unipc"  # replaces a run's sampler that adds noise in each step


@runtime_checkable
class LatentModel(Protocol):
    """A model as a map from standard normal latents to cards.

    Attributes:
        name: Name of the model.
        labels: Classes; empty for a model without classes.
        has_mask: Whether cards have masks.
        latent_shape: Shape of one card's latent.
    """

    name: str
    labels: tuple[str, ...]
    has_mask: bool
    latent_shape: tuple[int, ...]

    def seed_latents(self, seeds: Sequence[int]) -> torch.Tensor:
        """Returns the latents of seeds, float32 (B, *latent_shape), on the CPU; each depends on its seed alone."""

    def decode(self, latents: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
        """Decodes latents to cards, each independent of the rest of the batch.

        Args:
            latents: Latents, float32 (B, *latent_shape).
            class_weights: Shares of classes, float32 (B, classes), see `class_weights`; None for a model without
                classes.

        Returns:
            Cards uint8 (B, C, H, W) on the CPU.
        """


@dataclass(frozen=True)
class DiffusionLatents:
    """A diffusion model as a map from noise to cards, by its deterministic probability flow (Song et al. 2021).

    Attributes:
        model: Diffusion model.
        recipe: Sampling settings; `generate` draws the same cards with `asdict(recipe)`.
    """

    model: TrainedModel
    recipe: SamplingConfig

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def labels(self) -> tuple[str, ...]:
        """Classes of the model."""
        return self.model.labels

    @property
    def has_mask(self) -> bool:
        """Whether cards have masks."""
        return self.model.has_mask

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of a card's noise, with pixels folded into channels if the net folds them."""
        return latent_shape(self.model.unet)

    @cached_property
    def net(self) -> UNet2DModel:
        """The model's net, adapted to mixtures of classes."""
        return mix_classes(self.model.unet)

    def seed_latents(self, seeds: Sequence[int]) -> torch.Tensor:
        """Returns the initial noise that `generate` uses for each seed, float32 (B, *latent_shape)."""
        return seed_points(self.latent_shape, seeds)

    def decode(self, latents: torch.Tensor, class_weights: torch.Tensor | None = None) -> torch.Tensor:
        """Decodes noise, float32 (B, *latent_shape), to cards uint8 (B, C, H, W) on the CPU; see `LatentModel`."""

        def draw(predict: Callable, images: torch.Tensor, stopped: Event) -> torch.Tensor:
            return to_pixels(self.model, denoise(self.model, predict, self.recipe, images, stopped=stopped))

        return self.through_net(draw, latents, class_weights)

    def through_net(
        self,
        function: Callable[[Callable, torch.Tensor, Event], torch.Tensor],
        images: torch.Tensor,
        class_weights: torch.Tensor | None,
    ) -> torch.Tensor:
        """Applies a function to images, in batches of the net's size.

        Args:
            function: Maps the net's predictor (see `denoise.build_predictor`), a batch on the net's device and an event
                that requests cancellation to a result.
            images: Images, float32 (B, *latent_shape).
            class_weights: Shares of classes, float32 (B, classes); None for a model without classes.

        Returns:
            The results of all images.

        Raises:
            ValueError: A shape does not fit the model.
        """
        check_points(self, images, class_weights)
        model, device, count = self.model, self.model.unet.device, len(images)
        at_once = cards_at_once(model.unet)

        def run(part: slice, stopped: Event) -> torch.Tensor:
            indices = torch.arange(part.start, part.stop).clamp(max=count - 1)
            # The last embedding, which means "no label", has no share.
            classes = None if class_weights is None else F.pad(class_weights[indices], (0, 1)).to(device)
            predict = build_predictor(model, self.net, self.recipe, classes, [{}] * at_once)
            return function(predict, images[indices].to(device), stopped)

        return in_parts(run, count, at_once, device)


def latents_of(model: LatentModel | TrainedModel, **sampling: object) -> LatentModel:
    """Adapts a model of any kind to `LatentModel`.

    Args:
        model: Diffusion model, DCGAN or VAE.
        **sampling: Sampling settings of a diffusion model, see `resolve_sampling`. The run's own are the default, with
            `unipc` in place of a sampler that adds noise in each step.

    Raises:
        ValueError: The requested sampler adds noise, or the model takes no sampling settings.
    """
    if not isinstance(model, TrainedModel):
        if sampling:
            raise ValueError(f"{model.name} draws a card in one step; omit {', '.join(sampling)}")
        return model
    recipe = resolve_sampling(model, **sampling)
    if recipe.sampler in STOCHASTIC:
        if sampling.get("sampler"):
            raise ValueError(
                f"{recipe.sampler} adds noise in each step, so a latent does not determine a card; use {DETERMINISTIC}"
            )
        recipe = replace(recipe, sampler=DETERMINISTIC)
    return DiffusionLatents(model, recipe)


def class_weights(
    model: LatentModel | TrainedModel, seeds: Sequence[int], labels: str | Sequence[str] | None = None
) -> torch.Tensor | None:
    """Returns the class shares of each seed's label, 1 or 0, with the labels that `generate` chooses.

    Args:
        model: Model to decode with.
        seeds: B seeds.
        labels: Class of all seeds, or of each; None lets seeds take the classes in turn.

    Returns:
        Shares, float32 (B, classes); None for a model without classes.

    Raises:
        ValueError: A label is unknown, or there are more or fewer labels than seeds.
    """
    return one_hot(model.labels, choose_labels(model, seeds, labels))
