"""What the manifest of a damage finder says of its kind: name, necessary files, use, and the text of its model card."""

from collections.abc import Sequence
from typing import Any

from cardsynth.core.runs import FINDER
from cardsynth.finder.config import FinderConfig
from cardsynth.hub.kind import RUN_FILES

LIMITS = """Made to point at surface damage on scans of trading cards, and for teaching. The model finds only damage
like that of its training cards, and its scores are not probabilities. Look at what it finds on cards of your own before
you rely on it. Not for grading or pricing a card."""


def finder_kind(config: FinderConfig, labels: Sequence[str]) -> dict[str, Any]:
    """Return the manifest fields of a damage finder: `kind`, `files`, `use` and `card`.

    Args:
        config: Settings of the run.
        labels: Damage classes that the model knows.
    """
    return {
        "kind": FINDER,
        "files": ["config.json", "model.safetensors", *RUN_FILES],
        "use": "Find damage on cards with it: `cardsynth find CARDS --model MODEL --out FOUND`.",
        "card": {
            "summary": f"A segmentation net ({config.architecture}, {config.encoder_name}) that finds surface damage on"
            f" trading cards, at {config.height}x{config.width} pixels (height x width): background, then"
            f" {', '.join(labels)}. Trained with cardsynth.",
            "library_name": "segmentation-models-pytorch",
            "pipeline_tag": "image-segmentation",
            "tags": ["segmentation-models-pytorch", "image-segmentation", "object-detection", "cardsynth"],
            "usage": "```bash\ncardsynth find my_cards --model {repo_id} --out found\n```\n"
            "The bare net, for RGB in [-1, 1]:\n```python\nimport segmentation_models_pytorch as smp\n\n"
            'net = smp.from_pretrained("{repo_id}")\n```',
            "limits": LIMITS,
        },
    }
