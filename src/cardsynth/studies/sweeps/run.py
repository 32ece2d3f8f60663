"""Runs a sweep: trains models that differ in some settings and judges all of them by the same cards and net.

A sweep's folder holds a run folder for each model (`runs/`, with its evaluation.json, so that `cardsynth compare` reads
it), the cards that each model generated (`cards/`), the drawn cards (`data/`), and tables and figures.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm.auto import tqdm

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.core.recorder import with_progress
from cardsynth.core.runs import RunError, is_run, read_manifest
from cardsynth.core.safeguards import TrainingError
from cardsynth.core.sampling import write_cards
from cardsynth.evaluation.evaluate import Evaluation, evaluate
from cardsynth.evaluation.features import known_judge
from cardsynth.evaluation.summary import FIGURES
from cardsynth.models import open_model, train
from cardsynth.studies.folder import check_same, read_settings, run_jobs, write_json
from cardsynth.studies.sweeps.config import Sweep, SweepRun
from cardsynth.studies.sweeps.data import check_labels, draw_data, judging_cards, read_generated, training_cards
from cardsynth.studies.sweeps.timing import steps_of
from cardsynth.util.environment import describe_environment
from cardsynth.util.settings import load_config
from cardsynth.util.signals import stop_requests

RUNS, CARDS, SETTINGS, FAILED = "runs", "cards", "sweep.json", "failed.json"


def run_sweep(sweep: Sweep, out: str | Path, workers: int = 1) -> None:
    """Trains and judges all runs of a sweep; finished runs of a stopped sweep are kept.

    A failed run leaves its reason in `failed.json`, and the others go on; delete its folder to repeat it. Ctrl-C stops
    each run after its step, with a checkpoint.

    Args:
        sweep: The sweep.
        out: Folder to write.
        workers: Number of runs at a time; each of two or more uses one thread.

    Raises:
        RunError: The folder holds a sweep of other data or another judge, or runs of other settings.
        CardError: Cards cannot be read; raised before any training.
    """
    out = Path(out)
    before, shared = read_settings(out / SETTINGS, "sweep"), _shared_settings(sweep)
    # Data may be added later, as settings may.
    old_data = {name: before.get("data", {}).get(name, source) for name, source in shared["data"].items()}
    check_same(out, "sweep", before | {"data": old_data} if before else {}, shared, ("data", "judge", "seconds"))
    draw_data(sweep, out)
    judging = judging_cards(sweep, out)
    _check_runs(sweep, out)
    if before and before["judged_by"] != judging.fingerprint:
        raise RunError(f"the cards that {out} is judged by have changed; restore them, or choose another folder")
    shared |= {"data": before.get("data", {}) | shared["data"], "judged_by": judging.fingerprint}
    write_json(out / SETTINGS, {"question": sweep.question, **shared, **describe_environment()})
    known_judge(judging.learn_from)
    sweep = steps_of(sweep, out, one_thread=workers > 1)
    missing = [run for run in sweep.runs if not is_done(out, run)]
    done = len(sweep.runs) - len(missing)
    for message in run_jobs(work_of(sweep, out), missing, workers, "Runs", "run", done):
        tqdm.write(message)


def work_of(sweep: Sweep, out: Path) -> Callable[[SweepRun], str]:
    """Returns a picklable function that trains and judges a run and returns a message on its result."""
    return partial(_train_and_judge, sweep=sweep, out=out)


def is_done(out: str | Path, run: SweepRun) -> bool:
    """Returns whether a run is judged or has failed."""
    folder = Path(out) / RUNS / run.name
    return (folder / FIGURES).is_file() or (folder / FAILED).is_file()


def _shared_settings(sweep: Sweep) -> dict:
    """Returns, as JSON holds them, the settings that must agree when a sweep goes on."""
    judge = sweep.judging.model_dump(mode="json") | {"size": list(sweep.judged_size)}
    return {
        "data": {name: sweep.source_of(name).model_dump(mode="json") for name in sweep.sources},
        "judge": judge | {name: source.model_dump(mode="json") for name, source in sweep.judged_by().items()},
        "seconds": sweep.seconds,
    }


def _check_runs(sweep: Sweep, out: Path) -> None:
    """Reads the cards of every run, and raises RunError for existing runs of other cards or settings."""
    read: dict[tuple, Cards] = {}
    for run in tqdm(sweep.runs, "Reading cards", unit="run", leave=False):
        config, folder = run.config, out / RUNS / run.name
        options = ("size", "use_masks", "use_labels", "only_labels", "fit", "portrait")
        key = (run.data, *(getattr(config, name) for name in options))
        if key not in read:
            read[key] = training_cards(sweep, run, out)
            check_labels(read[key], sweep.judging.labels, run.name)
        if not is_run(folder):
            continue
        if read_manifest(folder)["data"]["fingerprint"] != read[key].fingerprint:
            raise RunError(f"{folder} was trained on other cards; restore them, or sweep into another folder")
        before = replace(load_config(folder / "settings.json", config), preset=config.preset)
        steps = {"max_train_steps": before.max_train_steps} if sweep.seconds else {}
        if before != config.replace(**steps):
            raise RunError(f"{folder} was trained with other settings; sweep into another folder")


def _train_and_judge(run: SweepRun, sweep: Sweep, out: Path) -> str:
    """Trains and judges a run, from its last checkpoint if there is one, and returns a message on its result."""
    folder = out / RUNS / run.name
    cards = training_cards(sweep, run, out)
    try:
        _train(run, cards, folder)
        figures = _judge(run, sweep, out)
    except (CardError, RunError):
        raise
    except (TrainingError, RuntimeError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        write_json(folder / FAILED, {"reason": reason}, indent=None)
        return f"{run.name}: failed, {reason}"
    distance = figures.distance("KID")
    return f"{run.name}: KID {distance.generated.text() if distance.generated else distance.refused}"


def _train(run: SweepRun, cards: Cards, folder: Path) -> None:
    """Trains to the end; Ctrl-C finishes the step and saves a checkpoint first."""
    with stop_requests() as requests:
        steps = train(run.config, cards, folder, resume=True)
        for _ in with_progress(steps):
            if requests:
                steps.close()
                raise KeyboardInterrupt


def _judge(run: SweepRun, sweep: Sweep, out: Path) -> Evaluation:
    """Generates a run's cards and writes its evaluation.json."""
    folder, generated = out / RUNS / run.name, out / CARDS / run.name
    model = open_model(folder, device="cpu" if run.config.cpu else None)
    shutil.rmtree(generated, ignore_errors=True)
    count, labels = sweep.judging.count, sweep.judging.labels
    requested = [labels[seed % len(labels)] for seed in range(count)] if labels and model.labels else None
    start = time.perf_counter()
    write_cards(model, generated, range(count), requested, progress=False)
    seconds = (time.perf_counter() - start) / count
    judging = judging_cards(sweep, out)
    evaluation = evaluate(
        training_cards(sweep, run, out, as_judged=True),
        read_generated(sweep, run, generated),
        judging.held_out,
        learn_from=judging.learn_from,
        support_vectors=False,
    )
    evaluation.save(
        folder / FIGURES, title=run.name, revision=model.revision, seconds_a_card=seconds, **describe_environment()
    )
    return evaluation
