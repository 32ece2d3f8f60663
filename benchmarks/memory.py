"""Measures memory of training steps against what `train --estimate` counts, and prints what each preset needs.

Measured: the highest memory of a process of its own over three steps, less what it had before the net was built (on a
GPU: the highest that PyTorch had allocated).
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import torch

from cardsynth.cards.dataset import Cards
from cardsynth.core.config import TrainingConfig
from cardsynth.core.learner import DiffusionLearner
from cardsynth.doctor.estimate import training_memory
from cardsynth.models import PRESETS, get_preset
from cardsynth.util.environment import describe_environment

OURS = ("demo", "card", "card_large")  # four channels and five classes; the published ones have three and none
PUBLISHED = ("cards", "all_gum_stain_cards", "higher_res_gum_stain_cards")
ON_CPU = (("demo", 8), ("demo", 64), ("card", 2), ("all_gum_stain_cards", 1))
ON_GPU = (("all_gum_stain_cards", 16), ("higher_res_gum_stain_cards", 8), ("card", 16), ("card_large", 16))


def blank_cards(config: TrainingConfig, channels: int, classes: int) -> Cards:
    """Black cards of a size, as many as a batch."""
    count = config.train_batch_size
    names = tuple(f"class_{index}" for index in range(classes))
    return Cards(torch.zeros(count, channels, *config.size, dtype=torch.uint8), torch.zeros(count).long(), names)


def shape_of(preset: str) -> tuple[int, int]:
    """Channels and classes that a preset is meant for."""
    return (4, 5) if preset in OURS else (3, 0)


def measure(preset: str, batch: int, checkpointing: bool) -> float:
    """Highest memory of three steps in this process, in GB, over what was there before."""
    config = get_preset(preset).replace(train_batch_size=batch, gradient_checkpointing=checkpointing)
    process = psutil.Process()
    before = process.memory_info().rss
    highest, running = before, True

    def watch() -> None:
        nonlocal highest
        while running:
            highest = max(highest, process.memory_info().rss)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    learner = DiffusionLearner(config, blank_cards(config, *shape_of(preset)))
    for step in range(3):
        learner.optimise(step).tolist()
    running = False
    watcher.join()
    if learner.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    return (highest - before) / 1e9


def counted(preset: str, batch: int, checkpointing: bool, on_gpu: bool) -> float:
    """What `training_memory` says, in GB."""
    config = get_preset(preset).replace(train_batch_size=batch, gradient_checkpointing=checkpointing)
    return training_memory(config, *shape_of(preset), batch, on_gpu) / 1e9


def main() -> None:
    """Print both tables, and write them as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--measure", nargs=3, metavar=("PRESET", "BATCH", "CHECKPOINTING"), help="measure one here")
    arguments = parser.parse_args()
    if arguments.measure:
        preset, batch, checkpointing = arguments.measure
        print(measure(preset, int(batch), checkpointing == "yes"))
        return
    measured = []
    on_gpu = torch.cuda.is_available()
    print(f"{'preset':<28} {'batch':>5} {'checkpointing':>13} {'counted GB':>10} {'measured GB':>11}")
    for preset, batch in ON_GPU if on_gpu else ON_CPU:
        for checkpointing in (False, True):
            command = [sys.executable, __file__, "--measure", preset, str(batch), "yes" if checkpointing else "no"]
            said = subprocess.run(command, capture_output=True, text=True, check=True)
            row = {
                "preset": preset,
                "batch": batch,
                "checkpointing": checkpointing,
                "counted_gb": round(counted(preset, batch, checkpointing, on_gpu), 3),
                "measured_gb": round(float(said.stdout.split()[-1]), 3),
            }
            measured.append(row)
            words = "yes" if checkpointing else "no"
            print(f"{preset:<28} {batch:>5} {words:>13} {row['counted_gb']:>10} {row['measured_gb']:>11}", flush=True)
    needed = []
    print(
        f"\nCounted for a GPU, as each preset is\n{'preset':<28} {'batch':>5} {'GB':>6} {'GB with checkpointing':>22}"
    )
    for preset in (*PUBLISHED, *OURS):
        batch = PRESETS[preset].train_batch_size
        both = [round(counted(preset, batch, checkpointing, True), 2) for checkpointing in (False, True)]
        needed.append({"preset": preset, "batch": batch, "gb": both[0], "gb_with_checkpointing": both[1]})
        print(f"{preset:<28} {batch:>5} {both[0]:>6} {both[1]:>22}", flush=True)
    if arguments.json:
        result = {**describe_environment(), "measured": measured, "needed_on_a_gpu": needed}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
