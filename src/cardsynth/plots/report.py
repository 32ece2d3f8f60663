"""Writes an evaluation as one self-contained HTML page with the figures and pictures of generated cards."""

import base64
import io
from dataclasses import asdict
from pathlib import Path

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure as Drawing
from PIL import Image

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import METADATA_NAMES, CardError, read_metadata
from cardsynth.cards.grids import card_grid
from cardsynth.evaluation.evaluate import Evaluation
from cardsynth.evaluation.metrics import verdict
from cardsynth.evaluation.summary import FIGURES, SMALLER_IS_BETTER, figure_text, in_short
from cardsynth.plots.cards import figure_png, plot_confusion, plot_distances, show_nearest, show_side_by_side
from cardsynth.util.environment import describe_environment
from cardsynth.util.files import write_atomically

PAGE = "evaluation.html"
PAIRS = 8  # nearest pairs shown
MEANING = {
    "FD": "Fréchet distance between Gaussians fitted to the features; 0 is best",
    "FID": "Fréchet Inception distance; 0 is best",
    "KID": "kernel distance, unbiased; 0 is best",
    "precision": "share of generated cards that lie among real ones",
    "recall": "share of real cards that lie among generated ones",
    "density": "how densely real cards surround generated ones; 1 as among real ones",
    "coverage": "share of real cards that have a generated one beside them",
}


def check_place(out: str | Path) -> Path:
    """Checks the folder of an evaluation.

    Args:
        out: The folder, which may not exist yet.

    Returns:
        The folder.

    Raises:
        CardError: If it lies in a card folder. `datasets` would mistake evaluation.json for a split and no longer find
            the cards.
    """
    out = Path(out)
    for folder in (out, *out.absolute().parents):
        if any((folder / name).is_file() for name in METADATA_NAMES):
            raise CardError(
                f"{out} lies in the card folder {folder}, where `datasets` would take {FIGURES} for a split; choose a"
                " folder beside it, or the run's own"
            )
    return out


def write_report(out: str | Path, training: Cards, generated: Cards, evaluation: Evaluation, title: str) -> Path:
    """Writes `evaluation.json` and `evaluation.html`.

    The JSON also holds the machine, the versions, and the model that made the cards.

    Args:
        out: Folder to write.
        training: The cards that the generator was trained on.
        generated: The cards that were evaluated.
        evaluation: Their figures.
        title: Heading of the page.

    Returns:
        The page.

    Raises:
        CardError: If the folder lies in a card folder.
    """
    out = check_place(out)
    sources = {"title": title, "real": training.source, "generated_cards": generated.source, **_model_of(generated)}
    evaluation.save(out / FIGURES, **sources, **describe_environment())
    environment = Environment(
        loader=PackageLoader("cardsynth.plots"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_url"] = _data_url
    environment.globals |= {"figure_text": figure_text, "verdict": verdict}
    page = environment.get_template("report.html").render(
        title=title,
        evaluation=evaluation,
        summary=in_short(asdict(evaluation)),
        meaning=MEANING,
        smaller_is_better=SMALLER_IS_BETTER,
        pictures={
            "grid": grid_by_class(generated),
            "side_by_side": show_side_by_side(training, generated),
            "distances": plot_distances(evaluation.distances),
            "confusions": [plot_confusion(beside.generated, beside.held_out) for beside in evaluation.classes],
            "nearest": show_nearest(generated, training, evaluation.copies[0], min(PAIRS, len(generated))),
        },
    )
    write_atomically(out / PAGE, page.encode())
    return out / PAGE


def _model_of(generated: Cards) -> dict[str, str]:
    """Returns the model that made the cards, and its revision, where the folder's metadata names exactly one."""
    metadata = Path(generated.source) / METADATA_NAMES[0]
    rows = read_metadata(metadata) if metadata.is_file() else []
    values = {name: {row.get(name) for row in rows} for name in ("model", "revision")}
    return {name: next(iter(used)) for name, used in values.items() if len(used) == 1 and all(used)}


def grid_by_class(cards: Cards, columns: int = 8, zoom: int = 2) -> Image.Image:
    """Draws the first cards of each class, one row for each class, with the mask to the right of each card.

    Args:
        cards: The cards.
        columns: Number of cards in a row.
        zoom: Factor by which pixels are enlarged.
    """
    classes = range(max(1, len(cards.label_names)))
    rows = [torch.nonzero(cards.labels == index).flatten()[:columns] for index in classes]
    blank = torch.full_like(cards.pixels[:1], 128)
    padded = [torch.cat([cards.pixels[row], blank.expand(columns - len(row), -1, -1, -1)]) for row in rows]
    return card_grid(torch.cat(padded), columns, zoom=zoom)


def _data_url(picture: Image.Image | Drawing) -> str:
    if isinstance(picture, Drawing):
        content = figure_png(picture)
    else:
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        content = buffer.getvalue()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
