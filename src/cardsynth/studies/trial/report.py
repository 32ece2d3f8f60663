"""Reports of trials: a page with findings, tables and a figure."""

from collections.abc import Sequence
from pathlib import Path

from cardsynth.plots.cards import figure_png
from cardsynth.studies.report import Report
from cardsynth.studies.trial.plots import plot_trial
from cardsynth.studies.trial.summary import arm_figures, summary_table, what_it_shows
from cardsynth.util.files import write_atomically

TABLE, PICTURE = "trial.md", "trial.png"
MEASURES = {"mean_iou": "mean IoU", "map50": "mAP50"}


def write_trial_report(out: str | Path, results: Sequence[dict]) -> Report:
    """Writes `trial.md`, findings and tables of a trial, and its figure `trial.png`.

    Args:
        out: Folder to write.
        results: Results of the trial's finders, as `run_trial` returns them.

    Raises:
        ValueError: There are no results.
    """
    figures = {measure: arm_figures(results, measure) for measure in MEASURES}
    drawing = plot_trial(figures["mean_iou"], MEASURES["mean_iou"])
    write_atomically(Path(out) / PICTURE, figure_png(drawing))
    sentences = "\n\n".join(what_it_shows(figures["mean_iou"]))
    tables = "\n\n".join(summary_table(arms, MEASURES[measure]) for measure, arms in figures.items())
    report = Report(Path(out) / TABLE, sentences, tables, drawing)
    report.write("trial.md", figure_file=PICTURE)
    return report
