"""Cards in memory: read from a card folder or the Hub, fitted to one size; and the pair image <-> tensor."""

import hashlib
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from tqdm.auto import tqdm

from cardsynth.config import Fit, TrainingConfig
from cardsynth.fitting import fit_image, read_image
from cardsynth.folder import IMAGE_SUFFIXES, CardError, find_cards

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Cards:
    """Cards in memory: `pixels` uint8 (N, C, H, W), C 3 (RGB) or 4 (RGB and mask, 0 or 255); `labels` int64 (N,).

    `label_names` is empty where the cards have no labels. `skipped` names what was left out, and why.
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    label_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    source: str = ""
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def has_mask(self) -> bool:
        """Whether the fourth channel, the damage mask, is there."""
        return self.pixels.shape[1] == 4

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[2], self.pixels.shape[3]

    @property
    def class_counts(self) -> dict[str, int]:
        """Number of cards of each class; empty without labels."""
        counts = torch.bincount(self.labels, minlength=len(self.label_names)).tolist()
        return dict(zip(self.label_names, counts, strict=False))

    @property
    def fingerprint(self) -> str:
        """Hash of pixels and labels: equal for equal training data, whatever its files are called."""
        digest = hashlib.sha256(repr((tuple(self.pixels.shape), self.label_names)).encode())
        digest.update(self.pixels.cpu().contiguous().numpy().tobytes())
        digest.update(self.labels.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def to(self, device: str | torch.device) -> "Cards":
        """The same cards with pixels and labels on a device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))


def normalize(pixels: torch.Tensor, patch_size: int = 1) -> torch.Tensor:
    """uint8 (B, C, H, W) in 0 to 255 -> float32 in [-1, 1], patches folded: (B, C * p * p, H / p, W / p)."""
    return F.pixel_unshuffle(pixels.float() / 127.5 - 1, patch_size)


def denormalize(images: torch.Tensor, patch_size: int = 1) -> torch.Tensor:
    """The inverse of `normalize`: float (B, C * p * p, H / p, W / p) -> uint8 (B, C, H, W), values clipped."""
    images = F.pixel_shuffle(images.float(), patch_size)
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def open_cards(source: str | Path) -> datasets.Dataset:
    """Cards of a folder or of a data set on the Hub, as a Dataset of image, mask, label, text and file_name, undecoded.

    Raises CardError when there is no such folder or data set, or no picture in it.
    """
    folder = Path(source)
    if folder.is_dir():
        rows = [
            {
                "image": str(card.image),
                "mask": str(card.mask) if card.mask else None,
                "label": card.label,
                "text": card.text,
                "file_name": card.name,
            }
            for card in find_cards(folder)
        ]
        if not rows:
            raise CardError(f"{folder} has no pictures ({', '.join(sorted(IMAGE_SUFFIXES))}); put scans there")
        picture, string = datasets.Image(decode=False), datasets.Value("string")
        features = dict(image=picture, mask=picture, label=string, text=string, file_name=string)
        return datasets.Dataset.from_list(rows, features=datasets.Features(features))
    if folder.exists() or not HUB_ID.fullmatch(str(source)):
        raise CardError(f"{source} is no folder of cards, and no Hub id like name/cards; check the path")
    return _open_hub_cards(str(source))


def _open_hub_cards(repo_id: str) -> datasets.Dataset:
    try:
        cards = datasets.load_dataset(repo_id, split="train")
    except Exception as error:
        raise CardError(
            f"{repo_id} is no local folder, and could not be opened as a data set on the Hub"
            f" ({type(error).__name__}): check the name, and log in (hf auth login) where it is private"
        ) from error
    if "image" not in cards.column_names:
        raise CardError(f"{repo_id} has no column `image`; its columns are {', '.join(cards.column_names)}")
    columns: dict[str, list] = {"file_name": [f"{repo_id}[{index}]" for index in range(len(cards))]}
    label = cards.features.get("label")
    if label is not None:
        values = cards["label"][:]
        columns["label"] = [label.int2str(v) if isinstance(label, datasets.ClassLabel) else str(v) for v in values]
    kept = cards.select_columns([name for name in ("image", "mask", "text") if name in cards.column_names])
    for name in ("mask", "label", "text"):
        if name not in cards.column_names:
            columns[name] = [None] * len(cards)
    for name, values in columns.items():
        kept = kept.add_column(name, values)
    for name in {"image", "mask"} & set(cards.column_names):
        kept = kept.cast_column(name, datasets.Image(decode=False))
    return kept


def _read_card(row: dict[str, Any], size: tuple[int, int], fit: Fit, portrait: bool, with_mask: bool) -> np.ndarray:
    def opened(column: str) -> Image.Image:
        stored = row[column]
        file = io.BytesIO(stored["bytes"]) if stored.get("bytes") else stored["path"]
        return read_image(file, f"{column} of {row['file_name']}" if stored.get("bytes") else stored["path"])

    image = opened("image")
    channels = [fit_image(image, size, fit, portrait)]
    if with_mask:
        if row["mask"] is None:
            raise CardError(f"{row['file_name']} has no mask where other cards have one; add it, or set use_masks off")
        mask = opened("mask").convert("L")
        if mask.size != image.size:
            raise CardError(
                f"the mask of {row['file_name']} measures {mask.height}x{mask.width} and the picture"
                f" {image.height}x{image.width}; save both at one size"
            )
        channels.append(fit_image(mask, size, fit, portrait, is_mask=True)[..., None])
    return np.concatenate(channels, axis=-1).transpose(2, 0, 1)


def read_cards(
    source: str | Path,
    size: tuple[int, int],
    fit: Fit = "crop",
    portrait: bool = True,
    use_masks: bool = True,
    use_labels: bool = True,
    only_labels: Sequence[str] = (),
    skip_bad: bool = False,
) -> Cards:
    """Cards of a folder or a Hub id, fitted to (height, width), in one uint8 tensor.

    Masks become a fourth channel where the cards have them. Raises CardError, naming the file and the remedy, for what
    cannot be read (with `skip_bad` it is left out and named in `skipped`), for unknown `only_labels`, and for fewer
    than two cards.
    """
    rows = open_cards(source)
    labels = rows["label"][:]
    labelled = any(label is not None for label in labels)
    unknown = sorted(set(only_labels) - set(labels))
    if unknown:
        there = ", ".join(sorted({label for label in labels if label})) or "none"
        raise CardError(f"{source} has no class {', '.join(unknown)}; its classes are: {there}")
    if only_labels:
        rows = rows.select([index for index, label in enumerate(labels) if label in only_labels])
    with_mask = use_masks and any(mask is not None for mask in rows["mask"][:])

    def read(index: int) -> np.ndarray | CardError:
        try:
            row = rows[index]
            if use_labels and labelled and row["label"] is None:
                raise CardError(f"{row['file_name']} has no label where other cards have one; add it")
            return _read_card(row, size, fit, portrait, with_mask)
        except CardError as error:
            return error

    with ThreadPoolExecutor() as pool:
        progress = tqdm(pool.map(read, range(len(rows))), "Reading cards", len(rows), unit="card", leave=False)
        results = list(progress)
    bad = [result for result in results if isinstance(result, CardError)]
    if bad and not skip_bad:
        more = f" (and {len(bad) - 1} more: cardsynth check {source} lists them)" if len(bad) > 1 else ""
        raise CardError(f"{bad[0]}; or leave bad pictures out with skip_bad{more}")
    good = [index for index, result in enumerate(results) if not isinstance(result, CardError)]
    if len(good) < 2:
        raise CardError(f"{source} has {len(good)} usable cards; at least two are needed")
    kept = [rows[index]["label"] for index in good] if use_labels and labelled else []
    label_names = tuple(sorted(set(kept)))
    return Cards(
        pixels=torch.from_numpy(np.stack([results[index] for index in good])),
        labels=torch.tensor([label_names.index(label) for label in kept] or [0] * len(good)),
        label_names=label_names,
        names=tuple(rows["file_name"][index] for index in good),
        source=str(source),
        skipped=tuple(str(error) for error in bad),
    )


def balance_report(cards: Cards) -> str:
    """Class counts and shares in a few lines, with a warning where a class has under a third of the largest."""
    counts = Counter(cards.class_counts)
    lines = [f"{len(cards)} cards, {cards.size[0]}x{cards.size[1]}, {'with' if cards.has_mask else 'without'} masks"]
    for name, count in counts.most_common():
        rare = "   rare: under a third of the largest class" if count * 3 < max(counts.values()) else ""
        lines.append(f"{name:>16} {count:6d} {count / len(cards):6.1%}{rare}")
    return "\n".join(lines)


def cards_for(config: TrainingConfig, source: str | Path) -> Cards:
    """Cards of a folder or a Hub id, read as training settings say; raises as `read_cards` does."""
    return read_cards(
        source,
        config.size,
        config.fit,
        config.portrait,
        config.use_masks,
        config.use_labels,
        config.only_labels,
        config.skip_bad,
    )


def stack_cards(drawn: Iterable[Any], source: str = "drawn cards") -> Cards:
    """Cards in memory from drawn ones, each with `image` (H, W, 3), `mask` (H, W) and a `row` that holds its label."""
    pixels, labels = [], []
    for card in drawn:
        pixels.append(np.concatenate([card.image, card.mask[..., None]], axis=-1).transpose(2, 0, 1))
        labels.append(card.row["label"])
    label_names = tuple(sorted(set(labels)))
    return Cards(
        pixels=torch.from_numpy(np.stack(pixels)),
        labels=torch.tensor([label_names.index(label) for label in labels]),
        label_names=label_names,
        source=source,
    )
