"""The command that sweeps settings."""

from pathlib import Path
from typing import Annotated

import tyro

from cardsynth.util.settings import about


def sweep(
    file: Annotated[tyro.conf.Positional[Path], about("Sweep file (JSON); see the examples in sweeps/.")],
    out: Annotated[Path | None, about("Folder to write, or to resume; default: runs/sweeps/NAME.")] = None,
    quick: Annotated[bool, about("Apply the values under `quick` in the file, scaled to a CPU.")] = False,
    workers: Annotated[int, about("Runs at a time; on a CPU, one for each core is fastest.")] = 1,
    dry_run: Annotated[bool, about("Only list the runs, with their estimated time.")] = False,
) -> None:
    """Train and judge models that differ in some settings, over several seeds, and report the effect of each."""
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
            print(f"{len(rows)} of {len(planned.runs)} runs are finished; their tables are in {out}")
        raise
    report = write_sweep_report(planned, read_rows(planned, out), out)
    print(f"{report.tables}\n\n{report.sentences}\n")
    print(f"Tables, figures and cards are in {out}; write your remarks into its log.csv")
