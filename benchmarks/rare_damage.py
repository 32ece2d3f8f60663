"""Measures what a rare class takes and how far the dials are kept, on drawn cards of the demo's style and size.

recall: what the demo's judge says of each class, from its evaluation. rare: 4 % of WHITE_MARKS among dark stains, with
`balance_classes` and without; a judge that knows balanced drawn cards says what was drawn. dial: cards of several
severities, learned with their covered share and darkness; cards are then asked for at five levels of each. What is in
the folder of `--work` already is kept.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.cards.grids import card_grid
from cardsynth.cards.labels import CLASSES
from cardsynth.cli.demo import DEMO_STYLES, FRESH_SEED
from cardsynth.cli.drive import drive
from cardsynth.core.config import TrainingConfig
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.runs import load_model
from cardsynth.core.sampling import generate
from cardsynth.evaluation.evaluate import select
from cardsynth.evaluation.features import known_judge, map_means
from cardsynth.evaluation.judge import JudgeNet, ask
from cardsynth.evaluation.masks import mask_iou
from cardsynth.models import get_preset, train
from cardsynth.render.draw import render_cards
from cardsynth.util.environment import describe_environment
from cardsynth.util.files import write_atomically
from cardsynth.util.intervals import Figure, mean_figure, share_figure

RARE, STAINS = "WHITE_MARKS", ("FULL_CARD", "LIGHT", "SMALL")
ONE_IN = 25
SEVERITIES = (0.5, 1.0, 1.6)
DIALS = (("covered", "SMALL"), ("covered", "FULL_CARD"), ("darkness", "FULL_CARD"), ("darkness", "LIGHT"))
SHOWN = 10  # cards a row in pictures


class Bench:
    """Draws, trains and generates what the measurements need, each once, in the folder `work`."""

    def __init__(self, work: Path, steps: int, count: int, generated: int) -> None:
        self.work, self.count, self.generated = work, count, generated
        rare = {"save_image_epochs": 10_000, "save_model_epochs": 10_000}
        warm_up = min(100, steps // 10)
        self.config = get_preset("demo").replace(max_train_steps=steps, lr_warmup_steps=warm_up, **rare)

    def drawn(
        self, name: str, count: int, seed: int, classes: tuple[str, ...], severities: tuple[float, ...] = (1.0,)
    ) -> Cards:
        """Cards of the demo's style; the severities take turns, by blocks."""
        folder = self.work / name
        if not folder.is_dir():
            each = -(-count // len(severities))
            for place, severity in enumerate(severities):
                how = {"styles": DEMO_STYLES, "severity": severity}
                render_cards(folder, each, self.config.size, seed + place * each, classes, **how)
        return read_cards(folder, self.config.reading)

    def trained(self, name: str, cards: Cards, **settings: Any) -> TrainedModel:
        """The model of these settings, trained where it was not."""
        config: TrainingConfig = self.config.replace(**settings)
        drive(train(config, cards, self.work / name, resume=True), self.work / name)
        return load_model(self.work / name)

    def fresh(self, name: str, count: int, later: int = 0, severities: tuple[float, ...] = (1.0,)) -> Cards:
        """Cards of all classes alike that no model saw."""
        return self.drawn(name, count, FRESH_SEED + later, CLASSES, severities)


def made(model: TrainedModel, label: str, count: int, **how: Any) -> torch.Tensor:
    """Pixels uint8 (N, C, H, W) of cards of a class, of the seeds from 0 on."""
    return torch.cat([batch.pixels for batch in generate(model, range(count), label, **how)])


def shares(judge: JudgeNet, names: tuple[str, ...], pixels: torch.Tensor, label: str) -> dict[str, Any]:
    """What a judge says of cards of one class: how many are of it, what the others are, and IoU of its masks."""
    verdict = ask(judge, Cards(pixels, torch.zeros(len(pixels), dtype=torch.long)))
    taken_for = {name: int((verdict.labels == place).sum()) for place, name in enumerate(names)}
    found = {"recall": share_figure(taken_for.pop(label), len(pixels)), "taken_for": taken_for}
    return found | {"mask_iou": mean_figure(mask_iou(verdict.masks, pixels[:, 3] >= 128))}


def measure_rare(bench: Bench, pictures: Path | None) -> list[dict[str, Any]]:
    """A row for each class and each way of sampling it in training, and for drawn cards."""
    others = (*STAINS * ONE_IN,)[: ONE_IN - 1]
    cards = bench.drawn("rare_cards", bench.count, 0, (RARE, *others))
    known, unseen = (
        bench.fresh("judge_cards", 5 * bench.count // 3),
        bench.fresh("unseen_cards", 5 * bench.count // 6, 100_000),
    )
    judge, rows, grids = known_judge(known), [], []
    counts = {"training_cards": len(cards), "of_class": cards.class_counts}
    for balanced in (False, True):
        model = bench.trained(f"rare_{'balanced' if balanced else 'as_is'}", cards, balance_classes=balanced)
        for label in (RARE, *STAINS):
            pixels = made(model, label, bench.generated if label == RARE else bench.generated // 4)
            grids += [pixels[: 2 * SHOWN]] if label == RARE else []
            row = {"cards": f"generated, balance_classes {balanced}", "class": label, **counts}
            rows.append(row | shares(judge, known.label_names, pixels, label))
    for label in (RARE, *STAINS):
        pixels = unseen.pixels[unseen.labels == unseen.label_names.index(label)]
        rows.append({"cards": "drawn, unseen", "class": label} | shares(judge, known.label_names, pixels, label))
    if pictures:
        save_grid(torch.cat(grids), pictures / "rare_damage_classes.jpg")
    return rows


class DarknessGauge:
    """Reads darkness off cards without a twin: ridge regression on a judge's maps and the lightness under the mask."""

    def __init__(self, judge: JudgeNet, cards: Cards) -> None:
        self.judge = judge
        self.model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
        self.model.fit(self._features(cards.pixels), cards.darkness.numpy())

    def _features(self, pixels: torch.Tensor) -> np.ndarray:
        return np.concatenate([map_means(self.judge, pixels).numpy(), *lightness(pixels)], axis=1)

    def read(self, pixels: torch.Tensor) -> np.ndarray:
        """Darkness in grey levels, (N,)."""
        return self.model.predict(self._features(pixels))


def lightness(pixels: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean lightness (ITU-R BT.601) of cards under their masks and beside them, 0 to 255, each (N, 1)."""
    grey = (pixels[:, :3].float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1)
    under = pixels[:, 3] >= 128
    means = ((grey * part).sum(dim=(1, 2)) / part.sum(dim=(1, 2)).clamp(min=1) for part in (under, ~under))
    return tuple(mean[:, None].numpy() for mean in means)


def measure_dials(bench: Bench, pictures: Path | None) -> list[dict[str, Any]]:
    """A row for each dial, guidance and level: what was asked for, and what was drawn."""
    cards = bench.drawn("dial_cards", 5 * bench.count // 3, 0, CLASSES, SEVERITIES)
    known = bench.fresh("dial_judge_cards", 5 * bench.count // 3, 0, SEVERITIES)
    unseen = bench.fresh("dial_unseen_cards", 3 * bench.count // 4, 100_000, SEVERITIES)
    judge, rows = known_judge(known), []
    gauges = {label: DarknessGauge(judge, of(known, label)) for _, label in DIALS}
    for label, gauge in gauges.items():
        of_label = of(unseen, label)
        row = {"cards": "drawn, unseen", "class": label, "asked": None, "count": len(of_label)}
        rows.append(row | errors("darkness", of_label.darkness.numpy(), gauge.read(of_label.pixels)))
        seen = ask(judge, of_label).masks.float().mean(dim=(1, 2)).numpy()
        drawn = (of_label.pixels[:, 3] >= 128).float().mean(dim=(1, 2)).numpy()
        rows.append(row | errors("covered", drawn, seen))
    model = bench.trained("dial", cards, conditions=("covered", "darkness"))
    for name, label in DIALS:
        values = cards.darkness if name == "darkness" else (cards.pixels[:, 3] >= 128).float().mean(dim=(1, 2))
        levels = np.quantile(
            values[cards.labels == cards.label_names.index(label)].numpy(), (0.05, 0.25, 0.5, 0.75, 0.95)
        )
        for guidance in (1.0, 2.0):
            rows += turn(bench, model, judge, gauges[label], (name, label, guidance), levels, pictures)
    return rows


def turn(
    bench: Bench,
    model: TrainedModel,
    judge: JudgeNet,
    gauge: DarknessGauge,
    dial: tuple[str, str, float],
    levels: np.ndarray,
    pictures: Path | None,
) -> list[dict[str, Any]]:
    """Rows of one dial, a level each and one of all; the seeds are the same at each level."""
    name, label, guidance = dial
    pixels = [
        made(model, label, bench.generated // 5, guidance_scale=guidance, **{name: level}) for level in levels.tolist()
    ]
    if pictures:
        shown = torch.cat([of_level[:SHOWN] for of_level in pixels])
        save_grid(shown, pictures / f"rare_damage_{label}_{name}_{guidance:g}.png")
    asked, drawn = np.repeat(levels, len(pixels[0])), torch.cat(pixels)
    verdict = ask(judge, Cards(drawn, torch.zeros(len(drawn), dtype=torch.long)))
    masks = {"drawn": drawn[:, 3] >= 128, "judge": verdict.masks}
    measured = {by: mask.float().mean(dim=(1, 2)).numpy() for by, mask in masks.items()}
    if name == "darkness":
        measured = {"gauge": gauge.read(drawn), "lightness under the mask": lightness(drawn)[0].ravel()}
    about = {"cards": "generated", "class": label, "guidance": guidance, "count": len(drawn)}
    rows = [about | {"measured_by": by} | errors(name, asked, values) for by, values in measured.items()]
    for level in levels:
        row = {"cards": "generated", "class": label, "guidance": guidance, "number": name, "asked": float(level)}
        here = {by: mean_figure(torch.tensor(values[asked == level])) for by, values in measured.items()}
        of_class = verdict.labels[torch.from_numpy(asked == level)] == CLASSES.index(label)
        rows.append(row | {"measured": here, "of_its_class": share_figure(int(of_class.sum()), len(of_class))})
    return rows


def of(cards: Cards, label: str) -> Cards:
    """The cards of one class."""
    return select(cards, torch.nonzero(cards.labels == cards.label_names.index(label)).flatten())


def errors(name: str, asked: np.ndarray, measured: np.ndarray) -> dict[str, Any]:
    """How far measured numbers follow those asked for: rank correlation, mean absolute error, and bias."""
    difference = measured - asked
    found = {"spearman": spearmanr(asked, measured).statistic, "mean_error": np.abs(difference).mean()}
    return {"number": name} | {key: float(value) for key, value in (found | {"bias": difference.mean()}).items()}


def recalls(path: Path) -> list[dict[str, Any]]:
    """Recall of each class by each classifier, generated cards beside real ones, from an evaluation."""
    return [
        {"cards": cards, "classifier": figures["classifier"], "class": label, "recall": Figure(**recall)}
        for beside in json.loads(path.read_text())["classes"]
        for cards, figures in beside.items()
        for label, recall in figures["recall"].items()
    ]


def save_grid(pixels: torch.Tensor, path: Path) -> None:
    """Cards with their masks, a row of `SHOWN`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grid: Image.Image = card_grid(pixels, SHOWN, zoom=1)
    grid.save(path, quality=88)


def plain(value: Any) -> Any:
    """Figures as lists of value, low and high; numbers to four digits."""
    if isinstance(value, Figure):
        return [plain(one) for one in (value.value, value.low, value.high)]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def main() -> None:
    """Measure what is asked for, print its rows, and write them to STEM.json beside those that are there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=("recall", "rare", "dial"))
    parser.add_argument("--work", type=Path, required=True, help="folder for cards and runs")
    parser.add_argument("--evaluation", type=Path, default=Path("runs/demo/evaluation.json"))
    parser.add_argument("--steps", type=int, default=1300, help="training steps of each run")
    parser.add_argument("--count", type=int, default=1200, help="training cards")
    parser.add_argument("--generated", type=int, default=200, help="cards generated of the rare class, and for a dial")
    parser.add_argument("--out", type=Path, metavar="STEM", help="write STEM.json")
    parser.add_argument("--pictures", type=Path, help="folder for grids of what was generated")
    given = parser.parse_args()
    bench = Bench(given.work, given.steps, given.count, given.generated)
    measures = {
        "recall": lambda: recalls(given.evaluation),
        "rare": lambda: measure_rare(bench, given.pictures),
        "dial": lambda: measure_dials(bench, given.pictures),
    }
    written = given.out and given.out.with_suffix(".json")
    result = json.loads(written.read_text()) if written and written.is_file() else {}
    for part in given.parts:
        rows = [plain(row) for row in measures[part]()]
        print(*map(json.dumps, rows), sep="\n", flush=True)
        result |= describe_environment() | {"steps": given.steps, part: rows}
        if written:
            write_atomically(written, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
