"""Measures how well hard masks fit what damage changes: IoU with the visible difference of a card and its twin."""

import argparse
import json
from pathlib import Path

import numpy as np

from cardsynth.render.damage.films import VISIBLE
from cardsynth.render.draw import ALL_CLASSES, draw_card

SIZES = ((80, 64), (160, 128), (320, 256))
CARDS = 40


def overlap(seed: int, kind: str, size: tuple[int, int]) -> float:
    """IoU of a card's hard mask with where any channel differs from its twin's by `VISIBLE` levels or more."""
    card = draw_card(seed, kind, size)
    visible = np.abs(card.image.astype(np.int16) - card.twin).max(axis=-1) >= VISIBLE
    mask = card.mask > 0
    return float((mask & visible).sum() / max(1, (mask | visible).sum()))


def main() -> None:
    """Print mean and least IoU of every kind at every size, and write them as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--cards", type=int, default=CARDS, help="cards of each kind and size")
    arguments = parser.parse_args()
    rows = []
    print(f"IoU with a difference of {VISIBLE} levels or more, mean (least) of {arguments.cards} cards")
    print(f"{'kind':>12}" + "".join(f"{f'{height}x{width}':>18}" for height, width in SIZES))
    for kind in ALL_CLASSES[1:]:
        line = f"{kind:>12}"
        for size in SIZES:
            found = [overlap(seed, kind, size) for seed in range(arguments.cards)]
            mean, least = float(np.mean(found)), min(found)
            rows.append({"kind": kind, "size": f"{size[0]}x{size[1]}", "mean_iou": mean, "least_iou": least})
            line += f"{mean:>10.3f} ({least:.2f})"
        print(line, flush=True)
    if arguments.json:
        result = {"visible_levels": VISIBLE, "cards": arguments.cards, "results": rows}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
