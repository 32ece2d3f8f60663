"""Sets up cardsynth in .venv and runs it: `python3 run.py demo`, `python3 run.py test`. Standard library only."""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
SCRIPTS = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = str(SCRIPTS / ("python.exe" if os.name == "nt" else "python"))
STAMP = VENV / "cardsynth.stamp"
LOCK = ROOT / "requirements.lock"
COMMANDS = {
    "setup": ("Installs all packages into .venv.", []),
    "demo": (
        "Draws a data set, trains, generates labelled cards and evaluates them.",
        [[PYTHON, "-m", "cardsynth", "demo"]],
    ),
    "test": ("Runs the tests. Options of pytest are passed on, such as `-k masks`.", [[PYTHON, "-m", "pytest"]]),
    "lint": (
        "Checks style, import layers and types with ruff, import-linter and pyright.",
        [
            [PYTHON, "-m", "ruff", "check", "."],
            [PYTHON, "-m", "ruff", "format", "--check", "."],
            [str(SCRIPTS / "lint-imports")],
            [PYTHON, "-m", "pyright"],
        ],
    ),
    "notebooks": (
        "Opens the notebooks in JupyterLab. Options of JupyterLab are passed on.",
        [[PYTHON, "-m", "jupyterlab", "notebooks"]],
    ),
    "bench": (
        "Runs the benchmarks that need no GPU, under 20 minutes on two cores; or only those named: render_speed,"
        " prepare_speed, memory, train_speed, evaluate_speed, sample_speed.",
        [[PYTHON, str(ROOT / "benchmarks" / "bench.py")]],
    ),
    "address": ("Changes the address of the project, OWNER/NAME, in all files that repeat it.", []),
}
PASSES_ON = {"demo", "test", "notebooks", "bench"}


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def environment_hash() -> str:
    """Hash of all that determines the environment."""
    parts = [path.read_bytes() for path in (LOCK, ROOT / "pyproject.toml")]
    return hashlib.sha256(b"\0".join([*parts, sys.version.encode(), str(ROOT).encode()])).hexdigest()


def installer() -> list[str]:
    """The command that installs packages into .venv: uv if available, otherwise pip."""
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", PYTHON]
    pip = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check"]
    say("Getting uv, which installs faster than pip ...")
    if subprocess.run([*pip, "--quiet", "uv"], stderr=subprocess.DEVNULL).returncode == 0:
        return [PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON]
    say("uv is not available; continuing with pip.")
    return pip


def install(*requests: list[str]) -> None:
    """Install packages into .venv, one call of the installer per list of arguments."""
    command = installer()
    for arguments in requests:
        if subprocess.run([*command, *arguments]).returncode:
            sys.exit(
                "\nThe packages could not be installed. See the message above; check network and disk space, then run"
                f" the same command again. By hand: {' '.join([*command, *arguments])}"
            )


def set_up() -> None:
    """Create .venv with all packages, unless it is up to date."""
    if STAMP.is_file() and STAMP.read_text() == environment_hash() and Path(PYTHON).exists():
        return
    if sys.version_info < (3, 11):  # noqa: UP036 (this file is what finds out)
        sys.exit(f"cardsynth needs Python 3.11 or newer; this is {sys.version.split()[0]}.")
    free = shutil.disk_usage(ROOT).free
    if free < 8e9 and not VENV.exists():
        say(f"Warning: {free / 1e9:.1f} GB of disk are free, and the environment takes about 6 GB.")
    say("Setting up .venv (once; PyTorch is a large download) ...")
    venv.create(VENV, with_pip=True, clear=True)
    install(["-r", str(LOCK)], ["--no-deps", "-e", str(ROOT)])
    STAMP.write_text(environment_hash())


def set_address(address: str) -> int:
    """Replace the address that pyproject.toml names by OWNER/NAME `address`, wherever it is repeated."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", address):
        sys.exit(f"{address!r} is not an address. Give OWNER/NAME, such as jane/cardsynth.")
    old = re.search(r'^Repository = "https://github\.com/(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)[1]
    files = [ROOT / "pyproject.toml", *ROOT.glob("*.md"), *ROOT.glob("*.cff")]
    for folder in ("docs", "notebooks", "src"):
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in {".md", ".ipynb", ".py", ".jinja"}]
    for path in files:
        text = path.read_text("utf-8")
        new = re.sub(rf"(github(?:\.com|\.io)?/){re.escape(old)}\b", rf"\g<1>{address}", text)
        if new != text:
            path.write_text(new, "utf-8")
            say(f"Changed {path.relative_to(ROOT)}")
    return 0


def main() -> int:
    """Run a command in the environment and return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (description, _) in COMMANDS.items():
        command = commands.add_parser(name, help=description, description=description, allow_abbrev=False)
        if name == "address":
            command.add_argument("address", metavar="OWNER/NAME")
    options, passed_on = parser.parse_known_args()
    if passed_on and options.command not in PASSES_ON:
        parser.error(f"{options.command} takes no {' '.join(passed_on)}")
    if options.command == "address":
        return set_address(options.address)
    set_up()
    if options.command == "setup":
        say(f"The environment is ready in {VENV}.")
    if options.command == "bench":
        install(["-c", str(LOCK), "-e", f"{ROOT}[bench]"])
    if options.command == "demo":
        say("Starting (importing PyTorch takes some seconds the first time) ...")
    steps = COMMANDS[options.command][1]
    return max((subprocess.run([*step, *passed_on], cwd=ROOT).returncode for step in steps), default=0)


if __name__ == "__main__":
    sys.exit(main())
