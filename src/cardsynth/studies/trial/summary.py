"""What a trial shows: each arm beside real cards alone, draw by draw, in a table, with a sentence that says it."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from cardsynth.evaluation.metrics import Figure
from cardsynth.studies.trial.config import ARMS

POINTS = 100  # IoU is shown in points of a hundred


@dataclass(frozen=True)
class ArmFigures:
    """An arm at a count of real cards a class and a ratio (0: no synthetic cards), over `draws` draws.

    value: mean over draws, with its interval of 95 % (Student's t); gain: mean difference to real cards alone on the
    same draws, and gain_over_pasted: to copy-paste of the same ratio, where that was run. None where draws are too few.
    """

    arm: str
    count: int
    ratio: int
    draws: int
    value: Figure
    gain: Figure | None
    gain_over_pasted: Figure | None


def arm_figures(results: Sequence[dict], measure: str = "mean_iou") -> list[ArmFigures]:
    """Figures of each arm, count and ratio of a trial's results; `measure`: mean_iou, any_iou or map50."""
    by_draw: dict[tuple[str, int, int], dict[int, float]] = defaultdict(dict)
    for result in results:
        by_draw[result["arm"], result["count"], result["ratio"]][result["draw"]] = result[measure]
    order = list(ARMS)
    found = []
    for (arm, count, ratio), values in sorted(
        by_draw.items(), key=lambda item: (item[0][1], order.index(item[0][0]), item[0][2])
    ):
        real, pasted = by_draw.get(("real", count, 0), {}), by_draw.get(("pasted", count, ratio), {})
        found.append(
            ArmFigures(
                arm=arm,
                count=count,
                ratio=ratio,
                draws=len(values),
                value=_mean(list(values.values())),
                gain=_paired(values, real) if arm != "real" else None,
                gain_over_pasted=_paired(values, pasted) if arm not in ("real", "pasted") else None,
            )
        )
    return found


def _mean(values: Sequence[float]) -> Figure:
    mean = float(np.mean(values))
    if len(values) < 2:
        return Figure(mean, math.nan, math.nan)
    reach = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))
    return Figure(mean, mean - reach, mean + reach)


def _paired(values: dict[int, float], others: dict[int, float]) -> Figure | None:
    both = sorted(values.keys() & others.keys())
    return _mean([values[draw] - others[draw] for draw in both]) if len(both) > 1 else None


def summary_table(figures: Sequence[ArmFigures], measure: str = "mean IoU") -> str:
    """A Markdown table in points of a hundred, brackets hold 95 %."""
    lines = [
        f"| real a class | learned from | synthetic to real | draws | {measure} | over real only | over pasted |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in figures:
        gains = " | ".join(_points(gain, sign=True) for gain in (one.gain, one.gain_over_pasted))
        ratio = one.ratio or ""
        lines.append(f"| {one.count} | {ARMS[one.arm].says} | {ratio} | {one.draws} | {_points(one.value)} | {gains} |")
    return "\n".join(lines)


def _points(figure: Figure | None, sign: bool = False) -> str:
    if figure is None:
        return ""
    plus = "+" if sign else ""
    text = f"{POINTS * figure.value:{plus}.1f}"
    if math.isnan(figure.low):
        return text
    return f"{text} [{POINTS * figure.low:{plus}.1f}, {POINTS * figure.high:{plus}.1f}]"


def what_it_shows(figures: Sequence[ArmFigures]) -> list[str]:
    """A sentence for each count of real cards: which arms gain or lose for certain, and which is best; or that none do.

    With several arms at 95 % each, one in twenty seems to gain or lose by chance alone: the sentence says how many were
    looked at.
    """
    sentences = []
    for count in sorted({one.count for one in figures}):
        compared = [one for one in figures if one.count == count and one.gain is not None]
        if not compared:
            sentences.append(f"With {count} real cards a class there is nothing to compare yet.")
            continue
        gaining = [one for one in compared if one.gain.low > 0]
        losing = [one for one in compared if one.gain.high < 0]
        parts = []
        if gaining:
            best = max(gaining, key=lambda one: one.gain.value)
            parts.append(f"{_names(gaining)} gain; most does {_name(best)}, {_points(best.gain, sign=True)} points")
        if losing:
            parts.append(f"{_names(losing)} lose")
        if not parts:
            parts.append("no arm shows a gain or a loss")
        sentences.append(
            f"With {count} real cards a class, of {len(compared)} ways to add synthetic cards: {'; '.join(parts)}."
        )
    return sentences


def _name(one: ArmFigures) -> str:
    return f"`{one.arm}` ({one.ratio} to 1)" if one.ratio else f"`{one.arm}`"


def _names(several: Sequence[ArmFigures]) -> str:
    return ", ".join(_name(one) for one in several)
