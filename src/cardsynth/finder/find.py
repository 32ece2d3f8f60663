"""Damage found on the cards of a folder: a card folder of its own, with masks, boxes, scores and drawings."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from tqdm.auto import tqdm

from cardsynth.cards.fitting import encode_png, fit_image, read_image, unfit
from cardsynth.cards.folder import REPORT_FOLDER, CardError, CardFile, CardWriter
from cardsynth.cards.reading import some_cards
from cardsynth.finder.net import DamageFinder, FoundDamage, damage_shares, found_damages
from cardsynth.util.files import write_atomically

LEAST_SHARE = 0.0008  # of a card's pixels: smaller parts are no damage that anyone would point at
COLOURS = ("#e6007e", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#6a3d9a", "#333333")
CLEAN = "CLEAN"


@dataclass(frozen=True)
class Finding:
    """What was found on a card: its damages, the surest first, and their mask, uint8 (H, W) of 0 and 255, on it."""

    card: CardFile
    picture: np.ndarray
    damages: list[FoundDamage]
    mask: np.ndarray


def find_on_cards(finder: DamageFinder, folder: str | Path, confidence: float = 0.5) -> Iterator[Finding]:
    """Look at each card of a folder, at any size, and yield what is found on it, in pixels of the picture itself.

    confidence: 0 to 1; damages of a lower score are left out. Raises CardError for a folder without pictures, and for
    a picture that cannot be read.
    """
    config = finder.config
    for card in tqdm(some_cards(Path(folder)), "Looking for damage", unit="card"):
        image = read_image(card.image)
        fitted = fit_image(image, config.size, config.fit, config.portrait)
        shares = damage_shares(finder, torch.from_numpy(fitted.copy()).permute(2, 0, 1)[None])[0]
        shares = unfit(shares.numpy(), (image.height, image.width), config.fit, config.portrait)
        shares = torch.from_numpy(np.ascontiguousarray(shares))
        least = max(4, round(LEAST_SHARE * image.height * image.width))
        found = found_damages(shares, finder.labels, least)
        damages = [damage for damage in found if damage.score >= confidence]
        kept = torch.zeros(shares.shape[1:], dtype=torch.bool)
        classes = shares.argmax(dim=0)
        for damage in damages:
            x, y, width, height = damage.box
            window = slice(y, y + height), slice(x, x + width)
            kept[window] |= classes[window] == 1 + finder.labels.index(damage.label)
        yield Finding(card, np.asarray(image), damages, kept.numpy().astype(np.uint8) * 255)


def write_findings(
    finder: DamageFinder,
    folder: str | Path,
    out: str | Path,
    model: str,
    confidence: float = 0.5,
    overwrite: bool = False,
) -> dict[str, int]:
    """Write what is found on a folder's cards as a card folder; returns how many cards have damage of which class.

    Each card is written as PNG with the mask of what was found, its label the class of the surest damage (CLEAN where
    there is none), its boxes, classes and scores; `report/` holds it once more with the boxes drawn on it. Raises
    CardError as `find_on_cards` does, and where a picture is there already, unless `overwrite`.
    """
    out, counts = Path(out), dict.fromkeys((*finder.labels, CLEAN), 0)
    if out.resolve() == Path(folder).resolve():
        raise CardError(f"{out} is the folder of the cards themselves; choose another one for what is found")
    with CardWriter(out, overwrite) as writer:
        for finding in find_on_cards(finder, folder, confidence):
            name = str(Path(finding.card.name).with_suffix(".png"))
            label = finding.damages[0].label if finding.damages else CLEAN
            row = {
                "file_name": name,
                "mask_file_name": f"masks/{name}",
                "label": label,
                "source": finding.card.name,
                "model": model,
                "objects": {
                    "bbox": [list(damage.box) for damage in finding.damages],
                    "categories": [damage.label for damage in finding.damages],
                    "scores": [round(damage.score, 4) for damage in finding.damages],
                },
            }
            writer.add(row, encode_png(finding.picture), encode_png(finding.mask))
            drawn = draw_findings(finding.picture, finding.mask, finding.damages, finder.labels)
            write_atomically(out / REPORT_FOLDER / name, encode_png(drawn))
            counts[label] += 1
    return counts


def draw_findings(
    picture: np.ndarray, mask: np.ndarray, damages: list[FoundDamage], labels: tuple[str, ...]
) -> np.ndarray:
    """A picture uint8 (H, W, 3) with the found damage tinted and its boxes, classes and scores drawn, four times as
    large where it is small."""
    zoom = max(1, 480 // max(picture.shape[:2]))
    tinted = picture.astype(np.float32)
    tinted[mask > 0] = 0.65 * tinted[mask > 0] + 0.35 * np.array((230, 0, 126))
    image = Image.fromarray(tinted.round().astype(np.uint8))
    image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(11, max(image.size) // 50))
    for damage in reversed(damages):
        colour = COLOURS[labels.index(damage.label) % len(COLOURS)]
        x, y, width, height = (side * zoom for side in damage.box)
        pen.rectangle((x, y, x + width - 1, y + height - 1), outline=colour, width=max(2, max(image.size) // 300))
        text = f"{damage.label} {damage.score:.2f}"
        place = x, max(0, y - font.size - 4)
        pen.rectangle(pen.textbbox(place, text, font=font), fill="white")
        pen.text(place, text, fill=colour, font=font)
    return np.asarray(image)
