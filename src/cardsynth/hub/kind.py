"""What a run's manifest says of its kind of model: name, necessary files, use, and the text of its model card."""

import shlex
from collections.abc import Mapping
from typing import Any

from cardsynth.core.runs import DIFFUSION

RUN_FILES = ("settings.json", "manifest.json")
DRAWING_USE = "Generate cards from it: `cardsynth generate --model MODEL`."
DRAWING_LIMITS = """Made to draw synthetic training pictures for detectors of surface damage, and for teaching. The
model draws only what its training cards look like, with no other layouts, damage or lighting. Fine print is a texture,
not text. Check a detector trained on these pictures on real cards before you rely on it. Not for making cards that pass
for real ones, and not for grading or pricing a card."""


def diffusion_kind(manifest: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest fields of a diffusion run: `kind`, `files`, `use` and `card`.

    Args:
        manifest: The run's other manifest fields. `labels`, `mask`, `height`, `width` and `numbers` are read.
        settings: Settings of the run. `patch_size` is read.
    """
    special = manifest.get("labels") or manifest.get("mask") or manifest.get("numbers")
    if special or settings.get("patch_size", 1) != 1:
        title, name = "The bare net, in 🤗 diffusers", "UNet2DModel"
        code = 'unet = UNet2DModel.from_pretrained("{repo_id}", subfolder="unet")'
    else:
        title, name = "Or with 🤗 diffusers alone", "DDPMPipeline"
        code = 'pipeline = DDPMPipeline.from_pretrained("{repo_id}")\nimage = pipeline().images[0]'
    return {
        "kind": DIFFUSION,
        "files": ["model_index.json", "unet/config.json", "unet/*.safetensors", "scheduler/scheduler_config.json"],
        "use": DRAWING_USE,
        "card": drawing_card(
            manifest,
            summary="A denoising diffusion model that draws {cards}. Trained with cardsynth on 🤗 diffusers.",
            library_name="diffusers",
            tags=["diffusers", "ddpm"],
            python=f"{title}:\n```python\nfrom diffusers import {name}\n\n{code}\n```",
        ),
    }


def drawing_card(
    manifest: Mapping[str, Any], summary: str, library_name: str, tags: list[str], python: str
) -> dict[str, Any]:
    """Return the manifest field `card` of a model that draws cards from seeds.

    Args:
        manifest: Manifest fields that describe the cards: `labels`, `mask`, `height`, `width`.
        summary: What the model is, with the placeholder {cards} for what it draws.
        library_name: Library that opens the model, as the Hub spells it.
        tags: Tags on the Hub, besides the task and the tag of cardsynth.
        python: Markdown that shows how to use the model in Python, with the placeholder {repo_id}.
    """
    labels = manifest.get("labels") or []
    task = "class-conditional" if labels else "unconditional-image-generation"
    cards = "trading cards together with their damage masks" if manifest.get("mask") else "trading cards"
    if labels:
        cards += f" of the classes {', '.join(labels)}"
    size = f"{manifest['height']}x{manifest['width']}" if "height" in manifest else "any size"
    label = f" --label {shlex.quote(labels[-1])}" if labels else ""
    command = f"cardsynth generate --model {{repo_id}} --seeds 0-63{label} --out generated_cards"
    return {
        "summary": summary.format(cards=f"{cards}, {size} pixels (height x width)"),
        "library_name": library_name,
        "pipeline_tag": None if labels else task,
        "tags": [*tags, task, "cardsynth"],
        "usage": f"```bash\n{command}\n```\n{python}",
        "limits": DRAWING_LIMITS,
    }
