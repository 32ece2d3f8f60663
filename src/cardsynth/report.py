"""The evaluation page: a self-contained HTML file with the figures and pictures of generated cards."""

import base64
import html
import io
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image

from cardsynth.cards import Cards
from cardsynth.evaluation import Agreement, Evaluation
from cardsynth.folder import write_atomically
from cardsynth.plots import figure_png, plot_confusion, show_nearest, show_side_by_side
from cardsynth.sampling import card_grid

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
img {{ max-width: 100%; height: auto }} table {{ border-collapse: collapse }} caption {{ text-align: left }}
th, td {{ padding: .2rem .9rem .2rem 0; text-align: right; border-bottom: 1px solid #ddd }}
th:first-child, td:first-child {{ text-align: left }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


def write_report(folder: str | Path, training: Cards, generated: Cards, evaluation: Evaluation, title: str) -> Path:
    """Write `figures.json`, `grid.png` (a row a class) and `index.html` into a folder; returns the page."""
    folder = Path(folder)
    grid = grid_by_class(generated)
    evaluation.save(folder / "figures.json")
    write_atomically(folder / "grid.png", _png(grid))
    page = folder / "index.html"
    write_atomically(page, _page(training, generated, evaluation, grid, title).encode())
    return page


def grid_by_class(cards: Cards, columns: int = 8, zoom: int = 2) -> Image.Image:
    """The first cards of each class, a row a class, each with its mask to its right."""
    classes = range(max(1, len(cards.label_names)))
    rows = [torch.nonzero(cards.labels == index).flatten()[:columns] for index in classes]
    blank = torch.full_like(cards.pixels[:1], 128)
    filled = [torch.cat([cards.pixels[row], blank.expand(columns - len(row), -1, -1, -1)]) for row in rows]
    return card_grid(torch.cat(filled), columns, zoom=zoom)


def _page(training: Cards, generated: Cards, evaluation: Evaluation, grid: Image.Image, title: str) -> str:
    names = evaluation.label_names
    pictures = min(8, len(generated))
    parts = [
        f"<p>Judged by {html.escape(evaluation.judged_with)}, itself tested on {evaluation.held_out.count} others."
        " Figures of cards that are known to be right stand beside the generated ones: no generator can do better.</p>",
        f"<p>Rows: {html.escape(', '.join(names) or 'all cards')}.</p>",
        _figure(grid, "Generated cards, each with its damage mask to its right"),
    ]
    if names:
        parts += [
            f"<h2>Of its class?</h2><p>The judge agrees with the labels of {evaluation.generated.accuracy:.1%} of the"
            f" generated cards, and of {evaluation.held_out.accuracy:.1%} of held-out known cards; guessing gives"
            f" {evaluation.chance:.1%}.</p>",
            _figure(plot_confusion(evaluation.generated, names), "Confusion matrix of the generated cards"),
        ]
    if evaluation.generated.mask_iou:
        parts += ["<h2>Labels true to the pixel?</h2>", _iou_table(evaluation.generated, evaluation.held_out)]
    nearest = show_nearest(generated, training, evaluation.nearest, evaluation.distance, pictures)
    parts += [
        "<h2>Copied?</h2>",
        f"<p>Distance to the nearest training card (RMS, grey levels): {evaluation.median_distance:.1f} in the median"
        f" of the generated, {evaluation.fresh_distance:.1f} of cards that were not trained on. Well below it would"
        " mean copies.</p>",
        _figure(nearest, "The closest pairs: generated above, nearest training card below"),
        "<h2>Side by side</h2>",
        _figure(show_side_by_side(training, generated), "Training and generated"),
    ]
    return PAGE.format(title=html.escape(title), body="\n".join(parts))


def _iou_table(generated: Agreement, held_out: Agreement) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{value:.3f}</td><td>{held_out.mask_iou.get(name, float('nan')):.3f}</td>"
        for name, value in generated.mask_iou.items()
    )
    return (
        "<table><caption>Intersection over union of each card's mask with the damage that the judge sees</caption>"
        f"<tr><th>class</th><th>generated</th><th>known</th></tr>{rows}"
        f"<tr><th>mean</th><th>{generated.mean_mask_iou:.3f}</th><th>{held_out.mean_mask_iou or float('nan'):.3f}</th>"
        "</tr></table>"
    )


def _png(picture: Image.Image | Figure) -> bytes:
    if isinstance(picture, Figure):
        return figure_png(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _figure(picture: Image.Image | Figure, caption: str) -> str:
    data = base64.b64encode(_png(picture)).decode()
    return (
        f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )
