"""Set up cardsynth in .venv and run it: `python3 run.py demo` or `python3 run.py test`. Standard library only."""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = SCRIPTS / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "cardsynth.stamp"


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def wanted_stamp() -> str:
    """Hash of all that the environment is made from."""
    parts = [(ROOT / name).read_bytes() for name in ("requirements.txt", "pyproject.toml")]
    return hashlib.sha256(b"\0".join([*parts, sys.version.encode(), str(ROOT).encode()])).hexdigest()


def installer() -> list[str]:
    """The command that installs packages into .venv: uv where it can be had, else pip."""
    found = shutil.which("uv")
    if found:
        return [found, "pip", "install", "--python", str(PYTHON)]
    pip = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    say("Getting uv, which installs faster than pip ...")
    if subprocess.run([*pip, "--quiet", "uv"], stderr=subprocess.DEVNULL).returncode == 0:
        return [str(PYTHON), "-m", "uv", "pip", "install", "--python", str(PYTHON)]
    say("uv cannot be had here; going on with pip.")
    return pip


def set_up() -> None:
    """Make .venv with all packages, once; a stamp tells that it stands."""
    if STAMP.is_file() and STAMP.read_text() == wanted_stamp() and PYTHON.exists():
        return
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is what finds out)
        sys.exit(f"cardsynth needs Python 3.11 or newer, and this is {sys.version.split()[0]}")
    free = shutil.disk_usage(ROOT).free
    if free < 8e9 and not VENV.exists():
        say(f"Warning: {free / 1e9:.1f} GB are free here, and the environment takes about 6 GB.")
    say("Setting up .venv (once; PyTorch is a large download) ...")
    venv.create(VENV, with_pip=True, clear=True)
    install("dev")
    STAMP.write_text(wanted_stamp())


def install(extra: str) -> None:
    """Install the package into .venv with one of its extras."""
    command = [*installer(), "-e", f"{ROOT}[{extra}]"]
    if subprocess.run(command).returncode:
        sys.exit(
            "\nThe packages could not be installed. See the message above; check network and disk space, then run the"
            f" same command again. By hand: {' '.join(command)}"
        )


def main() -> int:
    """Run a command in the environment; returns its exit code."""
    commands = {
        "setup": None,
        "demo": [str(PYTHON), "-m", "cardsynth", "demo"],
        "test": [str(PYTHON), "-m", "pytest"],
        "lint": [str(PYTHON), "-m", "ruff", "check", "."],
        "notebooks": [str(PYTHON), "-m", "jupyterlab", "notebooks"],
        "bench": [str(PYTHON), str(ROOT / "benchmarks" / "bench.py")],
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=commands, help="what to do")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="passed on")
    given = parser.parse_args()
    set_up()
    if given.command == "setup":
        say(f"The environment stands in {VENV}.")
        return 0
    if given.command == "bench":
        install("bench")
    if given.command == "demo":
        say("Starting (importing PyTorch takes some seconds the first time) ...")
    return subprocess.run([*commands[given.command], *given.arguments], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
