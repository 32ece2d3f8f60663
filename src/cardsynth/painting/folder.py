"""Paints damage onto a folder of clean scans of any size, and writes labelled cards with their clean twins."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from cardsynth.cards.fitting import encode_png, read_image
from cardsynth.cards.folder import CardError, CardFile, CardWriter, picture_files
from cardsynth.cards.reading import some_cards
from cardsynth.core.config import TrainingConfig
from cardsynth.core.denoise import TrainedModel, resolve_sampling
from cardsynth.painting.paint import SAMPLER, clean_class, damage_labels, find_veils, sample_masks
from cardsynth.painting.placing import Frame, feather, fit_mask, lay_veil
from cardsynth.render.damage.stains import KINDS, damage_card, describe

FEATHER = 0.008  # share of a card's shorter side
SCANS_AT_A_TIME = 16  # number of scans in memory
DRAWN_MASKS_STREAM = 4  # separates the random numbers of drawn masks from others of the same seed


@dataclass(frozen=True)
class Job:
    """A card to paint.

    Attributes:
        card: The clean card.
        seed: Seed of the damage.
        label: Class of the damage; None for a model without classes.
        masks: `sampled`, `drawn`, or the file of the mask.
    """

    card: CardFile
    seed: int
    label: str | None
    masks: str | Path

    @property
    def name(self) -> str:
        """File name of the painted picture, relative to its card folder."""
        name = f"{PurePosixPath(self.card.name).stem}_{self.seed:06d}.png"
        return f"{self.label}/{name}" if self.label else name


@dataclass(frozen=True)
class Canvas:
    """A clean scan and the mask of its damage, at full size and at the model's size.

    Attributes:
        job: The job that it belongs to.
        frame: How the scan lies in a picture of the model's size.
        scan: uint8 (H, W, 3).
        mask: bool (H, W).
        small_scan: uint8 (h, w, 3).
        small_mask: bool (h, w), not empty.
    """

    job: Job
    frame: Frame
    scan: np.ndarray
    mask: np.ndarray
    small_scan: np.ndarray
    small_mask: np.ndarray


def damage_cards(
    model: TrainedModel,
    cards: str | Path,
    out: str | Path,
    label: str | None = None,
    *,
    masks: str | Path = "sampled",
    per_card: int = 1,
    seed: int = 0,
    feathering: float = FEATHER,
    clean_label: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
    sampler: str = SAMPLER,
    **sampling: Any,
) -> Path:
    """Paints damage onto each clean card of a folder and writes a card folder.

    A painted card has the size of the clean one and equals it exactly outside its mask. Its mask, soft mask and clean
    twin are written beside it. Its metadata row names the clean card (`source`), the clean card's `group` (or its
    name), and all settings needed to reproduce it.

    Args:
        model: A diffusion model with masks.
        cards: Folder of clean cards.
        out: Card folder to write.
        label: Class of the damage; default: the model's classes in turn.
        masks: Where the damage lies: `sampled` from the model, `drawn` by the renderer, or a folder of masks of any
            size. Masks named after the cards are matched by name; otherwise all masks are used in turn.
        per_card: Number of painted cards for each clean card.
        seed: First seed. Card i (from 0) gets `per_card` seeds from `seed + i * per_card` on. The same card and seed
            give the same files.
        feathering: Width of the transition from the outline of the mask to full damage, as a share of the card's
            shorter side, 0 to 1.
        clean_label: Class of the clean cards in a folder with classes; default: the run's negative label or CLEAN.
        overwrite: Replace pictures that exist.
        progress: Show a progress bar.
        sampler: See `denoise.resolve_sampling`.
        **sampling: Sampling settings, see `denoise.resolve_sampling`.

    Returns:
        `out`.

    Raises:
        CardError: If pictures or masks cannot be used, or a picture exists, unless `overwrite`.
        ValueError: If the model or its settings do not allow it.
    """
    if per_card < 1 or seed < 0 or not 0 <= feathering <= 1:
        raise ValueError(
            "per_card must be 1 or more, seed 0 or more and feathering 0 to 1;"
            f" they are {per_card}, {seed} and {feathering}"
        )
    out, jobs = Path(out), _jobs(model, _clean_cards(model, cards, clean_label), label, masks, per_card, seed)
    existing = [out / job.name for job in jobs if (out / job.name).exists()]
    if existing and not overwrite:
        raise CardError(
            f"{existing[0]} exists already, as do {len(existing)} of {len(jobs)}; take other seeds, or overwrite"
        )
    settings = asdict(resolve_sampling(model, sampler=sampler, **sampling))
    about = {"model": model.name, "revision": model.revision, "feathering": feathering}
    about |= {name: value for name, value in settings.items() if value is not None}
    settings["progress"] = False
    with (
        CardWriter(out, overwrite) as writer,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(jobs), desc="Painting damage", unit="card", disable=not progress) as bar,
    ):
        for start in range(0, len(jobs), SCANS_AT_A_TIME):
            part = jobs[start : start + SCANS_AT_A_TIME]
            seeds, labels = [job.seed for job in part], [job.label for job in part]
            sampled = sample_masks(model, labels, seeds, **settings) if masks == "sampled" else [None] * len(part)
            canvases = list(pool.map(partial(_prepare, model.config), part, sampled))
            clean = torch.from_numpy(np.stack([canvas.small_scan for canvas in canvases])).permute(0, 3, 1, 2)
            small_masks = torch.from_numpy(np.stack([canvas.small_mask for canvas in canvases]))
            veils = find_veils(
                model, clean.contiguous(), small_masks, labels if model.labels else None, seeds, **settings
            )
            for row, pictures in pool.map(partial(_encode, about), canvases, veils.gain, veils.light):
                writer.add(row, **pictures)
                bar.update()
    return out


def _clean_cards(model: TrainedModel, folder: str | Path, clean_label: str | None) -> list[CardFile]:
    """Lists the cards of a folder that have no damage, in order."""
    cards, clean = some_cards(Path(folder)), clean_label or clean_class(model)
    clean_cards = [card for card in cards if card.label in (None, clean)]
    if not clean_cards:
        classes = ", ".join(sorted({card.label for card in cards}))
        raise CardError(
            f"{folder} has no class {clean}, its classes are {classes}; name the clean one, or give its cards alone"
        )
    return clean_cards


def _jobs(
    model: TrainedModel, cards: Sequence[CardFile], label: str | None, masks: str | Path, per_card: int, seed: int
) -> list[Job]:
    """Lists the cards to paint, in order."""
    seeds = range(seed, seed + len(cards) * per_card)
    labels = damage_labels(model, seeds, label)
    sources: Sequence[str | Path] = [str(masks)] * len(seeds)
    if masks == "drawn":
        unknown = sorted({label or "damage without a class" for label in labels} - set(KINDS))
        if unknown:
            raise ValueError(f"the renderer draws no {', '.join(unknown)}; give masks, or sample them")
    elif masks != "sampled":
        sources = _mask_files(Path(masks), cards, per_card)
    repeated = [card for card in cards for _ in range(per_card)]
    return list(map(Job, repeated, seeds, labels, sources))


def _mask_files(folder: Path, cards: Sequence[CardFile], per_card: int) -> list[Path]:
    """Chooses a mask for each seed: by the card's name if every card has one, otherwise all masks in turn."""
    files = sorted(Path(entry) for _, entry in picture_files(folder))
    if not files:
        raise CardError(f"{folder} has no pictures; give a folder of masks, or write `sampled` or `drawn`")
    by_stem, stems = {file.stem: file for file in files}, [PurePosixPath(card.name).stem for card in cards]
    if set(stems) <= set(by_stem):
        return [by_stem[stem] for stem in stems for _ in range(per_card)]
    return [files[index % len(files)] for index in range(len(cards) * per_card)]


