"""Logs in CSV to which rows are added and in which people write: their remarks and columns stay as they are."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from cardsynth.util.files import write_atomically


def add_rows(path: str | Path, columns: Sequence[str], key: Sequence[str], rows: Sequence[Mapping[str, str]]) -> int:
    """Add rows to a CSV that has these columns; returns the number of new ones.

    Rows that are there stay as they are, remarks and columns of one's own with them; a row that agrees in all `key`
    columns with one that is there is not added again. Raises ValueError for a file that is no such log.
    """
    path = Path(path)
    names, there = _read(path, columns)
    known = {tuple(row.get(name) for name in key) for row in there}
    new = [row for row in rows if tuple(row[name] for name in key) not in known]
    if new:
        write_atomically(path, csv_bytes(names, [*there, *new]))
    return len(new)


def csv_bytes(names: Sequence[str], rows: Sequence[Mapping[str, object]]) -> bytes:
    """A CSV with these columns; a row without one of them leaves it empty, and floats have six significant digits."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows
    )
    return buffer.getvalue().encode()


def markdown_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; None is an empty cell, and a float is shown with three digits."""
    lines = [names, ["---"] * len(names), *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _read(path: Path, columns: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    if not path.exists():
        return list(columns), []
    try:
        reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True)
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV in UTF-8 ({error}); mend it, or name another log") from error
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing or any(None in row for row in rows):
        what = f"lacks the columns {', '.join(missing)}" if missing else "has rows with more cells than columns"
        raise ValueError(f"{path} {what}; mend it, or name another log")
    return list(reader.fieldnames), rows
