"""How options of the `cardsynth` command are written: sizes, seeds, ranges and shares."""

from itertools import pairwise
from typing import Any

import tyro

Text = tyro.conf.arg
SIZE_HELP = Text(metavar="HxW", help="Height and width in pixels, like 160x128.")


def read_ahead(arguments: list[str]) -> dict[str, str]:
    """Options of a command line with their values, read before the command's own defaults are known."""
    given = dict(pairwise(arguments))
    return given | dict(
        argument.split("=", 1) for argument in arguments if argument.startswith("--") and "=" in argument
    )


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of a text like 160x128; raises ValueError for another form."""
    height, separator, width = text.lower().partition("x")
    if not (separator and height.isdigit() and width.isdigit()):
        raise ValueError(f"--size is {text!r}; write height x width, like 160x128")
    return int(height), int(width)


def parse_seeds(text: str) -> list[int]:
    """Whole numbers of a text like 0-63 or 3,16,20-29; raises ValueError for another form."""
    seeds: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise ValueError(f"--seeds is {text!r}; write seeds like 0-63 or 3,16,20-29")
        seeds += range(int(first), int(last or first) + 1)
    return seeds


def parse_range(text: str) -> tuple[int, int]:
    """Least and most of a text like 2 or 1-3; raises ValueError for another form."""
    least, separator, most = text.partition("-")
    if not least.isdigit() or (separator and not most.isdigit()):
        raise ValueError(f"--damages is {text!r}; write a number or a range, like 2 or 1-3")
    return int(least), int(most or least)


def check_unused(beside: str, options: dict[str, Any]) -> None:
    """Raise ValueError for an option, by name, that is given though it means nothing beside another."""
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise ValueError(f"{', '.join(given)} mean nothing with {beside}; leave them out")


def parse_shares(text: str) -> tuple[float, ...]:
    """Numbers of a text like 0.8,0.1,0.1; raises ValueError for another form."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(
            f"--shares is {text!r}; write shares of training, validation, test like 0.8,0.1,0.1"
        ) from error
