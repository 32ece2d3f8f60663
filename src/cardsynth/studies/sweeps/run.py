"""A sweep: many models trained alike but for some settings, each judged by the same cards and the same net.

A sweep's folder holds a run folder for each model (`runs/`, with its evaluation.json, so that `cardsynth compare` reads
it), the cards that each generated (`cards/`), what was drawn (`data/`), and tables and figures of all.
"""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from tqdm.auto import tqdm

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.core.runs import RunError, is_run, read_manifest
from cardsynth.core.safeguards import TrainingError
from cardsynth.core.sampling import write_cards
from cardsynth.core.trainer import with_progress
from cardsynth.evaluation.evaluate import Evaluation, evaluate
from cardsynth.evaluation.features import known_judge
from cardsynth.evaluation.summary import FIGURES
from cardsynth.models import open_model, train
from cardsynth.studies.sweeps.config import Sweep, SweepRun
from cardsynth.studies.sweeps.data import (
    JudgingCards,
    check_labels,
    draw_data,
    judging_cards,
    read_generated,
    training_cards,
)
from cardsynth.studies.sweeps.timing import steps_of
from cardsynth.util.environment import describe_environment
from cardsynth.util.files import write_atomically
from cardsynth.util.processes import results_in_order
from cardsynth.util.settings import load_config
from cardsynth.util.signals import stop_requests

RUNS, CARDS, SETTINGS, FAILED = "runs", "cards", "sweep.json", "failed.json"


def run_sweep(sweep: Sweep, out: str | Path, workers: int = 1) -> None:
    """Train and judge all runs of a sweep into a folder, several at a time; what a stopped sweep has done is kept.

    A run that fails is left with its reason in `failed.json`, and the others go on; delete its folder to try it again.
    workers: runs at a time, of two and more each with one thread. Ctrl-C stops each run after its step, with a
    checkpoint. Raises RunError for a folder that holds a sweep of other data or another judge, or runs of other
    settings, and CardError for cards that cannot be read, before anything is trained.
    """
    out = Path(out)
    _check_folder(sweep, out)
    draw_data(sweep, out)
    judging = judging_cards(sweep, out)
    _check_runs(sweep, out)
    _write_settings(sweep, out, judging)
    known_judge(judging.learn_from)
    sweep = steps_of(sweep, out, one_thread=workers > 1)
    missing = [run for run in sweep.runs if not is_done(out, run)]
    work = work_of(sweep, out)
    with closing(results_in_order(work, missing, workers, start=_one_thread)) as results:
        bar = tqdm(results, "Runs", len(sweep.runs), initial=len(sweep.runs) - len(missing), unit="run")
        for said in bar:
            bar.write(said)


def work_of(sweep: Sweep, out: Path) -> Callable[[SweepRun], str]:
    """What trains and judges a run of a sweep, and returns what is to be said of it; it can be pickled."""
    return partial(_train_and_judge, sweep=sweep, out=out)


def is_done(out: str | Path, run: SweepRun) -> bool:
    """Whether a run is judged, or failed for good."""
    place = Path(out) / RUNS / run.name
    return (place / FIGURES).is_file() or (place / FAILED).is_file()


def _one_thread() -> None:
    torch.set_num_threads(1)


def _as_json(sweep: Sweep) -> dict:
    """What runs of one sweep share, and what a sweep that goes on must have alike."""
    shared = {"data": {name: asdict(sweep.source_of(name)) for name in sweep.sources}}
    shared["judge"] = (
        asdict(sweep.judging)
        | {"size": sweep.judged_size}
        | {name: asdict(source) for name, source in sweep.judged_by().items()}
    )
    return json.loads(json.dumps(shared | {"seconds": sweep.seconds}))


def _check_folder(sweep: Sweep, out: Path) -> None:
    path = out / SETTINGS
    if not path.is_file():
        if out.exists() and any(out.iterdir()):
            raise RunError(f"{out} holds other files and no sweep; choose another folder")
        return
    there, here = json.loads(path.read_text()), _as_json(sweep)
    # Further data may be added, as further settings may.
    same_data = all(there["data"].get(name, one) == one for name, one in here["data"].items())
    other = [key for key in ("judge", "seconds") if there[key] != here[key]] + ["data"] * (not same_data)
    if other:
        raise RunError(f"{out} holds a sweep with other {', '.join(other)}; go on with those, or choose another folder")


