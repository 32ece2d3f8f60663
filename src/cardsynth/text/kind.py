"""What the manifest of a text-to-card run says of its kind: name, necessary files, use, and its model card's text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cardsynth.core.runs import TEXT
from cardsynth.hub.kind import RUN_FILES
from cardsynth.text.config import TextConfig
from cardsynth.text.draw import LORA

LIMITS = """Made to draw pictures that look like its training cards, for teaching and for trying out detectors. A
picture may resemble a single training picture closely: look at the nearest ones before you publish any. The model knows
no damage masks, and its print is a texture, not text. Not for making cards that pass for real ones, and not for grading
or pricing a card."""


def text_kind(config: TextConfig, size: Sequence[int]) -> dict[str, Any]:
    """Return the manifest fields of a text-to-card run: `kind`, `files`, `use` and `card`.

    Args:
        config: Settings of the run.
        size: Height and width in pixels of the pictures that the model draws by default.
    """
    base = Path(config.base_model).name if Path(config.base_model).is_absolute() else config.base_model
    prompt, (height, width) = f"a {config.trigger} card back", size
    tags = ["text-to-image", "diffusers", "stable-diffusion", "cardsynth"]
    if config.method == "lora":
        files, opened = [LORA], base
        model, load = f"Adapters (LoRA, rank {config.lora_rank}) for", 'pipeline.load_lora_weights("{repo_id}")\n'
        tags.append("lora")
    else:
        files, opened = ["model_index.json", "unet/*.safetensors", "vae/*.safetensors"], "{repo_id}"
        model, load = "A whole model, fine-tuned from", ""
    return {
        "kind": TEXT,
        "files": [*files, *RUN_FILES],
        "use": "Draw pictures from prompts with it: `cardsynth generate-text --model MODEL --prompt PROMPT`.",
        "card": {
            "summary": f"{model} `{base}`, to draw trading card backs from prompts, at"
            f" {height}x{width} pixels (height x width). The word that stands for its cards is **{config.trigger}**."
            " Trained with cardsynth on 🤗 diffusers.",
            "library_name": "diffusers",
            "pipeline_tag": "text-to-image",
            "instance_prompt": prompt,
            "tags": tags,
            "usage": f'```bash\ncardsynth generate-text --model {{repo_id}} --prompt "{prompt}" --seeds 0-7\n```\n'
            "Or with 🤗 diffusers alone:\n```python\nfrom diffusers import AutoPipelineForText2Image\n\n"
            f'pipeline = AutoPipelineForText2Image.from_pretrained("{opened}")\n'
            f'{load}image = pipeline("{prompt}", height={height}, width={width}).images[0]\n```',
            "limits": LIMITS,
        },
    }
