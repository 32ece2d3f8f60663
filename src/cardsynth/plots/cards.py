"""Figures for notebooks and pages: cards with their masks, classes, and a classifier's results."""

import io
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy import ndimage

from cardsynth.cards.dataset import Cards
from cardsynth.evaluation.classes import ClassFigures
from cardsynth.evaluation.copies import Copying
from cardsynth.evaluation.evaluate import Distance

MASK_COLOUR = np.array((255, 0, 170), np.uint8)  # a pink that occurs neither in ink nor in paper
DARK, LIGHT, WARNING = "#1f4e79", "#b7cde0", "#c8553d"
GAP = 0.06  # between cards, in card widths
SPLIT_GAP = 0.4  # additional gap between two halves, in card widths
TILE_SIDE = 320  # minimum length of a card's long side in pixels
Tiles = Sequence[np.ndarray | None]  # pictures uint8 (H, W, 3) of a row; None leaves a gap


class NotebookFigure(Figure):
    """A Figure outside pyplot's global state; a notebook shows it once, if it is the last line of a cell."""

    def _repr_png_(self) -> bytes:
        return figure_png(self)


def figure_png(figure: Figure) -> bytes:
    """Renders a figure at 100 dpi with its own palette of 256 colours, which takes a third of the bytes.

    Args:
        figure: The figure; text outside its area is included.

    Returns:
        A PNG.
    """
    rendered, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(rendered, format="png", dpi=100, bbox_inches="tight")
    image = Image.open(rendered).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    image.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def show_images(
    pixels: torch.Tensor | np.ndarray, titles: Sequence[str] | None = None, columns: int = 8, masks: bool = True
) -> Figure:
    """Shows cards in a grid.

    Args:
        pixels: uint8 (N, C, H, W).
        titles: One for each card.
        columns: Number of cards in a row.
        masks: Outline the mask in the fourth channel, if there is one.

    Raises:
        ValueError: If there are no cards, or the number of titles differs.
    """
    tiles = _tiles(pixels, masks)
    if not tiles:
        raise ValueError("there are no pictures to show")
    if titles is not None and len(titles) != len(tiles):
        raise ValueError(f"there are {len(tiles)} pictures and {len(titles)} titles; give one for each")
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    lines = [list(titles[start : start + columns]) for start in range(0, len(tiles), columns)] if titles else ()
    return _draw_grid(rows, lines)


def show_rows(
    rows: Mapping[str, torch.Tensor | np.ndarray], titles: Sequence[str] | None = None, masks: bool = True
) -> Figure:
    """Shows named rows of cards.

    Args:
        rows: uint8 (N, C, H, W) by name.
        titles: One for each column.
        masks: Outline the mask in the fourth channel, if there is one.

    Raises:
        ValueError: If there are no rows.
    """
    if not rows:
        raise ValueError("there are no rows of pictures to show")
    return _draw_grid([_tiles(pixels, masks) for pixels in rows.values()], [titles] if titles else (), tuple(rows))


def show_classes(cards: Cards, per_class: int = 8) -> Figure:
    """Shows the first cards of each class, one row for each class, with outlined masks.

    Args:
        cards: The cards.
        per_class: Number of cards in a row.
    """
    return _draw_grid(_rows_by_class(cards, cards.label_names, per_class), row_names=cards.label_names)


def show_nearest(generated: Cards, training: Cards, copies: Copying, count: int = 8) -> Figure:
    """Shows the generated cards closest to a training card above that training card, closest pairs first.

    Args:
        generated: The generated cards.
        training: The training cards.
        copies: Their distances.
        count: Number of pairs.
    """
    closest = np.argsort(copies.distance, kind="stable")[:count].tolist()
    rows = [
        _tiles(generated.pixels[closest], masks=False),
        _tiles(training.pixels[[copies.nearest[index] for index in closest]], masks=False),
    ]
    titles = [f"{copies.distance[index]:.1f}" for index in closest]
    return _draw_grid(rows, [titles], ("generated", "nearest\ntraining card"))


def show_side_by_side(real: Cards, generated: Cards, per_class: int = 6) -> Figure:
    """Shows real cards on the left and generated ones on the right, one row for each class, with outlined masks.

    Args:
        real: Real cards.
        generated: Generated cards of the same size.
        per_class: Number of cards of each kind in a row.

    Raises:
        ValueError: If the sizes differ.
    """
    if real.size != generated.size:
        raise ValueError(f"the cards measure {real.size} and {generated.size} (height, width); read them at one size")
    names = tuple(dict.fromkeys(real.label_names + generated.label_names))
    left, right = (_rows_by_class(cards, names, per_class) for cards in (real, generated))
    rows = [a + [None] * (per_class - len(a)) + b for a, b in zip(left, right, strict=True)]
    return _draw_grid(rows, row_names=names, halves=("real", "generated"), split=per_class)


