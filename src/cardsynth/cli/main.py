"""The `cardsynth` command: finds the command that is named, lets tyro parse its options, and runs it."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

from cardsynth import __version__

# Modules of this wing, and the commands that each defines as functions of the same names. Only the module of the
# command that runs is imported, so that it starts quickly, as do the processes that it starts.
COMMANDS = {
    "cards": ("render", "scans", "check", "export"),
    "models": ("train", "generate", "damage", "push", "pull"),
    "judging": ("evaluate", "doctor", "compare"),
    "latents": ("walk",),
    "finder": ("train-finder", "find"),
    "trial": ("trial",),
    "sweeps": ("sweep",),
    "text": ("caption", "train-text", "generate-text", "judge-text"),
    "demo": ("demo",),
}
MODULES = {command: module for module, commands in COMMANDS.items() for command in commands}
DESCRIPTION = """Synthetic trading cards with surface damage, labelled to the pixel.

`cardsynth COMMAND --help` lists the options of a command, `cardsynth --version` prints the version."""


def load_command(name: str, arguments: Sequence[str] = ()) -> Callable[..., None]:
    """Imports a command.

    Args:
        name: a key of `MODULES`.
        arguments: its command line; the settings of a preset or a file named there become its defaults.

    Raises:
        OSError: the settings file cannot be read.
        ValueError: there is no such preset, or the settings file is wrong.
    """
    module = importlib.import_module(f"cardsynth.cli.{MODULES[name]}")
    command = getattr(module, name.replace("-", "_"))
    return partial(command, settings=module.initial_settings(arguments)) if name in ("train", "train-text") else command


def run_command(arguments: Sequence[str]) -> None:
    """Runs a command line; without a valid command, tyro shows the list of commands or says what is wrong."""
    import tyro

    from cardsynth.cli.old_names import translate

    if not arguments or arguments[0] not in MODULES:
        commands = {name: load_command(name) for name in MODULES}
        tyro.extras.subcommand_cli_from_dict(commands, prog="cardsynth", description=DESCRIPTION, args=arguments)
        return
    name, *options = translate(arguments)
    tyro.cli(load_command(name, options), prog=f"cardsynth {name}", args=options)


def is_input_error(error: Exception) -> bool:
    """Whether an error is explained by its message alone: wrong input, or a missing optional package."""
    if isinstance(error, ImportError):
        return error.name == "cv2"
    if isinstance(error, RuntimeError):
        return type(error).__module__.startswith("cardsynth")
    return isinstance(error, ValueError | OSError)


def main() -> None:
    """Runs the command line of this process.

    The exit code is 1, with a message, if input is wrong, 2 if the command line is wrong, 130 after Ctrl-C.
    """
    # Idle OpenMP threads of PyTorch sleep instead of spinning, which made training up to thirty times slower while
    # other work ran on the machine. OpenMP reads this when torch is first imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.argv[1:] == ["--version"]:
        print(f"cardsynth {__version__}")
        return
    try:
        run_command(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if not is_input_error(error):
            raise
        sys.exit(f"cardsynth: {error}")
