"""Drives a training run from a terminal: progress, messages about sample grids, and a stop that loses nothing."""

import sys
from collections.abc import Generator
from pathlib import Path

from cardsynth.core.recorder import TrainingStep, with_progress
from cardsynth.core.runs import checkpoint_step, checkpoints
from cardsynth.util.signals import stop_requests


def drive(steps: Generator[TrainingStep], run: Path) -> None:
    """Runs training steps to the end, with a progress bar.

    On Ctrl-C or SIGTERM it finishes the step, saves a checkpoint and exits with code 130. Errors of the steps are
    raised.

    Args:
        steps: steps of a training.
        run: its run folder.
    """
    with stop_requests() as requests:
        for step in with_progress(steps):
            if step.grid:
                print(f"\nStep {step.step}: sample grid in {step.grid}", flush=True)
            if requests:
                steps.close()
                last = checkpoint_step(checkpoints(run)[-1])
                print(f"\nStopped after step {last} of {step.total_steps}; --resume continues from there.", flush=True)
                sys.exit(130)