def _write_settings(sweep: Sweep, out: Path, judging: JudgingCards) -> None:
    path, judged_by = out / SETTINGS, judging.fingerprint
    before = json.loads(path.read_text()) if path.is_file() else {}
    if before and before["judged_by"] != judged_by:
        raise RunError(
            f"the cards that {out} is judged by are not what they were; restore them, or choose another folder"
        )
    here = _as_json(sweep)
    here["data"] = before.get("data", {}) | here["data"]
    said = {"question": sweep.question, **here, "judged_by": judged_by, **describe_environment()}
    write_atomically(path, (json.dumps(said, indent=2) + "\n").encode())


def _check_runs(sweep: Sweep, out: Path) -> None:
    """Read the cards of every run, and hold runs that are there against them and their settings."""
    read: dict[str, Cards] = {}
    for run in tqdm(sweep.runs, "Reading cards", unit="run", leave=False):
        config = run.config
        of_data = [
            getattr(config, name, None) for name in ("use_masks", "use_labels", "only_labels", "fit", "portrait")
        ]
        key = json.dumps([run.data, config.size, *of_data])
        if key not in read:
            read[key] = training_cards(sweep, run, out)
            check_labels(read[key], sweep.judging.labels, run.name)
        place = out / RUNS / run.name
        if not is_run(place):
            continue
        if read_manifest(place)["data"]["fingerprint"] != read[key].fingerprint:
            raise RunError(f"{place} was trained on other cards; restore them, or sweep into another folder")
        there = replace(load_config(place / "settings.json", config), preset=config.preset)
        steps = {"max_train_steps": there.max_train_steps} if sweep.seconds else {}
        if there != config.replace(**steps):
            raise RunError(f"{place} was trained with other settings; sweep into another folder")


def _train_and_judge(run: SweepRun, sweep: Sweep, out: Path) -> str:
    """Train and judge a run, going on where it was stopped; returns what is to be said of it."""
    place = out / RUNS / run.name
    cards = training_cards(sweep, run, out)
    try:
        _train(run, cards, place)
        figures = _judge(run, sweep, out)
    except (CardError, RunError):
        raise
    except (TrainingError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        write_atomically(place / FAILED, (json.dumps({"reason": reason}) + "\n").encode())
        return f"{run.name}: failed, {reason}"
    found = figures.distance("KID")
    return f"{run.name}: KID {found.generated.text() if found.generated else found.refused}"


def _train(run: SweepRun, cards: Cards, place: Path) -> None:
    """Train to the end; Ctrl-C finishes the step and saves a checkpoint first."""
    with stop_requests() as requests:
        steps = train(run.config, cards, place, resume=True)
        for _ in with_progress(steps):
            if requests:
                steps.close()
                raise KeyboardInterrupt


def _judge(run: SweepRun, sweep: Sweep, out: Path) -> Evaluation:
    """Generate a run's cards, and write its evaluation.json."""
    place, made = out / RUNS / run.name, out / CARDS / run.name
    model = open_model(place, device="cpu" if run.config.cpu else None)
    shutil.rmtree(made, ignore_errors=True)
    count, judging = sweep.judging.count, judging_cards(sweep, out)
    labels = None
    if sweep.judging.labels and model.labels:
        labels = [sweep.judging.labels[seed % len(sweep.judging.labels)] for seed in range(count)]
    begun = time.perf_counter()
    write_cards(model, made, range(count), labels, progress=False)
    seconds = (time.perf_counter() - begun) / count
    found = evaluate(
        training_cards(sweep, run, out, as_judged=True),
        read_generated(sweep, run, made),
        judging.held_out,
        learn_from=judging.learn_from,
        support_vectors=False,
    )
    found.save(
        place / FIGURES, title=run.name, revision=model.revision, seconds_a_card=seconds, **describe_environment()
    )
    return found
