"""Commands of damage finders: train-finder and find."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro

from cardsynth.cli.options import FLAT, OVERWRITE
from cardsynth.finder.config import FinderConfig
from cardsynth.util.settings import about

FINDER = FinderConfig()


def train_finder(
    data: Annotated[str, about("Card folder with masks, or a data set id on the Hub.")],
    out: Annotated[Path, about("Run folder to write.")] = Path("runs/finder"),
    synthetic: Annotated[Path | None, about("Card folder of synthetic cards for the training.")] = None,
    test: Annotated[Path | None, about("Card folder of test cards, outside the training.")] = None,
    resume: Annotated[bool, about("Resume from the run's last checkpoint.")] = False,
    overwrite: Annotated[bool, about("Replace an existing finder.")] = False,
    settings: Annotated[FinderConfig, FLAT] = FINDER,
) -> None:
    """Train a damage finder on cards with masks into a run folder, and test it; Ctrl-C saves a checkpoint first."""
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
    cards: Annotated[tyro.conf.Positional[Path], about("Card folder, or a folder of scans; also --data.")],
    model: Annotated[str, about("Run folder of a damage finder, or its id on the Hub.")],
    out: Annotated[Path, about("Card folder to write: cards, masks and boxes, with drawings in report/.")],
    confidence: Annotated[float, about("Minimum score of damage, 0 to 1.")] = 0.5,
    overwrite: Annotated[bool, OVERWRITE] = False,
) -> None:
    """Find damage on cards of any size: masks, boxes, classes and scores, and drawings of them."""
    from cardsynth.core import runs
    from cardsynth.finder.find import write_findings
    from cardsynth.finder.net import load_finder
    from cardsynth.hub.push_pull import pull_run

    run = pull_run(model, kinds=(runs.FINDER,))
    counts = write_findings(load_finder(run), cards, out, model, confidence, overwrite)
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    print(f"Masks and boxes are in {out}, drawings in {out / 'report'}")
