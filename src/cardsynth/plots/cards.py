"""Figures for notebooks and pages: cards with their masks, classes, and what a judge says."""

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from cardsynth.cards.dataset import Cards
from cardsynth.evaluation.classes import ClassFigures
from cardsynth.evaluation.copies import Copying
from cardsynth.evaluation.evaluate import Distance

MASK_COLOUR = np.array((255, 0, 170), np.uint8)  # a pink that neither ink nor paper of a card has
DARK, LIGHT, WARNING = "#1f4e79", "#b7cde0", "#c8553d"
GAP = 0.06  # between cards, in widths of a card


class NotebookFigure(Figure):
    """A Figure outside pyplot's global state, which a notebook shows once where it is a cell's last line."""

    def _repr_png_(self) -> bytes:
        return figure_png(self)


def figure_png(figure: Figure) -> bytes:
    """PNG bytes of a figure at 100 dpi, nothing cut, in 256 colours of its own (a third of the bytes)."""
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100, bbox_inches="tight")
    image = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def show_images(
    pixels: torch.Tensor | np.ndarray, titles: Sequence[str] | None = None, columns: int = 8, masks: bool = True
) -> Figure:
    """Cards uint8 (N, C, H, W) in rows of `columns`, under `titles`; with `masks` a fourth channel is outlined."""
    tiles = _tiles(pixels, masks)
    if not tiles:
        raise ValueError("there are no pictures to show")
    if titles is not None and len(titles) != len(tiles):
        raise ValueError(f"there are {len(tiles)} pictures and {len(titles)} titles; give one for each")
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    lines = [list(titles[start : start + columns]) for start in range(0, len(tiles), columns)] if titles else None
    return _draw_grid(rows, lines)


def show_rows(
    rows: Mapping[str, torch.Tensor | np.ndarray], titles: Sequence[str] | None = None, masks: bool = True
) -> Figure:
    """Cards uint8 (N, C, H, W) in named rows, under `titles` of the columns; with `masks` a fourth channel outlined."""
    if not rows:
        raise ValueError("there are no rows of pictures to show")
    drawn = [_tiles(pixels, masks) for pixels in rows.values()]
    return _draw_grid(drawn, titles and [titles, *[()] * (len(drawn) - 1)], tuple(rows))


def show_classes(cards: Cards, per_class: int = 8) -> Figure:
    """The first cards of each class, a row a class with its name at the left and their masks outlined."""
    return _draw_grid(_rows_by_class(cards, cards.label_names, per_class), row_names=cards.label_names)


def show_nearest(generated: Cards, training: Cards, copies: Copying, count: int = 8) -> Figure:
    """The `count` generated cards closest to a training card, that card below each, closest pairs first."""
    closest = np.argsort(copies.distance, kind="stable")[:count].tolist()
    rows = [
        _tiles(generated.pixels[closest], masks=False),
        _tiles(training.pixels[[copies.nearest[index] for index in closest]], masks=False),
    ]
    titles = [[f"{copies.distance[index]:.1f}" for index in closest], []]
    return _draw_grid(rows, titles, ("generated", "nearest\ntraining card"))


def show_side_by_side(real: Cards, generated: Cards, per_class: int = 6) -> Figure:
    """Real cards at the left and generated ones at the right, a row a class, masks outlined; all of one size."""
    if real.size != generated.size:
        raise ValueError(f"the cards measure {real.size} and {generated.size} (height, width); read them at one size")
    names = tuple(dict.fromkeys(real.label_names + generated.label_names))
    halves = (_rows_by_class(cards, names, per_class) for cards in (real, generated))
    rows = [_filled(left, per_class) + right for left, right in zip(*halves, strict=True)]
    return _draw_grid(rows, row_names=names, halves=("real", "generated"), split=per_class)


def plot_classes(counts: dict[str, int]) -> Figure:
    """Bars of the number of cards of each class; a class with under a third of the largest stands out."""
    if not counts:
        raise ValueError("there are no classes to count: the cards have no labels")
    figure, axes = new_axes(6.5, 0.45 * len(counts) + 0.6)
    total, largest = sum(counts.values()), max(counts.values())
    colours = [WARNING if count * 3 < largest else DARK for count in counts.values()]
    bars = axes.barh(list(counts), list(counts.values()), color=colours, height=0.65)
    axes.bar_label(bars, [f"{count:,}  ({count / total:.0%})" for count in counts.values()], padding=4, fontsize=9)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_xlabel("cards")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure


def plot_confusion(figures: ClassFigures, held_out: ClassFigures | None = None) -> Figure:
    """Counts of cards by label (row) and by what a classifier says (column), with their share of the row.

    With `held_out`, the confusion matrix of real held-out cards stands beside that of the generated ones.
    """
    matrices = {"generated cards" if held_out else "cards": figures}
    if held_out:
        matrices["real cards, held out"] = held_out
    side = 0.8 * len(figures.label_names) + 1.2
    drawn = NotebookFigure(figsize=(side * len(matrices), side), dpi=100, layout="constrained")
    for axes, (title, matrix) in zip(drawn.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True):
        _draw_confusion(axes, np.array(matrix.confusion), matrix.label_names)
        axes.set_title(f"{matrix.count:,} {title}", fontsize=10)
    for axes in drawn.axes[1:]:
        axes.set_ylabel("")
    return drawn


