"""run.py, the dependencies and their lock file, and the address of the project."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import bench
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cardsynth import __version__

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
WING_EXTRAS = ("scans", "finder", "text", "export", "video", "notebooks", "tensorboard")
PACKAGE_OF = {"PIL": "pillow", "cv2": "opencv-python-headless", "sklearn": "scikit-learn"}
# Never imported by name: the notebooks run in them.
UNIMPORTED = {"ipykernel", "jupyterlab"}


def third_party_imports(source: str) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            modules.add(node.module)
    tensorboard = {"tensorboard"} if "torch.utils.tensorboard" in modules else set()
    return {module.split(".")[0] for module in modules} | tensorboard


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in requirements} - {"cardsynth"}


def pins(file: str) -> dict[str, str]:
    lines = re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / file).read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


def test_dependencies_are_what_is_imported():
    sources = [path.read_text() for path in (ROOT / "src").rglob("*.py")]
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(notebook.read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        sources += [re.sub(r"^\s*[%!].*$", "pass", text, flags=re.MULTILINE) for text in code]
    imported = set().union(*map(third_party_imports, sources)) - set(sys.stdlib_module_names) - {"cardsynth"}
    optional = set().union(*(names(EXTRAS[extra]) for extra in WING_EXTRAS)) - UNIMPORTED
    assert {canonicalize_name(PACKAGE_OF.get(name, name)) for name in imported} == names(
        PROJECT["dependencies"]
    ) | optional


def test_extras():
    assert EXTRAS["all"] == [f"cardsynth[{','.join(WING_EXTRAS)}]"]
    assert set(EXTRAS) == {*WING_EXTRAS, "all", "bench", "dev"}
    assert "cardsynth[all]" in EXTRAS["dev"]


def test_pins_lie_within_the_ranges_and_in_the_lock_file():
    requirements = [*PROJECT["dependencies"], *(line for extra in (*WING_EXTRAS, "dev") for line in EXTRAS[extra])]
    pinned, locked = pins("requirements.txt"), pins("requirements.lock")
    assert set(pinned) == names(requirements)
    assert pinned.items() <= locked.items()
    for requirement in map(Requirement, requirements):
        if requirement.name != "cardsynth":
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    assert "://" not in (ROOT / "requirements.lock").read_text() + (ROOT / "requirements.txt").read_text()


def test_the_core_install_runs_without_the_extras():
    """With every optional package blocked, each module of the lower wings imports, and the command starts."""
    blocked = ["cv2", "imageio_ffmpeg", "ipywidgets", "peft", "pycocotools", "segmentation_models_pytorch"]
    blocked += ["tensorboard", "transformers"]
    wings = ("baselines", "cards", "core", "hub", "painting", "plots", "render", "util")
    paths = [path for wing in wings for path in (ROOT / "src/cardsynth" / wing).rglob("*.py")]
    modules = [".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in paths]
    code = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({blocked}))
for module in {modules}:
    importlib.import_module(module.removesuffix(".__init__"))
from cardsynth.__main__ import main
sys.argv = ["cardsynth", "--help"]
main()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "generate" in result.stdout


def run_py(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess:
    command = [sys.executable, "-S", "-I", str(folder / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_run_needs_only_the_standard_library():
    assert third_party_imports((ROOT / "run.py").read_text()) <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("command", ["setup", "demo", "test", "lint", "notebooks", "bench", "address"])
def test_run_explains_each_command_without_running_it(command: str):
    assert command in run_py("--help").stdout
    result = run_py(command, "--help")
    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: run.py {command}")


def test_help_names_every_benchmark():
    listed = "".join(run_py("bench", "--help").stdout.split())
    assert all(name in listed for name in bench.BENCHMARKS)
    assert all(bench.measured_by(name).startswith("Measures ") for name in bench.BENCHMARKS)


def test_run_refuses_arguments_that_a_command_does_not_take():
    result = run_py("lint", "--fix")
    assert result.returncode == 2
    assert "lint takes no --fix" in result.stderr


def test_one_command_changes_the_address_everywhere(tmp_path: Path):
    for name in ("run.py", "pyproject.toml", "README.md", "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/page.md").write_text(f"[code]({PROJECT['urls']['Repository']}/issues), OWNER/other")
    assert run_py("address", "nonsense", folder=tmp_path).returncode
    result = run_py("address", "jane/cards", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "docs/page.md").read_text() == "[code](https://github.com/jane/cards/issues), OWNER/other"
    for name in ("pyproject.toml", "README.md", "CITATION.cff"):
        assert "github.com/jane/cards" in (tmp_path / name).read_text()
        assert "OWNER/cardsynth" not in (tmp_path / name).read_text()


def test_the_address_is_the_same_everywhere():
    address = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
    files = [ROOT / "README.md", ROOT / "CITATION.cff", *(ROOT / "docs").rglob("*.md"), *ROOT.glob("notebooks/*.ipynb")]
    for path in files:
        for repeated in re.findall(r"github(?:\.com)?/([\w.-]+/cardsynth)\b", path.read_text()):
            assert repeated == address, path


def test_the_version_is_the_same_everywhere():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
