"""Compares recipes at equal training time and equal data: the `demo` preset with one setting changed at a time.

First the seconds a step of every recipe are measured, in turns and with nothing else running; then each trains for as
many steps as fit into the budget, which may run beside other work. Quality is KID (ruler.py) of generated cards, class
by class, against drawn cards that nothing was trained on. `--seeds 0 1 2` trains each with several seeds: their spread
says which differences mean something.
"""

import argparse
import itertools
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from ruler import build_ruler

from cardsynth.cards import cards_for
from cardsynth.config import TrainingConfig, get_preset
from cardsynth.demo import DEMO_STYLES
from cardsynth.learner import Learner
from cardsynth.metrics import NORMAL_95
from cardsynth.render import render_cards
from cardsynth.runs import describe_environment, load_model
from cardsynth.sampling import choose_labels, generate
from cardsynth.training import train

SIZE = (80, 64)
COSTLY = ("train_batch_size", "block_out_channels", "layers_per_block", "attention_levels", "patch_size")
AVERAGES = (0.9, 0.98, 0.99, 0.9995)
VARIANTS: dict[str, dict[str, Any]] = {
    "the demo preset": {},
    "linear schedule": {"beta_schedule": "linear"},
    "scaled linear schedule": {"beta_schedule": "scaled_linear"},
    "predicts velocity": {"prediction_type": "v_prediction"},
    "predicts noise": {"prediction_type": "epsilon"},
    "equal weights": {"loss_weighting": "none"},
    "no floor under min-SNR": {"snr_floor": 0.0},
    "mask weight 1": {"mask_weight": 1.0},
    "learning rate 4e-4": {"learning_rate": 4e-4},
    "learning rate 2e-3": {"learning_rate": 2e-3},
    "constant learning rate": {"lr_scheduler": "constant_with_warmup"},
    "no labels dropped": {"label_dropout": 0.0},
    "a quarter of labels dropped": {"label_dropout": 0.25},
    "batch 16": {"train_batch_size": 16},
    "wider": {"block_out_channels": (48, 72, 96, 144)},
    "narrower": {"block_out_channels": (16, 32, 48, 64)},
    "deeper": {"layers_per_block": 2},
    "attention at one level": {"attention_levels": (3,)},
    "whole pixels": {"patch_size": 1},
    "blocks of 4x4 pixels": {"patch_size": 4, "block_out_channels": (48, 64, 96), "attention_levels": (1, 2)},
    "time and class added": {"resnet_time_scale_shift": "default"},
}


def recipe(name: str) -> TrainingConfig:
    """Settings of a variant, which save nothing before the end."""
    config = get_preset("demo").replace(save_image_epochs=10_000, save_model_epochs=10_000, eval_batch_size=1)
    if name == "the demo preset":
        config = config.replace(other_ema_decays=AVERAGES)
    return config.replace(**VARIANTS[name])


def cost(name: str) -> str:
    """What a recipe's time depends on: recipes that agree in it take as long as each other."""
    return json.dumps({setting: VARIANTS[name][setting] for setting in COSTLY if setting in VARIANTS[name]})


def seconds_a_step(names: list[str], data: Path, rounds: int = 3, steps: int = 12) -> dict[str, float]:
    """Median seconds of a step of each recipe, the recipes taking turns; those of one cost share their median."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            config = recipe(name)
            learner = Learner(config, cards_for(config, data))
            for step in range(3):
                learner.optimise(step).tolist()
            begun = time.perf_counter()
            for step in range(3, 3 + steps):
                learner.optimise(step).tolist()
            found[name].append((time.perf_counter() - begun) / steps)
    of_cost: dict[str, list[float]] = {}
    for name, values in found.items():
        of_cost.setdefault(cost(name), []).extend(values)
    return {name: statistics.median(of_cost[cost(name)]) for name in names}


def main() -> None:
    """Time all recipes, train and judge each, print the table as it grows, and write it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="training time of each recipe")
    parser.add_argument("--count", type=int, default=250, help="cards of each to judge")
    parser.add_argument("--only", nargs="*", choices=VARIANTS, default=list(VARIANTS), help="recipes to compare")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0], help="seeds to train each with")
    parser.add_argument("--work", type=Path, default=Path("runs/recipe"), help="folder for data, timings and runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    arguments = parser.parse_args()
    data = arguments.work / "cards"
    render_cards(data, 2000, SIZE, styles=DEMO_STYLES, overwrite=True)
    timings = arguments.work / "seconds_a_step.json"
    if not timings.is_file():
        timings.write_text(json.dumps(seconds_a_step(list(VARIANTS), data), indent=2))
        print(f"Timed; the rest may run beside other work. Delete {timings} to time anew.", flush=True)
    seconds = json.loads(timings.read_text())
    ruler = build_ruler(SIZE, DEMO_STYLES, 1500, 500, seed=0, first_seed=3_000_000)
    rows: list[dict[str, Any]] = []
    print(f"{'recipe':<34} {'seed':>4} {'s/step':>7} {'steps':>6} {'KID':>8} {'error':>7}")
    for name, seed in itertools.product(arguments.only, arguments.seeds):
        steps = round(arguments.seconds / seconds[name])
        config = recipe(name).replace(max_train_steps=steps, seed=seed)
        run = arguments.work / "run"
        for _ in train(config, cards_for(config, data), run, overwrite=True):
            pass
        for decay in (config.ema_decay, *config.other_ema_decays):
            model = load_model(run, ema_decay=decay)
            labels = choose_labels(model, range(arguments.count), None)
            batches = generate(model, range(arguments.count), labels, progress=False)
            numbers = torch.tensor([model.labels.index(label) for label in labels])
            distance = ruler.kid(torch.cat([batch.pixels for batch in batches]), numbers)
            error = (distance.high - distance.value) / NORMAL_95
            shown = name if decay == config.ema_decay else f"{name}, average of {decay:g}"
            row = {"recipe": shown, "seed": seed, "seconds_a_step": round(seconds[name], 4), "steps": steps}
            rows.append(row | {"kid": round(distance.value, 4), "error": round(error, 4)})
            figures = f"{seed:>4} {seconds[name]:>7.3f} {steps:>6} {distance.value:>8.4f} {error:>7.4f}"
            print(f"{shown:<34} {figures}", flush=True)
    if arguments.json:
        result = {"seconds": arguments.seconds, "judged": arguments.count, "results": rows}
        arguments.json.write_text(json.dumps({**describe_environment(), **result}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
