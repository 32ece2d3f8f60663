"""Commands that judge generated cards and runs: evaluate, doctor and compare."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cardsynth.cards.fitting import Fit
from cardsynth.cli.options import SIZE, parse_size
from cardsynth.util.settings import about

Net = Literal["cardnet", "inception-2015-12-05", "dinov2", "clip"]


def evaluate(
    real: Annotated[Path, about("Card folder of the training.")],
    generated: Annotated[Path, about("Card folder of generated cards.")],
    held_out: Annotated[Path | None, about("Real cards outside the training; default: a part of --real.")] = None,
    out: Annotated[Path | None, about("Folder for the results, e.g. the run; default: GENERATED_evaluation.")] = None,
    net: Annotated[Net, about("Net whose features are compared.")] = "cardnet",
    weights: Annotated[Path | None, about("File or folder of the net's weights; default: the usual cache.")] = None,
    size: Annotated[str, SIZE] = "80x64",
    fit: Annotated[Fit, about("How pictures of another shape fit.")] = "crop",
    seed: Annotated[int, about("Seed of all random choices.")] = 0,
) -> None:
    """Judge generated cards: realism, classes, masks and copies; writes evaluation.json and a page."""
    from cardsynth.cards.dataset import read_cards
    from cardsynth.evaluation.evaluate import evaluate as evaluate_cards
    from cardsynth.evaluation.summary import in_short
    from cardsynth.plots.report import check_place, write_report

    out = check_place(out or generated.with_name(f"{generated.name}_evaluation"))
    folders = (real, generated, held_out)
    training, made, unseen = (read_cards(folder, parse_size(size), fit=fit) if folder else None for folder in folders)
    figures = evaluate_cards(training, made, unseen, net, weights, seed)
    page = write_report(out, training, made, figures, title=f"{generated.name}: {len(made)} generated cards")
    for line in in_short(asdict(figures)):
        question, value, of_real, difference = line.texts()
        print(f"{question:<42} {value:<24} real: {of_real:<24} {difference}")
    if any(copies.alarming for copies in figures.copies):
        print("WARNING: some cards are copies of training cards; see the page.")
    print(f"Open {page}")


def doctor(
    run: Annotated[tyro.conf.Positional[Path], about("Run folder, finished or not; also --model.")],
    data: Annotated[Path | None, about("Card folder of the training, to search for copies.")] = None,
    count: Annotated[int, about("Approximate number of cards to draw.")] = 20,
) -> None:
    """Find what is wrong with a run, with cause and remedy; the exit code is 1 if there are errors."""
    from cardsynth.doctor.diagnosis import diagnose

    diagnosis = diagnose(run, data, count)
    print(diagnosis.text())
    if not diagnosis.ok:
        sys.exit(1)


def compare(
    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], about("Runs, or other folders with evaluation.json.")],
) -> None:
    """Compare evaluated models side by side, with intervals, and name the significant differences."""
    from cardsynth.evaluation.summary import compare as compare_evaluations
    from cardsynth.evaluation.summary import read_evaluation

    print(compare_evaluations({run.name: read_evaluation(run) for run in runs}))
