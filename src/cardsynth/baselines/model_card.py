"""The README.md that a DCGAN and a VAE carry on the Hugging Face Hub."""

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from cardsynth.baselines.config import DCGAN
from cardsynth.hub.model_card import (
    LICENSE,
    LICENSE_TEXT,
    RUN_LIMITS,
    data_summary,
    document,
    evaluation_of,
    flat,
    generate_example,
    latest_grid,
    table,
    training_rows,
)
from cardsynth.util.files import read_object


def baseline_card(run: Path, *, repo_id: str | None = None) -> str:
    """Return the README.md text of the run folder of a DCGAN or a VAE.

    `repo_id` is the Hub id written into the examples (default: a placeholder that ends in the folder's name).
    Raises FileNotFoundError if settings or manifest is missing, ValueError if one is not JSON.
    """
    manifest, settings = read_object(run / "manifest.json"), read_object(run / "settings.json")
    labels, repo_id = manifest["labels"], repo_id or f"YOUR_NAME/{run.resolve().name}"
    is_gan = manifest["kind"] == DCGAN
    kind = "class-conditional" if labels else "unconditional-image-generation"
    front = ModelCardData(
        license=LICENSE,
        library_name="cardsynth",
        pipeline_tag=None if labels else kind,
        tags=["dcgan" if is_gan else "vae", kind, "cardsynth"],
    )
    name = (
        "deep convolutional GAN (Radford et al. 2016)" if is_gan else "variational autoencoder (Kingma & Welling 2014)"
    )
    drawn = "trading cards together with their damage masks" if manifest["mask"] else "trading cards"
    classes = f" of the classes {', '.join(labels)}" if labels else ""
    parts = [
        f"# {repo_id.split('/')[-1]}",
        f"A {name} that draws {drawn}{classes}, {manifest['height']}x{manifest['width']} pixels (height x width), from"
        f" {settings['latent_dim']} numbers a card. A baseline to compare diffusion with; trained with cardsynth.",
        *latest_grid(run),
        generate_example(repo_id, labels) + _in_python(repo_id, manifest),
        data_summary(manifest["data"]),
        "## Training\n" + table(("what", "value"), training_rows(manifest)),
        *evaluation_of(run),
        "## Settings\n" + table(("setting", "value"), flat(settings)),
        RUN_LIMITS,
        LICENSE_TEXT.format(subject="The weights"),
    ]
    return document(front.to_yaml(), parts)


def _in_python(repo_id: str, manifest: dict[str, Any]) -> str:
    label = f"[{manifest['labels'][-1]!r}]" if manifest["labels"] else "[None]"
    return (
        "In Python:\n```python\nfrom cardsynth.core.sampling import open_model\n\n"
        f'model = open_model("{repo_id}")\n'
        f"cards = model.decode(model.seed_latents([16]), model.class_weights({label}))\n```"
    )
