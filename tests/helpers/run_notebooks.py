"""Runs notebooks in order in one folder: small ones in the tests, and the whole ones whose outputs are committed.

From the repository root: `python tests/run_notebooks.py` runs every notebook with its own settings, and writes its
outputs into it. For the outputs of a whole run, move `runs/` and `generated_cards/demo/` away first.
"""

import base64
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
LARGE = 60_000  # characters of a PNG from which it is rather kept as JPEG
WIDGET = "application/vnd.jupyter.widget-view+json"


def run_notebooks(
    paths: Sequence[Path], parameters: dict[str, Any] | None = None, timeout: int = 600
) -> list[nbformat.NotebookNode]:
    """Run notebooks one after another from the folder they lie in, and return them with their outputs.

    `parameters` are set after each one's own settings; `timeout` is in seconds for a cell. One kernel serves them all,
    emptied of names between them: starting it is most of a small run. Raises CellExecutionError where a cell fails.
    """
    notebooks = [nbformat.read(path, as_version=4) for path in paths]
    whole = nbformat.v4.new_notebook()
    for path, notebook in zip(paths, notebooks, strict=True):
        settings = "\n".join(f"{name} = {value!r}" for name, value in (parameters or {}).items())
        place = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ())) + 1
        start = f"names = %who_ls\nfor name in [*names, 'names']:\n    globals().pop(name, None)\n%cd -q {path.parent}"
        whole.cells += [_code(start), *notebook.cells[:place], _code(settings), *notebook.cells[place:]]
    with _project_in_sight():
        NotebookClient(whole, timeout=timeout, kernel_name="python3", store_widget_state=False).execute()
    return notebooks


def _code(source: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source)


def clean(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Drop what changes from run to run or tells of a machine: counts, widgets, paths of `folder` and of home."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
        cell.outputs = [_clean_output(output, folder) for output in cell.outputs if output.get("name") != "stderr"]
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def _clean_output(output: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    def without_paths(text: str) -> str:
        text = text.replace(f"{folder}/", "").replace(str(folder), ".").replace(str(Path.home()), "~")
        return re.sub(r" at 0x[0-9a-f]+", "", text)

    if "execution_count" in output:
        output.execution_count = None
    if len(output.get("data", {}).get("image/png", "")) > LARGE:
        output.data.setdefault("image/jpeg", _as_jpeg(output.data["image/png"]))
    if {"image/png", "image/jpeg"} <= set(output.get("data", ())):
        del output.data["image/png" if len(output.data["image/png"]) > len(output.data["image/jpeg"]) else "image/jpeg"]
    if "text" in output:
        output.text = without_paths(output.text)
    for kind, value in output.get("data", {}).items():
        if kind.startswith("text/"):
            output.data[kind] = without_paths(value)
    return output


def _as_jpeg(picture: str) -> str:
    """A PNG as JPEG, both in base 64: of photographs and noise a third to a half."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB").save(buffer, "JPEG", quality=80, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


@contextmanager
def _project_in_sight() -> Iterator[None]:
    """Let kernels import this checkout's package, wherever they run."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT / "src"), before)))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def main() -> None:
    """Run the notebooks that are named, or all of them in order, and write their outputs into them."""
    for path in [Path(name) for name in sys.argv[1:]] or sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        print(f"Running {path.name} ...", flush=True)
        notebook = run_notebooks([path.resolve()], timeout=3600)[0]
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
        print(*(output.text for output in outputs if output.get("name") == "stderr"), flush=True)
        temporary = path.with_name(f".{path.name}.tmp")
        nbformat.write(clean(notebook, ROOT), temporary)
        temporary.replace(path)


if __name__ == "__main__":
    main()
