"""How long the runs of a sweep take: steps timed before, so that all can be given the same time."""

import dataclasses
import json
import statistics
import tempfile
import time
from itertools import islice, pairwise
from pathlib import Path

import torch

from cardsynth.cards.dataset import Cards
from cardsynth.cards.folder import find_cards
from cardsynth.cards.labels import CLASSES
from cardsynth.core.batches import total_train_steps
from cardsynth.core.config import TrainingConfig
from cardsynth.models import train
from cardsynth.studies.sweeps.config import Sweep, SweepRun
from cardsynth.util.files import write_atomically

TIMES = "seconds_a_step.json"
WARM, TIMED, ROUNDS = 2, 8, 2
# Settings that a step's time does not depend on.
COST_NOTHING = {
    "preset", "seed", "max_train_steps", "num_epochs", "learning_rate", "lr_warmup_steps", "lr_scheduler",
    "beta_schedule", "num_train_timesteps", "prediction_type", "loss_weighting", "snr_gamma", "snr_floor",
    "mask_weight", "label_dropout", "weight_decay", "adam_beta2", "max_grad_norm", "ema_decay", "sampler",
    "num_inference_steps", "guidance_scale", "negative_label", "guidance_limit", "guidance_interval",
    "save_image_epochs", "save_model_epochs", "horizontal_flip",
}  # fmt: skip
JUDGING = 8.0  # seconds in which a run's cards are judged, about


def steps_of(sweep: Sweep, out: Path, one_thread: bool) -> Sweep:
    """The sweep with as many steps for each run as fit into its seconds; without seconds, as it is.

    The seconds of a step are measured once, with nothing else of the sweep running, and kept in the folder.
    """
    if sweep.seconds is None:
        return sweep
    path = out / TIMES
    known = json.loads(path.read_text()) if path.is_file() else {}
    missing = {cost_of(run): run for run in sweep.runs if cost_of(run) not in known}
    if missing:
        known |= seconds_a_step(sweep, list(missing.values()), one_thread)
        write_atomically(path, (json.dumps(known, indent=2) + "\n").encode())
    runs = [
        dataclasses.replace(run, config=run.config.replace(max_train_steps=round(sweep.seconds / known[cost_of(run)])))
        for run in sweep.runs
    ]
    return dataclasses.replace(sweep, runs=tuple(runs))


def cost_of(run: SweepRun) -> str:
    """What a run's time a step depends on: runs that agree in it take as long as each other."""
    kept = {name: value for name, value in dataclasses.asdict(run.config).items() if name not in COST_NOTHING}
    return json.dumps(kept)


def seconds_a_step(sweep: Sweep, runs: list[SweepRun], one_thread: bool) -> dict[str, float]:
    """Median seconds of a step of each run by its cost, the runs taking turns on cards without content."""
    found: dict[str, list[float]] = {cost_of(run): [] for run in runs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if one_thread else threads)
    try:
        for _ in range(ROUNDS):
            for run in runs:
                found[cost_of(run)] += _timed(run.config)
    finally:
        torch.set_num_threads(threads)
    return {cost: statistics.median(times) for cost, times in found.items()}


def _timed(config: TrainingConfig) -> list[float]:
    """Seconds of some steps, the first ones left out."""
    count, rare = WARM + TIMED + 1, 10**6
    # At a learning rate at which nothing diverges.
    changes = {"max_train_steps": count, "save_image_epochs": rare, "save_model_epochs": rare, "learning_rate": 1e-6}
    config = config.replace(**{name: value for name, value in changes.items() if hasattr(config, name)})
    times = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder:
        steps = train(config, _blank_cards(config), Path(folder) / "run")
        for _ in islice(steps, count - 1):
            times.append(time.perf_counter())
        steps.close()
    passed = [later - earlier for earlier, later in pairwise(times)]
    return passed[WARM:]


def _blank_cards(config: TrainingConfig) -> Cards:
    labels = CLASSES if config.use_labels else ()
    count = 64
    pixels = torch.zeros(count, 4 if config.use_masks else 3, *config.size, dtype=torch.uint8)
    numbers = torch.arange(count) % len(labels) if labels else torch.zeros(count, dtype=torch.long)
    return Cards(pixels, numbers, labels, source="blank cards", darkness=torch.zeros(count))


def plan_text(sweep: Sweep, workers: int) -> str:
    """The runs of a sweep, and about how long each and all take on this machine, as it is now: steps are timed."""
    step = seconds_a_step(sweep, list({cost_of(run): run for run in sweep.runs}.values()), one_thread=workers > 1)
    lines, total = [], 0.0
    for run in sweep.runs:
        steps, seconds = _expected(sweep, run, step[cost_of(run)])
        total += seconds
        lines.append(f"{run.name:<60} {run.data:<12} {steps:>7} steps, about {seconds:5.0f} s")
    minutes = total / workers / 60
    lines.append(f"{len(sweep.runs)} runs, {workers} at a time: about {minutes:.0f} minutes, and the drawing of cards")
    return "\n".join(lines)


def _expected(sweep: Sweep, run: SweepRun, seconds_a_step: float) -> tuple[int, float]:
    """About how many steps a run has, and seconds with its generated cards and their judging."""
    config, source = run.config, sweep.sources[run.data]
    if sweep.seconds:
        steps = round(sweep.seconds / seconds_a_step)
    else:
        count = source.count or len(find_cards(source.folder))
        steps = total_train_steps(config, count * (1 + source.augmented))
    # A card forward takes a third of its share of a step, and guided twice.
    calls = getattr(config, "num_inference_steps", 1) * (2 if getattr(config, "guidance_scale", 1) > 1 else 1)
    share = seconds_a_step / (3 * config.train_batch_size * getattr(config, "gradient_accumulation_steps", 1))
    return steps, steps * seconds_a_step + sweep.judging.count * calls * share + JUDGING
