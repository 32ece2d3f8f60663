"""The README.md that a damage finder carries on the Hugging Face Hub."""

from pathlib import Path

from huggingface_hub import ModelCardData

from cardsynth.hub.model_card import LICENSE, LICENSE_TEXT, data_summary, document, flat, table, training_rows
from cardsynth.util.files import read_object

LIMITS = """## Intended use and limits
Made to point at surface damage on scans of trading cards, and for teaching. It finds what its training cards show and
nothing else; its scores are not probabilities. Look at what it finds on cards of your own before you rely on it. Not
for grading or pricing a card."""


def finder_card(run: Path, *, repo_id: str | None = None) -> str:
    """Return the README.md text of a damage finder's run folder.

    `repo_id` is the Hub id written into the examples (default: a placeholder that ends in the folder's name).
    Raises FileNotFoundError if settings or manifest is missing, ValueError if one is not JSON.
    """
    manifest, settings = read_object(run / "manifest.json"), read_object(run / "settings.json")
    repo_id = repo_id or f"YOUR_NAME/{run.resolve().name}"
    tags = ["segmentation-models-pytorch", "image-segmentation", "object-detection", "cardsynth"]
    front = ModelCardData(
        license=LICENSE,
        library_name="segmentation-models-pytorch",
        pipeline_tag="image-segmentation",
        tags=tags,
    )
    parts = [
        f"# {repo_id.split('/')[-1]}",
        f"A segmentation net ({settings['architecture']}, {settings['encoder_name']}) that finds surface damage on"
        f" trading cards, at {settings['height']}x{settings['width']} pixels (height x width): background, then"
        f" {', '.join(manifest['labels'])}. Trained with cardsynth.",
        f"## Use\n```bash\ncardsynth find my_cards --model {repo_id} --out found\n```\n"
        "The bare net, for RGB in [-1, 1]:\n```python\nimport segmentation_models_pytorch as smp\n\n"
        f'net = smp.from_pretrained("{repo_id}")\n```',
        data_summary(manifest.get("data") or {}),
        "## Training\n" + table(("what", "value"), training_rows(manifest)),
    ]
    figures = manifest.get("figures")
    if figures:
        shown = [(name, figures[name]) for name in ("mean_iou", "any_iou", "map50", "map50_95")]
        rows = [(name, f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]") for name, one in shown]
        rows += [(f"IoU of {name}", f"{value:.3f}") for name, value in figures["iou"].items()]
        tested = f"On {figures['count']:,} cards that it has not learned from; brackets hold 95 %."
        parts.append(f"## Evaluation\n{tested}\n\n" + table(("figure", "value"), rows))
    parts += ["## Settings\n" + table(("setting", "value"), flat(settings))]
    parts += [LIMITS, LICENSE_TEXT.format(subject="The weights")]
    return document(front.to_yaml(), parts)
