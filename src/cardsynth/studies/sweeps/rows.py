"""What the runs of a sweep came to: a row each, read from their folders."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cardsynth.core.runs import read_log, read_manifest
from cardsynth.evaluation.metrics import Figure
from cardsynth.evaluation.summary import FIGURES, figure_of, read_evaluation
from cardsynth.studies.sweeps.config import Sweep, SweepRun
from cardsynth.studies.sweeps.run import FAILED, RUNS


@dataclass(frozen=True)
class Measure:
    """A figure of a model: how it is found in its evaluation, of generated and of real cards; whether it is a share.

    better: -1 where less is better, 1 where more is.
    """

    better: int
    share: bool
    of: Callable[[dict[str, Any]], tuple[dict | None, dict | None]]

    def text(self, figure: Figure | None) -> str:
        """The figure with its interval."""
        return "" if figure is None else figure.percent() if self.share else figure.text()


def _distance(name: str) -> Callable[[dict[str, Any]], tuple[dict | None, dict | None]]:
    def of(found: dict[str, Any]) -> tuple[dict | None, dict | None]:
        one = next(one for one in found["distances"] if one["name"] == name)
        return one["generated"], one["floor"]

    return of


def _accuracy(found: dict[str, Any]) -> tuple[dict | None, dict | None]:
    one = found["classes"][0] if found["classes"] else None
    return (one["generated"]["accuracy"], one["held_out"]["accuracy"]) if one else (None, None)


def _mask_iou(found: dict[str, Any]) -> tuple[dict | None, dict | None]:
    return tuple(found[name]["mean_iou"] if found[name] else None for name in ("masks", "held_out_masks"))


def _copies(found: dict[str, Any]) -> tuple[dict | None, dict | None]:
    one = found["copies"][0]
    return one["share"], one["held_out_share"]


MEASURES = {
    "KID": Measure(-1, False, _distance("KID")),
    "FD": Measure(-1, False, _distance("FD")),
    "recall": Measure(1, True, _distance("recall")),
    "precision": Measure(1, True, _distance("precision")),
    "class accuracy": Measure(1, True, _accuracy),
    "mask IoU": Measure(1, False, _mask_iou),
    "near-copies": Measure(-1, True, _copies),
}


@dataclass(frozen=True)
class SweepRow:
    """A run and what became of it: figures by measure, of generated and of real cards; or why it failed.

    steps: taken; seconds: of training; seconds_a_card: of generating; net: what distances were measured by; revision:
    hash of the weights.
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
    """A row for each run of a sweep that is done, in their order."""
    rows = (_read_row(run, Path(out) / RUNS / run.name) for run in sweep.runs)
    return [row for row in rows if row]


def _read_row(run: SweepRun, place: Path) -> SweepRow | None:
    manifest = read_manifest(place)
    known = {"parameters": manifest.get("parameters"), "seconds": manifest.get("wall_time_s")}
    if (place / FAILED).is_file():
        reason = json.loads((place / FAILED).read_text())["reason"]
        log = read_log(place)
        return SweepRow(run, steps=log[-1]["step"] if log else 0, failed=reason, **known)
    if not (place / FIGURES).is_file():
        return None
    found = read_evaluation(place)
    both = {name: tuple(map(figure_of, measure.of(found))) for name, measure in MEASURES.items()}
    return SweepRow(
        run=run,
        figures={name: made for name, (made, _) in both.items() if made},
        real={name: real for name, (_, real) in both.items() if real},
        steps=manifest.get("steps"),
        seconds_a_card=found["seconds_a_card"],
        net=found["distances"][0]["net"],
        revision=found["revision"],
        **known,
    )
