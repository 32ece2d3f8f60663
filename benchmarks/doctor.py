"""The run doctor on sound runs and on planted faults: what it names, and whether it names anything else.

Takes a finished run (`make demo` leaves one) and its cards. Faults that a setting or the data make are trained anew in
its settings, shortened to a few hundred steps; those that only weights or settings show are planted in a copy of it.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.core.config import TrainingConfig
from cardsynth.core.model import build_unet
from cardsynth.core.recorder import with_progress
from cardsynth.core.runs import checkpoints
from cardsynth.core.safeguards import TrainingError
from cardsynth.doctor.diagnosis import diagnose
from cardsynth.models import train
from cardsynth.util.environment import describe_environment
from cardsynth.util.files import write_atomically
from cardsynth.util.settings import load_config

STEPS = 200
NOISE, COLOUR = "samples are noise", "samples of one colour"


@dataclass(frozen=True)
class Case:
    """A run with a fault, the name it should get, and names that may stand beside it, since they come of it.

    make: puts the run into a folder and returns the cards that it was trained on.
    """

    fault: str
    expected: str
    make: Callable[[Path], Cards]
    beside: tuple[str, ...] = ()


class Maker:
    """Makes runs with faults from a sound `run` and its `cards`."""

    def __init__(self, run: Path, cards: Cards) -> None:
        self.run, self.cards = run, cards
        self.config = load_config(run / "settings.json")
        rare = {"save_image_epochs": 10_000, "save_model_epochs": 10_000}
        self.short = self.config.replace(max_train_steps=STEPS, lr_warmup_steps=STEPS // 20, **rare)

    def trained(self, cards: Cards | None = None, **changes: Any) -> Callable[[Path], Cards]:
        """A run trained anew, for `STEPS` steps where `changes` say nothing else."""
        cards = self.cards if cards is None else cards

        def make(folder: Path) -> Cards:
            # A run that stops, since its loss is not finite any more, is looked over as it stands.
            with suppress(TrainingError):
                for _ in with_progress(train(self.short.replace(**changes), cards, folder)):
                    pass
            return cards

        return make

    def copied(
        self,
        change: Callable[[dict[str, torch.Tensor]], None] | None = None,
        averaged: Callable[[dict[str, torch.Tensor]], None] | None = None,
        cards: Cards | None = None,
        **settings: Any,
    ) -> Callable[[Path], Cards]:
        """A copy of the run with other weights (`averaged`: in the saved ones alone) or settings."""

        def make(folder: Path) -> Cards:
            shutil.copytree(self.run, folder, ignore=shutil.ignore_patterns("tensorboard"))
            saved = folder / "unet/diffusion_pytorch_model.safetensors"
            files = {saved: change or averaged, checkpoints(folder)[-1] / "model.safetensors": change}
            for path, edit in files.items():
                if edit:
                    weights = load_file(path)
                    edit(weights)
                    save_file(weights, path)
            written = json.loads((folder / "settings.json").read_text()) | settings
            (folder / "settings.json").write_text(json.dumps(written))
            return self.cards if cards is None else cards

        return make


def one_colour(config: TrainingConfig) -> Callable[[dict[str, torch.Tensor]], None]:
    """An output that no longer depends on what the net sees, the same for all pixels of a channel."""

    def change(weights: dict[str, torch.Tensor]) -> None:
        weights["conv_out.weight"].zero_()
        of_channel = weights["conv_out.bias"].view(-1, config.patch_size**2)
        weights["conv_out.bias"] = of_channel.mean(dim=1).repeat_interleave(config.patch_size**2)

    return change


def lagging(maker: Maker, decay: float, steps: int) -> Callable[[dict[str, torch.Tensor]], None]:
    """An average as `decay` without warm-up leaves it, had the weights gone straight from the first to the last."""
    rest = sum((1 - decay) * decay ** (steps - step) * step / steps for step in range(1, steps + 1))

    def change(weights: dict[str, torch.Tensor]) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(maker.config.seed)
            initial = build_unet(maker.config, maker.cards.pixels.shape[1], len(maker.cards.label_names)).state_dict()
        for name, value in weights.items():
            weights[name] = initial[name].lerp(value, rest)

    return change


def set_mask(config: TrainingConfig, value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    """Masks of one value, -1 or 1, on every card, for a net that predicts the card."""

    def change(weights: dict[str, torch.Tensor]) -> None:
        weights["conv_out.weight"][3 * config.patch_size**2 :] = 0
        weights["conv_out.bias"][3 * config.patch_size**2 :] = value

    return change


def overflow(weights: dict[str, torch.Tensor]) -> None:
    """One weight that is not finite."""
    weights["conv_in.weight"][0, 0, 0, 0] = torch.nan


def forget_classes(weights: dict[str, torch.Tensor]) -> None:
    """Classes that all mean the same."""
    weights["class_embedding.weight"][:] = weights["class_embedding.weight"].mean(dim=0)


def planted(maker: Maker) -> list[Case]:
    """The faults."""
    cards, config = maker.cards, maker.config
    generator = torch.Generator().manual_seed(0)
    shuffled = replace(cards, labels=cards.labels[torch.randperm(len(cards), generator=generator)])
    few = torch.arange(0, len(cards), len(cards) // 8)[:8]
    eight = replace(cards, pixels=cards.pixels[few], labels=cards.labels[few], names=())
    mirrored = replace(cards, pixels=cards.pixels.clone())
    mirrored.pixels[-40:] = cards.pixels[:40].flip(-1)
    unmasked = replace(cards, pixels=cards.pixels.clone())
    unmasked.pixels[:, 3] = 0
    classes, masks = "classes ignored", "masks are empty"
    return [
        Case("output layer dead, in a copy", COLOUR, maker.copied(one_colour(config))),
        Case(
            "trained for 20 steps to predict the noise",
            NOISE,
            maker.trained(max_train_steps=20, lr_warmup_steps=2, prediction_type="epsilon", loss_weighting="none"),
            ("loss not falling",),
        ),
        Case("one weight NaN, in a copy", "not finite", maker.copied(overflow)),
        Case(
            "EMA of decay 0.9999 without warm-up, in a copy",
            "averaged weights lag behind",
            maker.copied(averaged=lagging(maker, 0.9999, config.max_train_steps or 1000), ema_decay=0.9999),
            (NOISE, COLOUR),
        ),
        Case(
            "trained on eight cards, 800 steps",
            "over-fitting: copies of training cards",
            maker.trained(eight, max_train_steps=800),
        ),
        Case("trained with horizontal_flip", "mirrored text", maker.trained(horizontal_flip=True)),
        Case(
            "40 of the cards are others mirrored, in the cards of a copy",
            "mirrored training cards",
            maker.copied(cards=mirrored),
        ),
        Case("trained on shuffled labels", classes, maker.trained(shuffled)),
        Case("trained with label_dropout 0.999", classes, maker.trained(label_dropout=0.999)),
        Case("class embeddings all alike, in a copy", classes, maker.copied(forget_classes)),
        Case("trained with learning_rate 0.1, until it stopped", "not finite", maker.trained(learning_rate=0.1)),
        Case(
            "trained with learning_rate 0.01, gradients not clipped",
            "learning rate too high",
            maker.trained(learning_rate=0.01, max_grad_norm=1e9),
            (NOISE, COLOUR, classes, masks, "masks are full"),
        ),
        Case(
            f"trained with lr_warmup_steps {STEPS // 2} of {STEPS}",
            "warm-up longer than a fifth of the run",
            maker.trained(lr_warmup_steps=STEPS // 2),
        ),
        Case(
            "trained with learning_rate 1e-8",
            "loss not falling",
            maker.trained(learning_rate=1e-8, max_train_steps=60, lr_warmup_steps=3),
            (NOISE, COLOUR),
        ),
        Case("trained on cards whose masks are black", masks, maker.trained(unmasked)),
        Case("masks all white, in a copy", "masks are full", maker.copied(set_mask(config, 1.0))),
    ]


def look(case: Case, folder: Path) -> dict[str, Any]:
    """Make a run, have it looked over with its cards, and delete it; a row of the table."""
    cards = case.make(folder)
    row = look_over(case.fault, folder, cards, case.expected, case.beside)
    shutil.rmtree(folder)
    return row


def look_over(
    run_name: str, run: Path, cards: Cards, expected: str = "", beside: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A row of the table: what was named, and whether that is what should be."""
    began = time.perf_counter()
    diagnosis = diagnose(run, cards, progress=False)
    found = [finding.name for finding in diagnosis.findings]
    return {
        "run": run_name,
        "expected": expected,
        "found": found,
        "text": diagnosis.text().splitlines()[1:],
        "named": not expected or expected in found,
        "false_alarms": sorted(set(found) - {expected, *beside}),
        "seconds": round(time.perf_counter() - began, 1),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| run | should be named | named | false alarms | s |", "|" + " --- |" * 5]
    for row in rows:
        alarms = ", ".join(row["false_alarms"]) or "none"
        cells = (row["run"], row["expected"] or "nothing", ", ".join(row["found"]) or "nothing", alarms)
        lines.append(f"| {' | '.join(cells)} | {row['seconds']:.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Look over sound runs and planted faults, print the table, and write it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a finished, sound run of the demo's settings")
    parser.add_argument("cards", type=Path, help="the cards that it was trained on")
    parser.add_argument("--sound", type=Path, nargs=2, action="append", default=[], metavar=("RUN", "CARDS"))
    parser.add_argument("--out", type=Path, metavar="STEM", help="also write STEM.json, and go on from it")
    arguments = parser.parse_args()
    maker = Maker(arguments.run, read_cards(arguments.cards, load_config(arguments.run / "settings.json").reading))
    written = arguments.out and arguments.out.with_suffix(".json")
    rows = json.loads(written.read_text())["runs"] if written and written.is_file() else []
    done = {row["run"] for row in rows}

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        print(f"{row['run']}: {', '.join(row['found']) or 'nothing'}", flush=True)
        if written:
            result = describe_environment() | {"steps": STEPS, "runs": rows}
            write_atomically(written, (json.dumps(result, indent=2) + "\n").encode())

    for run, folder in [(arguments.run, arguments.cards), *arguments.sound]:
        if (name := f"sound: {run.name}") not in done:
            add(look_over(name, run, read_cards(folder, load_config(run / "settings.json").reading)))
    cases = [Case(f"sound: trained for {STEPS} steps", "", maker.trained()), *planted(maker)]
    with tempfile.TemporaryDirectory() as folder:
        for index, case in enumerate(cases):
            if case.fault not in done:
                add(look(case, Path(folder) / str(index)))
    faults = [row for row in rows if row["expected"]]
    print(f"\n{table(rows)}\n\n{sum(row['named'] for row in faults)} of {len(faults)} faults named")


if __name__ == "__main__":
    main()
