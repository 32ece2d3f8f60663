"""Figures of pairs of pictures, ratings and rank correlations."""

import io

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from PIL import Image

from cardsynth.evaluation.similarity.agreement import RankCorrelation
from cardsynth.evaluation.similarity.metrics import compare_pairs
from cardsynth.evaluation.similarity.pairs import draw_pairs, simulated_ratings
from cardsynth.evaluation.similarity.tables import tabulate
from cardsynth.plots.cards import figure_png
from cardsynth.plots.similarity import plot_against_ratings, plot_correlations, show_pairs


@pytest.fixture(scope="module")
def pairs():
    return draw_pairs(2, (40, 32), seed=3)


def test_pairs_stand_above_their_figures(pairs):
    values = {"mse": torch.tensor([0.01234, 0.5]), "ssim": [0.987, -0.25]}
    figure = show_pairs(pairs.first[:2], pairs.second[:2], values, ["one", "other"])
    assert [text.get_text() for text in figure.texts] == [
        "one",
        "mse 0.0123\nssim 0.99",
        "other",
        "mse 0.5000\nssim -0.25",
    ]
    drawn = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    shown = [picture for pair in zip(pairs.first[:2], pairs.second[:2], strict=True) for picture in pair]
    assert all(np.array_equal(a, b.permute(1, 2, 0).numpy()) for a, b in zip(drawn, shown, strict=True))
    box = [axes.get_window_extent() for axes in figure.axes]
    assert box[0].height / box[0].width == pytest.approx(40 / 32, rel=0.01)
    figure.draw_without_rendering()
    words = [text.get_window_extent() for text in figure.texts]
    assert words[0].y0 >= box[0].y1 > box[0].y0 > box[1].y1 > box[1].y0 >= words[1].y1
    assert words[1].y0 >= 0
    for titles in (["one"], []):
        with pytest.raises(ValueError, match="2 pairs to show"):
            show_pairs(pairs.first[:2], pairs.second[:2], values, titles)


def test_every_pair_is_a_dot_in_the_panel_of_each_metric(pairs):
    metrics = {name: values.tolist() for name, values in compare_pairs(pairs.first, pairs.second).items()}
    table = tabulate(simulated_ratings(pairs), pairs.pairs, metrics)
    figure = plot_against_ratings(table, pairs.groups)
    assert [axes.get_xlabel() for axes in figure.axes] == ["mse", "ssim"]
    for axes, values in zip(figure.axes, metrics.values(), strict=True):
        dots = sorted(tuple(dot) for line in axes.lines for dot in line.get_xydata())
        assert dots == sorted(zip(values, table.people.tolist(), strict=True))
    assert len({line.get_color() for line in figure.axes[0].lines}) == 5
    assert len(plot_against_ratings(table).axes[0].lines) == 1
    with pytest.raises(ValueError, match="requires metrics and ratings"):
        plot_against_ratings(tabulate([], pairs.pairs, metrics))


def test_correlations_are_dots_on_their_intervals():
    shown = RankCorrelation("mse", 0.8, 0.6, 0.9, 0.001, 45, True)
    unclear = RankCorrelation("ssim", -0.2, -0.7, 0.5, 0.6, 9, False)
    figure = plot_correlations({"cards": [shown, unclear], "bricks": [unclear]})
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["mse (cards)", "ssim (cards)", "ssim (bricks)"]
    intervals = [tuple(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) == 2][1:]
    assert intervals == [(0.6, 0.9), (-0.7, 0.5), (-0.7, 0.5)]
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    white = to_rgba("white")
    assert [to_rgba(dot.get_markerfacecolor()) == white for dot in dots] == [False, True, True]
    assert Image.open(io.BytesIO(figure_png(figure))).width > 500
    with pytest.raises(ValueError, match="no correlations"):
        plot_correlations({"cards": []})
    assert [label.get_text() for label in plot_correlations({"x": [shown]}).axes[0].get_yticklabels()] == ["mse"]
