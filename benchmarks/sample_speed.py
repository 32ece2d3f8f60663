"""Measures how fast cards are sampled and how good they are: samplers and steps beside diffusers' DDPMPipeline."""

import argparse
import json
import os
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DDPMPipeline, UNet2DModel
from PIL import Image, ImageDraw
from ruler import Ruler, build_ruler

from cardsynth.cards.dataset import Cards, denormalize
from cardsynth.cards.grids import card_grid
from cardsynth.cli.demo import DEMO_STYLES
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.diffusion import build_sampler
from cardsynth.core.runs import load_model
from cardsynth.core.sampling import choose_labels, generate
from cardsynth.evaluation.classes import ClassFigures, class_figures
from cardsynth.evaluation.judge import ask
from cardsynth.evaluation.masks import MaskFigures, clean_classes, mask_figures
from cardsynth.util.environment import describe_environment
from cardsynth.util.intervals import Figure

# The cards that the ruler of KID is made of: neither trained on, nor those that the demo's judge is trained on.
RULER_SEED, RULER_CARDS = 2_000_000, 2000
# How many cards of a contender are drawn to measure its speed.
SPEED_CARDS = 32


@dataclass(frozen=True)
class Contender:
    """Settings of `generate`, guided from `low` to `high`; or a batch size, where diffusers' pipeline draws instead."""

    sampler: str
    steps: int
    guidance: float = 1.0
    precision: str = "bf16"
    low: float = 0.0
    high: float = 1.0
    pipeline_batch: int = 0

    @property
    def name(self) -> str:
        """A short name for tables and files."""
        if self.pipeline_batch:
            return f"DDPMPipeline, batch {self.pipeline_batch}"
        guided = f", guidance {self.guidance:g}" if self.guidance != 1 else ""
        within = f" in {self.low:g}-{self.high:g}" if (self.low, self.high) != (0, 1) else ""
        return f"{self.sampler} {self.steps}{guided}{within}, {'float32' if self.precision == 'no' else self.precision}"

    def net_calls(self, model: TrainedModel) -> int:
        """How often each card goes through the net."""
        if self.guidance == 1:
            return self.steps
        timesteps = build_sampler(self.sampler, model.noise_scheduler, self.steps).timesteps
        share = timesteps / model.noise_scheduler.config.num_train_timesteps
        return self.steps + int(((share >= self.low) & (share <= self.high)).sum())


class LabelledNet(UNet2DModel):
    """A net with fixed labels: DDPMPipeline cannot pass any."""

    labels: torch.Tensor

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, **others: Any) -> Any:
        """The net's output for noisy images, of the fixed classes."""
        return super().forward(sample, timestep, class_labels=self.labels, **others)


def draw_with_pipeline(model: TrainedModel, seeds: list[int], steps: int) -> torch.Tensor:
    """Cards uint8 (N, C, H, W) of diffusers' DDPMPipeline in one batch, float32, labels as `generate` chooses them."""
    net = LabelledNet.from_config(model.unet.config).eval()
    net.load_state_dict(model.unet.state_dict())
    net.labels = torch.tensor([model.labels.index(label) for label in choose_labels(model, seeds, None)])
    pipeline = DDPMPipeline(net, model.noise_scheduler)
    pipeline.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    images = pipeline(len(seeds), generators, num_inference_steps=steps, output_type="np").images
    return denormalize(torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1, model.config.patch_size)


def draw(model: TrainedModel, contender: Contender, count: int) -> torch.Tensor:
    """Cards uint8 (count, C, H, W) of seeds from 0."""
    if contender.pipeline_batch:
        return draw_with_pipeline(model, list(range(count)), contender.steps)
    batches = generate(
        model,
        range(count),
        sampler=contender.sampler,
        num_inference_steps=contender.steps,
        guidance_scale=contender.guidance,
        guidance_interval=(contender.low, contender.high),
        mixed_precision=contender.precision,
        progress=False,
    )
    return torch.cat([batch.pixels for batch in batches])


def cached_cards(model: TrainedModel, contender: Contender, count: int, cache: Path | None) -> torch.Tensor:
    """What `draw` gives, kept in a file of the cache for the next time."""
    if cache is None:
        return draw(model, contender, count)
    path = cache / f"{model.revision}_{count}_{contender.name.replace(', ', '_').replace(' ', '_')}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, pixels=draw(model, contender, count).numpy())
    return torch.from_numpy(np.load(path)["pixels"])


def judge(ruler: Ruler, model: TrainedModel, pixels: torch.Tensor) -> tuple[Figure, ClassFigures, MaskFigures]:
    """KID of cards of seeds from 0, and how far the ruler's judge agrees with their labels and masks."""
    labels = [model.labels.index(label) for label in choose_labels(model, range(len(pixels)), None)]
    cards = Cards(pixels, torch.tensor(labels), model.labels)
    distance = ruler.kid(pixels, cards.labels)
    verdict = ask(ruler.judge, cards)
    of_classes = class_figures("judge", cards.labels, verdict.labels, cards.label_names)
    return distance, of_classes, mask_figures(cards, verdict.masks, clean_classes(cards))


def measure(model: TrainedModel, contenders: list[Contender], repeats: int) -> dict[str, list[float]]:
    """Cards a second of each contender in each of `repeats` rounds; the contenders take turns."""
    speeds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        draw(model, Contender(contender.sampler, 2, contender.guidance, contender.precision), 16)
    for _ in range(repeats):
        for contender in contenders:
            cards = contender.pipeline_batch or SPEED_CARDS
            start = time.perf_counter()
            draw(model, contender, cards)
            speeds[contender.name].append(cards / (time.perf_counter() - start))
    return speeds


