"""Measures what each figure of an evaluation does when cards grow worse in a known way.

Real cards that nothing was trained on stand for generated ones, and are spoilt: blurred, noised, without some classes,
with few cards over and over, with copies of training cards (moved by up to a pixel, saved as JPEG), with wrong labels
and with masks of other cards. Each row is one level of one fault; the first row is of the cards as they are.
"""

import argparse
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.functional import gaussian_blur

from cardsynth.cards.dataset import Cards, stack_cards
from cardsynth.cli.demo import DEMO_STYLES
from cardsynth.evaluation.classes import class_figures
from cardsynth.evaluation.copies import Nearest, copying, nearest_in_features, nearest_in_pixels
from cardsynth.evaluation.evaluate import select
from cardsynth.evaluation.features import cardnet, known_judge
from cardsynth.evaluation.judge import ask
from cardsynth.evaluation.masks import clean_classes, mask_figures
from cardsynth.evaluation.metrics import frechet_distance, kernel_distance, manifold
from cardsynth.render.draw import draw_cards
from cardsynth.util.environment import describe_environment
from cardsynth.util.intervals import Figure

SIZE = (80, 64)
COLUMNS = ("FD", "KID", "precision", "recall", "density", "coverage", "class", "mask", "copies", "copies (features)")


def blurred(cards: Cards, sigma: float) -> Cards:
    """Cards whose picture, not mask, is blurred by a Gaussian of so many pixels."""
    return _painted(cards, gaussian_blur(cards.pixels[:, :3].float(), 4 * round(sigma + 0.5) + 1, sigma))


def noised(cards: Cards, deviation: float) -> Cards:
    """Cards with normal noise of so many grey levels."""
    noise = torch.randn(cards.pixels[:, :3].shape, generator=torch.Generator().manual_seed(0))
    return _painted(cards, cards.pixels[:, :3] + deviation * noise)


def _painted(cards: Cards, pictures: torch.Tensor) -> Cards:
    pictures = pictures.round().clamp(0, 255).to(torch.uint8)
    return replace(cards, pixels=torch.cat([pictures, cards.pixels[:, 3:]], dim=1))


def of_classes(cards: Cards, count: int) -> Cards:
    """Cards of the first so many classes alone."""
    return select(cards, torch.nonzero(cards.labels < count).flatten())


def repeated(cards: Cards, distinct: int) -> Cards:
    """As many cards as before, of which only so many differ."""
    return select(cards, torch.arange(len(cards)) % distinct)


def with_copies(cards: Cards, training: Cards, share: float) -> Cards:
    """Cards of which a share are copies of training cards of the same class, jittered and compressed."""
    count, random = round(share * len(cards)), np.random.default_rng(0)
    places = [torch.nonzero(training.labels == label).flatten().tolist() for label in range(len(training.label_names))]
    taken = torch.tensor([places[label].pop() for label in cards.labels[:count].tolist()], dtype=torch.long)
    copies = torch.stack([_jittered(card, random) for card in training.pixels[taken]]) if count else cards.pixels[:0]
    return replace(cards, pixels=torch.cat([copies, cards.pixels[count:]]))


