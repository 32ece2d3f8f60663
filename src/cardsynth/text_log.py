"""The qualitative log of text-to-card models: a row a judged picture, with a remark that a person fills in."""

import csv
import io
from pathlib import Path

from cardsynth.folder import CardError, write_atomically
from cardsynth.text_judge import Judgement

KEY = ("model", "revision", "prompt", "seed", "steps", "guidance")
COLUMNS = ("model", "revision", "style", "prompt", "seed", "steps", "guidance", "picture", "withheld", "clip_score")
COLUMNS += ("nearest", "distance", "remark")


def add_to_log(path: str | Path, found: Judgement) -> int:
    """Add what was judged to a CSV; returns the number of new rows.

    Rows that are there stay as they are, remarks and columns of your own with them; a picture that has its row gets no
    second one. Raises CardError for a file that is no such log.
    """
    path = Path(path)
    names, rows = _read(path)
    known = {tuple(row.get(name) for name in KEY) for row in rows}
    new = [row for row in _rows_of(found) if tuple(row[name] for name in KEY) not in known]
    if not new:
        return 0
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows([*rows, *new])
    write_atomically(path, buffer.getvalue().encode())
    return len(new)


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    if not path.exists():
        return list(COLUMNS), []
    try:
        reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True)
        rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise CardError(f"{path} is no CSV in UTF-8 ({error}); mend it, or name another log") from error
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing or any(None in row for row in rows):
        what = f"lacks the columns {', '.join(missing)}" if missing else "has rows with more cells than columns"
        raise CardError(f"{path} {what}; mend it, or name another log")
    return list(reader.fieldnames), rows


def _rows_of(found: Judgement) -> list[dict[str, str]]:
    return [
        {
            "model": found.model,
            "revision": found.revision,
            "style": picture.style,
            "prompt": picture.prompt,
            "seed": str(picture.seed),
            "steps": str(found.drawing.num_inference_steps),
            "guidance": f"{found.drawing.guidance_scale:g}",
            "picture": picture.file_name,
            "withheld": "yes" if picture.withheld else "",
            "clip_score": _number(picture.clip_score),
            "nearest": picture.nearest or "",
            "distance": _number(picture.distance),
            "remark": "",
        }
        for picture in found.pictures
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
