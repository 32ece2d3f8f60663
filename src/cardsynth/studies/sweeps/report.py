"""A sweep written down: tables, what it shows in sentences, a log for remarks, figures, and cards of all its models."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure as Drawing

from cardsynth.plots.cards import figure_png
from cardsynth.studies.sweeps.config import Sweep
from cardsynth.studies.sweeps.factors import changes_text, factors_of
from cardsynth.studies.sweeps.plots import plot_sweep, show_samples
from cardsynth.studies.sweeps.rows import MEASURES, SweepRow
from cardsynth.studies.sweeps.summary import ASIDE, MAIN, effects, mean_over_seeds, what_it_shows
from cardsynth.util.environment import describe_environment
from cardsynth.util.files import write_atomically
from cardsynth.util.tables import add_rows, csv_bytes, markdown_table

TABLE, PAGE, LOG, FIGURE, SAMPLES = "sweep.csv", "sweep.md", "log.csv", "sweep.png", "samples.png"
LOGGED = ("model", "revision", "settings", "seed", "steps", *MEASURES, "seconds", "failed", "remark")


@dataclass(frozen=True)
class SweepReport:
    """What a sweep shows: a sentence for each setting, tables as Markdown, and a figure; all of them in `path`."""

    path: Path
    sentences: str
    tables: str
    figure: Drawing | None


def write_sweep_report(sweep: Sweep, rows: Sequence[SweepRow], out: str | Path) -> SweepReport:
    """Write a sweep's `sweep.csv` (a row a run), `sweep.md`, `sweep.png`, `samples.png`, and add to its `log.csv`.

    The log keeps what people wrote into it. Raises ValueError where no run is done, and CardError for a `log.csv` that
    is no such log.
    """
    out = Path(out)
    if not rows:
        raise ValueError(f"no run of the sweep in {out} is done yet; run it first")
    write_atomically(out / TABLE, _csv(sweep, rows))
    add_rows(out / LOG, LOGGED, ("model", "revision"), [_log_row(row) for row in rows])
    figure = None
    if any(row.figures for row in rows):
        figure = plot_sweep(sweep, rows)
        write_atomically(out / FIGURE, figure_png(figure))
        write_atomically(out / SAMPLES, figure_png(show_samples(sweep, rows, out)))
    sentences = "\n".join(f"- {sentence}" for sentence in what_it_shows(factors_of(sweep), rows))
    tables = "\n\n".join(_tables(sweep, rows))
    pictures = f"![Settings]({FIGURE})\n\n![Cards]({SAMPLES})\n\n" if figure else ""
    head = "\n\n".join(part for part in (f"# {sweep.name}", sweep.question, sentences) if part)
    write_atomically(out / PAGE, f"{head}\n\n{pictures}{tables}\n\n{_how(sweep, rows, out)}\n".encode())
    return SweepReport(out / PAGE, sentences, tables, figure)


def _csv(sweep: Sweep, rows: Sequence[SweepRow]) -> bytes:
    factors = [factor for factor in factors_of(sweep) if factor.keys]
    names = ["run", *(factor.name for factor in factors), "seed", "steps"]
    names += [f"{name}{end}" for name in MEASURES for end in ("", " low", " high")]
    names += ["training seconds", "seconds a card", "parameters", "net", "failed"]
    lines = []
    for row in rows:
        line = {"run": row.run.name, "seed": row.run.seed, "steps": row.steps, "net": row.net, "failed": row.failed}
        line |= {factor.name: factor.value_of(row.run) for factor in factors}
        line |= {"training seconds": row.seconds, "seconds a card": row.seconds_a_card, "parameters": row.parameters}
        for name, figure in row.figures.items():
            line |= {name: figure.value, f"{name} low": figure.low, f"{name} high": figure.high}
        lines.append({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in line.items()})
    return csv_bytes(names, lines)


def _log_row(row: SweepRow) -> dict[str, str]:
    line = {
        "model": row.run.name,
        "revision": row.revision,
        "settings": changes_text(row.run.changes),
        "seed": str(row.run.seed),
    }
    line |= {name: MEASURES[name].text(figure) for name, figure in row.figures.items()}
    line |= {"steps": str(row.steps or 0), "seconds": f"{row.seconds or 0:.0f}", "failed": row.failed}
    return line


def _tables(sweep: Sweep, rows: Sequence[SweepRow]) -> list[str]:
    """Means over seeds by setting, then differences by setting, then runs that failed; those that there are."""
    groups: dict[str, list[SweepRow]] = {}
    for row in rows:
        groups.setdefault(changes_text(row.run.changes), []).append(row)
    measures = [name for name in MEASURES if any(name in row.figures for row in rows)]
    names = ["settings", "seeds", "steps", *measures, "training, s", "a card, s", "parameters"]
    lines = [[settings, *_means(of, measures)] for settings, of in groups.items()]
    real = next((row.real for row in rows if row.real), {})
    lines.append(["real cards", None, None, *(MEASURES[name].text(real.get(name)) for name in measures), *[None] * 3])
    tables = [markdown_table(names, lines)]
    shown = [name for name in (MAIN, *ASIDE) if name in measures]
    found = [one for name in shown for one in effects(factors_of(sweep), rows, name)]
    if found:
        text = {(one.factor, one.value, one.measure): f"**{one.text()}**" if one.sure else one.text() for one in found}
        pairs = dict.fromkeys((one.factor, one.value) for one in found)
        lines = [
            [factor.name, value, factor.values[0], *(text.get((factor, value, name)) for name in shown)]
            for factor, value in pairs
        ]
        tables.append("Differences, sure ones in bold:")
        tables.append(markdown_table(["setting", "value", "against", *shown], lines))
    failed = [[row.run.name, row.steps, row.failed] for row in rows if row.failed]
    if failed:
        tables.append(markdown_table(["failed", "at step", "why"], failed))
    return tables


def _means(rows: Sequence[SweepRow], measures: Sequence[str]) -> list[str]:
    done = [row for row in rows if not row.failed]
    cells = [f"{len(done)} of {len(rows)}" if len(done) < len(rows) else str(len(rows))]
    cells.append("-".join(map(str, sorted({row.steps for row in rows if row.steps is not None}))))
    for name in measures:
        figures = [row.figures[name] for row in done if name in row.figures]
        cells.append(MEASURES[name].text(mean_over_seeds(figures, MEASURES[name].share)) if figures else "")
    for name, digits in (("seconds", 0), ("seconds_a_card", 3), ("parameters", 0)):
        values = [getattr(row, name) for row in rows if getattr(row, name) is not None]
        cells.append(f"{sum(values) / len(values):,.{digits}f}" if values else "")
    return cells


def _how(sweep: Sweep, rows: Sequence[SweepRow], out: Path) -> str:
    """How it was measured: net, cards, what brackets hold, machine."""
    nets = ", ".join(dict.fromkeys(row.net for row in rows if row.net)) or "none yet"
    environment = describe_environment()
    done, several = len(rows), len({row.run.seed for row in rows}) > 1
    brackets = "the mean over seeds (Student's t)" if several else "each model's cards"
    count = sweep.judging.count
    return (
        f"{done} of {len(sweep.runs)} runs are done. {count} generated cards of each model, from the same seeds,"
        f" against held-out cards that nothing was trained on; distances by one net, {nets}. Brackets hold 95 % of"
        f" {brackets}, and in differences of what is left of the spread once seeds and other settings are accounted"
        " for; those of shares are never narrower than so few cards make them.\n\n"
        f"{environment['machine']}, {', '.join(f'{k} {v}' for k, v in list(environment['versions'].items())[:4])}."
    )
