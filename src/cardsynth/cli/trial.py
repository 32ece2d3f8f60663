"""The command that tries damage finders with and without synthetic cards."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cardsynth.cli.options import FLAT, GROUP_BY
from cardsynth.studies.trial.config import TrialConfig
from cardsynth.util.settings import about


def trial(
    data: Annotated[Path, about("Card folder of real cards with masks.")],
    out: Annotated[Path, about("Folder to write; a stopped trial resumes there.")] = Path("runs/trial"),
    test: Annotated[Path | None, about("Real cards to test on; default: half of the real ones.")] = None,
    clean: Annotated[
        Path | None, about("Undamaged real pictures to paint on; default: the undamaged real cards.")
    ] = None,
    drawn: Annotated[Path | None, about("Card folder of drawn cards; default: no arms with drawn cards.")] = None,
    group_by: Annotated[str | None, GROUP_BY] = None,
    quick: Annotated[bool, about("A first look, within an hour on two cores: fewer counts, arms and draws.")] = False,
    workers: Annotated[int | None, about("Finders trained at a time; default: one for each core.")] = None,
    settings: Annotated[TrialConfig, FLAT] = TrialConfig(),  # noqa: B008 (frozen)
) -> None:
    """Test whether synthetic data helps: trains the same damage finder with and without it, and compares them."""
    from cardsynth.studies.trial.data import read_trial_data
    from cardsynth.studies.trial.report import write_trial_report
    from cardsynth.studies.trial.run import run_trial

    if quick:
        settings = replace(settings, arms=("real", "pasted", "painted"), counts=(10, 25), ratios=(4,), draws=3)
    cards = read_trial_data(settings.finder, data, test, clean, drawn, group_by)
    report = write_trial_report(out, run_trial(settings, cards, out, workers))
    print(f"{report.tables}\n\n{report.sentences}\nTables and figure are in {out}")
