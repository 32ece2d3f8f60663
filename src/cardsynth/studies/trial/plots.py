"""The figure of a trial: every arm with its interval, beside real cards alone."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cardsynth.plots.cards import DARK, LIGHT, WARNING, NotebookFigure
from cardsynth.studies.trial.summary import POINTS, ArmFigures


def plot_trial(figures: Sequence[ArmFigures], measure: str = "mean IoU") -> Figure:
    """A panel for each count of real cards: mean and interval of 95 % of each arm and ratio, a line at real only.

    Arms whose gain over real cards alone is sure are dark, whose loss is sure red, the others light. Raises ValueError
    where there are no figures.
    """
    if not figures:
        raise ValueError("the trial has no results yet; run it first")
    counts = sorted({one.count for one in figures})
    rows = max(sum(one.count == count for one in figures) for count in counts)
    drawn = NotebookFigure(figsize=(4.6 * len(counts) + 1.2, 0.32 * rows + 1.1), dpi=100, layout="constrained")
    for axes, count in zip(drawn.subplots(1, len(counts), squeeze=False, sharex=True)[0], counts, strict=True):
        shown = [one for one in figures if one.count == count]
        for place, one in enumerate(shown):
            low, high = (POINTS * value for value in (one.value.low, one.value.high))
            if not np.isnan(low):
                axes.plot([low, high], [place, place], color=_colour(one), linewidth=3, solid_capstyle="butt")
            axes.plot(POINTS * one.value.value, place, "o", color=_colour(one))
            if one.arm == "real":
                axes.axvline(POINTS * one.value.value, color="#888888", linewidth=1, zorder=0)
        names = [one.arm + (f", {one.ratio} to 1" if one.ratio else "") for one in shown]
        axes.set_yticks(range(len(shown)), names, fontsize=9)
        axes.invert_yaxis()
        axes.set_title(f"{count} real cards a class", fontsize=10)
        axes.set_xlabel(f"{measure}, points of a hundred")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return drawn


def _colour(one: ArmFigures) -> str:
    if one.arm == "real":
        return "#888888"
    if one.gain is None or one.gain.low <= 0 <= one.gain.high:
        return LIGHT
    return DARK if one.gain.low > 0 else WARNING
