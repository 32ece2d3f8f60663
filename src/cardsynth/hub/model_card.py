"""The README.md that a run and a card folder carry on the Hugging Face Hub: YAML front matter, then Markdown."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import quote

from huggingface_hub import DatasetCardData, ModelCardData

from cardsynth.cards.folder import metadata_file, read_metadata
from cardsynth.evaluation.summary import FIGURES, in_short, read_evaluation
from cardsynth.util.files import read_object

LICENSE = "mit"

LICENSE_TEXT = """## Licence
{subject} are released under the MIT licence. Pictures of real cards keep the rights of those who own them:
check that you may share what comes from them. To say something else, put a README.md of your own into the folder
before you push it."""

RUN_LIMITS = """## Intended use and limits
Made to draw synthetic training pictures for detectors of surface damage, and for teaching. It draws what its training
cards look like and nothing else: other layouts, other damage and other light are not in it. Fine print is a texture,
not text. Check a detector trained on these pictures on real cards before you rely on it. Not for making cards
that pass for real ones, and not for grading or pricing a card."""

CARDS_LIMITS = """## Intended use and limits
Made to train and test detectors of surface damage, and for teaching. The classes and their shares are those of the
table above, not those of cards in the wild. Check a detector trained on them on real cards before you rely on it."""

COLUMNS = {
    "image": "the card",
    "mask": "its damage, same size: 255 where damaged, else 0",
    "label": "damage class",
    "text": "caption",
    "seed": "number that the card was drawn from",
    "model": "model that drew the card",
    "objects": "boxes of damage, [x, y, width, height] in pixels, and the class of each",
    "damages": "each damage: kind, boxes, covered share of the card, darkness (grey levels of change)",
    "covered": "share of the card that its damage was asked to cover",
    "darkness": "grey levels by which damage changes the card; of a generated card, what was asked for",
    "soft_mask": "how much of a damage's film lies on each pixel, 0 to 255",
    "twin": "the same card without damage",
    "source": "file name of the clean card that damage was painted onto",
    "group": "what cards of one clean card share: keep them on one side of a split",
}


def model_card(run: Path, *, repo_id: str | None = None) -> str:
    """Return the README.md text of a run folder.

    `repo_id` is the Hub id written into the examples (default: a placeholder that ends in the folder's name).
    Raises FileNotFoundError if settings, manifest or the net's configuration is missing, ValueError if one is not JSON.
    """
    manifest, settings = read_object(run / "manifest.json"), read_object(run / "settings.json")
    unet, labels = read_object(run / "unet" / "config.json"), manifest.get("labels") or []
    repo_id = repo_id or f"YOUR_NAME/{run.resolve().name}"
    kind = "class-conditional" if labels else "unconditional-image-generation"
    front = ModelCardData(
        license=LICENSE,
        library_name="diffusers",
        pipeline_tag=None if labels else kind,
        tags=["diffusers", "ddpm", kind, "cardsynth"],
    )
    size = f"{manifest['height']}x{manifest['width']}" if "height" in manifest else "any size"
    drawn = "trading cards together with their damage masks" if manifest.get("mask") else "trading cards"
    classes = f" of the classes {', '.join(labels)}" if labels else ""
    parts = [
        f"# {repo_id.split('/')[-1]}",
        f"A denoising diffusion model that draws {drawn}{classes}, {size} pixels (height x width). "
        "Trained with cardsynth on 🤗 diffusers.",
        *latest_grid(run),
        _usage(repo_id, labels, plain=not labels and unet.get("in_channels") == unet.get("out_channels") == 3),
        *_dials(manifest.get("numbers") or {}),
        data_summary(manifest.get("data") or {}),
        "## Training\n" + table(("what", "value"), training_rows(manifest)),
    ]
    parts += evaluation_of(run)
    parts += ["## Settings\n" + table(("setting", "value"), flat(settings))]
    parts += [RUN_LIMITS, LICENSE_TEXT.format(subject="The weights")]
    return document(front.to_yaml(), parts)


def cards_card(folder: Path, *, repo_id: str | None = None) -> str:
    """Return the README.md text of a card folder.

    `repo_id` is the Hub id written into the examples (default: a placeholder that ends in the folder's name).
    Raises CardError if there is no metadata file, or a line of it is no row of a card.
    """
    rows = read_metadata(metadata_file(folder) or folder / "metadata.jsonl")
    repo_id = repo_id or f"YOUR_NAME/{folder.resolve().name}"
    counts = Counter(str(row["label"]) for row in rows if row.get("label") is not None)
    models = sorted({plain(row["model"]) for row in rows if row.get("model")})
    columns = _columns(rows)
    tasks = {"label": "image-classification", "mask": "image-segmentation", "objects": "object-detection"}
    painted = any(row.get("source") for row in rows)
    synthetic = not painted and (bool(models) or any(row.get("seed") is not None for row in rows))
    front = DatasetCardData(
        license=LICENSE if synthetic else "unknown",
        pretty_name=repo_id.split("/")[-1],
        task_categories=[task for column, task in tasks.items() if column in columns] or None,
        size_categories=_size_category(len(rows)),
        tags=["cardsynth", "image", *(["synthetic"] if synthetic else [])],
    )
    if models and painted:
        origin = (
            f"Clean cards with damage painted onto them by {', '.join(f'`{model}`' for model in models)}"
            " (`cardsynth damage`); outside `soft_mask` each equals its `twin`, the clean card."
        )
    elif models:
        origin = f"Generated by {', '.join(f'`{model}`' for model in models)} with `cardsynth generate`."
    elif synthetic:
        origin = "Drawn from seeds by cardsynth's renderer (`cardsynth render`)."
    else:
        origin = "Pictures collected by the owner of this data set; where they were taken is not recorded."
    reads = ", ".join(f'cards[0]["{column}"]' for column in ("image", "mask", "label") if column in columns)
    described = [(column, kind, COLUMNS.get(column, "")) for column, kind in columns.items()]
    with_mask = sum(bool(row.get("mask_file_name")) for row in rows)
    parts = [
        f"# {repo_id.split('/')[-1]}",
        f"{len(rows):,} pictures of trading cards, {with_mask:,} with a pixel mask of their damage.",
        *_one_of_each(rows),
        "## Classes\n" + (table(("class", "cards"), sorted(counts.items())) if counts else "No labels."),
        "## Columns\n" + table(("column", "type", "what it holds"), described),
        "## Load\n```python\nfrom datasets import load_dataset\n\n"
        f'cards = load_dataset("{repo_id}", split="train")\n{reads}\n```',
        f"## Where it comes from\n{origin}",
        CARDS_LIMITS,
        LICENSE_TEXT.format(subject="The pictures") if synthetic else "## Licence\nNot stated: ask the owner.",
    ]
    return document(front.to_yaml(), parts)


def latest_grid(run: Path) -> list[str]:
    """The last sample grid of a run as a picture in Markdown, where there is one."""
    grids = list((run / "samples").glob("epoch_*.png"))
    if not grids:
        return []
    latest = max(grids, key=lambda path: int("0" + re.sub(r"\D", "", path.stem)))
    return [f"![Samples]({quote(f'samples/{latest.name}')})"]


def generate_example(repo_id: str, labels: list[str]) -> str:
    """The start of the section on use: how cards are generated."""
    label = f" --label {shlex.quote(labels[-1])}" if labels else ""
    return f"## Use\n```bash\ncardsynth generate --model {repo_id} --seeds 0-63{label} --out generated_cards\n```\n"


def _usage(repo_id: str, labels: list[str], plain: bool) -> str:
    text = generate_example(repo_id, labels)
    if not plain:
        return text + (
            "The bare net, in 🤗 diffusers:\n```python\nfrom diffusers import UNet2DModel\n\n"
            f'unet = UNet2DModel.from_pretrained("{repo_id}", subfolder="unet")\n```'
        )
    return text + (
        "Or with 🤗 diffusers alone:\n```python\nfrom diffusers import DDPMPipeline\n\n"
        f'pipeline = DDPMPipeline.from_pretrained("{repo_id}")\nimage = pipeline().images[0]\n```'
    )


def _dials(ranges: dict[str, dict[str, list[float]]]) -> list[str]:
    rows = [(name, kind, f"{least:g} to {most:g}") for name in ranges for kind, (least, most) in ranges[name].items()]
    text = "## Dials\nCards can be asked for by these numbers (`cardsynth generate --covered 0.3 --darkness 60`).\n\n"
    return [text + table(("number", "class", "in training"), rows)] if rows else []


def data_summary(data: dict[str, Any]) -> str:
    """The section on a run's data, from its manifest."""
    lines = [f"{data['count']:,} cards" if _is_number(data.get("count")) else "Cards"]
    if data.get("source"):
        lines.append(f"from `{plain(data['source'])}`")
    if data.get("fingerprint"):
        lines.append(f"(fingerprint `{data['fingerprint']}`)")
    counts = "\n\n" + table(("class", "cards"), data["classes"].items()) if data.get("classes") else ""
    return "## Data\n" + " ".join(lines) + "." + counts


def evaluation_of(run: Path) -> list[str]:
    """The section on how a run's cards were judged, where they were."""
    if not (run / FIGURES).is_file():
        return []
    found = read_evaluation(run)
    counts, size = found["counts"], "x".join(map(str, found["size"]))
    return [
        f"## Evaluation\n{counts['generated']:,} generated cards, judged at {size} by {counts['real']:,} real ones it"
        f" was trained on and by {found['how']}. Brackets hold 95 %; distances are by"
        f" {found['distances'][0]['net']}.\n\n"
        + table(("figure", "generated cards", "real cards", ""), (line.texts() for line in in_short(found)))
    ]


def training_rows(manifest: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Rows of a table: how a run was trained, from its manifest."""
    for key in ("steps", "parameters"):
        if _is_number(manifest.get(key)):
            yield key, f"{manifest[key]:,}"
    if _is_number(manifest.get("wall_time_s")):
        minutes, seconds = divmod(round(manifest["wall_time_s"]), 60)
        yield "wall time", f"{minutes // 60} h {minutes % 60} min {seconds} s"
    for key in ("seed", "machine", "git_commit", "versions"):
        if manifest.get(key) is not None:
            yield from flat({key.replace("_", " "): manifest[key]})


def _one_of_each(rows: list[dict[str, Any]]) -> list[str]:
    shown = {str(row["label"]): row for row in reversed(rows) if row.get("label") is not None}
    pictures = [
        (label, *(f"![]({quote(row[key])})" if row.get(key) else "" for key in ("file_name", "mask_file_name")))
        for label, row in sorted(shown.items())[:10]
    ]
    return [table(("class", "card", "mask"), pictures)] if pictures else []


def _columns(rows: list[dict[str, Any]]) -> dict[str, str]:
    kinds = {bool: "true or false", int: "integer", float: "number", str: "text", list: "list", dict: "struct"}
    columns: dict[str, str] = {}
    for key, value in ((key, value) for row in rows for key, value in row.items() if value is not None):
        if key == "file_name" or key.endswith("_file_name"):
            columns.setdefault(key.removesuffix("file_name").rstrip("_") or "image", "image")
        else:
            columns.setdefault(key, kinds[type(value)])
    return columns


def _size_category(count: int) -> str:
    limits = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K"}
    return next((name for limit, name in limits.items() if count < limit), "100K<n<1M")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as rows of a table, their names joined by points."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def plain(value: Any) -> str:
    """Return a value as text; of an absolute path only the last name, so that no home folder is published."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(plain(item) for item in value)
    text = str(value)
    absolute = PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute()
    return PureWindowsPath(text).name if absolute else text


def table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    """A Markdown table; of absolute paths only the last name is written."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(
        "| " + " | ".join(plain(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def document(front: str, parts: list[str]) -> str:
    """A README.md: YAML front matter and parts of Markdown."""
    return f"---\n{front.strip()}\n---\n\n" + "\n\n".join(parts) + "\n"