def _jittered(card: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """A card uint8 (4, H, W) moved by up to a pixel each way, edges repeated, its picture saved as JPEG."""
    top, left = random.integers(0, 3, 2)
    height, width = card.shape[1:]
    moved = np.pad(card.numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge")[:, top : top + height, left : left + width]
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(moved[:3].transpose(1, 2, 0))).save(file, "JPEG", quality=75)
    picture = np.asarray(Image.open(file)).transpose(2, 0, 1)
    return torch.from_numpy(np.concatenate([picture, moved[3:]]))


def relabelled(cards: Cards, share: float) -> Cards:
    """Cards of which a share have the label of another class."""
    labels = cards.labels.clone()
    count = round(share * len(cards))
    labels[:count] = (labels[:count] + 1) % len(cards.label_names)
    return replace(cards, labels=labels)


def remasked(cards: Cards, share: float) -> Cards:
    """Cards of which a share have the mask of another card."""
    pixels, count = cards.pixels.clone(), round(share * len(cards))
    pixels[:count, 3] = pixels[:count, 3].roll(1, dims=0)
    return replace(cards, pixels=pixels)


class Scale:
    """All that cards are measured by: real training cards, and unseen ones as reference."""

    def __init__(self, training: Cards, reference: Cards) -> None:
        self.training, self.judge = training, known_judge(training)
        self.net = cardnet(self.judge, training)
        self.clean = clean_classes(training)
        self.reference, self.reference_labels = self._features(reference), reference.labels.sort().values
        self.train_features = self.net.measure(training.pixels)
        self.usual = nearest_in_pixels(reference.pixels, training.pixels, progress=False)
        self.usual_features = nearest_in_features(self.reference, self.train_features)

    def _features(self, cards: Cards) -> torch.Tensor:
        return self.net.measure(cards.pixels[cards.labels.argsort(stable=True)])

    def figures(self, cards: Cards) -> dict[str, Figure | None]:
        """Every figure of some cards."""
        features, verdict = self._features(cards), ask(self.judge, cards)
        near: Nearest = nearest_in_pixels(cards.pixels, self.training.pixels, progress=False)
        near_features = nearest_in_features(features, self.train_features)
        large = len(features) >= 2 * features.shape[1]
        return {
            "FD": frechet_distance(features, self.reference) if large else None,
            "KID": kernel_distance(features, self.reference, cards.labels.sort().values, self.reference_labels),
            **vars(manifold(features, self.reference)),
            "class": class_figures("", cards.labels, verdict.labels, cards.label_names).accuracy,
            "mask": mask_figures(cards, verdict.masks, self.clean).mean_iou,
            "copies": copying(near, self.usual, "").share,
            "copies (features)": copying(near_features, self.usual_features, "").share,
        }


def main() -> None:
    """Spoil cards, print the table as it grows, and write it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=400, help="cards that are spoilt")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    arguments = parser.parse_args()
    training, reference, cards = (
        stack_cards(draw_cards(count, SIZE, seed=seed, styles=DEMO_STYLES))
        for count, seed in ((2000, 0), (1000, 1_000_000), (arguments.count, 4_000_000))
    )
    faults: list[tuple[str, Callable[[], Cards]]] = [("as they are", lambda: cards)]
    faults += [(f"blur of {sigma} px", lambda sigma=sigma: blurred(cards, sigma)) for sigma in (0.4, 0.6, 1.0, 2.0)]
    faults += [(f"noise of {level} levels", lambda level=level: noised(cards, level)) for level in (4, 8, 16, 32)]
    faults += [(f"{count} of 5 classes", lambda count=count: of_classes(cards, count)) for count in (4, 3, 2, 1)]
    faults += [(f"{n} cards over and over", lambda n=n: repeated(cards, n)) for n in (200, 100, 50, 20)]
    faults += [
        (f"{share:.0%} copies", lambda share=share: with_copies(cards, training, share)) for share in (0.1, 0.5, 1.0)
    ]
    faults += [(f"{share:.0%} wrong labels", lambda share=share: relabelled(cards, share)) for share in (0.1, 0.5)]
    faults += [(f"{share:.0%} masks of others", lambda share=share: remasked(cards, share)) for share in (0.1, 0.5)]
    scale, rows = Scale(training, reference), []
    print(f"{scale.net.tag(len(cards), len(reference), SIZE)}; brackets hold 95 %")
    print(f"{'':24}" + "".join(f"{name:>24}" for name in COLUMNS))
    for name, spoil in faults:
        found = scale.figures(spoil())
        texts = [one.text() if one else "refused" for one in (found[column] for column in COLUMNS)]
        print(f"{name:24}" + "".join(f"{text:>24}" for text in texts), flush=True)
        row: dict[str, Any] = {column: vars(figure) if figure else None for column, figure in found.items()}
        rows.append({"fault": name, **row})
    if arguments.json:
        result = {"net": scale.net.name, "spoilt": len(cards), "results": rows}
        arguments.json.write_text(json.dumps({**describe_environment(), **result}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
