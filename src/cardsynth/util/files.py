"""Writes files and folders whole or not at all, and reads JSON with errors that name the file."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name beside it, then renames it; makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder to write into, which then replaces `target`; after an error nothing has changed."""
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    yield temporary
    replace_folder(temporary, target)


def replace_folder(temporary: Path, target: Path) -> None:
    """Replaces `target` by the finished folder `temporary`; the old folder is deleted last."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    temporary.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def read_json_lines(path: Path) -> list[Any]:
    """Reads a file of one JSON value per line; empty if there is no file. Stops at a line that was cut off."""
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def read_object(path: Path) -> dict[str, Any]:
    """Reads the JSON object of a file; raises FileNotFoundError, or ValueError if it is none or was cut short."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path} does not hold a JSON object: it may be cut short. Restore it or train again.")
    return content
