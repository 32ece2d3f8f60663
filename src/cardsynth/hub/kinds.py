"""Kinds of run folders: what makes each whole, and what it says of itself on the Hub."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cardsynth.baselines.config import DCGAN, VAE
from cardsynth.baselines.model_card import baseline_card
from cardsynth.core.runs import FINDER, TEXT, read_manifest
from cardsynth.finder.model_card import finder_card
from cardsynth.hub.model_card import model_card
from cardsynth.text.model_card import text_card

SETTINGS = ("settings.json", "manifest.json")  # what every run folder has beside its model


@dataclass(frozen=True)
class Kind:
    """name: with its article. pieces: files, as patterns, without which a model of this kind cannot be opened.

    readme: writes its README.md. remedy: what to do with one that lies where another kind is wanted.
    """

    name: str
    pieces: tuple[str, ...]
    readme: Callable[..., str]
    remedy: str = ""

    def is_whole(self, run: Path) -> bool:
        """Whether a folder has all pieces."""
        return all(any(run.glob(piece)) for piece in self.pieces)


_DRAW = " Give it prompts: cardsynth generate --prompt."
_UNET = ("model_index.json", "unet/config.json", "unet/*.safetensors", "scheduler/scheduler_config.json")
DIFFUSION_MODEL = Kind("a diffusion model", _UNET, model_card)
BASELINES = {
    DCGAN: Kind("a DCGAN", ("generator/config.json", "generator/*.safetensors", *SETTINGS), baseline_card),
    VAE: Kind("a VAE", ("vae/config.json", "vae/*.safetensors", *SETTINGS), baseline_card),
}
DAMAGE_FINDER = Kind(
    "a damage finder",
    ("config.json", "model.safetensors", *SETTINGS),
    finder_card,
    " It looks for damage on cards: cardsynth find.",
)
TEXT_ADAPTERS = Kind("adapters of text to card", ("pytorch_lora_weights.safetensors", *SETTINGS), text_card, _DRAW)
TEXT_MODEL = Kind(
    "a text-to-card model",
    ("model_index.json", "unet/*.safetensors", "vae/*.safetensors", *SETTINGS),
    text_card,
    _DRAW,
)


def kind_of(run: Path) -> Kind:
    """The kind of a run folder, by its manifest; without one, a diffusion model."""
    kind = read_manifest(run).get("kind")
    if kind in BASELINES:
        return BASELINES[kind]
    if kind == FINDER:
        return DAMAGE_FINDER
    if kind == TEXT:
        return TEXT_ADAPTERS if (run / TEXT_ADAPTERS.pieces[0]).is_file() else TEXT_MODEL
    return DIFFUSION_MODEL
