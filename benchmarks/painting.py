"""Measures damage painted onto clean cards beside damage drawn on them: is it where it was asked for, of its class, and
is the print beneath it kept? And is all else kept to the bit?

Cards are drawn afresh, so that each has a drawn twin under the very mask that the model is given. A judge that knows
drawn cards alone (`cardsynth.evaluation.judge`) looks at both, at the model's size. Prints tables in Markdown.
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage

from cardsynth.cards.dataset import Cards, stack_cards
from cardsynth.cards.fitting import encode_png, read_image
from cardsynth.cards.folder import CardWriter, find_cards
from cardsynth.cli.demo import DEMO_STYLES
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.runs import load_model
from cardsynth.evaluation.features import known_judge
from cardsynth.evaluation.judge import JudgeNet, ask
from cardsynth.evaluation.masks import mask_iou
from cardsynth.painting.folder import damage_cards
from cardsynth.painting.paint import clean_class
from cardsynth.painting.placing import Frame
from cardsynth.render.draw import DrawnCard, draw_card, draw_cards
from cardsynth.util.environment import describe_environment
from cardsynth.util.intervals import mean_figure, share_figure

CLEAN_SEED, JUDGE_SEED = 4_000_000, 3_000_000  # far from any seed that a model was trained on
JUDGE_CARDS = 2000
WINDOW = 1 / 13  # of a card's width: print is what differs from the mean of so large a window


@dataclass(frozen=True)
class Damaged:
    """A damaged card and its clean twin, uint8 (H, W, 3), and its hard and soft masks, uint8 (H, W)."""

    image: np.ndarray
    twin: np.ndarray
    mask: np.ndarray
    soft_mask: np.ndarray
    label: str


def write_clean(cards: list[DrawnCard], folder: Path) -> Path:
    """A card folder of the cards' clean twins, and beside it their masks of each class."""
    with CardWriter(folder) as writer:
        for card in {card.row["seed"]: card for card in cards}.values():
            writer.add({"file_name": f"{card.row['seed']}.png"}, encode_png(card.twin))
    for card in cards:
        path = folder.with_name(f"{folder.name}_masks") / card.row["label"] / f"{card.row['seed']}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_png(card.mask))
    return folder


def read_damaged(folder: Path) -> list[Damaged]:
    """The painted cards of a folder."""
    found = []
    for card in find_cards(folder):
        image, twin = (np.asarray(read_image(folder / card.row[key])) for key in ("file_name", "twin_file_name"))
        masks = (np.asarray(read_image(folder / card.row[f"{key}_file_name"]))[..., 0] for key in ("mask", "soft_mask"))
        found.append(Damaged(image, twin, *masks, card.label))
    return found


def print_kept(card: Damaged) -> tuple[float, float]:
    """Correlation and contrast (regression slope) of the print within the mask with the clean twin's.

    Print is luminance less its local mean; pixels so near to the mask's outline that this knows of it do not count.
    """
    width = max(3, round(WINDOW * card.image.shape[1]) // 2 * 2 + 1)
    seen, print_ = (
        light - ndimage.uniform_filter(light, width)
        for light in (picture.astype(np.float64).mean(axis=-1) for picture in (card.image, card.twin))
    )
    inside = ndimage.minimum_filter(card.mask, width) > 0
    if inside.sum() < 20 or print_[inside].std() < 2:
        return float("nan"), float("nan")
    seen, print_ = seen[inside] - seen[inside].mean(), print_[inside] - print_[inside].mean()
    shared = (seen * print_).mean()
    return shared / (seen.std() * print_.std()), shared / print_.var()


def judge_cards(cards: list[Damaged], judge: JudgeNet, names: tuple[str, ...], size: tuple[int, int]) -> list[dict]:
    """For each class and all: how far masks and labels agree with what the judge sees, and the print that is kept."""
    frames = [Frame(card.mask.shape, size) for card in cards]
    pictures = np.stack([frame.shrink_scan(card.image) for frame, card in zip(frames, cards, strict=True)])
    pixels = torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())
    masks = np.stack([frame.shrink_mask(card.mask > 0) for frame, card in zip(frames, cards, strict=True)])
    verdict = ask(judge, Cards(pixels, torch.zeros(len(cards), dtype=torch.long)))
    iou, labels = mask_iou(verdict.masks, torch.from_numpy(masks)), np.array([card.label for card in cards])
    right = np.array([names[said] for said in verdict.labels.tolist()]) == labels
    kept = torch.tensor([print_kept(card) for card in cards])
    untouched = [(card.image == card.twin).all(axis=-1)[card.soft_mask == 0].all() for card in cards]
    rows = []
    for label in (*dict.fromkeys(labels.tolist()), "all"):
        of = torch.from_numpy((labels == label) | (label == "all"))
        rows.append(
            {
                "label": label,
                "iou": mean_figure(iou[of]).text(2),
                "least_iou": round(float(iou[of].min()), 2),
                "of_class": share_figure(int(right[of.numpy()].sum()), int(of.sum())).percent(),
                "correlation": round(float(kept[of, 0].nanmean()), 2),
                "contrast": round(float(kept[of, 1].nanmean()), 2),
                "equal_outside": f"{int(np.array(untouched)[of.numpy()].sum())} of {int(of.sum())}",
            }
        )
    return rows


