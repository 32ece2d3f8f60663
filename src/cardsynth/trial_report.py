"""A trial written down: what it shows in sentences, its table, and its figure."""

from collections.abc import Sequence
from pathlib import Path

from cardsynth.folder import write_atomically
from cardsynth.plots import figure_png
from cardsynth.trial_plots import plot_trial
from cardsynth.trial_summary import arm_figures, summary_table, what_it_shows

TABLE, PICTURE = "trial.md", "trial.png"
MEASURES = {"mean_iou": "mean IoU", "map50": "mAP50"}


def write_trial_report(out: str | Path, results: Sequence[dict]) -> Path:
    """Write `trial.md`, the sentences and tables of a trial's results, and `trial.png` beside it; returns the first.

    Raises ValueError where there are no results.
    """
    out = Path(out)
    parts = ["# Does synthetic data help?"]
    for measure, name in MEASURES.items():
        figures = arm_figures(results, measure)
        parts += [f"## By {name}", *what_it_shows(figures), summary_table(figures, name)]
    write_atomically(out / PICTURE, figure_png(plot_trial(arm_figures(results))))
    write_atomically(out / TABLE, ("\n\n".join(parts) + "\n").encode())
    return out / TABLE
