"""The README.md of a run and of a card folder on the Hugging Face Hub: YAML front matter, then Markdown."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from cardsynth.cards.folder import metadata_file, read_metadata
from cardsynth.cards.licence import LICENSE, data_set_card
from cardsynth.core.runs import DIFFUSION, read_manifest
from cardsynth.evaluation.summary import FIGURES, in_short, read_evaluation
from cardsynth.hub.kind import RUN_FILES, diffusion_kind
from cardsynth.util.files import read_object

TEMPLATE = Path(__file__).parent / "templates" / "run.md"
COLUMN_TYPES = {bool: "true or false", int: "integer", float: "number", str: "text", list: "list", dict: "struct"}
TASKS = {"label": "image-classification", "mask": "image-segmentation", "objects": "object-detection"}
SIZE_CATEGORIES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K"}


def describe_run(run: Path) -> dict[str, Any]:
    """Return the manifest of a run, in which `kind`, `files`, `use` and `card` are filled in if they are absent.

    They are absent from the manifests of cardsynth 0.1.0; a plain diffusers folder has no manifest.

    Raises:
        ValueError: If the manifest or the settings are not JSON.
    """
    manifest = read_manifest(run)
    kind = manifest.get("kind", DIFFUSION)
    if kind == DIFFUSION:
        settings = read_object(run / "settings.json") if (run / "settings.json").is_file() else {}
        return diffusion_kind(manifest, settings) | manifest
    weights = "*.safetensors" if any(run.glob("*.safetensors")) else "*/*.safetensors"
    card = {"summary": f"A model of kind {kind} for trading cards, trained with cardsynth.", "tags": ["cardsynth"]}
    return {"files": [weights, *RUN_FILES], "use": "", "card": card} | manifest


def model_card(run: Path, *, repo_id: str | None = None) -> str:
    """Return the README.md text of a run folder.

    Args:
        run: Run folder.
        repo_id: Hub id in the examples. Default: a placeholder that ends in the folder's name.

    Raises:
        FileNotFoundError: If the settings are missing.
        ValueError: If the settings, the manifest or the evaluation are broken.
    """
    repo_id = repo_id or f"YOUR_NAME/{run.resolve().name}"
    manifest, settings = describe_run(run), read_object(run / "settings.json")
    card, base = manifest["card"], manifest.get("base_model")
    front = {key: card.get(key) for key in ("library_name", "pipeline_tag", "instance_prompt", "tags")}
    if base and re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        front["base_model"] = base
    grids = [path for path in (run / "samples").glob("*.png") if re.fullmatch(r"(epoch|step)_\d+", path.stem)]
    evaluation = read_evaluation(run) if (run / FIGURES).is_file() else None
    text = ModelCard.from_template(
        ModelCardData(license="other" if base else LICENSE, **front),
        template_path=str(TEMPLATE),
        repo_id=repo_id,
        base=plain(base) if base else "",
        grid=max(grids, key=lambda path: int(path.stem.split("_")[1]), default=None),
        manifest=manifest,
        evaluation=evaluation,
        figures=[line.texts() for line in in_short(evaluation)] if evaluation else [],
        settings=_flat(settings),
        plain=plain,
    )
    return f"{text}\n"


def cards_card(folder: Path, *, repo_id: str | None = None) -> str:
    """Return the README.md text of a card folder.

    Args:
        folder: Card folder.
        repo_id: Hub id in the examples. Default: a placeholder that ends in the folder's name.

    Raises:
        CardError: If the metadata file is missing, or a line of it is invalid.
    """
    rows = read_metadata(metadata_file(folder) or folder / "metadata.jsonl")
    repo_id = repo_id or f"YOUR_NAME/{folder.resolve().name}"
    title, columns = repo_id.split("/")[-1], _column_types(rows)
    classes = Counter(str(row["label"]) for row in rows if row.get("label") is not None)
    examples = {str(row["label"]): row for row in reversed(rows) if row.get("label") is not None}
    masks = sum(bool(row.get("mask_file_name")) for row in rows)
    models = sorted({plain(row["model"]) for row in rows if row.get("model")})
    painted = any(row.get("source") for row in rows)
    drawn = any(row.get("seed") is not None for row in rows)
    loaded = ", ".join(f'cards[0]["{column}"]' for column in ("image", "mask", "label") if column in columns)
    front = {
        "pretty_name": title,
        "task_categories": [task for column, task in TASKS.items() if column in columns] or None,
        "size_categories": next((name for most, name in SIZE_CATEGORIES.items() if len(rows) < most), "100K<n<1M"),
    }
    return data_set_card(
        front,
        synthetic=not painted and (drawn or bool(models)),
        title=title,
        summary=f"{len(rows):,} pictures of trading cards, {masks:,} with a pixel mask of their damage.",
        examples=[examples[label] for label in sorted(examples)[:10]],
        classes=dict(sorted(classes.items())),
        counted="cards",
        columns=columns,
        code=f'cards = load_dataset("{repo_id}", split="train")\n{loaded}',
        models=models,
        painted=painted,
    )


def _column_types(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Types of the columns as `load_dataset` shows them: `mask_file_name` becomes the picture `mask`."""
    columns: dict[str, str] = {}
    for key, value in ((key, value) for row in rows for key, value in row.items() if value is not None):
        if key == "file_name" or key.endswith("_file_name"):
            columns.setdefault(key.removesuffix("file_name").rstrip("_") or "image", "image")
        else:
            columns.setdefault(key, COLUMN_TYPES[type(value)])
    return columns


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as rows, their names joined by dots."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def plain(value: object) -> str:
    """Return a value as text. Of an absolute path only the last part, so that no home folder is published."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    text = str(value)
    is_absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    return PureWindowsPath(text).name if is_absolute else text
