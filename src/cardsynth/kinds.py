"""Kinds of run folders: what makes each whole, and what it says of itself on the Hub."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cardsynth.baseline_config import DCGAN, VAE
from cardsynth.baseline_readme import baseline_card
from cardsynth.finder_readme import finder_card
from cardsynth.readme import model_card, read_object
from cardsynth.runs import FINDER, TEXT
from cardsynth.text_card import text_card

SETTINGS = ("settings.json", "manifest.json")  # what every run folder has beside its model


@dataclass(frozen=True)
class Kind:
    """pieces: files, as patterns, without which a model of this kind cannot be opened. readme: writes its README.md."""

    pieces: tuple[str, ...]
    readme: Callable[..., str]


DIFFUSION_MODEL = Kind(
    ("model_index.json", "unet/config.json", "unet/*.safetensors", "scheduler/scheduler_config.json"), model_card
)
BASELINES = {
    DCGAN: Kind(("generator/config.json", "generator/*.safetensors", *SETTINGS), baseline_card),
    VAE: Kind(("vae/config.json", "vae/*.safetensors", *SETTINGS), baseline_card),
}
DAMAGE_FINDER = Kind(("config.json", "model.safetensors", *SETTINGS), finder_card)
TEXT_ADAPTERS = Kind(("pytorch_lora_weights.safetensors", *SETTINGS), text_card)
TEXT_MODEL = Kind(("model_index.json", "unet/*.safetensors", "vae/*.safetensors", *SETTINGS), text_card)


def kind_of(run: Path) -> Kind:
    """The kind of a run folder, by its manifest; without one, a diffusion model.

    Raises ValueError for a manifest that is cut short.
    """
    manifest = run / "manifest.json"
    kind = read_object(manifest).get("kind") if manifest.is_file() else None
    if kind in BASELINES:
        return BASELINES[kind]
    if kind == FINDER:
        return DAMAGE_FINDER
    if kind == TEXT:
        return TEXT_ADAPTERS if (run / TEXT_ADAPTERS.pieces[0]).is_file() else TEXT_MODEL
    return DIFFUSION_MODEL
