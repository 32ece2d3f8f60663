"""Runs a trial of whether synthetic data helps: the same damage finder, trained with and without synthetic cards.

A job trains one finder for an arm (the kinds of cards it learns from), a number of real cards per class, a ratio of
synthetic to real cards, and a draw, which selects the real cards. All arms of a draw share real cards, test cards and
settings, so arms are compared draw by draw. A generator learns from the real cards of its draw alone.
"""

import json
import os
from collections import deque
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load, save

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.finder.figures import plain_figures
from cardsynth.finder.train import damage_classes, fit_finder
from cardsynth.studies.folder import check_same, read_settings, run_jobs, write_json
from cardsynth.studies.trial.arms import Sources, cards_of_arm, make_cards, train_generator
from cardsynth.studies.trial.config import ARMS, FILTERED_FROM, GENERATED, TrialConfig
from cardsynth.studies.trial.data import Draw, TrialData
from cardsynth.util.environment import describe_environment
from cardsynth.util.files import write_atomically

RESULTS, GENERATORS, SYNTHETIC, SETTINGS = "results", "generators", "synthetic", "settings.json"


@dataclass(frozen=True)
class Job:
    """A finder to train.

    Args:
        arm: Name of its arm.
        draw: Draw of the real cards.
        ratio: Synthetic cards per real card; 0 for none.
    """

    arm: str
    draw: Draw
    ratio: int

    @property
    def file(self) -> str:
        """Name of the file with its result."""
        return f"{self.arm}_{self.draw.name}_{self.ratio}.json"


def kinds_of(arm: str, data: TrialData) -> tuple[str, ...]:
    """Returns the kinds of synthetic cards of an arm; drawn cards only if there are any."""
    return tuple(kind for kind in ARMS[arm].kinds if kind != "drawn" or data.drawn is not None)


def jobs_of(config: TrialConfig, data: TrialData) -> list[Job]:
    """Returns all finders of a trial, ordered by draw; arms of drawn or clean cards only if there are any."""
    possible = [
        arm
        for arm in config.arms
        if (kinds_of(arm, data) or not ARMS[arm].kinds) and (arm != "clean" or data.clean is not None)
    ]
    return [
        Job(arm, Draw(count, number), ratio)
        for number in range(config.draws)
        for count in config.counts
        for arm in possible
        for ratio in (config.ratios if ARMS[arm].kinds else (0,))
    ]


def run_trial(config: TrialConfig, data: TrialData, out: str | Path, workers: int | None = None) -> list[dict]:
    """Trains and tests all finders of a trial; finished work of a stopped trial is kept.

    First each draw's generator is trained and its synthetic cards are made, then the finders are trained.

    Args:
        config: Settings.
        data: Cards to learn from and to test on.
        out: Folder to write.
        workers: Number of jobs at a time, each with one thread; None takes one per core, or one on a GPU.

    Returns:
        The results, as `read_results` returns them.

    Raises:
        RunError: The folder holds a trial of other settings or other cards.
        CardError: Cards have no masks or no damage.
    """
    out = Path(out)
    for name, cards in (("real", data.real), ("test", data.test)):
        if not cards.has_mask or not (cards.pixels[:, 3] >= 128).any():
            raise CardError(f"the {name} cards have no damage in their masks, and a trial is about finding it")
    _open_folder(out, config, data)
    if workers is None:
        workers = 1 if torch.cuda.is_available() else os.cpu_count() or 1
    missing = [job for job in jobs_of(config, data) if not (out / RESULTS / job.file).is_file()]
    shared = {"config": config, "data": data, "out": out}
    draws = list(dict.fromkeys(job.draw for job in missing))
    deque(run_jobs(partial(_prepare, **shared), draws, workers, "Making synthetic cards", "job"), maxlen=0)
    deque(run_jobs(partial(_run_job, **shared), missing, workers, "Training finders", "job"), maxlen=0)
    return read_results(out)


