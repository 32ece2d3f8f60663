"""The evaluation's page: one self-contained HTML file with the figures and pictures of generated cards."""

import base64
import html
import io
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import torch
from matplotlib.figure import Figure as Drawing
from PIL import Image

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import METADATA_NAMES, CardError, read_metadata
from cardsynth.cards.grids import card_grid
from cardsynth.evaluation.classes import ClassFigures
from cardsynth.evaluation.evaluate import Evaluation
from cardsynth.evaluation.masks import MaskFigures
from cardsynth.evaluation.metrics import verdict
from cardsynth.evaluation.summary import FIGURES, SMALLER_IS_BETTER, figure_text, in_short
from cardsynth.plots.cards import figure_png, plot_confusion, plot_distances, show_nearest, show_side_by_side
from cardsynth.util.environment import describe_environment
from cardsynth.util.files import write_atomically

PAGE = "evaluation.html"
HTML = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
img {{ max-width: 100%; height: auto }} figure {{ margin: 1rem 0 }} figcaption, small {{ color: #555 }}
table {{ border-collapse: collapse; margin: 1rem 0 }} caption {{ text-align: left; color: #555 }}
th, td {{ padding: .25rem 1.2rem .25rem 0; text-align: left; border-bottom: 1px solid #ddd; vertical-align: top }}
td:nth-child(2), td:nth-child(3), td:nth-child(4) {{ white-space: nowrap }}
.alarm {{ background: #c8553d; color: #fff; padding: .8rem 1rem; font-weight: 600 }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""
MEANING = {
    "FD": "Fréchet distance of the features' Gaussians; 0 is best",
    "FID": "Fréchet Inception distance; 0 is best",
    "KID": "kernel distance, unbiased; 0 is best",
    "precision": "share of generated cards that lie among real ones",
    "recall": "share of real cards that lie among generated ones",
    "density": "how densely real cards surround generated ones; 1 as among real ones",
    "coverage": "share of real cards that have a generated one beside them",
}


def check_place(out: str | Path) -> Path:
    """The folder for an evaluation; raises CardError where it lies in a card folder.

    There `datasets` would take evaluation.json for a split of its own, and find no cards any more.
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
    """Write `evaluation.json` and `evaluation.html` into a folder; returns the page.

    The JSON also tells the machine, the versions and which model made the cards. Raises CardError for a folder inside a
    card folder.
    """
    out = check_place(out)
    sources = {"title": title, "real": training.source, "generated_cards": generated.source, **_model_of(generated)}
    evaluation.save(out / FIGURES, **sources, **describe_environment())
    write_atomically(out / PAGE, _page(training, generated, evaluation, title).encode())
    return out / PAGE


def _model_of(generated: Cards) -> dict[str, str]:
    """The model that made the cards, and its revision, where their folder's metadata say so of all alike."""
    metadata = Path(generated.source) / METADATA_NAMES[0]
    rows = read_metadata(metadata) if metadata.is_file() else []
    found = {}
    for name in ("model", "revision"):
        values = {row.get(name) for row in rows}
        if len(values) == 1 and (value := values.pop()):
            found[name] = value
    return found


def grid_by_class(cards: Cards, columns: int = 8, zoom: int = 2) -> Image.Image:
    """The first cards of each class, a row a class, each with its mask to its right."""
    classes = range(max(1, len(cards.label_names)))
    rows = [torch.nonzero(cards.labels == index).flatten()[:columns] for index in classes]
    blank = torch.full_like(cards.pixels[:1], 128)
    filled = [torch.cat([cards.pixels[row], blank.expand(columns - len(row), -1, -1, -1)]) for row in rows]
    return card_grid(torch.cat(filled), columns, zoom=zoom)


def _page(training: Cards, generated: Cards, evaluation: Evaluation, title: str) -> str:
    counts, names = evaluation.counts, evaluation.label_names
    parts = [
        f"<p>{counts['generated']:,} generated cards, judged by {counts['real']:,} real ones that the generator was"
        f" trained on and by {html.escape(evaluation.how)}, at {evaluation.size[0]}x{evaluation.size[1]}. Beside each"
        " figure stands that of real cards: no generator can do better, but by chance. Brackets hold 95 %.</p>",
    ]
    if any(copies.alarming for copies in evaluation.copies):
        parts.append('<p class="alarm">Copies of training cards are among these. See &ldquo;Copied?&rdquo; below.</p>')
    if evaluation.missing:
        parts.append(
            f"<p><b>No generated card is of these classes: {html.escape(', '.join(evaluation.missing))}.</b></p>"
        )
    parts += [
        _table(("in short", "generated", "real", ""), (line.texts() for line in in_short(asdict(evaluation)))),
        _figure(grid_by_class(generated), f"Generated cards with their masks; rows: {', '.join(names) or 'all cards'}"),
        _figure(show_side_by_side(training, generated), "Real and generated, masks outlined"),
        "<h2>Like real cards, and as varied?</h2>",
        _figure(plot_distances(evaluation.distances), "Dots with 95 %: generated cards, and real against real"),
        _table(
            ("figure", "generated", "real against real", "", "what it is"),
            (
                (
                    one.name,
                    figure_text(one.generated),
                    figure_text(one.floor),
                    verdict(one.generated, one.floor, smaller),
                    why,
                )
                for one in evaluation.distances
                for smaller in [one.name in SMALLER_IS_BETTER]
                for why in [one.refused or MEANING[one.name]]
            ),
            f"By {evaluation.distances[0].net}",
        ),
    ]
    for beside in evaluation.classes:
        parts += [
            f"<h2>Of its class? {html.escape(beside.generated.classifier)}</h2>",
            _class_table(beside.generated, beside.held_out),
            _figure(plot_confusion(beside.generated, beside.held_out), "Confusion matrices"),
        ]
    if evaluation.masks and evaluation.held_out_masks:
        parts += ["<h2>Masks true?</h2>", _mask_table(evaluation.masks, evaluation.held_out_masks)]
    parts.append("<h2>Copied?</h2>")
    for copies in evaluation.copies:
        parts.append(
            f"<p>Distance to the nearest training card, in {html.escape(copies.unit)}: {copies.median:.2f} in the"
            f" median of the generated cards, {copies.held_out_median:.2f} of real ones not trained on. Nearer"
            f" than {copies.threshold:.2f}, as 1 % of those are: {copies.share.percent()} of the generated cards,"
            f" {copies.held_out_share.percent()} of the real ones.</p>"
        )
    nearest = show_nearest(generated, training, evaluation.copies[0], min(8, len(generated)))
    parts.append(_figure(nearest, "The nearest pairs, by grey levels: generated above, training card below"))
    return HTML.format(title=html.escape(title), body="\n".join(parts))


def _class_table(generated: ClassFigures, held_out: ClassFigures) -> str:
    rows: list[tuple[str, ...]] = [
        (
            "all: accuracy",
            generated.accuracy.percent(),
            held_out.accuracy.percent(),
            f"guessing: {generated.chance:.0%}",
        )
    ]
    for name in generated.label_names:
        for kind in ("precision", "recall"):
            one, other = getattr(generated, kind).get(name), getattr(held_out, kind).get(name)
            rows.append((f"{name}: {kind}", figure_text(one, True), figure_text(other, True), verdict(one, other)))
    return _table(("class", "generated", "real, held out", ""), rows)


def _mask_table(generated: MaskFigures, held_out: MaskFigures) -> str:
    rows = [
        (f"IoU, {name}", figure_text(figure), figure_text(real := held_out.iou.get(name)), verdict(figure, real))
        for name, figure in generated.iou.items()
    ]
    figures = {
        "mean_iou": ("IoU, all damaged cards", False, False),
        "box_precision": ("boxes that the judge sees too", True, False),
        "box_recall": ("damage seen that has a box", True, False),
        "uncovered": ("damage seen outside the mask", True, True),
        "masked_when_clean": ("clean cards with a mask", True, True),
    }
    for name, (what, share, smaller) in figures.items():
        one, other = getattr(generated, name), getattr(held_out, name)
        rows.append((what, figure_text(one, share), figure_text(other, share), verdict(one, other, smaller)))
    return _table(("mask against what the judge sees", "generated", "real, held out", ""), rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]], caption: str = "") -> str:
    lines = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    titles = "".join(f"<th>{html.escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{line}</tr>" for line in (titles, *lines))
    return f"<table>{f'<caption>{html.escape(caption)}</caption>' if caption else ''}{body}</table>"


def _png(picture: Image.Image | Drawing) -> bytes:
    if isinstance(picture, Drawing):
        return figure_png(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _figure(picture: Image.Image | Drawing, caption: str) -> str:
    data = base64.b64encode(_png(picture)).decode()
    caption = html.escape(caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )
