"""The cards of an export: which split and file each goes to, and how its picture is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from cardsynth.cards.fitting import encode_png, read_image
from cardsynth.cards.folder import CardError
from cardsynth.formats.instances import AnnotatedCard

COPIED_FORMATS = {"JPEG", "PNG", "BMP", "WEBP", "TIFF"}
ORIENTATION = 0x0112  # EXIF tag; 1 is upright


@dataclass(frozen=True)
class Item:
    """A card of an export.

    Attributes:
        annotated: The card and its damages.
        split: `train`, `val` or `test`.
        stem: File name without suffix, unique within the export.
        suffix: Suffix of its picture, with the dot.
        group: Cards of one group stay in one split.
        copied: Whether the picture is copied byte for byte; otherwise it is converted to an upright RGB PNG.
    """

    annotated: AnnotatedCard
    split: str
    stem: str
    suffix: str
    group: str
    copied: bool

    @property
    def name(self) -> str:
        """File name of the picture."""
        return f"{self.stem}{self.suffix}"

    def picture(self) -> bytes:
        """Returns the content of the picture file."""
        path = self.annotated.card.image
        return path.read_bytes() if self.copied else encode_png(np.asarray(read_image(path)))

    def write_picture(self, folder: Path) -> None:
        """Writes the picture into a folder. It is never a link, because some tools modify pictures in place."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.name).write_bytes(self.picture())


def is_portable(path: Path) -> bool:
    """Tells whether all tools decode a picture alike: 8-bit grey or RGB, one frame, no EXIF rotation.

    Args:
        path: A picture that Pillow can open.
    """
    with Image.open(path) as image:
        plain = image.mode in ("L", "RGB") and "transparency" not in image.info and getattr(image, "n_frames", 1) == 1
        return plain and image.format in COPIED_FORMATS and image.getexif().get(ORIENTATION, 1) == 1


def require_masks(items: Sequence[Item], form: str) -> None:
    """Checks that the masks of all damages are known.

    Args:
        items: The cards of an export.
        form: Name of the format, for the message.

    Raises:
        CardError: If only the box of a damage is known; names the card.
    """
    for item in items:
        if any(instance.rle is None for instance in item.annotated.instances):
            name = item.annotated.card.name
            raise CardError(f"{name} has boxes and no mask, which {form} needs; export it as coco, yolo or voc")


def track(items: Sequence[Item], form: str) -> tqdm:
    """Iterates over the cards with a progress bar.

    Args:
        items: The cards of an export.
        form: Name of the format, for the bar.
    """
    return tqdm(items, f"Writing {form}", unit="card", leave=False)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file and creates its folder.

    Args:
        path: The file.
        text: Its content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
