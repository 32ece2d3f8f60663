"""Measures one CUDA machine at the published sizes: training steps, MFU, memory, a whole run by time, and sampling.

`--tiny` runs every line of it on any machine in a minute, at sizes whose figures mean nothing. Results, loss curves and
sample grids go to the folder of `--out`; `--whole` adds published runs from first step to last.
"""

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import torch

from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.core.config import TrainingConfig
from cardsynth.core.learner import DiffusionLearner
from cardsynth.core.runs import load_model, read_log
from cardsynth.core.sampling import generate
from cardsynth.doctor.estimate import net_size
from cardsynth.models import get_preset, train
from cardsynth.plots.cards import figure_png
from cardsynth.plots.curves import plot_log
from cardsynth.render.draw import render_cards
from cardsynth.util.device import free_memory
from cardsynth.util.environment import describe_environment

PEAK_TFLOPS = {"H100": 989, "H200": 989, "A100": 312, "L4": 121, "4090": 165}  # bf16 tensor cores, without sparsity
PUBLISHED_HOURS = {"all_gum_stain_cards": 4.646, "higher_res_gum_stain_cards": 19.37}
PUBLISHED_STEPS = {"all_gum_stain_cards": 18_600, "higher_res_gum_stain_cards": 18_500}
MODES = ("no", "default", "reduce-overhead")


def peak_tflops() -> float | None:
    """Tensor core peak of this GPU in bf16, where it is known."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((value for key, value in PEAK_TFLOPS.items() if key in name), None)


def synchronize() -> None:
    """Wait for the GPU, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def shrink(config: TrainingConfig) -> TrainingConfig:
    """The same settings at a size and width that a CPU runs in seconds."""
    narrow = {
        "block_out_channels": (32,) * len(config.block_out_channels),
        "attention_head_dim": 8,
        "train_batch_size": 2,
    }
    return config.replace(height=64, width=64, eval_batch_size=4, num_inference_steps=4, **narrow)


def blank_cards(config: TrainingConfig, count: int = 256) -> Cards:
    """Random RGB cards: what they show does not change how long a step takes."""
    pixels = torch.randint(0, 256, (count, 3, *config.size), dtype=torch.uint8)
    return Cards(pixels, torch.zeros(count, dtype=torch.long))


