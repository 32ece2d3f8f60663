"""The command that sweeps settings."""

from pathlib import Path
from typing import Annotated

import tyro

from cardsynth.cli.options import Text


def sweep(
    file: Annotated[tyro.conf.Positional[Path], Text(help="Sweep file (JSON); sweeps/ has ready-made ones.")],
    out: Annotated[
        Path | None, Text(help="Folder to write; a stopped sweep goes on there. Default: runs/sweeps/NAME.")
    ] = None,
    quick: Annotated[bool, Text(help="With what the file says under `quick`: scaled to a CPU.")] = False,
    workers: Annotated[int, Text(help="Runs at a time; on a CPU of N cores, N are fastest.")] = 1,
    dry_run: Annotated[bool, Text(help="List the runs and about how long they take, timed; start nothing.")] = False,
) -> None:
    """Train and judge models that differ in some settings, over several seeds, and say what each setting does."""
    from cardsynth.studies.sweeps.file import read_sweep

    planned = read_sweep(file, quick)
    if workers < 1:
        raise ValueError(f"--workers must be 1 or more, and is {workers}")
    out = out or Path("runs/sweeps") / planned.name
    if dry_run:
        from cardsynth.studies.sweeps.timing import plan_text

        print(plan_text(planned, workers))
        return
    from cardsynth.studies.sweeps.report import write_sweep_report
    from cardsynth.studies.sweeps.rows import read_rows
    from cardsynth.studies.sweeps.run import run_sweep

    try:
        run_sweep(planned, out, workers)
    except KeyboardInterrupt:
        if rows := read_rows(planned, out):
            write_sweep_report(planned, rows, out)
            print(f"Tables of the {len(rows)} of {len(planned.runs)} runs that are done are in {out}")
        raise
    report = write_sweep_report(planned, read_rows(planned, out), out)
    print(f"{report.tables}\n\n{report.sentences}\n")
    print(f"Tables, figures and cards are in {out}; write your remarks into its log.csv")
