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
WIDTH = 6.5  # inches


def plot_log(rows: Sequence[dict[str, Any]]) -> Figure:
    """Plots the loss of each step (light) and its running mean (dark).

    Args:
        rows: The log of a run, see `runs.read_log`.

    Raises:
        ValueError: If the log is empty.
    """
    return _plot_noisy(_column(rows, "step"), _column(rows, "loss"), "loss", height=3)


def plot_losses(rows: Sequence[dict[str, Any]]) -> Figure:
    """Plots running means of the losses of a DCGAN (both players) or a VAE (squared error, KL divergence).

    Those of a VAE have a log scale, because the divergence is measured in nats per card.

    Args:
        rows: The log of a run, see `runs.read_log`.

    Raises:
        ValueError: If the log has none of these losses.
    """
    names = [name for name in PARTS if rows and name in rows[0]]
    if not names:
        raise ValueError("the log has no losses of a DCGAN or a VAE; take plot_log")
    figure, axes = new_axes(WIDTH, 3)
    for name, colour in zip(names, COLOURS, strict=False):
        values = _running_mean(_column(rows, name), _span(rows))
        axes.plot(_column(rows, "step"), values, color=colour, linewidth=1.8, label=name.replace("_", " "))
    axes.set(xlabel="step", yscale="log" if "kl" in names else "linear")
    axes.margins(x=0)
    axes.legend(frameon=False)
    return figure


def plot_gradient_norm(rows: Sequence[dict[str, Any]], max_grad_norm: float | None = None) -> Figure:
    """Plots the gradient norm of each step before clipping, and its running mean.

    Args:
        rows: The log of a run, see `runs.read_log`.
        max_grad_norm: Norm to which gradients were clipped, drawn as a dashed line.

    Raises:
        ValueError: If the log is empty.
    """
    figure = _plot_noisy(_column(rows, "step"), _column(rows, "gradient_norm"), "gradient norm", height=2.2)
    if max_grad_norm is not None:
        axes = figure.axes[0]
        axes.axhline(max_grad_norm, color=WARNING, linewidth=1, linestyle="--", label=f"clipped to {max_grad_norm:g}")
        axes.legend(frameon=False, ncols=3, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def plot_learning_rate(rows: Sequence[dict[str, Any]]) -> Figure:
    """Plots the learning rate of each step.

    Args:
        rows: The log of a run, see `runs.read_log`.

    Raises:
        ValueError: If the log is empty.
    """
    figure, axes = new_axes(WIDTH, 2.2)
    axes.plot(_column(rows, "step"), _column(rows, "learning_rate"), color=DARK, linewidth=1.8)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    axes.set(xlabel="step", ylabel="learning rate")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    return figure


def plot_kid(rows: Sequence[dict[str, Any]]) -> Figure:
    """Plots the KID against held-out cards measured during training, with 95 % intervals.

    Args:
        rows: The log of a run, see `runs.read_log`.

    Raises:
        ValueError: If the log has no KID.
    """
    measured = [row for row in rows if "kid" in row]
    if not measured:
        raise ValueError("the log has no KID; set kid_epochs to have it measured while training")
    low, kid, high = (_column(measured, name) for name in ("kid_low", "kid", "kid_high"))
    figure, axes = new_axes(WIDTH, 2.2)
    axes.errorbar(_column(measured, "step"), kid, [kid - low, high - kid], color=DARK, capsize=2, marker="o")
    axes.axhline(0, color=LIGHT, linewidth=1)
    axes.set(xlabel="step", ylabel="KID")
    return figure


def plot_loss_by_timestep(errors: dict[str, TimestepErrors]) -> Figure:
    """Plots the mean squared error in each bin of timesteps, with two standard errors.

    The left panel shows the error of the noise, which is comparable between nets; the right panel the training loss.

    Args:
        errors: Errors of each set of cards, by its name.

    Raises:
        ValueError: If there are no errors.
    """
    if not errors:
        raise ValueError("there are no errors to draw; give at least one set of cards")
    figure = NotebookFigure(figsize=(9, 3.2), dpi=100, layout="constrained")
    titles = {"epsilon": "error of the noise", "weighted": "loss as trained"}
    for axes, (kind, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for index, (name, bins) in enumerate(errors.items()):
            values = getattr(bins, kind)
            mean, error = values.mean(axis=-1), standard_error(values)
            middle = (np.array(bins.edges[1:]) + np.array(bins.edges[:-1])) / 2
            # A dashed line on top of a solid one keeps both visible where they are equal.
            style = {"color": COLOURS[index % len(COLOURS)], "linestyle": STYLES[index % len(STYLES)], "linewidth": 1.8}
            axes.errorbar(middle, mean, 2 * np.nan_to_num(error), capsize=2, label=name, **style)
        axes.set(yscale="log", xlabel="timestep (0: the card, last: noise)")
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("mean squared error")
    figure.axes[0].legend(frameon=False)
    return figure


def _span(values: Sequence[Any]) -> int:
    """Number of steps that a running mean covers."""
    return max(4, len(values) // 40)


def _running_mean(values: np.ndarray, span: int) -> np.ndarray:
    """Exponential running mean with bias correction (Kingma & Ba 2015, section 3)."""
    decay, mean, means = 1 - 1 / span, 0.0, []
    for count, value in enumerate(values, start=1):
        mean = decay * mean + (1 - decay) * value
        means.append(mean / (1 - decay**count))
    return np.array(means)


def _plot_noisy(steps: np.ndarray, values: np.ndarray, name: str, height: float) -> Figure:
    """Plots values (light) and their running mean (dark), on a log scale if they span more than a factor of five."""
    figure, axes = new_axes(WIDTH, height)
    axes.plot(steps, values, color=LIGHT, linewidth=0.8, label="each step")
    span = _span(values)
    if values.min() > 0 and values.max() > 5 * values.min():
        # An arithmetic mean would lag behind values that fall by powers of ten.
        mean = np.exp(_running_mean(np.log(values), span))
        axes.set_yscale("log")
    else:
        mean = _running_mean(values, span)
    axes.plot(steps, mean, color=DARK, linewidth=1.8, label=f"running mean ({span} steps)")
    axes.set(xlabel="step", ylabel=name)
    axes.margins(x=0)
    axes.legend(frameon=False)
    return figure


def _column(rows: Sequence[dict[str, Any]], name: str) -> np.ndarray:
    if not rows:
        raise ValueError("the log has no steps yet; train first")
    return np.array([row[name] for row in rows], float)
