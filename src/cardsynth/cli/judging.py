"""Commands that judge: generated cards, runs, and evaluated models side by side."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cardsynth.cards.fitting import Fit
from cardsynth.cli.options import SIZE_HELP, Text, parse_size


def evaluate(
    real: Annotated[Path, Text(help="Card folder that the model was trained on.")],
    generated: Annotated[Path, Text(help="Card folder of generated cards.")],
    held_out: Annotated[
        Path | None, Text(help="Real cards that it was not trained on; default: a part of real.")
    ] = None,
    out: Annotated[
        Path | None, Text(help="Folder for figures and page, like the run's; default: GENERATED_evaluation.")
    ] = None,
    net: Annotated[
        Literal["cardnet", "inception-2015-12-05", "dinov2", "clip"], Text(help="What measures distances.")
    ] = "cardnet",
    weights: Annotated[
        Path | None, Text(help="File or folder of that net's weights; default: the usual cache.")
    ] = None,
    size: Annotated[str, SIZE_HELP] = "80x64",
    fit: Annotated[Fit, Text(help="How pictures of another shape fit.")] = "crop",
    seed: Annotated[int, Text(help="Seed of all that is drawn at random.")] = 0,
) -> None:
    """Judge generated cards: like real ones, of their class, masks true, copied; writes evaluation.json and a page."""
    from cardsynth.cards.dataset import read_cards
    from cardsynth.evaluation.evaluate import evaluate as evaluate_cards
    from cardsynth.evaluation.summary import in_short
    from cardsynth.plots.report import check_place, write_report

    out = check_place(out or generated.with_name(f"{generated.name}_evaluation"))
    training, made = (read_cards(folder, parse_size(size), fit) for folder in (real, generated))
    unseen = read_cards(held_out, parse_size(size), fit) if held_out else None
    figures = evaluate_cards(training, made, unseen, net, weights, seed)
    page = write_report(out, training, made, figures, title=f"{generated.name}: {len(made)} generated cards")
    for line in in_short(asdict(figures)):
        question, value, of_real, difference = line.texts()
        print(f"{question:<42} {value:<24} real: {of_real:<24} {difference}")
    if any(copies.alarming for copies in figures.copies):
        print("WARNING: copies of training cards are among these; see the page.")
    print(f"Open {page}")


def doctor(
    run: Annotated[tyro.conf.Positional[Path], Text(help="Run folder, finished or not.")],
    real: Annotated[Path | None, Text(help="Card folder that it was trained on, to find copies by.")] = None,
    cards: Annotated[int, Text(help="Cards to draw, about.")] = 20,
) -> None:
    """Name what is wrong with a run, with cause and remedy; exit code 1 where there are errors."""
    from cardsynth.doctor.diagnosis import diagnose

    diagnosis = diagnose(run, real, cards)
    print(diagnosis.text())
    if not diagnosis.ok:
        sys.exit(1)


def compare(
    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], Text(help="Runs, or other folders of an evaluation.json.")],
) -> None:
    """Put evaluated models side by side, with intervals, and say which differences mean something."""
    from cardsynth.evaluation.summary import compare as compare_evaluations
    from cardsynth.evaluation.summary import read_evaluation

    print(compare_evaluations({run.name: read_evaluation(run) for run in runs}))
