"""Reports of sweeps: a page with tables and findings, a CSV, a log for remarks, a figure, and cards of all models."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from cardsynth.plots.cards import figure_png
from cardsynth.studies.report import Report
from cardsynth.studies.sweeps.config import Sweep
from cardsynth.studies.sweeps.factors import Factor, changes_text, factors_of
from cardsynth.studies.sweeps.plots import plot_sweep, show_samples
from cardsynth.studies.sweeps.rows import MEASURES, Measure, SweepRow
from cardsynth.studies.sweeps.summary import ASIDE, MAIN, Effect, effects, mean_over_seeds, what_it_shows
from cardsynth.util.environment import describe_environment
from cardsynth.util.files import write_atomically
from cardsynth.util.tables import add_rows, csv_bytes, markdown_table

TABLE, PAGE, LOG, FIGURE, SAMPLES = "sweep.csv", "sweep.md", "log.csv", "sweep.png", "samples.png"
LOGGED = ("model", "revision", "settings", "seed", "steps", *MEASURES, "seconds", "failed", "remark")
ENDS = {"": "value", " low": "low", " high": "high"}  # columns of a measure in the CSV, and the parts of its figure
DIGITS = {"training, s": 0, "a card, s": 3, "parameters": 0}


def write_sweep_report(sweep: Sweep, rows: Sequence[SweepRow], out: str | Path) -> Report:
    """Writes `sweep.csv` (one row per run), `sweep.md`, `sweep.png` and `samples.png`, and extends `log.csv`.

    The log keeps what people wrote into it.

    Args:
        sweep: The sweep.
        rows: Results of its finished runs.
        out: Folder of the sweep.

    Raises:
        ValueError: No run is finished, or `log.csv` is no such log.
    """
    out = Path(out)
    if not rows:
        raise ValueError(f"no run of the sweep in {out} is done yet; run it first")
    factors = factors_of(sweep)
    write_atomically(out / TABLE, _csv([factor for factor in factors if factor.keys], rows))
    add_rows(out / LOG, LOGGED, ("model", "revision"), [_log_row(row) for row in rows])
    figure = None
    if any(row.figures for row in rows):
        figure = plot_sweep(sweep, rows)
        write_atomically(out / FIGURE, figure_png(figure))
        write_atomically(out / SAMPLES, figure_png(show_samples(sweep, rows, out)))
    sentences = "\n".join(f"- {sentence}" for sentence in what_it_shows(factors, rows))
    report = Report(out / PAGE, sentences, "\n\n".join(_tables(factors, rows)), figure)
    pictures = {"Settings": FIGURE, "Cards": SAMPLES} if figure else {}
    report.write("sweep.md", sweep=sweep, rows=rows, pictures=pictures, environment=describe_environment())
    return report


def _csv(factors: Sequence[Factor], rows: Sequence[SweepRow]) -> bytes:
    lines = []
    for row in rows:
        line = {"run": row.run.name} | {factor.name: factor.value_of(row.run) for factor in factors}
        line |= {"seed": row.run.seed, "steps": row.steps}
        for name in MEASURES:
            figure = row.figures.get(name)
            line |= {f"{name}{end}": figure and getattr(figure, part) for end, part in ENDS.items()}
        line |= {"training seconds": row.seconds, "seconds a card": row.seconds_a_card, "parameters": row.parameters}
        lines.append(line | {"net": row.net, "failed": row.failed})
    return csv_bytes(list(lines[0]), lines, digits=6)


def _log_row(row: SweepRow) -> dict[str, str]:
    line = {"model": row.run.name, "revision": row.revision, "settings": changes_text(row.run.changes)}
    line |= {name: MEASURES[name].text(figure) for name, figure in row.figures.items()}
    line |= {"seed": str(row.run.seed), "steps": str(row.steps or 0), "seconds": f"{row.seconds or 0:.0f}"}
    return line | {"failed": row.failed}


def _tables(factors: Sequence[Factor], rows: Sequence[SweepRow]) -> list[str]:
    """Returns means over seeds by setting, then differences between settings and failed runs, if there are any."""
    measures = [name for name in MEASURES if any(name in row.figures for row in rows)]
    tables = [_means(rows, measures)]
    shown = [name for name in (MAIN, *ASIDE) if name in measures]
    compared = [effect for name in shown for effect in effects(factors, rows, name)]
    if compared:
        tables += ["Differences, sure ones in bold:", _differences(compared, shown)]
    failed = [(row.run.name, row.steps, row.failed) for row in rows if row.failed]
    if failed:
        tables.append(markdown_table(["failed", "at step", "why"], failed))
    return tables


def _means(rows: Sequence[SweepRow], measures: Sequence[str]) -> str:
    table = pd.DataFrame(
        {
            "settings": changes_text(row.run.changes),
            "seeds": not row.failed,
            "steps": row.steps,
            **{name: row.figures.get(name) for name in measures},
            "training, s": row.seconds,
            "a card, s": row.seconds_a_card,
            "parameters": row.parameters,
        }
        for row in rows
    )
    texts = {"seeds": _seeds, "steps": _steps}
    texts |= {name: partial(_mean_figure, measure=MEASURES[name]) for name in measures}
    texts |= {name: partial(_mean, digits=digits) for name, digits in DIGITS.items()}
    means = table.groupby("settings", sort=False).agg(texts).reset_index()
    real = next((row.real for row in rows if row.real), {})
    cells = {name: MEASURES[name].text(real.get(name)) for name in measures} | {"settings": "real cards"}
    return markdown_table(list(means), [*means.to_numpy(), [cells.get(name) for name in means]])


def _seeds(done: pd.Series) -> str:
    return str(len(done)) if done.all() else f"{done.sum()} of {len(done)}"


def _steps(steps: pd.Series) -> str:
    return "-".join(f"{count:.0f}" for count in sorted(steps.dropna().unique()))


def _mean_figure(figures: pd.Series, measure: Measure) -> str:
    figures = figures.dropna()
    return measure.text(mean_over_seeds(list(figures), measure.share)) if len(figures) else ""


def _mean(values: pd.Series, digits: int) -> str:
    return f"{values.mean():,.{digits}f}" if values.notna().any() else ""


def _differences(compared: Sequence[Effect], measures: Sequence[str]) -> str:
    columns = ["setting", "value", "against"]
    cells = pd.DataFrame(
        {
            **dict(zip(columns, (effect.factor.name, effect.value, effect.factor.values[0]), strict=True)),
            "measure": effect.measure,
            "text": f"**{effect.text()}**" if effect.sure else effect.text(),
        }
        for effect in compared
    )
    table = cells.pivot_table("text", columns, "measure", aggfunc="first", sort=False)
    table = table.reindex(columns=list(measures)).astype(object).fillna("").reset_index()
    return markdown_table(list(table), table.to_numpy())
