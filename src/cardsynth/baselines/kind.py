"""What the manifest of a DCGAN or a VAE says of its kind: name, necessary files, use, and model card text."""

from collections.abc import Sequence
from typing import Any

from cardsynth.baselines.config import DCGAN, BaselineConfig
from cardsynth.hub.kind import DRAWING_USE, RUN_FILES, drawing_card


def baseline_kind(config: BaselineConfig, labels: Sequence[str], has_mask: bool) -> dict[str, Any]:
    """Return the manifest fields of a DCGAN or a VAE: `kind`, `files`, `use` and `card`.

    Args:
        config: Settings of the run.
        labels: Damage classes that the model knows, empty for none.
        has_mask: Whether the model draws damage masks too.
    """
    name, folder = "variational autoencoder (Kingma & Welling 2014)", "vae"
    if config.kind == DCGAN:
        name, folder = "deep convolutional GAN (Radford et al. 2016)", "generator"
    classes = f"[{labels[-1]!r}]" if labels else "[None]"
    return {
        "kind": config.kind,
        "files": [f"{folder}/config.json", f"{folder}/*.safetensors", *RUN_FILES],
        "use": DRAWING_USE,
        "card": drawing_card(
            {"labels": list(labels), "mask": has_mask, "height": config.height, "width": config.width},
            summary=f"A {name} that draws {{cards}}, from {config.latent_dim} numbers per card. A baseline to compare"
            " diffusion with; trained with cardsynth.",
            library_name="cardsynth",
            tags=[config.kind],
            python="In Python:\n```python\nfrom cardsynth.models import open_model\n\n"
            'model = open_model("{repo_id}")\n'
            f"cards = model.decode(model.seed_latents([16]), model.class_weights({classes}))\n```",
        ),
    }
