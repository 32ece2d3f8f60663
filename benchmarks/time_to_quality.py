"""Measures how long training takes to a quality: ours against the diffusers tutorial's recipe, on drawn cards of 80x64.

The tutorial's recipe trains its loop's net (of the demo's widths, RGB, no classes) for `--minutes`, and is sampled on
the way; the `demo` preset is trained anew for each of shorter times, from first step to last. Quality is KID (kid.py)
against cards that neither has seen, RGB alone. The tutorial's net is sampled by DPM-Solver++ in 50 steps and by DDPM in
100, and the better of the two counts; the demo by its own settings. Run it on an idle machine: time is what counts.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch  # before cardsynth, which would choose how PyTorch's threads wait
from kid import build_ruler, features, kid
from PIL import Image
from tutorial import SMALL_NET, tutorial_loader, tutorial_net, tutorial_steps

from cardsynth.cards import cards_for
from cardsynth.config import TrainingConfig, get_preset
from cardsynth.demo import DEMO_STYLES
from cardsynth.diffusion import build_noise_scheduler
from cardsynth.learner import Learner
from cardsynth.render import render_cards
from cardsynth.runs import TrainedModel, describe_environment, load_model
from cardsynth.sampling import card_grid, generate
from cardsynth.training import train

SIZE, TRAINING_CARDS = (80, 64), 2000
SHARES = (0.05, 0.25, 0.5, 1.0)  # of the tutorial's time, at which it is sampled
OURS = (0.025, 0.05, 0.1)  # of the tutorial's time, for which the demo preset is trained
RULER_SEED = 3_000_000  # of cards that nothing is trained on


def train_tutorial(data: Path, minutes: float, out: Path) -> list[tuple[str, float, int, Path]]:
    """Train the tutorial's recipe for so many minutes; returns name, minutes, steps and saved net of each stage."""
    loader = tutorial_loader(data, SIZE, 16)
    torch.manual_seed(0)
    trial = tutorial_steps(tutorial_net(SIZE, SMALL_NET), loader, 1000)
    for _ in range(5):
        next(trial)
    begun = time.perf_counter()
    for _ in range(25):
        next(trial)
    total = max(len(SHARES), round(60 * minutes / ((time.perf_counter() - begun) / 25)))
    marks = {max(1, round(share * total)): share for share in SHARES}
    torch.manual_seed(0)
    net, stages, saving = tutorial_net(SIZE, SMALL_NET), [], 0.0
    begun = time.perf_counter()
    for step, _ in enumerate(tutorial_steps(net, loader, total), start=1):
        if step in marks:
            stopped = time.perf_counter()
            net.save_pretrained(out / f"tutorial_{step}")
            stages.append(("diffusers tutorial", (stopped - begun - saving) / 60, step, out / f"tutorial_{step}"))
            saving += time.perf_counter() - stopped
            print(f"tutorial: step {step} of {total} after {stages[-1][1]:.1f} min", flush=True)
    return stages


def train_ours(data: Path, minutes: float, out: Path) -> tuple[str, float, int, Path]:
    """Train the demo preset for about so many minutes, start and sample grids included; as `train_tutorial` returns."""
    config = get_preset("demo")
    cards = cards_for(config, data)
    trial = Learner(config, cards)
    for step in range(5):
        trial.optimise(step).tolist()
    begun = time.perf_counter()
    for step in range(5, 30):
        trial.optimise(step).tolist()
    steps = max(10, round(0.93 * 60 * minutes / ((time.perf_counter() - begun) / 25)))
    config = config.replace(max_train_steps=steps, save_image_epochs=1000, save_model_epochs=1000)
    run = out / f"ours_{steps}"
    begun = time.perf_counter()
    for _ in train(config, cards, run, overwrite=True):
        pass
    spent = (time.perf_counter() - begun) / 60
    print(f"ours: {steps} steps in {spent:.2f} min", flush=True)
    return "cardsynth demo", spent, steps, run


def sample_tutorial(folder: Path, count: int) -> dict[str, torch.Tensor]:
    """Cards uint8 (N, 3, H, W) of a tutorial net, by sampler."""
    from diffusers import UNet2DModel

    unet = UNet2DModel.from_pretrained(folder).eval().requires_grad_(False)
    config = TrainingConfig(height=SIZE[0], width=SIZE[1])
    model = TrainedModel(unet, build_noise_scheduler(), config, name=folder.name)
    ways = {"DPM-Solver++ 50": ("dpmsolver++", 50), "DDPM 100": ("ddpm", 100)}
    return {
        name: torch.cat(
            [batch.pixels for batch in generate(model, range(count), sampler=sampler, num_inference_steps=steps)]
        )
        for name, (sampler, steps) in ways.items()
    }


def main() -> None:
    """Train and judge all, print the table, and write it with a grid where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=40, help="how long the tutorial's recipe trains")
    parser.add_argument("--count", type=int, default=500, help="cards of each to judge")
    parser.add_argument("--work", type=Path, default=Path("runs/time_to_quality"), help="folder for nets and data")
    parser.add_argument("--out", type=Path, metavar="STEM", help="also write STEM.json and STEM.png")
    arguments = parser.parse_args()
    data = arguments.work / "cards"
    render_cards(data, TRAINING_CARDS, SIZE, styles=DEMO_STYLES, overwrite=True)
    stages = [train_ours(data, share * arguments.minutes, arguments.work) for share in OURS]
    stages += train_tutorial(data, arguments.minutes, arguments.work)
    ruler = build_ruler(SIZE, DEMO_STYLES, 1500, arguments.count, seed=0, first_seed=RULER_SEED)
    floor = kid(ruler.real[::2], ruler.real[1::2])
    rows: list[dict[str, Any]] = []
    shown = []
    for name, minutes, steps, folder in stages:
        if name == "cardsynth demo":
            pixels = torch.cat([batch.pixels for batch in generate(load_model(folder), range(arguments.count))])
            ways = {"its own": pixels[:, :3]}
        else:
            ways = sample_tutorial(folder, arguments.count)
        distances = {way: kid(features(ruler, pixels), ruler.real) for way, pixels in ways.items()}
        best = min(distances, key=lambda way: distances[way].value)
        row = {"recipe": name, "minutes": round(minutes, 2), "steps": steps, "sampling": best}
        rows.append(row | {"kid": round(distances[best].value, 5), "error": round(distances[best].error, 5)})
        shown.append(ways[best][:12])
        print(
            f"{name:<20} {minutes:>6.1f} min {steps:>6} steps  KID {rows[-1]['kid']} ± {rows[-1]['error']}", flush=True
        )
    print(f"floor, drawn cards against drawn cards: {floor.value:.5f} ± {floor.error:.5f}")
    if arguments.out:
        result = {"training_cards": TRAINING_CARDS, "judged": arguments.count, "floor": floor.value, "results": rows}
        result["ruler_accuracy"] = ruler.accuracy
        arguments.out.with_suffix(".json").write_text(
            json.dumps({**describe_environment(), **result}, indent=2) + "\n", encoding="utf-8"
        )
        grid: Image.Image = card_grid(torch.cat(shown), columns=12)
        grid.save(arguments.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
