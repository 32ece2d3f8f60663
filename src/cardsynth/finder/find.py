"""Detects damage on the cards of a folder, and writes masks, boxes, scores and drawings as a card folder."""

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
from cardsynth.finder.net import DamageFinder, Detection, damage_probabilities, detect_damages
from cardsynth.util.files import write_atomically

MIN_SHARE = 0.0008  # of a card's pixels; smaller regions are ignored
COLOURS = ("#e6007e", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#6a3d9a", "#333333")
CLEAN = "CLEAN"


@dataclass(frozen=True)
class Finding:
    """Damage detected on a card.

    Attributes:
        card: The card's file.
        picture: uint8 (H, W, 3).
        damages: Damages by descending score.
        mask: Mask of these damages, uint8 (H, W) of 0 and 255.
    """

    card: CardFile
    picture: np.ndarray
    damages: list[Detection]
    mask: np.ndarray


def find_on_cards(finder: DamageFinder, folder: str | Path, confidence: float = 0.5) -> Iterator[Finding]:
    """Detects damage on each card of a folder, of any size; results are in pixels of the original picture.

    Args:
        finder: The finder.
        folder: Card folder.
        confidence: Damages of a lower score are left out, 0 to 1.

    Raises:
        CardError: The folder has no pictures, or a picture cannot be read.
    """
    config = finder.config
    for card in tqdm(some_cards(Path(folder)), "Looking for damage", unit="card"):
        image = read_image(card.image)
        fitted = fit_image(image, config.size, config.fit, config.portrait)
        probabilities = damage_probabilities(finder, torch.from_numpy(fitted.copy()).permute(2, 0, 1)[None])[0]
        unfitted = unfit(probabilities.numpy(), (image.height, image.width), config.fit, config.portrait)
        probabilities = torch.from_numpy(np.ascontiguousarray(unfitted))
        min_pixels = max(4, round(MIN_SHARE * image.height * image.width))
        damages = detect_damages(probabilities, finder.labels, min_pixels)
        damages = [damage for damage in damages if damage.score >= confidence]
        mask, classes = np.zeros((image.height, image.width), np.uint8), probabilities.argmax(dim=0).numpy()
        for damage in damages:
            x, y, width, height = damage.box
            window = slice(y, y + height), slice(x, x + width)
            mask[window][classes[window] == 1 + finder.labels.index(damage.label)] = 255
        yield Finding(card, np.asarray(image), damages, mask)


def write_findings(
    finder: DamageFinder,
    folder: str | Path,
    out: str | Path,
    model: str,
    confidence: float = 0.5,
    overwrite: bool = False,
) -> dict[str, int]:
    """Detects damage on the cards of a folder and writes the results as a card folder.

    Each card is written as PNG with its mask, boxes, classes and scores; its label is the class of the damage of the
    highest score, or CLEAN. `report/` holds the cards with the boxes drawn on them.

    Args:
        finder: The finder.
        folder: Card folder.
        out: Card folder to write.
        model: Name of the finder, for the metadata.
        confidence: Damages of a lower score are left out, 0 to 1.
        overwrite: Replace pictures that exist.

    Returns:
        Number of cards by label.

    Raises:
        CardError: The folder has no pictures, a picture cannot be read, or a picture exists already.
    """
    out, counts = Path(out), dict.fromkeys((*finder.labels, CLEAN), 0)
    if out.resolve() == Path(folder).resolve():
        raise CardError(f"{out} is the folder of the cards themselves; choose another one for the results")
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
    picture: np.ndarray, mask: np.ndarray, damages: list[Detection], labels: tuple[str, ...]
) -> np.ndarray:
    """Draws detected damage on a picture: tinted, with boxes, classes and scores.

    Args:
        picture: uint8 (H, W, 3).
        mask: uint8 (H, W); pixels above 0 are tinted.
        damages: Damages of the picture.
        labels: Damage classes, which select the colours.

    Returns:
        uint8 (H, W, 3); small pictures are enlarged.
    """
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
        corner = x, max(0, y - font.size - 4)
        pen.rectangle(pen.textbbox(corner, text, font=font), fill="white")
        pen.text(corner, text, fill=colour, font=font)
    return np.asarray(image)
