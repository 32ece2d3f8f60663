"""Commands of damage finders: trained, used, and tried with and without synthetic cards."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from cardsynth.cli.options import Text
from cardsynth.finder.config import FinderConfig
from cardsynth.studies.trial.config import TrialConfig

FINDER, TRIAL = FinderConfig(), TrialConfig()


def train_finder(
    data: Annotated[str, Text(help="Card folder with masks, or a data set id on the Hub.")],
    out: Annotated[Path, Text(help="Run folder to write.")] = Path("runs/finder"),
    synthetic: Annotated[Path | None, Text(help="Card folder of synthetic cards to learn from too.")] = None,
    test: Annotated[Path | None, Text(help="Card folder to test it on, which it does not learn from.")] = None,
    resume: Annotated[bool, Text(help="Go on from the run's last checkpoint.")] = False,
    overwrite: Annotated[bool, Text(help="Replace a finder that exists.")] = False,
    settings: Annotated[FinderConfig, Text(name="")] = FINDER,
) -> None:
    """Train a damage finder on cards with masks into a run folder, and measure it; Ctrl-C saves a checkpoint first."""
    from cardsynth.cards.dataset import read_cards
    from cardsynth.cli.drive import drive
    from cardsynth.core.runs import read_manifest, write_manifest
    from cardsynth.finder.figures import detection_figures
    from cardsynth.finder.net import load_finder
    from cardsynth.finder.train import check_place
    from cardsynth.finder.train import train_finder as train
    from cardsynth.hub.push_pull import push_run

    check_place(out, resume, overwrite)
    cards, others, unseen = (
        read_cards(folder, settings.reading) if folder else None for folder in (data, synthetic, test)
    )
    drive(train(settings, cards, out, synthetic=others, resume=resume, overwrite=overwrite), out)
    if unseen is not None:
        figures = detection_figures(load_finder(out), unseen)
        write_manifest(out, read_manifest(out) | {"figures": asdict(figures)})
        print(figures.text())
    print(f"The finder is in {out}; find damage with it: cardsynth find CARDS --model {out} --out found")
    if settings.push_to_hub:
        print(f"Pushed to {push_run(out, settings.hub_model_id, private=settings.hub_private_repo)}")


def find(
    cards: Annotated[tyro.conf.Positional[Path], Text(help="Card folder, or a folder of scans.")],
    model: Annotated[str, Text(help="Run folder of a damage finder, or its id on the Hub.")],
    out: Annotated[Path, Text(help="Card folder to write: cards, masks, boxes; drawings in its report/.")],
    confidence: Annotated[float, Text(help="Leave out damage of a lower score, 0 to 1.")] = 0.5,
    overwrite: Annotated[bool, Text(help="Replace pictures that are there.")] = False,
) -> None:
    """Find damage on cards of any size: masks, boxes, classes and scores, and drawings of them."""
    from cardsynth.finder.find import write_findings
    from cardsynth.finder.net import load_finder
    from cardsynth.hub.kinds import DAMAGE_FINDER
    from cardsynth.hub.push_pull import pull_run

    run = pull_run(model, kinds=(DAMAGE_FINDER,))
    counts = write_findings(load_finder(run), cards, out, model, confidence, overwrite)
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    print(f"What was found is in {out}, drawn in {out / 'report'}")


def trial(
    real: Annotated[Path, Text(help="Card folder of real cards with masks.")],
    out: Annotated[Path, Text(help="Folder to write; a stopped trial goes on there.")] = Path("runs/trial"),
    test: Annotated[Path | None, Text(help="Real cards to test on; default: half of the real ones.")] = None,
    clean: Annotated[
        Path | None, Text(help="Undamaged real pictures to paste and paint on; default: those of the real cards.")
    ] = None,
    drawn: Annotated[Path | None, Text(help="Card folder of drawn cards; without it, the drawn arms are left out.")] = (
        None
    ),
    group_by: Annotated[
        str | None, Text(help="Regular expression over file names: cards whose first bracket agrees stay together.")
    ] = None,
    quick: Annotated[
        bool, Text(help="A first look, within an hour on two cores: fewer counts, arms and draws.")
    ] = False,
    workers: Annotated[int | None, Text(help="Finders trained at a time; default: one for each core.")] = None,
    settings: Annotated[TrialConfig, Text(name="")] = TRIAL,
) -> None:
    """Does synthetic data help? Trains the same damage finder with it and without, and says what that shows."""
    from dataclasses import replace

    from cardsynth.studies.trial.data import read_trial_data
    from cardsynth.studies.trial.report import write_trial_report
    from cardsynth.studies.trial.run import run_trial

    if quick:
        settings = replace(settings, arms=("real", "pasted", "painted"), counts=(10, 25), ratios=(4,), draws=3)
    data = read_trial_data(settings.finder, real, test, clean, drawn, group_by)
    report = write_trial_report(out, run_trial(settings, data, out, workers))
    print(f"{report.tables}\n\n{report.sentences}\nTables and figure are in {out}")
