"""The qualitative log of text-to-card models: one row per judged picture, with a remark by a person."""

from pathlib import Path

from cardsynth.text.judge import Judgement
from cardsynth.util.tables import add_rows

KEY = ("model", "revision", "prompt", "seed", "steps", "guidance")
COLUMNS = ("model", "revision", "style", "prompt", "seed", "steps", "guidance", "picture", "withheld", "clip_score")
COLUMNS += ("nearest", "distance", "remark")


def add_to_log(path: str | Path, judgement: Judgement) -> int:
    """Adds judged pictures to a CSV file; existing rows, with their remarks and further columns, stay as they are.

    Args:
        path: The CSV file.
        judgement: The pictures.

    Returns:
        Number of new rows; a picture that has a row is not added again.

    Raises:
        ValueError: The file is no such log.
    """
    shared = {
        "model": judgement.model,
        "revision": judgement.revision,
        "steps": str(judgement.drawing.num_inference_steps),
        "guidance": f"{judgement.drawing.guidance_scale:g}",
        "remark": "",
    }
    rows = [
        shared
        | {
            "style": picture.style,
            "prompt": picture.prompt,
            "seed": str(picture.seed),
            "picture": picture.file_name,
            "withheld": "yes" if picture.withheld else "",
            "clip_score": _number(picture.clip_score),
            "nearest": picture.nearest or "",
            "distance": _number(picture.distance),
        }
        for picture in judgement.pictures
    ]
    return add_rows(path, COLUMNS, KEY, rows)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