def _prepare(config: TrainingConfig, job: Job, sampled: torch.Tensor | None) -> Canvas:
    """Reads a scan and its mask, and brings both to the model's size; sampled: bool (h, w), the model's mask."""
    scan = np.asarray(read_image(job.card.image))
    turned = config.portrait and config.height >= config.width and scan.shape[0] < scan.shape[1]
    frame = Frame(scan.shape[:2], config.size, turned)
    if sampled is not None:
        mask = fit_mask(sampled.numpy().astype(np.uint8) * 255, frame.size)
    elif job.masks == "drawn":
        rng = np.random.default_rng([job.seed, DRAWN_MASKS_STREAM, list(KINDS).index(job.label)])
        _, damage = damage_card(scan, scan, np.ones(frame.size, np.float32), job.label, rng)
        mask = damage.hard > 0
    else:
        mask = fit_mask(np.asarray(read_image(job.masks).convert("L")), frame.size)
    small_mask = frame.shrink_mask(mask)
    if not small_mask.any():
        name = f"the mask {job.masks}" if isinstance(job.masks, Path) else f"the mask {job.masks} for {job.name}"
        size = f"{config.height}x{config.width}"
        raise CardError(f"{name} holds no damage as large as a pixel of {size} (height x width)")
    return Canvas(job, frame, scan, mask, frame.shrink_scan(scan), small_mask)


def _encode(
    about: dict[str, Any], canvas: Canvas, gain: torch.Tensor, light: torch.Tensor
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Returns the metadata row of a painted card and its pictures as PNG; gain, light: of its veil."""
    job, frame, scan = canvas.job, canvas.frame, canvas.scan
    mask = frame.within_reach(canvas.mask, canvas.small_mask)
    soft = feather(mask, about["feathering"] * min(frame.size))
    image = lay_veil(scan, frame, gain, light, soft)
    damage = describe(job.label or "damage", scan, image, soft, mask, np.ones(frame.size, bool))
    row = {"file_name": job.name}
    row |= {f"{kind}_file_name": f"{kind}s/{job.name}" for kind in ("mask", "soft_mask", "twin")}
    row |= {"label": job.label} if job.label else {}
    row |= {
        "source": job.card.name,
        "group": str((job.card.row or {}).get("group") or job.card.name),
        "seed": job.seed,
        "masks": job.masks if isinstance(job.masks, str) else job.masks.name,
        **about,
        "damages": [damage.row],
        "objects": {"bbox": damage.boxes, "categories": [damage.kind] * len(damage.boxes)},
    }
    pictures = {"image": image, "mask": damage.hard, "soft_mask": soft, "twin": scan}
    return row, {kind: encode_png(picture) for kind, picture in pictures.items()}
