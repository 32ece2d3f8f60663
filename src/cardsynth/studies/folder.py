"""Folders of studies: the settings that a study keeps when it goes on, and jobs that write into its folder."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import torch
from tqdm.auto import tqdm

from cardsynth.core.runs import RunError
from cardsynth.util.files import write_atomically
from cardsynth.util.processes import results_in_order

Job = TypeVar("Job")
Result = TypeVar("Result")


def read_settings(path: Path, kind: str) -> dict[str, Any]:
    """Reads the settings of a study.

    Args:
        path: The file, in the study's folder.
        kind: Kind of study, for messages.

    Returns:
        The settings; empty for a new study.

    Raises:
        RunError: The folder holds other files and no such study.
    """
    if path.is_file():
        return json.loads(path.read_text())
    if path.parent.exists() and any(path.parent.iterdir()):
        raise RunError(f"{path.parent} holds other files and no {kind}; choose another folder")
    return {}


def check_same(out: Path, kind: str, before: Mapping[str, Any], now: Mapping[str, Any], names: Collection[str]) -> None:
    """Raises RunError if a study that goes on has other values under any of these names."""
    other = sorted(name for name in names if before.get(name) != now[name])
    if before and other:
        raise RunError(
            f"{out} holds a {kind} with other {', '.join(other)}; go on with those, or choose another folder"
        )


def write_json(path: Path, content: Mapping[str, Any], indent: int | None = 2) -> None:
    """Writes a JSON object atomically, ended by a line break."""
    write_atomically(path, (json.dumps(content, indent=indent) + "\n").encode())


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, label: str, unit: str, done: int = 0
) -> Iterator[Result]:
    """Runs jobs under a progress bar.

    Args:
        work: Runs one job; must be picklable for several workers.
        jobs: The jobs.
        workers: Number of processes; each of two or more uses one thread.
        label: Label of the progress bar.
        unit: Unit of the progress bar.
        done: Number of jobs that were finished before.

    Yields:
        The results, in the order of the jobs.
    """
    with closing(results_in_order(work, jobs, workers, start=_use_one_thread)) as results:
        yield from tqdm(results, label, done + len(jobs), initial=done, unit=unit)


def _use_one_thread() -> None:
    torch.set_num_threads(1)
