"""Drives a training run from a terminal: progress, sample grids announced, and a stop that loses nothing."""

import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from cardsynth.cards.dataset import Cards
from cardsynth.core.base_config import RunConfig
from cardsynth.core.recorder import TrainingStep
from cardsynth.core.runs import checkpoints
from cardsynth.core.training import train, with_progress


def drive_training(config: RunConfig, cards: Cards, run: Path, resume: bool = False, overwrite: bool = False) -> None:
    """Train to the end, as `drive` does; raises what `train` raises."""
    drive(train(config, cards, run, resume=resume, overwrite=overwrite), run)


def drive(steps: Generator[TrainingStep], run: Path) -> None:
    """Take training steps to the end; Ctrl-C or SIGTERM finishes the step, saves a checkpoint and exits with code 130.

    Raises what the steps raise.
    """
    with stop_requests() as requests:
        for step in with_progress(steps):
            if step.grid:
                print(f"\nStep {step.step}: sample grid in {step.grid}", flush=True)
            if requests:
                steps.close()
                last = int(checkpoints(run)[-1].name.removeprefix("step_"))
                print(f"\nStopped after step {last} of {step.total_steps}; resume goes on from there.", flush=True)
                sys.exit(130)


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that Ctrl-C and SIGTERM add themselves to; a second one interrupts at once."""
    requests: list[int] = []

    def ask(number: int, _: object) -> None:
        if requests:
            raise KeyboardInterrupt
        requests.append(number)
        print("\nStopping after this step, and saving a checkpoint ...", flush=True)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
