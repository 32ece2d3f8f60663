"""Fine-tune and judge a list of settings, and print a table: `python benchmarks/text_sweep.py --data DIR`.

The list is benchmarks/sweeps/text_published.json, a published grid of learning rates and steps. At a constant learning
rate a run of more steps goes on where the one of fewer stopped, and equals one that was never stopped (tests hold it to
that): the grid takes 16,000 steps instead of 28,800. --quick takes a hundredth of the steps.
"""

import argparse
import json
from itertools import groupby
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from cardsynth.cli.options import parse_seeds
from cardsynth.core.recorder import with_progress
from cardsynth.core.runs import checkpoints, read_log, read_manifest
from cardsynth.core.safeguards import TrainingError
from cardsynth.text.config import TextConfig
from cardsynth.text.draw import open_text_model
from cardsynth.text.judge import ClipScorer, judge, prompt_styles
from cardsynth.text.log import add_to_log
from cardsynth.text.train import train_text
from cardsynth.util.files import write_atomically
from cardsynth.util.tables import markdown_table

GRID = Path(__file__).parent / "sweeps/text_published.json"
LAST = 50  # steps over which the loss is taken


def sweep(
    settings: list[dict[str, Any]],
    data: Path,
    out: Path,
    base: TextConfig,
    seeds: list[int],
    clip: str | None = None,
) -> list[dict[str, Any]]:
    """A row for each of the settings, which are those of `base` but for what they name; runs go to `out`."""
    scorer = ClipScorer(clip) if clip else None
    rows = []
    without_steps = sorted(settings, key=lambda one: (_but_steps(one), one["max_train_steps"]))
    for number, (_, group) in enumerate(groupby(without_steps, key=_but_steps)):
        run, stopped = out / f"run_{number:02d}", None
        for one in group:
            config = base.replace(**one)
            try:
                if stopped is None:
                    for _ in with_progress(train_text(config, data, run, resume=True)):
                        pass
            except TrainingError as error:
                stopped = str(error)
            rows.append(_judged(config, run, out, data, seeds, scorer) | {"stopped": stopped})
            write_atomically(out / "sweep.json", (json.dumps(rows, indent=2) + "\n").encode())
    return rows


def _but_steps(settings: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in sorted(settings.items()) if name != "max_train_steps"})


def _judged(
    config: TextConfig, run: Path, out: Path, data: Path, seeds: list[int], scorer: ClipScorer | None
) -> dict[str, Any]:
    row: dict[str, Any] = {"learning_rate": config.learning_rate, "steps": config.max_train_steps}
    log, before = read_log(run), read_manifest(run)["loss_before"]
    losses = [entry["loss"] for entry in log[-LAST:] if entry["loss"] > 0]
    row["loss"] = geometric_mean(losses) / geometric_mean(before) if losses else None
    if not checkpoints(run):
        return row
    model = open_text_model(run)
    place = out / f"lr_{config.learning_rate:g}_steps_{config.max_train_steps}"
    styles = prompt_styles(config.trigger)
    found = judge(model, styles, seeds, place, model.drawing, data, scorer, overwrite=True)
    add_to_log(out / "text_log.csv", found)
    row |= {f"clip, {style}": figure.text(1) if figure else None for style, figure in found.clip_scores.items()}
    row["near-copies"] = found.copies.share.percent() if found.copies else None
    row["withheld"] = sum(map(found.withheld, styles)) if found.checks_safety else None
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown; loss: of the last steps, as a share of that before training."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "stopped"))
    guarded = [[*(row.get(name) for name in names), "stopped it" if row["stopped"] else ""] for row in rows]
    return markdown_table([*names, "guard"], guarded)


def main() -> None:
    """Read the command line, sweep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="card folder with captions")
    parser.add_argument("--settings", type=Path, default=GRID, help="JSON list of settings")
    parser.add_argument("--base-model", default=TextConfig().base_model, help="diffusers folder or Hub id")
    parser.add_argument("--method", choices=("lora", "full"), default="lora")
    parser.add_argument("--out", type=Path, default=Path("runs/text_sweep"))
    parser.add_argument("--seeds", default="0-7", help="of each prompt that is judged")
    parser.add_argument("--clip", help="CLIP on this disk, for scores")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the steps, to see that all works")
    given = parser.parse_args()
    settings = json.loads(given.settings.read_text())
    if given.quick:
        settings = [one | {"max_train_steps": max(1, one["max_train_steps"] // 100)} for one in settings]
    base = TextConfig(base_model=given.base_model, method=given.method)
    rows = sweep(settings, given.data, given.out, base, parse_seeds(given.seeds), given.clip)
    print(table(rows))


if __name__ == "__main__":
    main()
