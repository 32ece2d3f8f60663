"""Times the training steps of a sweep's runs, so that all runs can get the same training time."""

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
from cardsynth.studies.folder import write_json
from cardsynth.studies.sweeps.config import Sweep, SweepRun

TIMES = "seconds_a_step.json"
WARM, TIMED, ROUNDS = 2, 8, 2
# Settings without influence on the time of a step.
COST_NOTHING = {
    "preset", "seed", "max_train_steps", "num_epochs", "learning_rate", "lr_warmup_steps", "lr_scheduler",
    "beta_schedule", "num_train_timesteps", "prediction_type", "loss_weighting", "snr_gamma", "snr_floor",
    "mask_weight", "label_dropout", "weight_decay", "adam_beta2", "max_grad_norm", "ema_decay", "sampler",
    "num_inference_steps", "guidance_scale", "negative_label", "guidance_limit", "guidance_interval",
    "save_image_epochs", "save_model_epochs", "horizontal_flip",
}  # fmt: skip
JUDGING = 8.0  # approximate seconds to judge a run's cards


def steps_of(sweep: Sweep, out: Path, one_thread: bool) -> Sweep:
    """Gives each run as many steps as fit into the sweep's seconds; a sweep without seconds is returned as it is.

    The seconds per step are measured once, while nothing else of the sweep runs, and stored in the folder.

    Args:
        sweep: The sweep.
        out: Its folder.
        one_thread: Whether runs will use one thread each.
    """
    if sweep.seconds is None:
        return sweep
    path = out / TIMES
    measured = json.loads(path.read_text()) if path.is_file() else {}
    missing = [run for run in sweep.runs if cost_of(run) not in measured]
    if missing:
        measured |= seconds_a_step(missing, one_thread)
        write_json(path, measured)
    runs = [
        dataclasses.replace(
            run, config=run.config.replace(max_train_steps=round(sweep.seconds / measured[cost_of(run)]))
        )
        for run in sweep.runs
    ]
    return dataclasses.replace(sweep, runs=tuple(runs))


def cost_of(run: SweepRun) -> str:
    """Returns the settings that influence the time of a step, as JSON; runs that agree in them take equally long."""
    settings = dataclasses.asdict(run.config)
    return json.dumps({name: value for name, value in settings.items() if name not in COST_NOTHING})


def seconds_a_step(runs: list[SweepRun], one_thread: bool) -> dict[str, float]:
    """Times the steps of runs, which take turns, on blank cards.

    Args:
        runs: Runs to time; of several with the same cost, one is timed.
        one_thread: Whether to use one thread.

    Returns:
        Median seconds per step by `cost_of` the run.
    """
    configs = {cost_of(run): run.config for run in runs}
    times: dict[str, list[float]] = {cost: [] for cost in configs}
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if one_thread else threads)
    try:
        for _ in range(ROUNDS):
            for cost, config in configs.items():
                times[cost] += _timed(config)
    finally:
        torch.set_num_threads(threads)
    return {cost: statistics.median(seconds) for cost, seconds in times.items()}


def _timed(config: TrainingConfig) -> list[float]:
    """Returns the seconds of some steps after the first ones, at a learning rate at which nothing diverges."""
    count, rare = WARM + TIMED + 1, 10**6
    changes = {"max_train_steps": count, "save_image_epochs": rare, "save_model_epochs": rare, "learning_rate": 1e-6}
    config = config.replace(**{name: value for name, value in changes.items() if hasattr(config, name)})
    times = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder:
        steps = train(config, _blank_cards(config), Path(folder) / "run")
        times += [time.perf_counter() for _ in islice(steps, count - 1)]
        steps.close()
    return [later - earlier for earlier, later in pairwise(times)][WARM:]


def _blank_cards(config: TrainingConfig) -> Cards:
    labels, count = CLASSES if config.use_labels else (), 64
    pixels = torch.zeros(count, 4 if config.use_masks else 3, *config.size, dtype=torch.uint8)
    numbers = torch.arange(count) % max(1, len(labels))
    return Cards(pixels, numbers, labels, source="blank cards", darkness=torch.zeros(count))


def plan_text(sweep: Sweep, workers: int) -> str:
    """Lists the runs of a sweep with their approximate time on this machine, for which it times some steps.

    Args:
        sweep: The sweep.
        workers: Number of runs at a time.
    """
    step = seconds_a_step(list(sweep.runs), one_thread=workers > 1)
    lines, total = [], 0.0
    for run in sweep.runs:
        steps, seconds = _expected(sweep, run, step[cost_of(run)])
        total += seconds
        lines.append(f"{run.name:<60} {run.data:<12} {steps:>7} steps, about {seconds:5.0f} s")
    minutes = total / workers / 60
    lines.append(f"{len(sweep.runs)} runs, {workers} at a time: about {minutes:.0f} minutes, and the drawing of cards")
    return "\n".join(lines)


def _expected(sweep: Sweep, run: SweepRun, seconds_a_step: float) -> tuple[int, float]:
    """Returns a run's approximate number of steps, and its seconds with the generated cards and their judging."""
    config, source = run.config, sweep.sources[run.data]
    if sweep.seconds:
        steps = round(sweep.seconds / seconds_a_step)
    else:
        count = source.count or len(find_cards(source.folder))
        steps = total_train_steps(config, count * (1 + source.augmented))
    # The forward pass of a card takes a third of its share of a step; guidance needs two passes.
    calls = getattr(config, "num_inference_steps", 1) * (2 if getattr(config, "guidance_scale", 1) > 1 else 1)
    share = seconds_a_step / (3 * config.train_batch_size * getattr(config, "gradient_accumulation_steps", 1))
    return steps, steps * seconds_a_step + sweep.judging.count * calls * share + JUDGING