def draw_sheet(cards: list[Damaged], height: int = 320) -> Image.Image:
    """A card of each class after its clean twin and before its soft mask, two classes in a row, no card twice."""
    of_class: dict[str, list[Damaged]] = {}
    for card in cards:
        of_class.setdefault(card.label, []).append(card)
    chosen = [some[place % len(some)] for place, some in enumerate(of_class.values())]
    tiles = []
    for card in chosen:
        for picture in (card.twin, card.image, np.repeat(card.soft_mask[..., None], 3, axis=-1)):
            width = round(height * picture.shape[1] / picture.shape[0])
            small = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))
            tiles.append(np.pad(small, ((4, 4), (4, 4), (0, 0)), constant_values=96))
    rows = [np.concatenate(tiles[start : start + 6], axis=1) for start in range(0, len(tiles), 6)]
    return Image.fromarray(np.concatenate(rows))


def measure(
    model: TrainedModel, judge: JudgeNet, names: tuple[str, ...], size: tuple[int, int], count: int, folder: Path
) -> tuple[dict, list[Damaged]]:
    """Judged drawn cards, and painted ones: under the drawn cards' masks, and under sampled ones; the latter too."""
    kinds = [label for label in model.labels if label != clean_class(model)]
    seeds = range(CLEAN_SEED, CLEAN_SEED + count)
    cards = [draw_card(seed, label, size, DEMO_STYLES) for label in kinds for seed in seeds]
    clean = write_clean(cards, folder / f"clean_{size[0]}")
    drawn = [Damaged(card.image, card.twin, card.mask, card.soft_mask, card.row["label"]) for card in cards]
    found = {"drawn": judge_cards(drawn, judge, names, model.config.size)}
    for name in ("painted under the drawn masks", "painted under sampled masks"):
        out, begun = folder / f"{name} {size[0]}", time.perf_counter()
        for place, label in enumerate(kinds):
            masks = folder / f"{clean.name}_masks" / label if "drawn" in name else "sampled"
            damage_cards(model, clean, out, label, masks=masks, seed=place * count, progress=False)
        seconds = time.perf_counter() - begun
        painted = read_damaged(out)
        found[name] = judge_cards(painted, judge, names, model.config.size)
        found[name][-1]["cards_per_s"] = round(len(cards) / seconds, 1)
    return found, painted


def main() -> None:
    """Measure at the model's size and at that of scans; print a table for each and write the figures where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("runs/demo"), help="run folder of the demo")
    parser.add_argument("--cards", type=int, default=50, help="clean cards, each damaged with every class")
    parser.add_argument("--scan", type=int, nargs=2, default=(700, 500), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--grid", type=Path, metavar="FILE", help="also write a picture of painted cards to this file")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    shown = stack_cards(draw_cards(JUDGE_CARDS, model.config.size, seed=JUDGE_SEED, styles=DEMO_STYLES))
    judge = known_judge(shown)
    results = {}
    for size in (model.config.size, tuple(arguments.scan)):
        with tempfile.TemporaryDirectory() as temporary:
            found, painted = measure(model, judge, shown.label_names, size, arguments.cards, Path(temporary))
        results[f"{size[0]}x{size[1]}"] = found
        columns = list(found["drawn"][0])
        print(f"\n{size[0]}x{size[1]}\n\n| cards | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
        for name, rows in found.items():
            for row in rows:
                print(f"| {name} | {' | '.join(str(row[column]) for column in columns)} |", flush=True)
            if "cards_per_s" in rows[-1]:
                print(f"{rows[-1]['cards_per_s']} cards/s", flush=True)
    if arguments.grid:
        draw_sheet(painted).save(arguments.grid, quality=80)
    if arguments.json:
        about = {**describe_environment(), "model": arguments.model.name, "cards": arguments.cards}
        about["settings"] = {key: str(value) for key, value in asdict(model.config).items() if "guidance" in key}
        arguments.json.write_text(json.dumps({**about, "results": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
