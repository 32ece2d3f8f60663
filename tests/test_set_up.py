"""run.py, and that requirements.txt names what is imported and nothing else."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE_OF = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "imageio_ffmpeg": "imageio-ffmpeg",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "sklearn": "scikit-learn",
    "torch_fidelity": "torch-fidelity",
}


def imports_of(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module.split(".")[0])
            if (node.module or "").startswith("torch.utils.tensorboard"):
                found.add("tensorboard")
    return found


def test_requirements_are_what_is_imported():
    sources = [path.read_text() for path in (ROOT / "src").rglob("*.py")]
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(notebook.read_text())["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        sources += [re.sub(r"^[%!].*$", "", text, flags=re.MULTILINE) for text in code]
    imported = set().union(*map(imports_of, sources)) - set(sys.stdlib_module_names) - {"cardsynth", "__future__"}
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", line) for line in lines)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    optional = {re.match(r"[\w-]+", line)[0] for line in extras["scans"]}
    needed = {PACKAGE_OF.get(name, name) for name in imported}
    assert optional <= needed
    assert set(extras["scans"]) <= set(extras["dev"])
    assert needed - optional == {line.split("==")[0] for line in lines}


def test_run_needs_only_the_standard_library():
    assert imports_of((ROOT / "run.py").read_text()) <= set(sys.stdlib_module_names)


def test_run_explains_itself():
    said = subprocess.run([sys.executable, "-S", "-I", str(ROOT / "run.py"), "--help"], capture_output=True, text=True)
    assert said.returncode == 0
    assert "demo" in said.stdout


def test_imports_go_only_downward():
    """No file imports, by whatever way, one that imports it; and the ground and the roof are where they should be."""
    files = {path.stem: path for path in (ROOT / "src/cardsynth").glob("*.py") if path.stem != "__init__"}
    imported = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cardsynth"):
                modules = [node.module.split(".")[1]] if "." in node.module else [one.name for one in node.names]
                imported[name].update(module for module in modules if module in files)
    order = list(TopologicalSorter(imported).static_order())
    assert set(order) == set(files)
    assert not imported["diffusion"] | imported["files"] | imported["run_config"]
    assert imported["folder"] == {"files"}
    assert imported["config"] | imported["baseline_config"] == {"baseline_config", "run_config"}
    commands = {name for name in files if name.endswith("_commands")} | {"demo", "__main__"}
    assert commands
    for name in files.keys() - commands:
        assert not imported[name] & commands, f"{name} imports {imported[name] & commands}"
