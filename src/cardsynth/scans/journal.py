"""The journal of a folder that is filled page by page: what is begun and done, so that a stopped run goes on."""

import json
from pathlib import Path
from typing import Any

from cardsynth.cards.folder import CardError, read_metadata
from cardsynth.util.files import write_atomically


class Journal:
    """Which pages are begun and done, a JSON line each; the first line holds the settings that they are read with.

    `begun` holds page names, `done` the last line of each finished page. With `overwrite` nothing counts as done.
    Raises CardError where a journal of other settings is there, unless `overwrite`.
    """

    def __init__(self, path: Path, settings: dict[str, Any], overwrite: bool = False) -> None:
        self.path = path
        self.begun: set[str] = set()
        self.done: dict[str, dict[str, Any]] = {}
        head = json.loads(json.dumps(settings))
        lines = self._lines()
        if lines and lines[0] != head and not overwrite:
            raise CardError(f"{path.parent.parent} was read with {lines[0]}, not {head}; choose another, or overwrite")
        for row in lines[1:]:
            self.begun.add(row["page"])
            if row["state"] == "done" and not overwrite:
                self.done[row["page"]] = row
        known = [{"page": page, "state": "begun"} for page in sorted(self.begun - self.done.keys())]
        rows = (head, *self.done.values(), *known)
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def _lines(self) -> list[dict[str, Any]]:
        """The lines that are there, but for one that a killed run left unended."""
        text = self.path.read_text("utf-8") if self.path.is_file() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def write(self, page: str, state: str, **counts: int) -> None:
        """Add a page's line: its state, "begun" or "done", and what was counted on it."""
        row = {"page": page, "state": state, **counts}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.begun.add(page)
        if state == "done":
            self.done[page] = row


def forget_cards(folder: Path, pages: set[str]) -> None:
    """Remove from a card folder the cards of pages that are read anew: their rows first, then their files."""
    metadata = folder / "metadata.jsonl"
    rows = read_metadata(metadata) if pages and metadata.is_file() else []
    stale = [row for row in rows if row.get("page") in pages]
    if not stale:
        return
    kept = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows if row.get("page") not in pages)
    write_atomically(metadata, kept.encode())
    for row in stale:
        for name in (row["file_name"], row.get("mask_file_name")):
            if name:
                (folder / name).unlink(missing_ok=True)
