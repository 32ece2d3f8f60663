"""The figure of a trial: every arm with its interval, compared with real cards alone."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from cardsynth.plots.cards import DARK, LIGHT, WARNING, NotebookFigure
from cardsynth.studies.plots import draw_interval, strip_axes
from cardsynth.studies.trial.summary import POINTS, ArmFigures


def plot_trial(figures: Sequence[ArmFigures], measure: str = "mean IoU") -> Figure:
    """Plots one panel per count of real cards: mean and 95% interval of each arm and ratio, and a line at real cards.

    Arms that gain over real cards alone with certainty are dark, those that lose are red, others light.

    Args:
        figures: Figures of all arms.
        measure: Name of the measure on the axis.

    Raises:
        ValueError: There are no figures.
    """
    if not figures:
        raise ValueError("the trial has no results yet; run it first")
    counts = sorted({arm.count for arm in figures})
    rows = max(sum(arm.count == count for arm in figures) for count in counts)
    drawing = NotebookFigure(figsize=(4.6 * len(counts) + 1.2, 0.32 * rows + 1.1), dpi=100, layout="constrained")
    for axes, count in zip(drawing.subplots(1, len(counts), squeeze=False, sharex=True)[0], counts, strict=True):
        shown = [arm for arm in figures if arm.count == count]
        for row, arm in enumerate(shown):
            draw_interval(axes, row, arm.value, _color(arm), POINTS)
            if arm.arm == "real":
                axes.axvline(POINTS * arm.value.value, color="#888888", linewidth=1, zorder=0)
        names = [arm.arm + (f", {arm.ratio} to 1" if arm.ratio else "") for arm in shown]
        axes.set_yticks(range(len(shown)), names, fontsize=9)
        axes.invert_yaxis()
        axes.set_title(f"{count} real cards a class", fontsize=10)
        axes.set_xlabel(f"{measure}, points of a hundred")
        strip_axes(axes)
    return drawing


def _color(arm: ArmFigures) -> str:
    if arm.arm == "real":
        return "#888888"
    return {1: DARK, 0: LIGHT, -1: WARNING}[arm.sure]
