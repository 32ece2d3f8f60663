"""Latents: what a model makes cards of, for every kind of model alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from threading import Event
from typing import Any, Protocol, runtime_checkable

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

USUAL = "unipc"  # the sampler of a run whose own adds noise on the way


@runtime_checkable
class LatentModel(Protocol):
    """A model as a map from latents to cards.

    labels: its classes, or none. has_mask: whether its cards have one. latent_shape: of one card's latent. A latent is
    standard normal; that of a seed does not depend on anything else.
    """

    name: str
    labels: tuple[str, ...]
    has_mask: bool
    latent_shape: tuple[int, ...]

    def seed_latents(self, seeds: Sequence[int]) -> torch.Tensor:
        """Latents of seeds, float32 (B, *latent_shape), on the CPU."""

    def decode(self, latents: torch.Tensor, class_weights: torch.Tensor | None) -> torch.Tensor:
        """Cards uint8 (B, C, H, W) of latents, on the CPU, each the same whatever else is in the batch.

        class_weights: share of each class, float32 (B, classes), see `class_weights`; None for a model without classes.
        """


@dataclass(frozen=True)
class DiffusionLatents:
    """A diffusion model as a map from noise to cards: its probability flow (Song et al. 2021), which adds no noise.

    recipe: how it is followed; cards are those of `generate` with the same settings (`asdict(recipe)`).
    """

    model: TrainedModel
    recipe: SamplingConfig

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def labels(self) -> tuple[str, ...]:
        """The model's classes."""
        return self.model.labels

    @property
    def has_mask(self) -> bool:
        """Whether its cards have masks."""
        return self.model.has_mask

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of a card's noise, its pixels folded into channels where the net's are."""
        return latent_shape(self.model.unet)

    @cached_property
    def net(self) -> UNet2DModel:
        """The model's net, for mixtures of classes."""
        return mix_classes(self.model.unet)

    def seed_latents(self, seeds: Sequence[int]) -> torch.Tensor:
        """The noise that `generate` starts each seed from, float32 (B, *latent_shape)."""
        return seed_points(self.latent_shape, seeds)

    def decode(self, latents: torch.Tensor, class_weights: torch.Tensor | None = None) -> torch.Tensor:
        """Cards uint8 (B, C, H, W) of noise float32 (B, *latent_shape), on the CPU; see `LatentModel`."""

        def draw(predict: Callable, images: torch.Tensor, stopped: Event) -> torch.Tensor:
            return to_pixels(self.model, denoise(self.model, predict, self.recipe, images, stopped=stopped))

        return self.through_net(draw, latents, class_weights)

    def through_net(
        self,
        function: Callable[[Callable, torch.Tensor, Event], torch.Tensor],
        images: torch.Tensor,
        class_weights: torch.Tensor | None,
    ) -> torch.Tensor:
        """Results of a function of images (B, *latent_shape), as many at a time as the net takes at once.

        The function is given the net's prediction (see `denoise.build_predictor`), so many images on the net's device,
        and an event that ends it. Raises ValueError for shapes that do not fit the model.
        """
        check_points(self, images, class_weights)
        model, device, count = self.model, self.model.unet.device, len(images)
        at_once = cards_at_once(model.unet)

        def run(part: slice, stopped: Event) -> torch.Tensor:
            places = torch.arange(part.start, part.stop).clamp(max=count - 1)
            # No share of the last embedding, which stands for "no label".
            classes = None if class_weights is None else F.pad(class_weights[places], (0, 1)).to(device)
            predict = build_predictor(model, self.net, self.recipe, classes, [{}] * at_once)
            return function(predict, images[places].to(device), stopped)

        return in_parts(run, count, at_once, device)


def latents_of(model: Any, **sampling: Any) -> LatentModel:
    """A model of any kind as a LatentModel.

    sampling: for a diffusion model, settings as of `resolve_sampling`, the run's own where none are given (where the
    run's sampler adds noise on its way, `unipc`). Raises ValueError for a sampler that adds noise, and for settings of
    sampling where the model takes none.
    """
    if not isinstance(model, TrainedModel):
        if sampling:
            raise ValueError(f"{model.name} draws a card in one step; leave {', '.join(sampling)} out")
        return model
    recipe = resolve_sampling(model, **sampling)
    if recipe.sampler in STOCHASTIC:
        if sampling.get("sampler"):
            raise ValueError(f"{recipe.sampler} adds noise on its way, so a latent does not fix a card; take {USUAL}")
        recipe = replace(recipe, sampler=USUAL)
    return DiffusionLatents(model, recipe)


def class_weights(
    model: LatentModel | TrainedModel, seeds: Sequence[int], labels: str | Sequence[str] | None = None
) -> torch.Tensor | None:
    """Share of each class, 1 or 0, for the label of each seed, float32 (B, classes), as `generate` chooses labels.

    None for a model without classes. Raises ValueError as `choose_labels` does.
    """
    return one_hot(model.labels, choose_labels(model, seeds, labels))
