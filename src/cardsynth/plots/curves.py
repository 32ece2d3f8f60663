"""Curves of a training run: loss, learning rate and gradient norm by step, and loss by timestep."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cardsynth.evaluation.timestep_loss import TimestepErrors
from cardsynth.plots.cards import DARK, LIGHT, WARNING, NotebookFigure, new_axes
from cardsynth.util.intervals import standard_error

PARTS = ("generator_loss", "discriminator_loss", "reconstruction", "kl")
COLOURS, STYLES = (DARK, WARNING, LIGHT, "#666666"), ("-", "--")


def plot_log(rows: Sequence[dict[str, Any]]) -> Figure:
    """Loss of each step (light) and its running mean (dark), from rows of `runs.read_log`."""
    return _plot_noisy(_column(rows, "step"), _column(rows, "loss"), "loss", height=3)


def plot_losses(rows: Sequence[dict[str, Any]]) -> Figure:
    """Running means of the losses that train a DCGAN (both players') or a VAE (squared error, KL divergence).

    Those of a VAE are drawn on a log scale, for the divergence is told in nats a card. Raises ValueError for a log
    without them.
    """
    names = [name for name in PARTS if rows and name in rows[0]]
    if not names:
        raise ValueError("the log has no losses of a DCGAN or a VAE; take plot_log")
    figure, axes = new_axes(6.5, 3)
    for name, colour in zip(names, COLOURS, strict=False):
        values = _running_mean(_column(rows, name), max(4, len(rows) // 40))
        axes.plot(_column(rows, "step"), values, color=colour, linewidth=1.8, label=name.replace("_", " "))
    if "kl" in names:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.margins(x=0)
    axes.legend(frameon=False)
    return figure


def plot_gradient_norm(rows: Sequence[dict[str, Any]], max_grad_norm: float | None = None) -> Figure:
    """Gradient norm of each step before clipping, and its running mean, from rows of `runs.read_log`.

    max_grad_norm: a dashed line at the norm to which longer gradients were clipped.
    """
    figure = _plot_noisy(_column(rows, "step"), _column(rows, "gradient_norm"), "gradient norm", height=2.2)
    if max_grad_norm is not None:
        axes = figure.axes[0]
        axes.axhline(max_grad_norm, color=WARNING, linewidth=1, linestyle="--", label=f"clipped to {max_grad_norm:g}")
        axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def plot_learning_rate(rows: Sequence[dict[str, Any]]) -> Figure:
    """Learning rate of each step, from rows of `runs.read_log`."""
    figure, axes = new_axes(6.5, 2.2)
    axes.plot(_column(rows, "step"), _column(rows, "learning_rate"), color=DARK, linewidth=1.8)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    return figure


def plot_kid(rows: Sequence[dict[str, Any]]) -> Figure:
    """KID against held-out cards as it was measured while training, with its interval of 95 %, by step."""
    measured = [row for row in rows if "kid" in row]
    if not measured:
        raise ValueError("the log has no KID; set kid_epochs to have it measured while training")
    low, kid, high = (_column(measured, name) for name in ("kid_low", "kid", "kid_high"))
    figure, axes = new_axes(6.5, 2.2)
    axes.errorbar(_column(measured, "step"), kid, [kid - low, high - kid], color=DARK, capsize=2, marker="o")
    axes.axhline(0, color=LIGHT, linewidth=1)
    axes.set_xlabel("step")
    axes.set_ylabel("KID")
    return figure


def plot_loss_by_timestep(errors: dict[str, TimestepErrors]) -> Figure:
    """Mean squared error in each bin of timesteps, a line for each named set of cards, with two standard errors.

    At the left the error of the noise, which can be compared between nets; at the right the loss as it was trained.
    """
    if not errors:
        raise ValueError("there are no errors to draw; give at least one set of cards")
    figure = NotebookFigure(figsize=(9, 3.2), dpi=100, layout="constrained")
    titles = {"epsilon": "error of the noise", "weighted": "loss as trained"}
    for axes, (kind, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for index, (name, found) in enumerate(errors.items()):
            values = getattr(found, kind)
            mean, error = values.mean(axis=-1), standard_error(values)
            middle = (np.array(found.edges[1:]) + np.array(found.edges[:-1])) / 2
            # Dashes on top of a whole line, so that equal lines do not hide each other.
            look = {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[index % len(STYLES)], "linewidth": 1.8}
            axes.errorbar(middle, mean, 2 * np.nan_to_num(error), capsize=2, label=name, **look)
        axes.set_yscale("log")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("timestep (0: the card, last: noise)")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("mean squared error")
    figure.axes[0].legend(frameon=False)
    return figure


def _running_mean(values: np.ndarray, span: int) -> np.ndarray:
    """Exponential running mean, its start not drawn to zero (Kingma & Ba 2015, section 3)."""
    decay, mean, means = 1 - 1 / span, 0.0, []
    for count, value in enumerate(values, start=1):
        mean = decay * mean + (1 - decay) * value
        means.append(mean / (1 - decay**count))
    return np.array(means)


def _plot_noisy(steps: np.ndarray, values: np.ndarray, name: str, height: float) -> Figure:
    """Values of each step (light) and their running mean (dark), on a log scale where they span a factor of five."""
    figure, axes = new_axes(6.5, height)
    axes.plot(steps, values, color=LIGHT, linewidth=0.8, label="each step")
    span = max(4, len(values) // 40)
    if values.min() > 0 and values.max() > 5 * values.min():
        # A mean of the values would lag behind where they fall by powers of ten.
        smooth = np.exp(_running_mean(np.log(values), span))
        axes.set_yscale("log")
    else:
        smooth = _running_mean(values, span)
    axes.plot(steps, smooth, color=DARK, linewidth=1.8, label=f"running mean ({span} steps)")
    axes.set_xlabel("step")
    axes.set_ylabel(name)
    axes.margins(x=0)
    axes.legend(frameon=False)
    return figure


def _column(rows: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    if not rows:
        raise ValueError("the log has no steps yet; train first")
    return np.array([row[name] for row in rows], float)
