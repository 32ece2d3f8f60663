"""Results of the runs of a sweep, read from their folders: one row per run."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cardsynth.core.runs import read_log, read_manifest
from cardsynth.evaluation.summary import FIGURES, figure_of, read_evaluation
from cardsynth.studies.sweeps.config import Sweep, SweepRun
from cardsynth.studies.sweeps.run import FAILED, RUNS
from cardsynth.util.intervals import Figure


@dataclass(frozen=True)
class Measure:
    """A figure of a model.

    Args:
        better: 1 if larger figures are better, -1 if smaller ones are.
        share: Whether the figure is a share of cards, 0 to 1, shown as a percentage.
    """

    better: int
    share: bool = False

    def text(self, figure: Figure | None) -> str:
        """Returns a figure with its interval; empty for None."""
        return "" if figure is None else figure.percent() if self.share else figure.text()


MEASURES = {
    "KID": Measure(-1),
    "FD": Measure(-1),
    "recall": Measure(1, share=True),
    "precision": Measure(1, share=True),
    "class accuracy": Measure(1, share=True),
    "mask IoU": Measure(1),
    "near-copies": Measure(-1, share=True),
}


@dataclass(frozen=True)
class SweepRow:
    """A run and its results.

    Args:
        run: The run.
        figures: Figures of the generated cards by measure; a measure that does not apply is missing.
        real: The same figures of held-out real cards.
        steps: Number of training steps.
        seconds: Training time in seconds.
        seconds_a_card: Seconds to generate a card.
        parameters: Number of parameters of the model.
        net: Name of the net that measured distances.
        revision: Hash of the weights.
        failed: Reason of a failure; empty for a sound run.
    """

    run: SweepRun
    figures: dict[str, Figure] = field(default_factory=dict)
    real: dict[str, Figure] = field(default_factory=dict)
    steps: int | None = None
    seconds: float | None = None
    seconds_a_card: float | None = None
    parameters: int | None = None
    net: str = ""
    revision: str = ""
    failed: str = ""


def read_rows(sweep: Sweep, out: str | Path) -> list[SweepRow]:
    """Returns a row for each finished run of a sweep, in the sweep's order."""
    rows = (_read_row(run, Path(out) / RUNS / run.name) for run in sweep.runs)
    return [row for row in rows if row]


def _read_row(run: SweepRun, folder: Path) -> SweepRow | None:
    manifest = read_manifest(folder)
    common = {"parameters": manifest.get("parameters"), "seconds": manifest.get("wall_time_s")}
    if (folder / FAILED).is_file():
        reason = json.loads((folder / FAILED).read_text())["reason"]
        log = read_log(folder)
        return SweepRow(run, steps=log[-1]["step"] if log else 0, failed=reason, **common)
    if not (folder / FIGURES).is_file():
        return None
    evaluation = read_evaluation(folder)
    generated, real = _figures(evaluation)
    return SweepRow(
        run,
        generated,
        real,
        steps=manifest.get("steps"),
        seconds_a_card=evaluation["seconds_a_card"],
        net=evaluation["distances"][0]["net"],
        revision=evaluation["revision"],
        **common,
    )


def _figures(evaluation: dict[str, Any]) -> tuple[dict[str, Figure], dict[str, Figure]]:
    """Returns the figures of generated and of real cards by measure."""
    pairs = {distance["name"]: (distance["generated"], distance["floor"]) for distance in evaluation["distances"]}
    for classes in evaluation["classes"][:1]:
        pairs["class accuracy"] = classes["generated"]["accuracy"], classes["held_out"]["accuracy"]
    pairs["mask IoU"] = tuple(part and part["mean_iou"] for part in (evaluation["masks"], evaluation["held_out_masks"]))
    copies = evaluation["copies"][0]
    pairs["near-copies"] = copies["share"], copies["held_out_share"]
    sides = zip(*(pairs.get(name, (None, None)) for name in MEASURES), strict=True)
    return tuple(
        {name: figure_of(side) for name, side in zip(MEASURES, values, strict=True) if side} for values in sides
    )
