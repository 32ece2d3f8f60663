"""The qualitative log of text-to-card models: a row a judged picture, with a remark that a person fills in."""

from pathlib import Path

from cardsynth.text.judge import Judgement
from cardsynth.util.tables import add_rows

KEY = ("model", "revision", "prompt", "seed", "steps", "guidance")
COLUMNS = ("model", "revision", "style", "prompt", "seed", "steps", "guidance", "picture", "withheld", "clip_score")
COLUMNS += ("nearest", "distance", "remark")


def add_to_log(path: str | Path, found: Judgement) -> int:
    """Add what was judged to a CSV, as `remarks.add_rows` does; returns the number of new rows.

    A picture that has its row gets no second one. Raises CardError for a file that is no such log.
    """
    return add_rows(path, COLUMNS, KEY, _rows_of(found))


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
