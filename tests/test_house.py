"""The layout of the package: its wings, their floors, and their sizes."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from count_code import code_lines

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src/cardsynth"
WINGS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))


def run_code(code: str) -> str:
    """The output of Python code in a fresh process."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_top_level_holds_few_wings_and_modules():
    assert len(WINGS) <= 18
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders - {wing.name for wing in WINGS} <= {"pretrained"}
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "models.py"}


@pytest.mark.parametrize("wing", WINGS, ids=lambda wing: wing.name)
def test_each_wing_introduces_itself(wing: Path):
    """What it is for in the first sentence, then what it imports and where to start reading."""
    text = ast.get_docstring(ast.parse((wing / "__init__.py").read_text())) or ""
    purpose = text.split("\n\n")[0]
    assert len(purpose.split()) >= 5, text
    assert re.search(r"\bImports\b", text), text
    assert re.search(r"\b(Start|Read)\b[^.]*`\w[\w/]*\.py`", text), text
    for name in re.findall(r"`([\w/]+\.py)`", text):
        assert (wing / name).is_file(), name


def test_each_wing_imports_only_from_lower_floors():
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_core_is_small():
    assert sum(code_lines(path) for path in (PACKAGE / "core").rglob("*.py")) < 1400


def test_the_core_pulls_in_no_wing_but_util_and_cards():
    modules = [f"cardsynth.core.{path.stem}" for path in (PACKAGE / "core").glob("*.py") if path.stem != "__init__"]
    loaded = run_code(
        f"import importlib, sys; [importlib.import_module(name) for name in ['cardsynth.core', *{modules}]]\n"
        "print(*{name.split('.')[1] for name in sys.modules if name.startswith('cardsynth.')})"
    )
    assert set(loaded.split()) == {"core", "cards", "util"}


def test_importing_the_package_changes_no_setting_and_loads_no_torch():
    changed, torch = run_code(
        "import os, sys; before = dict(os.environ); import cardsynth\n"
        "print(dict(os.environ) != before, 'torch' in sys.modules)"
    ).split()
    assert changed == "False"
    assert torch == "False"


@pytest.mark.parametrize("name", ["read_cards", "get_preset", "train", "open_model", "write_cards", "evaluate"])
def test_the_front_door_has_what_the_readme_uses(name: str):
    assert run_code(f"import cardsynth; print(callable(cardsynth.{name}), {name!r} in dir(cardsynth))") == "True True\n"


def test_no_file_is_long():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 360} == {}