def plot_classes(counts: dict[str, int]) -> Figure:
    """Plots the number of cards of each class as bars; classes below a third of the largest are highlighted.

    Args:
        counts: Number of cards by class.

    Raises:
        ValueError: If there are no classes.
    """
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
    """Plots confusion matrices: counts by label (row) and by the classifier's answer (column), with shares of the row.

    Args:
        figures: A classifier's results for generated cards.
        held_out: Its results for real held-out cards, plotted beside them.
    """
    matrices = {"generated cards" if held_out else "cards": figures}
    if held_out:
        matrices["real cards, held out"] = held_out
    side = 0.8 * len(figures.label_names) + 1.2
    figure = NotebookFigure(figsize=(side * len(matrices), side), dpi=100, layout="constrained")
    panels = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axes, (title, matrix) in zip(panels, matrices.items(), strict=True):
        _draw_confusion(axes, np.array(matrix.confusion), matrix.label_names)
        axes.set_title(f"{matrix.count:,} {title}", fontsize=10)
    panels[0].set_ylabel("label of the card")
    return figure


def plot_distances(distances: Sequence[Distance]) -> Figure:
    """Plots each distance of generated cards (dark) and, below it, of real from real cards (light), with intervals.

    Args:
        distances: The distances of an evaluation.
    """
    figure = NotebookFigure(figsize=(9.5, 0.8 * len(distances) + 0.3), dpi=100, layout="constrained")
    for axes, distance in zip(figure.subplots(len(distances), 1, squeeze=False)[:, 0], distances, strict=True):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.set(ylim=(-0.6, 1.6), yticks=[])
        axes.set_ylabel(distance.name, rotation=0, ha="right", va="center")
        if not (distance.generated and distance.floor):
            axes.text(0, 0.5, distance.refused, va="center", fontsize=8, color=WARNING)
            axes.set_xticks([])
            continue
        markers = ((distance.floor, LIGHT, "real against real"), (distance.generated, DARK, "generated"))
        for y, (value, colour, label) in enumerate(markers):
            axes.plot([value.low, value.high], [y, y], color=colour, linewidth=3, solid_capstyle="butt")
            axes.plot(value.value, y, "o", color=colour, label=label)
        axes.tick_params(labelsize=8)
    handles, labels = next((axes.get_legend_handles_labels() for axes in figure.axes if axes.lines), ([], []))
    if handles:
        style = {"loc": "outside upper right", "ncols": 2, "frameon": False, "fontsize": 9}
        figure.legend(handles[::-1], labels[::-1], **style)
    return figure


def _draw_confusion(axes: Axes, counts: np.ndarray, label_names: Sequence[str]) -> None:
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.55 else "black" if count else "#999999"
        text = f"{count}\n{shares[row, column]:.0%}" if count else "0"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
    ticks = range(len(label_names))
    axes.set_xticks(ticks, label_names, rotation=35, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(ticks, label_names, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("class predicted by the classifier")


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Creates a figure with one set of axes, open at the top and on the right.

    Args:
        width: Width in inches.
        height: Height in inches.

    Returns:
        A NotebookFigure and its axes.
    """
    figure = NotebookFigure(figsize=(width, height), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _rows_by_class(cards: Cards, label_names: Sequence[str], per_class: int) -> list[list[np.ndarray]]:
    """Returns tiles of the first cards of each class; one row of the first cards if there are no classes."""
    if not label_names:
        return [_tiles(cards.pixels[:per_class])]
    numbers = [cards.label_names.index(name) if name in cards.label_names else -1 for name in label_names]
    return [_tiles(cards.pixels[cards.labels == number][:per_class]) for number in numbers]


def _tiles(pixels: torch.Tensor | np.ndarray, masks: bool = True) -> list[np.ndarray]:
    """Turns cards, uint8 (N, C, H, W), into enlarged pictures, uint8 (H * zoom, W * zoom, 3), with outlined masks."""
    pixels = np.asarray(pixels.cpu() if isinstance(pixels, torch.Tensor) else pixels)
    zoom = max(1, math.ceil(TILE_SIDE / max(pixels.shape[2:])))
    pixels = pixels.transpose(0, 2, 3, 1).repeat(zoom, axis=1).repeat(zoom, axis=2)
    tiles = pixels[..., :3]
    if masks and pixels.shape[-1] > 3:
        inside, width = pixels[..., 3:] >= 128, 2 * max(1, zoom // 2) + 1
        core = ndimage.binary_erosion(inside, np.ones((1, width, width, 1)))
        tiles = np.where(inside & ~core, MASK_COLOUR, tiles)
    return list(tiles)


def _draw_grid(
    rows: Sequence[Tiles],
    titles: Iterable[Sequence[str]] = (),
    row_names: Sequence[str] = (),
    halves: tuple[str, str] | None = None,
    split: int = 0,
) -> Figure:
    """Lays tiles out in rows, in units of a card width; `halves` names the columns before and after `split`."""
    columns = max(len(row) for row in rows)
    height, width = next(tile for row in rows for tile in row if tile is not None).shape[:2]
    ratio = height / width
    lefts = [column * (1 + GAP) + (SPLIT_GAP if split and column >= split else 0) for column in range(columns)]
    titles = [list(row) for row in titles]
    titles += [[]] * (len(rows) - len(titles))
    heads = [0.06 + 0.14 * max(title.count("\n") + 1 for title in row) if row else 0.0 for row in titles]
    tops = [sum(heads[: index + 1]) + index * (ratio + GAP) for index in range(len(rows))]
    right, bottom = lefts[-1] + 1, tops[-1] + ratio
    inches = min(1.5, 9.5 / right)  # width of a card
    longest = max((len(line) for row in titles for title in row for line in title.split("\n")), default=1)
    title_size = inches * min(7.3, 120 / max(1, longest))
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
