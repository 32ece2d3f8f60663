"""The `cardsynth` command: a thin shell over the package's functions."""

import sys
from pathlib import Path

import tyro

from cardsynth.cli.cards import check, export, render, scans
from cardsynth.cli.finder import find, train_finder, trial
from cardsynth.cli.judging import compare, doctor, evaluate
from cardsynth.cli.latents import walk
from cardsynth.cli.models import damage, generate, pull, push, settings_before, train_with
from cardsynth.cli.sweeps import sweep
from cardsynth.cli.text import caption, judge_text, text_settings_before, train_text_with
from cardsynth.models import get_preset
from cardsynth.text.config import TextConfig

DEMO_PAGE = Path("generated_cards/demo/report/index.html")


def demo() -> None:
    """Draw cards, train on them, generate labelled cards and judge them: about ten minutes on a laptop."""
    if DEMO_PAGE.is_file():
        print(f"The demo has run already: open {DEMO_PAGE} in a browser.")
        print("To run it anew, delete runs/demo, runs/demo_cards and generated_cards/demo.")
        return
    print("Loading PyTorch ...", flush=True)
    import torch  # noqa: F401 (each of these takes seconds the first time, and says so)

    print("Loading diffusers ...", flush=True)
    import diffusers.training_utils  # noqa: F401

    from cardsynth.cli.demo import run_demo

    page = run_demo(get_preset("demo"))
    print(f"Done. The cards are in {page.parent.parent}; open {page} in a browser.")


def main() -> None:
    """Run a command; bad input ends it with a message and exit code 1."""
    arguments = sys.argv[1:]
    try:
        train = train_with(settings_before(arguments) if arguments[:1] == ["train"] else get_preset("demo"))
        own = text_settings_before(arguments) if arguments[:1] == ["train-text"] else TextConfig()
        commands = (render, scans, check, caption, export, train, doctor, generate, walk, damage, evaluate, compare)
        commands += (sweep, train_finder, find, trial, train_text_with(own), judge_text, push, pull, demo)
        tyro.extras.subcommand_cli_from_dict(
            {command.__name__.replace("_", "-"): command for command in commands},
            prog="cardsynth",
            description="Synthetic trading cards with surface damage, labelled down to the pixel.",
        )
    except KeyboardInterrupt:
        sys.exit(130)
    except ImportError as error:
        if error.name != "cv2":
            raise
        sys.exit(f"cardsynth: {error}")
    except (ValueError, RuntimeError, OSError) as error:
        if isinstance(error, RuntimeError) and not type(error).__module__.startswith("cardsynth"):
            raise
        sys.exit(f"cardsynth: {error}")


if __name__ == "__main__":
    main()
