"""Options that several commands share, and the notation of sizes, seeds, ranges and shares."""

import argparse
import re
from collections.abc import Sequence

import tyro

from cardsynth.util.settings import about

RANGE = re.compile(r"(\d+)(?:-(\d+))?")
FLAT = tyro.conf.arg(name="")  # options of a dataclass, without a prefix
SIZE = tyro.conf.arg(metavar="HxW", help="Height and width in pixels, like 160x128.")
REVISION = about("Branch, tag or commit on the Hub.")
OVERWRITE = about("Replace existing pictures.")
GROUP_BY = tyro.conf.arg(metavar="REGEX", help="Keeps cards together whose names agree in its first group.")
WORKERS = about("Number of processes; default: one for each core.")


def read_options(arguments: Sequence[str], *names: str) -> tuple[list[str | None], list[str]]:
    """Reads the values of some options before the command parses the others.

    Args:
        arguments: options of a command, as `--name value` or `--name=value`.
        names: names of the options to read, with dashes.

    Returns:
        The value of each name, None for an option that is missing; and the other arguments in their order.
    """
    parser = argparse.ArgumentParser("cardsynth", add_help=False, allow_abbrev=False)
    for name in names:
        parser.add_argument(name)
    values, others = parser.parse_known_args(arguments)
    return list(vars(values).values()), others


def parse_range(text: str) -> tuple[int, int]:
    """Parses a whole number or a range, like 2 or 1-3, into its ends; raises ValueError for anything else."""
    match = RANGE.fullmatch(text)
    if not match:
        raise ValueError(f"--damages is {text!r}; write a number or a range, like 2 or 1-3")
    return int(match[1]), int(match[2] or match[1])


def parse_seeds(text: str) -> list[int]:
    """Parses seeds like 0-63 or 3,16,20-29; raises ValueError for anything else."""
    seeds: list[int] = []
    for part in text.split(","):
        match = RANGE.fullmatch(part.strip())
        if not match:
            raise ValueError(f"--seeds is {text!r}; write seeds like 0-63 or 3,16,20-29")
        seeds += range(int(match[1]), int(match[2] or match[1]) + 1)
    return seeds


def parse_size(text: str) -> tuple[int, int]:
    """Parses (height, width) like 160x128; raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+)x(\d+)", text.lower())
    if not match:
        raise ValueError(f"--size is {text!r}; write height x width, like 160x128")
    return int(match[1]), int(match[2])


def parse_shares(text: str) -> tuple[float, ...]:
    """Parses numbers like 0.8,0.1,0.1; raises ValueError for anything else."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"--shares is {text!r}; write shares like 0.8,0.1,0.1") from error
