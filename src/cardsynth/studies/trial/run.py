"""Does synthetic data help? The same damage finder trained with it and without, on the same real cards, many times.

A job trains one finder: an arm (what it learns from), a number of real cards of each class, a ratio of synthetic to
real ones, and a draw, which picks the real cards. All arms of a draw share real cards, test cards and settings, so that
arms are compared draw by draw. A generator learns from the real cards of its draw alone.
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load, save
from tqdm.auto import tqdm

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import CardError
from cardsynth.core.runs import RunError
from cardsynth.finder.figures import plain_figures
from cardsynth.finder.train import damage_classes, fit_finder
from cardsynth.studies.trial.arms import Sources, cards_of_arm, make_cards, train_generator
from cardsynth.studies.trial.config import ARMS, FILTERED_FROM, GENERATED, TrialConfig
from cardsynth.studies.trial.data import Draw, TrialData
from cardsynth.util.environment import describe_environment
from cardsynth.util.files import write_atomically
from cardsynth.util.processes import results_in_order

RESULTS, GENERATORS, SYNTHETIC, SETTINGS = "results", "generators", "synthetic", "settings.json"


@dataclass(frozen=True)
class Job:
    """One finder to train: its arm, its draw of real cards, and its ratio of synthetic to real cards, 0 for none."""

    arm: str
    draw: Draw
    ratio: int

    @property
    def file(self) -> str:
        """Name of its result's file."""
        return f"{self.arm}_{self.draw.name}_{self.ratio}.json"


def kinds_of(arm: str, data: TrialData) -> tuple[str, ...]:
    """The kinds of synthetic cards of an arm; drawn ones only where there are any."""
    return tuple(kind for kind in ARMS[arm].kinds if kind != "drawn" or data.drawn is not None)


def jobs_of(config: TrialConfig, data: TrialData) -> list[Job]:
    """All finders of a trial, those of a draw together; arms of drawn or clean cards only where there are any."""
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
    """Train and test all finders of a trial into a folder; what a stopped trial has done is kept. Returns the results.

    First each draw's generator is trained and its synthetic cards made, then each finder, several at a time, each by
    one thread. workers: how many; default: one for each core, and on a GPU one. Raises RunError for a folder that holds
    a trial of other settings or other cards, and CardError for cards without masks or without damage.
    """
    out = Path(out)
    _check(data)
    _open_folder(out, config, data)
    if workers is None:
        workers = 1 if torch.cuda.is_available() else os.cpu_count() or 1
    missing = [job for job in jobs_of(config, data) if not (out / RESULTS / job.file).is_file()]
    draws = list(dict.fromkeys(job.draw for job in missing))
    prepare = partial(_prepare, config=config, data=data, out=out)
    train = partial(_run_job, config=config, data=data, out=out)
    for says, work, items in (("Making synthetic cards", prepare, draws), ("Training finders", train, missing)):
        bar = tqdm(results_in_order(work, items, workers, start=_one_thread), says, len(items), unit="job")
        for _ in bar:
            pass
    return read_results(out)


def read_results(out: str | Path) -> list[dict]:
    """The results of a trial so far: arm, count, ratio, draw, and figures on the test cards."""
    return [json.loads(path.read_text()) for path in sorted((Path(out) / RESULTS).glob("*.json"))]


def _one_thread() -> None:
    torch.set_num_threads(1)


def _check(data: TrialData) -> None:
    for what, cards in (("real", data.real), ("test", data.test)):
        if not cards.has_mask or not (cards.pixels[:, 3] >= 128).any():
            raise CardError(f"the {what} cards have no damage in their masks, and a trial is about finding it")


def _open_folder(out: Path, config: TrialConfig, data: TrialData) -> None:
    settings = {**json.loads(json.dumps(asdict(config))), "data": data.fingerprint}
    path = out / SETTINGS
    if path.is_file():
        there = json.loads(path.read_text())
        other = sorted(name for name in settings if there.get(name) != settings[name])
        # More arms, counts, ratios or draws may be asked of a trial; what was done stays comparable.
        fixed = [name for name in other if name not in ("arms", "counts", "ratios", "draws")]
        if fixed:
            raise RunError(
                f"{out} holds a trial with other {', '.join(fixed)}; go on with those, or choose another folder"
            )
    elif out.exists() and any(out.iterdir()):
        raise RunError(f"{out} holds other files and no trial; choose another folder")
    write_atomically(path, (json.dumps({**settings, **describe_environment()}, indent=2) + "\n").encode())


def synthetic_cards(out: str | Path, draw: Draw, kind: str, real: Cards) -> Cards:
    """The synthetic cards of a kind that a trial made of a draw, with the classes of its real cards.

    Raises FileNotFoundError where it has made none.
    """
    count, path = max(_pools(Path(out), draw, kind), default=(0, None))
    if not count:
        raise FileNotFoundError(f"{out} has no {kind} cards of draw {draw.name} yet; run the trial first")
    return replace(real, **load(path.read_bytes()), names=(), darkness=None, source=f"{kind} cards")


def _pools(out: Path, draw: Draw, kind: str) -> list[tuple[int, Path]]:
    """Files of synthetic cards of a kind and a draw, each after the number of cards that was asked for."""
    files = (out / SYNTHETIC).glob(f"{draw.name}_{kind}_*.safetensors")
    return [(int(path.stem.split("_")[-1]), path) for path in files]


def _prepare(draw: Draw, config: TrialConfig, data: TrialData, out: Path) -> None:
    """Train the generator of a draw and make its synthetic cards, as many as the largest ratio takes."""
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
        made = make_cards(kind, sources, number, draw.number, run, generated)
        path = out / SYNTHETIC / f"{draw.name}_{kind}_{number}.safetensors"
        write_atomically(path, save({"pixels": made.pixels.contiguous(), "labels": made.labels.contiguous()}))


def _run_job(job: Job, config: TrialConfig, data: TrialData, out: Path) -> None:
    """Train and test one finder, and write its result."""
    real = job.draw.cards(data.real)
    made = {kind: synthetic_cards(out, job.draw, kind, real) for kind in kinds_of(job.arm, data)}
    sources = Sources(real, data.clean, data.drawn)
    cards, synthetic = cards_of_arm(ARMS[job.arm], sources, made, job.ratio * len(real))
    labels = damage_classes(data.real)
    finder = fit_finder(replace(config.finder, seed=job.draw.number), cards, synthetic, labels, progress=False)
    figures = plain_figures(finder, data.test)
    result = {"arm": job.arm, "count": job.draw.count, "ratio": job.ratio, "draw": job.draw.number, **figures}
    write_atomically(out / RESULTS / job.file, (json.dumps(result) + "\n").encode())