def plot_distances(distances: Sequence[Distance]) -> Figure:
    """Each figure of generated cards (dark) with its interval, and of real against real cards (light) below it."""
    figure = NotebookFigure(figsize=(9.5, 0.8 * len(distances) + 0.3), dpi=100, layout="constrained")
    for axes, one in zip(figure.subplots(len(distances), 1, squeeze=False)[:, 0], distances, strict=True):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set(ylim=(-0.6, 1.6), yticks=[])
        axes.set_ylabel(one.name, rotation=0, ha="right", va="center")
        if not (one.generated and one.floor):
            axes.text(0, 0.5, one.refused, va="center", fontsize=8, color=WARNING)
            axes.set_xticks([])
            continue
        for place, (found, colour) in enumerate(((one.floor, LIGHT), (one.generated, DARK))):
            axes.plot([found.low, found.high], [place, place], color=colour, linewidth=3, solid_capstyle="butt")
            axes.plot(found.value, place, "o", color=colour, label="generated" if place else "real against real")
        axes.tick_params(labelsize=8)
    handles = next((axes.get_legend_handles_labels() for axes in figure.axes if axes.lines), ([], []))
    if handles[0]:
        figure.legend(*(side[::-1] for side in handles), loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    return figure


def _draw_confusion(axes: Axes, counts: np.ndarray, label_names: Sequence[str]) -> None:
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.55 else "black" if count else "#999999"
        text = f"{count}\n{shares[row, column]:.0%}" if count else "0"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    places = range(len(label_names))
    axes.set_xticks(places, label_names, rotation=35, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(places, label_names, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("class that the classifier sees")
    axes.set_ylabel("label of the card")


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A NotebookFigure of (width, height) in inches, and its axes, open at the top and the right."""
    figure = NotebookFigure(figsize=(width, height), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _rows_by_class(cards: Cards, label_names: Sequence[str], per_class: int) -> list[list[np.ndarray]]:
    """Tiles of the first cards of each class; without classes one row of the first cards."""
    if not label_names:
        return [_tiles(cards.pixels[:per_class])]
    of_class = [
        torch.nonzero(cards.labels == cards.label_names.index(name)).flatten() if name in cards.label_names else []
        for name in label_names
    ]
    return [_tiles(cards.pixels[chosen[:per_class]]) if len(chosen) else [] for chosen in of_class]


def _filled(row: list[np.ndarray], columns: int) -> list[np.ndarray | None]:
    return [*row, *[None] * (columns - len(row))]


def _tiles(pixels: torch.Tensor | np.ndarray, masks: bool = True) -> list[np.ndarray]:
    """Pictures to draw, uint8 (H * zoom, W * zoom, 3), from cards uint8 (N, C, H, W), masks outlined."""
    pixels = np.asarray(pixels.cpu() if isinstance(pixels, torch.Tensor) else pixels)
    zoom = max(1, math.ceil(320 / max(pixels.shape[2:])))
    tiles = pixels[:, :3].transpose(0, 2, 3, 1).repeat(zoom, axis=1).repeat(zoom, axis=2)
    if not masks or pixels.shape[1] < 4:
        return list(tiles)
    inside = (pixels[:, 3] >= 128).repeat(zoom, axis=1).repeat(zoom, axis=2)
    return list(np.where(_outline(inside, max(1, zoom // 2))[..., None], MASK_COLOUR, tiles))


def _outline(inside: np.ndarray, thickness: int) -> np.ndarray:
    """Pixels (N, H, W) inside a mask that lie at most `thickness` from its edge."""
    core = np.pad(inside, ((0, 0), (thickness, thickness), (thickness, thickness)))
    height, width = inside.shape[1:]
    moves = [(down, across) for down in (0, thickness, 2 * thickness) for across in (0, thickness, 2 * thickness)]
    return inside & ~np.all([core[:, y : y + height, x : x + width] for y, x in moves], axis=0)


def _draw_grid(
    rows: Sequence[Sequence[np.ndarray | None]],
    titles: Sequence[Sequence[str]] | None = None,
    row_names: Sequence[str] = (),
    halves: tuple[str, str] | None = None,
    split: int = 0,
) -> Figure:
    """Lay tiles out in rows; a wider gap comes after `split` columns, with the two `halves` named above it."""
    columns = max(len(row) for row in rows)
    height, width = next(tile for row in rows for tile in row if tile is not None).shape[:2]
    ratio = height / width
    lefts = [column * (1 + GAP) + (0.4 if split and column >= split else 0) for column in range(columns)]
    titles = titles or [()] * len(rows)
    lines = [[title.split("\n") for title in row] for row in titles]
    heads = [0.06 + 0.14 * max(map(len, row)) if row else 0.0 for row in lines]
    longest = max([1, *(len(line) for row in lines for title in row for line in title)])
    tops = [sum(heads[: index + 1]) + index * (ratio + GAP) for index in range(len(rows))]
    right, bottom = lefts[-1] + 1, tops[-1] + ratio
    inches = min(1.5, 9.5 / right)
    title_size = inches * min(7.3, 120 / longest)
    figure = NotebookFigure(figsize=(right * inches, bottom * inches), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for index, (row, top) in enumerate(zip(rows, tops, strict=True)):
        for left, tile in zip(lefts, row, strict=False):
            if tile is not None:
                axes.imshow(tile, extent=(left, left + 1, top + ratio, top), aspect="auto")
        for left, title in zip(lefts, titles[index], strict=False):
            axes.text(left + 0.5, top - 0.04, title, ha="center", va="bottom", fontsize=title_size)
        if row_names:
            axes.text(-0.12, top + ratio / 2, row_names[index], ha="right", va="center", fontsize=9)
    for first, last, name in zip((0, split), (split - 1, -1), halves or (), strict=False):
        axes.text((lefts[first] + lefts[last] + 1) / 2, -0.12, name, ha="center", va="bottom", fontsize=10)
    axes.set(xlim=(0, right), ylim=(bottom, 0))
    return figure
