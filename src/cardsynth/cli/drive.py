"""Drives a training run from a terminal: progress, messages for sample grids, and a stop that loses nothing."""

import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from cardsynth.core.recorder import TrainingStep
from cardsynth.core.runs import checkpoint_step, checkpoints
from cardsynth.core.trainer import with_progress


def drive(steps: Generator[TrainingStep], run: Path) -> None:
    """Takes training steps to the end; Ctrl-C or SIGTERM finishes the step, saves a checkpoint and exits with code 130.

    Raises whatever the steps raise.
    """
    with stop_requests() as requests:
        for step in with_progress(steps):
            if step.grid:
                print(f"\nStep {step.step}: sample grid in {step.grid}", flush=True)
            if requests:
                steps.close()
                last = checkpoint_step(checkpoints(run)[-1])
                print(f"\nStopped after step {last} of {step.total_steps}; resume goes on from there.", flush=True)
                sys.exit(130)


@contextmanager
def stop_requests() -> Iterator[list[int]]:
    """A list that Ctrl-C and SIGTERM append to; a second signal interrupts at once."""
    requests: list[int] = []

    def request(number: int, _: object) -> None:
        if requests:
            raise KeyboardInterrupt
        requests.append(number)
        print("\nStopping after this step, and saving a checkpoint ...", flush=True)

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
