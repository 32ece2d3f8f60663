"""Measures how long training takes to a quality: ours against the diffusers tutorial's recipe, on drawn cards of 80x64.

The tutorial's recipe trains its loop's net (of the demo's widths, RGB, no classes) for `--minutes`, and is saved on the
way; the `demo` preset is trained anew for each of shorter times, from first step to last. A recipe gets as many steps
as fit into its time at the pace of its first steps. The tutorial's pace is taken first, on an idle machine, and kept,
so that its training may be stopped and begun anew, or run beside other work. What is trained stays in `--work`, and is
not trained again.

Quality is KID (ruler.py) against cards that neither has seen and whose classes have the same shares, RGB alone; the
classes of the tutorial's cards, which it does not choose, are those that the judge takes them for. The tutorial net is
sampled by DPM-Solver++ in 50 steps, at the end also by DDPM in 100, and the better of the two counts; the demo by its
own settings.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch  # before cardsynth, which would choose how PyTorch's threads wait
from PIL import Image
from ruler import build_ruler
from tutorial import SMALL_NET, tutorial_loader, tutorial_net, tutorial_steps

from cardsynth.cards.dataset import read_cards
from cardsynth.cards.grids import card_grid
from cardsynth.cli.demo import DEMO_STYLES
from cardsynth.core.config import TrainingConfig
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.diffusion import build_noise_scheduler
from cardsynth.core.learner import DiffusionLearner
from cardsynth.core.runs import load_model
from cardsynth.core.sampling import generate
from cardsynth.models import get_preset, train
from cardsynth.render.draw import render_cards
from cardsynth.util.environment import describe_environment

SIZE, TRAINING_CARDS = (80, 64), 2000
SHARES = (0.05, 0.25, 0.5, 1.0)  # of the tutorial's time, at which it is sampled
OURS = (0.025, 0.05, 0.1)  # of the tutorial's time, for which the demo preset is trained
RULER_SEED = 3_000_000  # of cards that nothing is trained on


def steps_within(minutes: float, step: Callable[[], object]) -> int:
    """How many steps fit into so many minutes, at the pace of 25 after five that warm up."""
    for _ in range(5):
        step()
    begun = time.perf_counter()
    for _ in range(25):
        step()
    return max(len(SHARES), round(60 * minutes / ((time.perf_counter() - begun) / 25)))


def train_tutorial(data: Path, minutes: float, out: Path) -> list[dict[str, Any]]:
    """Train the tutorial's recipe for so many minutes; returns recipe, minutes, steps and folder of each stage."""
    loader, pace = tutorial_loader(data, SIZE, 16), out / f"tutorial_steps_{minutes:g}.json"
    if not pace.is_file():
        torch.manual_seed(0)
        trial = tutorial_steps(tutorial_net(SIZE, SMALL_NET), loader, 1000)
        pace.write_text(json.dumps(steps_within(minutes, lambda: next(trial))))
        print(f"The tutorial's pace is taken, and kept in {pace}", flush=True)
    total = json.loads(pace.read_text())
    marks = {max(1, round(share * total)): share for share in SHARES}
    torch.manual_seed(0)
    net, stages = tutorial_net(SIZE, SMALL_NET), []
    for step, _ in enumerate(tutorial_steps(net, loader, total), start=1):
        if step in marks:
            folder = out / f"tutorial_{step}"
            net.save_pretrained(folder)
            stages.append(stage("diffusers tutorial", marks[step] * minutes, step, folder))
            print(f"diffusers tutorial: step {step} of {total}", flush=True)
    return stages


def train_ours(data: Path, minutes: float, out: Path) -> dict[str, Any]:
    """Train the demo preset for so many minutes, a sample grid at the end beside that; as `train_tutorial` returns."""
    config = get_preset("demo").replace(save_image_epochs=1000, save_model_epochs=1000)
    cards = read_cards(data, config.reading)
    learner, places = DiffusionLearner(config, cards), iter(range(1000))
    steps = steps_within(minutes, lambda: learner.optimise(next(places)).tolist())
    folder = out / f"ours_{steps}"
    for _ in train(config.replace(max_train_steps=steps), cards, folder, overwrite=True):
        pass
    print(f"cardsynth demo: {steps} steps", flush=True)
    return stage("cardsynth demo", minutes, steps, folder)


