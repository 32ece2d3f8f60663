"""Options by the names they had in version 0.1, which still work in 0.2; and positional arguments, named."""

import sys
from collections.abc import Sequence

from cardsynth.cli.options import read_options

SAMPLING = {"--steps": "--num-inference-steps", "--guidance": "--guidance-scale"}
# Command: old name of an option -> its name.
OLD_NAMES: dict[str, dict[str, str]] = {
    "export": {"--cards": "--data"},
    "doctor": {"--real": "--data", "--cards": "--count"},
    "generate": SAMPLING,
    "walk": SAMPLING | {"--how": "--interpolation"},
    "damage": SAMPLING | {"--cards": "--data"},
    "trial": {"--real": "--data"},
    "generate-text": SAMPLING,
    "judge-text": SAMPLING | {"--training": "--data"},
    "push": {"--run": "--model", "--cards": "--data"},
}
# Command: the option that its positional argument may be given as.
POSITIONAL = {
    "check": "--data",
    "scans": "--data",
    "caption": "--data",
    "find": "--data",
    "doctor": "--model",
    "pull": "--model",
}


def translate(arguments: Sequence[str]) -> list[str]:
    """Translates a command line into one that the commands parse.

    Prints a notice to stderr for each old name.

    Args:
        arguments: name of the command, then its options.

    Returns:
        The command line with current names, a named positional argument in its position.
    """
    command, *options = arguments
    names = [option.partition("=")[0] for option in options]
    if command == "generate" and "--prompt" in names:
        command = "generate-text"
        print_notice("generate --prompt", "generate-text --prompt")
    for index, name in enumerate(names):
        if new_name := OLD_NAMES.get(command, {}).get(name):
            options[index] = new_name + options[index].removeprefix(name)
            print_notice(f"{command} {name}", f"{command} {new_name}")
    if command in POSITIONAL:
        value, options = read_options(options, POSITIONAL[command])
        return [command, *filter(None, value), *options]
    return [command, *options]


def print_notice(old: str, new: str) -> None:
    """Prints one line to stderr that names the new form of an old option."""
    print(f"cardsynth: `{old}` is now `{new}`; the old name will be removed in the next version", file=sys.stderr)
