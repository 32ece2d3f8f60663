"""Does synthetic data help a damage finder? The trial on drawn cards across a style gap, or on magnetic tiles.

`gap`: real cards are drawn ones of style a, tested on style c, of which undamaged cards are at hand; drawn cards are of
styles a and b. `tile`: photographs of magnetic tiles with masks (Huang et al. 2018; not part of this repository: give
their folder), half of them tested on, exposures of a tile on one side. Goes on where it was stopped.
"""

import argparse
import re
from dataclasses import replace
from pathlib import Path

import torch

from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.cards.splits import split_groups
from cardsynth.evaluation.evaluate import select
from cardsynth.evaluation.masks import clean_classes
from cardsynth.render.draw import render_cards
from cardsynth.studies.trial.config import ARMS, SMALL_FINDER, TrialConfig
from cardsynth.studies.trial.data import TrialData, read_trial_data
from cardsynth.studies.trial.report import PICTURE, write_trial_report
from cardsynth.studies.trial.run import run_trial
from cardsynth.util.environment import describe_machine

SIZE = (80, 64)
TILE_CLASSES = ("break", "fray", "free", "uneven")
SAME_TILE = 600  # exposures of a tile, numbered from 0 or 1 to 6, follow each other within so many frames
DARKEST, BRIGHTEST = 0.02, 0.98  # shares of a picture's values that become black and white


def gap_data(folder: Path) -> TrialData:
    """Drawn cards on both sides of a style gap."""
    parts = {
        "real": (1000, 100, ("a",), {}),
        "test": (300, 5_000_000, ("c",), {}),
        "clean": (100, 6_000_000, ("c",), {"classes": ("CLEAN",)}),
        "drawn": (4000, 7_000_000, ("a", "b"), {}),
    }
    for name, (count, seed, styles, more) in parts.items():
        if not (folder / name / "metadata.jsonl").is_file():
            render_cards(folder / name, count, SIZE, seed, styles=styles, **more)
    return read_trial_data(SMALL_FINDER, *(folder / name for name in parts))


def tile_data(folder: Path) -> TrialData:
    """Half of the tiles to learn from, half to test on; tiles differ in shape and exposure, and both are stretched."""
    cards = even_exposures(read_cards(folder, SIZE, fit="stretch", only_labels=TILE_CLASSES))
    labels = [cards.label_names[label] for label in cards.labels.tolist()]
    learned, tested = (select(cards, torch.tensor(side)) for side in split_groups(tiles_of(cards), labels, (0.5, 0.5)))
    undamaged = torch.isin(learned.labels, torch.tensor(sorted(clean_classes(learned))))
    return TrialData(learned, tested, learned.pixels[undamaged, :3])


def even_exposures(cards: Cards) -> Cards:
    """The cards, each picture's values spread from black to white."""
    pixels = cards.pixels.float()
    values = pixels[:, :3].flatten(1)
    low, high = (values.quantile(share, dim=1)[:, None, None, None] for share in (DARKEST, BRIGHTEST))
    pixels[:, :3] = ((pixels[:, :3] - low) / (high - low).clamp(min=1) * 255).clamp(0, 255)
    return replace(cards, pixels=pixels.round().to(torch.uint8))


def tiles_of(cards: Cards) -> list[str]:
    """The tile of each picture, named by its first frame: frames close by whose exposures' numbers rise."""
    shots = [tuple(map(int, re.search(r"exp(\d+)_num_(\d+)", name).groups())) for name in cards.names]
    tiles, exposure, frame, first = [""] * len(cards), 0, -SAME_TILE, 0
    for place in sorted(range(len(cards)), key=lambda place: shots[place][1]):
        last, before, (exposure, frame) = exposure, frame, shots[place]
        if exposure <= last or frame - before >= SAME_TILE:
            first = frame
        tiles[place] = str(first)
    return tiles


def main() -> None:
    """Run a trial, print what it shows, and write it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("gap", "tile"))
    parser.add_argument("--data", type=Path, help="folder of the magnetic tiles")
    parser.add_argument("--arms", nargs="*", choices=ARMS, default=list(ARMS))
    parser.add_argument("--counts", type=int, nargs="*", default=[16, 50])
    parser.add_argument("--ratios", type=int, nargs="*", default=[4])
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--steps", type=int, default=1200, help="of each finder")
    parser.add_argument("--generator-steps", type=int, default=1000)
    parser.add_argument("--work", type=Path, default=Path("runs/trial"), help="folder for data and results")
    parser.add_argument("--out", type=Path, metavar="STEM", help="also write STEM.md and STEM.png")
    arguments = parser.parse_args()
    if arguments.kind == "tile" and not arguments.data:
        parser.error("the tiles are not part of this repository: give their folder with --data")
    fit = {"gap": "pad", "tile": "stretch"}[arguments.kind]
    config = TrialConfig(
        arms=tuple(arguments.arms),
        counts=tuple(arguments.counts),
        ratios=tuple(arguments.ratios),
        draws=arguments.draws,
        generator_steps=arguments.generator_steps,
        finder=replace(SMALL_FINDER, max_train_steps=arguments.steps, fit=fit),
    )
    data = gap_data(arguments.work / "gap_cards") if arguments.kind == "gap" else tile_data(arguments.data)
    out = arguments.work / arguments.kind
    report = write_trial_report(out, run_trial(config, data, out))
    print(f"{describe_machine()}\n\n{report.sentences}\n\n{report.tables}")
    if arguments.out:
        text = report.path.read_text().replace(PICTURE, arguments.out.with_suffix(".png").name)
        arguments.out.with_suffix(".md").write_text(f"{describe_machine()}\n\n{text}")
        arguments.out.with_suffix(".png").write_bytes(report.path.with_name(PICTURE).read_bytes())


if __name__ == "__main__":
    main()
