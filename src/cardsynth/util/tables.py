"""Tables: CSV logs in which people write remarks, and Markdown."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from cardsynth.util.files import write_atomically


def add_rows(path: str | Path, columns: Sequence[str], key: Sequence[str], rows: Sequence[Mapping[str, str]]) -> int:
    """Adds rows to a CSV log; existing rows stay as they are, with remarks and columns that people added.

    Args:
        path: the log; made if missing.
        columns: its columns.
        key: a row that agrees with an existing one in all of these columns is not added again.
        rows: the rows.

    Returns:
        The number of rows that were added.

    Raises:
        ValueError: the file is no such log.
    """
    path = Path(path)
    names, existing = _read(path, columns)
    known = {tuple(row.get(name) for name in key) for row in existing}
    new = [row for row in rows if tuple(row[name] for name in key) not in known]
    if new:
        write_atomically(path, csv_bytes(names, [*existing, *new]))
    return len(new)


def csv_bytes(names: Sequence[str], rows: Sequence[Mapping[str, object]], digits: int | None = None) -> bytes:
    """Writes a CSV table.

    Args:
        names: the columns.
        rows: the rows; a column that a row lacks stays empty.
        digits: significant digits of floats; default: all that are needed to read the same number.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        rounded = {name: f"{value:.{digits}g}" for name, value in row.items() if digits and isinstance(value, float)}
        writer.writerow(dict(row) | rounded)
    return buffer.getvalue().encode()


def markdown_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Formats a Markdown table; None is an empty cell, and a float has three digits."""
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
