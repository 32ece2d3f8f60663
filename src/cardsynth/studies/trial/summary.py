"""Gains of a trial: each arm compared with real cards alone on the same draws, as a table and in sentences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from cardsynth.studies.report import render
from cardsynth.studies.trial.config import ARMS
from cardsynth.util.intervals import Figure, mean_figure, paired_difference
from cardsynth.util.tables import markdown_table

POINTS = 100  # shares are shown in points of a hundred


@dataclass(frozen=True)
class ArmFigures:
    """Figures of an arm at a count of real cards per class and a ratio.

    Args:
        arm: Name of the arm.
        count: Real cards per class.
        ratio: Synthetic cards per real card; 0 for an arm without synthetic cards.
        draws: Number of draws.
        value: Mean over draws with its 95% interval by Student's t; the interval is NaN for a single draw.
        gain: Mean difference from real cards alone on the same draws; None for fewer than two draws.
        gain_over_pasted: Mean difference from pasted damage at the same ratio; None if there are too few draws.
    """

    arm: str
    count: int
    ratio: int
    draws: int
    value: Figure
    gain: Figure | None
    gain_over_pasted: Figure | None

    @property
    def sure(self) -> int:
        """1 if the arm gains over real cards alone with certainty, -1 if it loses, else 0."""
        return 0 if self.gain is None else int(self.gain.low > 0) - int(self.gain.high < 0)

    @property
    def name(self) -> str:
        """Arm and ratio, as Markdown."""
        return f"`{self.arm}` ({self.ratio} to 1)" if self.ratio else f"`{self.arm}`"


def arm_figures(results: Sequence[dict], measure: str = "mean_iou") -> list[ArmFigures]:
    """Summarises the results of a trial over its draws.

    Args:
        results: One object per trained finder, with `arm`, `count`, `ratio`, `draw` and its measures.
        measure: `mean_iou`, `any_iou` or `map50`.

    Returns:
        Figures of each arm and ratio, by count of real cards and in the order of `ARMS`.
    """
    table = pd.DataFrame(results, columns=["arm", "count", "ratio", "draw", measure])
    groups = table.set_index("draw").groupby(["count", "arm", "ratio"])[measure]
    by_draw = {key: values.to_dict() for key, values in groups}
    order = list(ARMS)
    figures = []
    for count, arm, ratio in sorted(by_draw, key=lambda key: (key[0], order.index(key[1]), key[2])):
        values = by_draw[count, arm, ratio]
        real, pasted = by_draw.get((count, "real", 0), {}), by_draw.get((count, "pasted", ratio), {})
        gain = paired_difference(values, real) if arm != "real" else None
        over_pasted = paired_difference(values, pasted) if arm not in ("real", "pasted") else None
        figures.append(ArmFigures(arm, count, ratio, len(values), _mean(list(values.values())), gain, over_pasted))
    return figures


def _mean(values: Sequence[float]) -> Figure:
    return mean_figure(values, student=True) if len(values) > 1 else Figure(values[0], math.nan, math.nan)


def summary_table(figures: Sequence[ArmFigures], measure: str = "mean IoU") -> str:
    """Returns a Markdown table of figures in points of a hundred, with 95% intervals in brackets.

    Args:
        figures: Figures of all arms.
        measure: Name of the measure in the table's head.
    """
    names = ["real a class", "learned from", "synthetic to real", "draws", measure, "over real only", "over pasted"]
    return markdown_table(
        names,
        [
            (
                *(arm.count, ARMS[arm.arm].text, arm.ratio or "", arm.draws, _points(arm.value)),
                *(_points(gain, sign="+") for gain in (arm.gain, arm.gain_over_pasted)),
            )
            for arm in figures
        ],
    )


def _points(figure: Figure | None, sign: str = "") -> str:
    if figure is None:
        return ""
    value, low, high = (f"{POINTS * end:{sign}.1f}" for end in (figure.value, figure.low, figure.high))
    return value if math.isnan(figure.low) else f"{value} [{low}, {high}]"


def what_it_shows(figures: Sequence[ArmFigures]) -> list[str]:
    """Returns a sentence for each count of real cards: which arms gain or lose with certainty, and the best one.

    With several arms at 95% each, one in twenty seems to gain or lose by chance, so the sentence also gives the number
    of arms compared.

    Args:
        figures: Figures of all arms.
    """
    return render("trial_sentences.md", figures=figures, points=_points).splitlines()
