"""A trial written down: what it shows in sentences, its tables, and its figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from cardsynth.plots.cards import figure_png
from cardsynth.studies.trial.plots import plot_trial
from cardsynth.studies.trial.summary import arm_figures, summary_table, what_it_shows
from cardsynth.util.files import write_atomically

TABLE, PICTURE = "trial.md", "trial.png"
MEASURES = {"mean_iou": "mean IoU", "map50": "mAP50"}


@dataclass(frozen=True)
class TrialReport:
    """What a trial shows: a sentence for each count of real cards, tables as Markdown, and a figure, all of `path`."""

    path: Path
    sentences: str
    tables: str
    figure: Figure


def write_trial_report(out: str | Path, results: Sequence[dict]) -> TrialReport:
    """Write `trial.md`, sentences and tables of a trial's results, and its figure `trial.png` into a folder.

    Raises ValueError where there are no results.
    """
    path = Path(out) / TABLE
    figures = {measure: arm_figures(results, measure) for measure in MEASURES}
    drawn = plot_trial(figures["mean_iou"], MEASURES["mean_iou"])
    sentences = "\n\n".join(what_it_shows(figures["mean_iou"]))
    tables = "\n\n".join(summary_table(of, MEASURES[measure]) for measure, of in figures.items())
    write_atomically(path.with_name(PICTURE), figure_png(drawn))
    write_atomically(path, f"{sentences}\n\n![Arms]({PICTURE})\n\n{tables}\n".encode())
    return TrialReport(path, sentences, tables, drawn)