def stage(recipe: str, minutes: float, steps: int, folder: Path) -> dict[str, Any]:
    """What was trained, for how long, and where it lies."""
    return {"recipe": recipe, "minutes": round(minutes, 2), "steps": steps, "folder": folder.name}


def train_all(data: Path, minutes: float, work: Path) -> list[dict[str, Any]]:
    """All stages, ours first; those of a measurement that was stopped are taken as they are."""
    written = work / "stages.json"
    stages = json.loads(written.read_text()) if written.is_file() else []
    done = {(row["recipe"], row["minutes"]) for row in stages}
    for share in OURS:
        if ("cardsynth demo", round(share * minutes, 2)) not in done:
            stages.append(train_ours(data, share * minutes, work))
            written.write_text(json.dumps(stages, indent=2))
    if not any(row["recipe"] == "diffusers tutorial" for row in stages):
        stages += train_tutorial(data, minutes, work)
        written.write_text(json.dumps(stages, indent=2))
    return stages


def sample_tutorial(folder: Path, count: int, done: bool) -> dict[str, torch.Tensor]:
    """Cards uint8 (N, 3, H, W) of a tutorial net, by sampler; by the slow one only where its training is done."""
    from diffusers import UNet2DModel

    unet = UNet2DModel.from_pretrained(folder).eval().requires_grad_(False)
    config = TrainingConfig(height=SIZE[0], width=SIZE[1])
    model = TrainedModel(unet, build_noise_scheduler(), config, name=folder.name)
    ways = {"DPM-Solver++ 50": ("dpmsolver++", 50)} | ({"DDPM 100": ("ddpm", 100)} if done else {})
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
    parser.add_argument("--out", type=Path, metavar="STEM", help="also write STEM.json and STEM.jpg")
    arguments = parser.parse_args()
    data = arguments.work / "cards"
    if not (data / "metadata.jsonl").is_file():
        render_cards(data, TRAINING_CARDS, SIZE, styles=DEMO_STYLES)
    stages = train_all(data, arguments.minutes, arguments.work)
    ruler = build_ruler(SIZE, DEMO_STYLES, 1500, 1000, seed=0, first_seed=RULER_SEED)
    floor = ruler.floor(len(ruler.real) // 2)
    rows: list[dict[str, Any]] = []
    shown = []
    for row in stages:
        folder = arguments.work / row["folder"]
        if row["recipe"] == "cardsynth demo":
            model = load_model(folder)
            classes = np.random.default_rng(0).choice(model.labels, arguments.count).tolist()
            batches = generate(model, range(arguments.count), classes)
            pixels = torch.cat([batch.pixels for batch in batches])
            ways, labels = {"its own": pixels[:, :3]}, torch.tensor([model.labels.index(name) for name in classes])
        else:
            labels = None
            ways = sample_tutorial(folder, arguments.count, row["minutes"] == arguments.minutes)
        distances = {way: ruler.kid(pixels, labels) for way, pixels in ways.items()}
        best = min(distances, key=lambda way: distances[way].value)
        found = distances[best]
        row |= {"sampling": best, **{name: round(value, 5) for name, value in vars(found).items()}}
        rows.append(row)
        shown.append(ways[best][:12])
        trained = f"{row['recipe']:<20} {row['minutes']:>5.1f} min {row['steps']:>6} steps"
        print(f"{trained}  KID {found.text()} ({best})", flush=True)
    print(f"floor, drawn cards against drawn cards: {floor.text()}")
    if arguments.out:
        result = {"training_cards": TRAINING_CARDS, "judged": arguments.count, "floor": vars(floor), "results": rows}
        result["ruler_accuracy"] = ruler.accuracy
        arguments.out.with_suffix(".json").write_text(
            json.dumps({**describe_environment(), **result}, indent=2) + "\n", encoding="utf-8"
        )
        grid: Image.Image = card_grid(torch.cat(shown), columns=12)
        grid.save(arguments.out.with_suffix(".jpg"), quality=90)


if __name__ == "__main__":
    main()
