"""Records which pages of a folder were started and finished, so that an interrupted run can resume."""

import json
from pathlib import Path
from typing import Any

from cardsynth.cards.folder import CardError, picture_keys, read_metadata
from cardsynth.util.files import write_atomically


class Journal:
    """A JSON-lines file: the settings on its first line, then one line for each change of a page's state.

    Attributes:
        rows: The last line of each page, by page name: its state (`begun` or `done`) and its counts.
    """

    def __init__(self, path: Path, settings: dict[str, Any], overwrite: bool = False) -> None:
        """Opens or creates a journal, and drops the incomplete last line of a killed run.

        Args:
            path: The journal; its folder lies inside the card folder.
            settings: JSON values that decide the result of reading a page.
            overwrite: Accept a journal of other settings, and read all pages again.

        Raises:
            CardError: If the journal was written with other settings, unless `overwrite`.
        """
        self.path = path
        text = path.read_text("utf-8") if path.is_file() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        head = json.loads(json.dumps(settings))
        if lines and lines[0] != head and not overwrite:
            raise CardError(f"{path.parent.parent} was read with {lines[0]}, not {head}; choose another, or overwrite")
        self.rows: dict[str, dict[str, Any]] = {row["page"]: row for row in lines[1:]}
        if overwrite:
            self.rows = {page: {"page": page, "state": "begun"} for page in self.rows}
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in (head, *self.rows.values())).encode())

    @property
    def done(self) -> dict[str, dict[str, Any]]:
        """The line of each finished page, with its counts, by page name."""
        return {page: row for page, row in self.rows.items() if row["state"] == "done"}

    def write(self, page: str, state: str, **counts: int) -> None:
        """Appends a line to the journal.

        Args:
            page: Name of the page.
            state: `begun` or `done`.
            **counts: What a finished page holds.
        """
        self.rows[page] = {"page": page, "state": state, **counts}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.rows[page]) + "\n")


def forget_cards(folder: Path, pages: set[str]) -> None:
    """Removes the cards of some pages from a card folder: first their metadata rows, then their files.

    Args:
        folder: A card folder, which may not exist yet.
        pages: Names of pages, as in the column `page` of the metadata.
    """
    metadata = folder / "metadata.jsonl"
    rows = read_metadata(metadata) if pages and metadata.is_file() else []
    stale = [row for row in rows if row.get("page") in pages]
    if stale:
        remaining = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows if row.get("page") not in pages)
        write_atomically(metadata, "".join(remaining).encode())
    for row in stale:
        for key in picture_keys(row):
            (folder / row[key]).unlink(missing_ok=True)
