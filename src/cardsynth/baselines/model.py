"""A trained DCGAN or VAE: latents -> cards, cards -> latents, saving and loading."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin

from cardsynth.baselines.config import BASELINE_PRESETS, DCGAN, VAE, BaselineConfig
from cardsynth.baselines.nets import CardAutoencoder, CardGenerator
from cardsynth.baselines.points import check_points, one_hot, seed_points
from cardsynth.cards.dataset import denormalize, normalize
from cardsynth.cards.numbers import Numbers
from cardsynth.core.base_config import SamplingConfig
from cardsynth.core.denoise import CardModel, Drawer
from cardsynth.core.runs import WEIGHTS, RunError, is_run, read_manifest, revision_of
from cardsynth.util.device import in_parts
from cardsynth.util.files import new_folder
from cardsynth.util.settings import load_run_config

# Number of cards that go through a net together; fixed, since by rounding a card's bits depend on it.
CARDS_AT_ONCE = 8
# Sub-folder and class of the net that is sampled, by kind.
NETS: dict[str, tuple[str, type[ModelMixin]]] = {DCGAN: ("generator", CardGenerator), VAE: ("vae", CardAutoencoder)}


@dataclass(frozen=True)
class BaselineModel(CardModel):
    """A trained DCGAN or VAE with all that sampling needs; `labels` is empty for a net without classes."""

    net: CardGenerator | CardAutoencoder
    config: BaselineConfig
    labels: tuple[str, ...] = ()
    has_mask: bool = False
    name: str = ""
    revision: str = ""

    def drawer(self, sampling: SamplingConfig | None = None, **options: Any) -> Drawer:
        """Prepares sampling.

        Raises:
            ValueError: an option is given that only a diffusion model takes.
        """
        given = [name for name, value in {"sampling": sampling, **options}.items() if value]
        if given:
            raise ValueError(
                f"{self.name} is a {self.config.kind.upper()}, which draws a card in one step from its seed and class"
                f" alone: {', '.join(given)} mean nothing for it; leave them out"
            )
        return Drawer(self._draw, CARDS_AT_ONCE)

    def _draw(
        self, seeds: list[int], labels: list[str | None], numbers: list[Numbers], at_once: int, known: None
    ) -> torch.Tensor:
        return self.decode(self.seed_latents(seeds), self.class_weights(labels), at_once)

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of a card's latent: (latent_dim,)."""
        return (self.config.latent_dim,)

    def seed_latents(self, seeds: Sequence[int]) -> torch.Tensor:
        """Standard normal latents float32 (B, latent_dim) on the CPU, each from its seed alone."""
        return seed_points(self.latent_shape, seeds)

    def class_weights(self, labels: Sequence[str | None]) -> torch.Tensor | None:
        """Labels as class weights float32 (B, classes), one-hot; None for a model without classes."""
        return one_hot(self.labels, labels)

    def decode(
        self, latents: torch.Tensor, class_weights: torch.Tensor | None = None, at_once: int = CARDS_AT_ONCE
    ) -> torch.Tensor:
        """Draws cards from latents; a latent gives the same card in any batch.

        Args:
            latents: float (B, latent_dim).
            class_weights: float32 (B, classes) for a model with classes: one-hot, or a mixture of classes.
            at_once: number of cards that go through the net together; another number may change the last bits.

        Returns:
            Cards uint8 (B, C, H, W) on the CPU, the mask as 0 or 255.

        Raises:
            ValueError: latents or class weights have another shape.
        """
        check_points(self, latents, class_weights)
        inputs = (latents.float(),) if class_weights is None else (latents.float(), class_weights.float())
        pixels = denormalize(self._in_parts(self.net, *inputs, at_once=at_once))
        if self.has_mask:
            pixels[:, 3] = torch.where(pixels[:, 3] >= 128, 255, 0)
        return pixels

    @property
    def encode(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """A VAE's encoder: pixels uint8 (B, C, H, W) -> mean latents float32 (B, latent_dim); None for a DCGAN.

        It raises ValueError for cards of another size or number of channels.
        """
        return self._encode if self.config.kind == VAE else None

    def _encode(self, pixels: torch.Tensor) -> torch.Tensor:
        expected = (len(pixels), 4 if self.has_mask else 3, *self.config.size)
        if pixels.shape != expected:
            raise ValueError(f"{self.name} encodes cards of shape {expected}, not {tuple(pixels.shape)}")
        return self._in_parts(lambda images: self.net.encode(images)[0], normalize(pixels))

    def _in_parts(
        self, function: Callable[..., torch.Tensor], *inputs: torch.Tensor, at_once: int = CARDS_AT_ONCE
    ) -> torch.Tensor:
        """Applies a function to inputs (B, ...), `at_once` at a time, the last part filled up; float32 on the CPU."""
        device, count = self.net.device, len(inputs[0])

        @torch.inference_mode()
        def work(part: slice, stopped: threading.Event) -> torch.Tensor:
            if stopped.is_set():
                raise CancelledError
            places = torch.arange(part.start, part.stop).clamp(max=count - 1)
            return function(*(value[places].to(device) for value in inputs)).float().cpu()

        return in_parts(work, count, at_once, device)


def is_baseline(run: str | Path) -> bool:
    """Whether a folder holds the run of a DCGAN or a VAE."""
    return read_manifest(run).get("kind") in NETS


def save_baseline(run: Path, kind: str, net: CardGenerator | CardAutoencoder) -> None:
    """Saves the net of a baseline inside its run, whole or not at all, as safetensors."""
    with new_folder(run / NETS[kind][0]) as folder:
        net.save_pretrained(folder, safe_serialization=True)


def load_baseline(run: str | Path, name: str = "", device: str | torch.device = "cpu") -> BaselineModel:
    """Loads the DCGAN or VAE of a run folder; raises RunError if there is no such run, or no model in it yet."""
    run, manifest = Path(run), read_manifest(run)
    if not is_run(run) or manifest.get("kind") not in NETS:
        raise RunError(f"{run} is no run folder of a DCGAN or a VAE; check the path")
    part, net_type = NETS[manifest["kind"]]
    if not (run / part / WEIGHTS).is_file():
        raise RunError(f"{run} has no saved model yet ({part}/ is missing); train on: its first save comes later")
    return BaselineModel(
        net=net_type.from_pretrained(run / part).to(device).eval().requires_grad_(False),
        config=load_run_config(run / "settings.json", BASELINE_PRESETS, BaselineConfig()),
        labels=tuple(manifest["labels"]),
        has_mask=manifest["mask"],
        name=name or run.resolve().name,
        revision=revision_of(run, run / part / WEIGHTS),
    )
