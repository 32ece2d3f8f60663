"""The README.md of a text-to-card run on the Hub, and its push."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from huggingface_hub import ModelCardData

from cardsynth.hub.model_card import document, flat, plain, table, training_rows
from cardsynth.util.files import read_object

LIMITS = """## Intended use and limits
Made to draw pictures that look like its training cards, for teaching and for trying out detectors. What it draws may
resemble single training pictures closely: look at the nearest ones before you publish any. It knows no masks of
damage, and its print is texture, not text. Not for making cards that pass for real ones, and not for grading or pricing
a card."""

LICENCE = """## Licence
What was trained here builds on `{base}`: its licence and its limits of use hold for this model and for what it draws.
Pictures of real cards keep the rights of those who own them. To say something else, put a README.md of your own into
the run folder before you push it."""


def text_card(run: Path, *, repo_id: str | None = None) -> str:
    """Return the README.md text of a text-to-card run: base model, trigger, samples, use, data, training.

    `repo_id` is the Hub id written into the examples (default: a placeholder that ends in the folder's name).
    Raises FileNotFoundError if settings or manifest is missing, ValueError if one is not JSON.
    """
    manifest, settings = read_object(run / "manifest.json"), read_object(run / "settings.json")
    repo_id = repo_id or f"YOUR_NAME/{run.resolve().name}"
    base, prompt = plain(settings["base_model"]), f"a {manifest['trigger']} card back"
    lora = settings["method"] == "lora"
    front = ModelCardData(
        license="other",
        library_name="diffusers",
        pipeline_tag="text-to-image",
        base_model=base if base == settings["base_model"] and re.fullmatch(r"[\w.-]+/[\w.-]+", base) else None,
        instance_prompt=prompt,
        tags=["text-to-image", "diffusers", "stable-diffusion", "cardsynth", *(["lora"] if lora else [])],
    )
    what = f"Adapters (LoRA, rank {settings['lora_rank']}) for" if lora else "A whole model, fine-tuned from"
    height, width = manifest["size"]
    parts = [
        f"# {repo_id.split('/')[-1]}",
        f"{what} `{base}`: it draws trading card backs from prompts, at {height}x{width} pixels (height x width)."
        f" The word that stands for its cards is **{manifest['trigger']}**. Trained with cardsynth on 🤗 diffusers.",
        *_samples(run, manifest),
        _usage(repo_id, base, prompt, manifest["size"], lora),
        _data(manifest["data"]),
        "## Training\n" + table(("what", "value"), [*_sizes(manifest), *training_rows(manifest)]),
        "## Settings\n" + table(("setting", "value"), flat(settings)),
        LIMITS,
        LICENCE.format(base=base),
    ]
    return document(front.to_yaml(), parts)


def _samples(run: Path, manifest: dict[str, Any]) -> list[str]:
    grids = sorted((run / "samples").glob("step_*.png"))
    if not grids:
        return []
    prompts = "\n".join(f"{row}. {prompt}" for row, prompt in enumerate(manifest["validation_prompts"], 1))
    step = int(grids[-1].stem.removeprefix("step_"))
    return [f"![Samples]({quote(f'samples/{grids[-1].name}')})\n\nAfter step {step}, a row a prompt:\n\n{prompts}"]


def _usage(repo_id: str, base: str, prompt: str, size: list[int], lora: bool) -> str:
    load = f'pipeline = AutoPipelineForText2Image.from_pretrained("{base if lora else repo_id}")\n'
    load += f'pipeline.load_lora_weights("{repo_id}")\n' if lora else ""
    return (
        f'## Use\n```bash\ncardsynth generate --model {repo_id} --prompt "{prompt}" --seeds 0-7\n```\n'
        "Or with 🤗 diffusers alone:\n```python\nfrom diffusers import AutoPipelineForText2Image\n\n"
        f'{load}image = pipeline("{prompt}", height={size[0]}, width={size[1]}).images[0]\n```'
    )


def _data(data: dict[str, Any]) -> str:
    return (
        f"## Data\n{data['count']:,} pictures from `{plain(data['source'])}` with {data['captions']:,} different"
        f" captions (fingerprint `{data['fingerprint']}`), fitted without distortion.\n\n"
        + table(("size (height x width)", "pictures"), data["buckets"].items())
    )


def _sizes(manifest: dict[str, Any]) -> list[tuple[str, str]]:
    share = manifest["trained_parameters"] / manifest["parameters"]
    return [("trained parameters", f"{manifest['trained_parameters']:,} ({share:.2%} of the base model's)")]