def read_results(out: str | Path) -> list[dict]:
    """Returns the results of a trial so far: arm, count, ratio, draw, and figures on the test cards."""
    return [json.loads(path.read_text()) for path in sorted((Path(out) / RESULTS).glob("*.json"))]


def _open_folder(out: Path, config: TrialConfig, data: TrialData) -> None:
    """Writes the settings; raises RunError for a folder of another trial."""
    settings = {**json.loads(json.dumps(asdict(config))), "data": data.fingerprint}
    # More arms, counts, ratios or draws may be added to a trial; finished results stay comparable.
    fixed = settings.keys() - {"arms", "counts", "ratios", "draws"}
    check_same(out, "trial", read_settings(out / SETTINGS, "trial"), settings, fixed)
    write_json(out / SETTINGS, {**settings, **describe_environment()})


def synthetic_cards(out: str | Path, draw: Draw, kind: str, real: Cards) -> Cards:
    """Loads synthetic cards that a trial has made.

    Args:
        out: Folder of the trial.
        draw: The draw.
        kind: Kind of synthetic cards.
        real: Real cards of the draw, whose classes they have.

    Raises:
        FileNotFoundError: The trial has not made any yet.
    """
    count, path = max(_pools(Path(out), draw, kind), default=(0, None))
    if not count:
        raise FileNotFoundError(f"{out} has no {kind} cards of draw {draw.name} yet; run the trial first")
    return replace(real, **load(path.read_bytes()), names=(), darkness=None, source=f"{kind} cards")


def _pools(out: Path, draw: Draw, kind: str) -> list[tuple[int, Path]]:
    """Returns the files of synthetic cards of a kind and a draw, each with its number of cards."""
    files = (out / SYNTHETIC).glob(f"{draw.name}_{kind}_*.safetensors")
    return [(int(path.stem.split("_")[-1]), path) for path in files]


def _prepare(draw: Draw, config: TrialConfig, data: TrialData, out: Path) -> None:
    """Trains the generator of a draw and makes its synthetic cards, enough for the largest ratio."""
    sources = Sources(draw.cards(data.real), data.clean, data.drawn)
    count, run = max(config.ratios) * len(sources.real), out / GENERATORS / draw.name
    kinds = {kind for arm in config.arms for kind in kinds_of(arm, data)}
    wanted = dict.fromkeys(sorted(kinds - {"filtered"}), count)
    if "filtered" in kinds:
        wanted |= {"generated": FILTERED_FROM * count, "filtered": count}
    for kind, number in wanted.items():
        if max(_pools(out, draw, kind), default=(0, None))[0] >= number:
            continue
        if kind in GENERATED:
            train_generator(config.generator.replace(seed=draw.number), sources.real, run)
        generated = synthetic_cards(out, draw, "generated", sources.real) if kind == "filtered" else None
        cards = make_cards(kind, sources, number, draw.number, run, generated)
        path = out / SYNTHETIC / f"{draw.name}_{kind}_{number}.safetensors"
        write_atomically(path, save({"pixels": cards.pixels.contiguous(), "labels": cards.labels.contiguous()}))


def _run_job(job: Job, config: TrialConfig, data: TrialData, out: Path) -> None:
    """Trains and tests a finder and writes its result."""
    real = job.draw.cards(data.real)
    by_kind = {kind: synthetic_cards(out, job.draw, kind, real) for kind in kinds_of(job.arm, data)}
    sources = Sources(real, data.clean, data.drawn)
    cards, synthetic = cards_of_arm(ARMS[job.arm], sources, by_kind, job.ratio * len(real))
    labels = damage_classes(data.real)
    finder = fit_finder(replace(config.finder, seed=job.draw.number), cards, synthetic, labels, progress=False)
    figures = plain_figures(finder, data.test)
    result = {"arm": job.arm, "count": job.draw.count, "ratio": job.ratio, "draw": job.draw.number, **figures}
    write_json(out / RESULTS / job.file, result, indent=None)