def parse_contender(text: str) -> Contender:
    """`SAMPLER,STEPS[,GUIDANCE[,PRECISION[,LOW,HIGH]]]` -> Contender."""
    parts = text.split(",")
    return Contender(parts[0], int(parts[1]), *map(float, parts[2:3]), *parts[3:4], *map(float, parts[4:6]))


REFERENCE = Contender("ddpm", 1000, precision="no")
PIPELINES = [Contender("ddpm", 1000, precision="no", pipeline_batch=batch) for batch in (1, 16)]
DEFAULT = [
    *(Contender("unipc", steps) for steps in (5, 6, 8, 10, 15)),
    Contender("unipc", 10, precision="no"),
    *(Contender("dpmsolver++", steps) for steps in (5, 6, 8, 10, 15, 20)),
    *(Contender("ddim", steps) for steps in (10, 20, 40)),
    *(Contender("ddpm", steps) for steps in (10, 20, 40)),
    Contender("sde-dpmsolver++", 15),
    Contender("ddpm", 40, 2.0, "no"),
    Contender("ddpm", 40, 2.0),
    Contender("sde-dpmsolver++", 10, 2.0),
    Contender("sde-dpmsolver++", 15, 2.0),
    Contender("sde-dpmsolver++", 15, 2.0, "bf16", 0.2, 0.8),
    Contender("unipc", 10, 2.0),
    Contender("unipc", 10, 2.0, "bf16", 0.2, 0.8),
]

# The rows of the picture.
GRID = [
    REFERENCE.name,
    "unipc 5, bf16",
    "unipc 10, bf16",
    "unipc 10, guidance 2 in 0.2-0.8, bf16",
    "ddpm 40, guidance 2, bf16",
    "sde-dpmsolver++ 15, guidance 2, bf16",
]
TITLE_HEIGHT = 14


def main() -> None:
    """Judge and measure every contender and print the table; write figures and a picture where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "contenders", nargs="*", type=parse_contender, help="like ddpm,40 or unipc,10,2 or unipc,10,2,bf16,0.2,0.8"
    )
    parser.add_argument("--run", type=Path, default=Path("runs/demo"), help="run folder of a model with classes")
    parser.add_argument("--cards", type=int, default=300, help="cards of each contender that are judged; 0: none")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of the speed measurement; 0: none")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of PyTorch")
    parser.add_argument("--cache", type=Path, help="folder that keeps judged cards, so that none is drawn twice")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--grid", type=Path, metavar="FILE", help="also write cards of the same seeds to this picture")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = load_model(arguments.run)
    contenders = arguments.contenders or DEFAULT
    judged = [REFERENCE, *contenders] if arguments.cards else []
    samples = {c.name: cached_cards(model, c, arguments.cards, arguments.cache) for c in judged}
    speeds = measure(model, [*PIPELINES, *contenders], arguments.repeats) if arguments.repeats else {}
    print(f"{len(speeds)} speeds measured in {arguments.repeats} rounds", flush=True)

    print(f"{describe_environment()['machine']}, {arguments.threads} threads; {model.name}")
    result = {**describe_environment(), "threads": arguments.threads, "cards": arguments.cards}
    if judged:
        ruler = build_ruler(model.config.size, DEMO_STYLES, RULER_CARDS, RULER_CARDS, 0, RULER_SEED)
        floor = ruler.floor(arguments.cards)
        about = f"{ruler.real.shape[1]} features of a net that names {ruler.accuracy:.1%} of the classes of real cards"
        result |= {"ruler": about, "floor": asdict(floor)}
        print(f"KID: {about}; {arguments.cards} real cards against {len(ruler.real) - arguments.cards} others: {floor}")
    print(f"{'':46} {'net calls':>9} {'KID':>7} {'95 %':>15} {'labels':>6} {'IoU':>5} {'cards/s':>18}")
    rows = []
    for contender in [*PIPELINES, *(judged or contenders)]:
        row = {"name": contender.name, "net_calls": contender.net_calls(model), **asdict(contender)}
        line = f"{contender.name:46} {contender.net_calls(model):>9}"
        if contender.name in samples:
            distance, of_classes, masks = judge(ruler, model, samples[contender.name])
            row |= {"kid": asdict(distance)}
            row |= {"classes": asdict(of_classes), "masks": asdict(masks)}
            line += f" {distance.value:>7.3f} {distance.low:>7.3f} {distance.high:>7.3f}"
            line += f" {of_classes.accuracy.value:>6.1%} {masks.mean_iou.value:>5.3f}"
        else:
            line += " " * 37
        if found := speeds.get(contender.name):
            row |= {"cards_per_s": found, "median_cards_per_s": statistics.median(found)}
            line += f" {statistics.median(found):>6.2f} ({min(found):.2f}-{max(found):.2f})"
        rows.append(row)
        print(line, flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({**result, "results": rows}, indent=2) + "\n", encoding="utf-8")
    if arguments.grid and judged:
        shown = {name: samples[name][: 2 * len(model.labels)] for name in GRID if name in samples}
        titled_grid(shown).save(arguments.grid)


def titled_grid(rows: dict[str, torch.Tensor]) -> Image.Image:
    """Rows of cards uint8 (N, C, H, W), each below its name."""
    pictures = [card_grid(pixels, columns=len(pixels)) for pixels in rows.values()]
    height = pictures[0].height + TITLE_HEIGHT
    sheet = Image.new("RGB", (pictures[0].width, height * len(pictures)), "white")
    for place, (name, picture) in enumerate(zip(rows, pictures, strict=True)):
        ImageDraw.Draw(sheet).text((4, place * height), name, fill="black")
        sheet.paste(picture, (0, place * height + TITLE_HEIGHT))
    return sheet


if __name__ == "__main__":
    main()