@contextmanager
def reported(rows: list[dict[str, Any]], row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Add a row to the results also where what it measures fails, with the reason."""
    try:
        yield row
    except Exception as error:
        row["failed"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        free_memory()
    rows.append(row)
    print(json.dumps(row), flush=True)


def measure_steps(preset: str, mode: str, checkpointing: bool, steps: int, tiny: bool) -> dict[str, Any]:
    """Median seconds a step, MFU and memory of a published run."""
    config = get_preset(preset).replace(compile_mode=mode, gradient_checkpointing=checkpointing)
    config = shrink(config) if tiny else config
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    learner = DiffusionLearner(config, blank_cards(config))
    for step in range(3):
        learner.optimise(step)
    synchronize()
    start_s = time.perf_counter() - begun
    seconds = []
    for group in range(5):
        begun = time.perf_counter()
        for step in range(steps):
            learner.optimise(3 + group * steps + step)
        synchronize()
        seconds.append((time.perf_counter() - begun) / steps)
    teraflops = 3 * net_size(config, 3, 0)[1] * config.train_batch_size / 1e12
    median = statistics.median(seconds)
    hours = median * PUBLISHED_STEPS[preset] / 3600
    peak = peak_tflops()
    return {
        "seconds_a_step": round(median, 5),
        "least": round(min(seconds), 5),
        "most": round(max(seconds), 5),
        "start_s": round(start_s, 1),
        "tflops": round(teraflops / median, 2),
        "mfu": round(teraflops / median / peak, 3) if peak else None,
        "memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2) if torch.cuda.is_available() else None,
        "whole_run_minutes": round(60 * hours, 1),
        "times_the_published_speed": round(PUBLISHED_HOURS[preset] / hours, 1),
    }


def keep_pictures(run: Path, stem: Path) -> None:
    """Copy a run's last grid to STEM_grid.png, and draw its loss to STEM_loss.png."""
    shutil.copy(sorted((run / "samples").glob("*.png"))[-1], f"{stem}_grid.png")
    Path(f"{stem}_loss.png").write_bytes(figure_png(plot_log(read_log(run))))


def train_whole(config: TrainingConfig, stem: Path, count: int) -> dict[str, Any]:
    """Train a published preset on drawn cards, from drawing to the last checkpoint, and time the training."""
    data, run = Path(f"{stem}_cards"), Path(f"{stem}_run")
    render_cards(data, count, config.size, overwrite=True)
    config = config.replace(use_masks=False, use_labels=False)
    cards = read_cards(data, config.reading)
    begun = time.perf_counter()
    for _ in train(config, cards, run, overwrite=True):
        pass
    minutes = (time.perf_counter() - begun) / 60
    keep_pictures(run, stem)
    shutil.rmtree(data)
    shutil.rmtree(run)
    return {"steps": config.max_train_steps, "minutes": round(minutes, 2)}


def train_for(config: TrainingConfig, data: Path, run: Path, minutes: float) -> dict[str, Any]:
    """Train on drawn cards for so many minutes; a schedule as long as that is found from the first steps."""
    cards = read_cards(data, config.reading)
    learner = DiffusionLearner(config, cards)
    learner.optimise(0).tolist()
    begun = time.perf_counter()
    for step in range(1, 11):
        figures = learner.optimise(step)
    figures.tolist()
    seconds = (time.perf_counter() - begun) / 10
    del learner
    free_memory()
    steps = max(20, int(60 * minutes / seconds))
    begun = time.perf_counter()
    for _ in train(config.replace(max_train_steps=steps), cards, run, overwrite=True):
        pass
    return {"steps": steps, "minutes": round((time.perf_counter() - begun) / 60, 2)}


def measure_sampling(run: Path, count: int, steps: int | None) -> dict[str, Any]:
    """Cards a second of a run, at its own settings or so many net calls, after a batch that warms up."""
    model = load_model(run, device="cuda" if torch.cuda.is_available() else "cpu")
    for _ in generate(model, range(min(count, 256)), num_inference_steps=steps, progress=False):
        pass
    begun = time.perf_counter()
    for _ in generate(model, range(count), num_inference_steps=steps, progress=False):
        pass
    return {"cards": count, "cards_per_s": round(count / (time.perf_counter() - begun), 2)}


def main() -> None:
    """Measure all of it, printing each figure as it comes, and write `gpu.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/gpu"), help="folder to write to")
    parser.add_argument("--tiny", action="store_true", help="sizes that any machine runs in a minute")
    parser.add_argument("--steps", type=int, default=40, help="steps in each of five groups that are timed")
    parser.add_argument("--minutes", type=float, default=5, help="how long the `card` preset is trained")
    parser.add_argument("--whole", nargs="*", default=[], choices=PUBLISHED_STEPS, help="published runs to train whole")
    parser.add_argument("--cards", type=int, default=8000, help="cards drawn for it")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    steps, minutes, count = arguments.steps, arguments.minutes, arguments.cards
    if arguments.tiny:
        steps, minutes, count = 1, 0.05, 16
    rows: list[dict[str, Any]] = []
    on_gpu = torch.cuda.is_available()
    for preset, mode in product(PUBLISHED_STEPS, MODES if on_gpu else ("no",)):
        for checkpointing in (False, True) if mode in ("no", "default") else (False,):
            row = {"what": "training step", "preset": preset, "compile": mode, "checkpointing": checkpointing}
            with reported(rows, row):
                row |= measure_steps(preset, mode, checkpointing, steps, arguments.tiny)
    for preset in arguments.whole:
        config = shrink(get_preset(preset)) if arguments.tiny else get_preset(preset)
        config = config.replace(
            max_train_steps=20 if arguments.tiny else PUBLISHED_STEPS[preset], num_inference_steps=50
        )
        with reported(rows, {"what": "whole published run", "preset": preset}) as row:
            row |= train_whole(config, arguments.out / preset, count)
    config = get_preset("card").replace(save_image_epochs=20, save_model_epochs=20)
    config = shrink(config) if arguments.tiny else config
    data, run = arguments.out / "cards", arguments.out / "run"
    if not data.exists():
        render_cards(data, count, config.size)
    with reported(rows, {"what": "training the card preset"}) as row:
        row |= train_for(config, data, run, minutes)
        keep_pictures(run, arguments.out / "card")
    for steps_of_sampling in (None, 10):
        with reported(rows, {"what": "sampling", "preset": "card", "net_calls": steps_of_sampling or "own"}) as row:
            row |= measure_sampling(run, 8 if arguments.tiny else 1024, 4 if arguments.tiny else steps_of_sampling)
    result = {**describe_environment(), "peak_tflops": peak_tflops(), "tiny": arguments.tiny, "results": rows}
    (arguments.out / "gpu.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for folder in (data, run):
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
