"""Damage painted onto a folder of clean scans of any size: labelled cards and their clean twins."""

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
from cardsynth.core.denoise import TrainedModel, resolve_sampling
from cardsynth.painting.paint import SAMPLER, clean_class, damage_labels, find_veils, sample_masks
from cardsynth.painting.placing import Frame, feather, fit_mask, lay_veil
from cardsynth.render.damage.stains import KINDS, damage_card, describe

FEATHER = 0.008  # share of a card's shorter side
SCANS_AT_A_TIME = 16  # so many are in memory


@dataclass(frozen=True)
class Job:
    """A card to paint: the clean one, seed and class of the damage; masks: `sampled`, `drawn` or the file of one."""

    card: CardFile
    seed: int
    label: str | None
    masks: str | Path

    @property
    def name(self) -> str:
        """Name of the picture to write, relative to its folder."""
        name = f"{PurePosixPath(self.card.name).stem}_{self.seed:06d}.png"
        return f"{self.label}/{name}" if self.label else name


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
    """Paint damage onto each clean card of a folder, `per_card` times, into the card folder `out`; returns that.

    Card i (from 0) gets the seeds from `seed + i * per_card` on; the same card and seed give the same files. Of a
    folder with classes one is taken, `clean_label`; default: that which the run's guidance leads away from, else CLEAN.
    label: the class of damage; default: the model's in turn. masks: where it is: `sampled` from the model, `drawn` by
    the renderer for the label, or a folder of masks of any size: those of the cards' names, or else all of them in
    turn. feathering: share of the card's shorter side within which damage rises from the outline of its mask. sampler,
    sampling: settings as of `resolve_sampling`.

    A card written has the clean one's own size, and equals it outside its mask to the bit; mask, soft mask and the
    clean twin stand beside it. Its row names the clean card (`source`, and its own `group` or else its name) and tells
    how to make it again. Raises CardError for pictures or masks that cannot be used, and where a picture is there
    already, unless `overwrite`; ValueError for what the model or its settings do not allow.
    """
    if per_card < 1 or seed < 0 or not 0 <= feathering <= 1:
        raise ValueError(
            "per_card must be 1 or more, seed 0 or more and feathering 0 to 1;"
            f" they are {per_card}, {seed} and {feathering}"
        )
    out, jobs = Path(out), _jobs(model, _clean_cards(model, cards, clean_label), label, masks, per_card, seed)
    taken = [out / job.name for job in jobs if (out / job.name).exists()]
    if taken and not overwrite:
        raise CardError(f"{taken[0]} exists already, as do {len(taken)} of {len(jobs)}; take other seeds, or overwrite")
    how = asdict(resolve_sampling(model, sampler, **sampling))
    about = {"model": model.name, "revision": model.revision, "feathering": feathering}
    about |= {name: value for name, value in how.items() if value is not None}
    with (
        CardWriter(out, overwrite) as writer,
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(jobs), desc="Painting damage", unit="card", disable=not progress) as bar,
    ):
        for start in range(0, len(jobs), SCANS_AT_A_TIME):
            painted = _paint(model, jobs[start : start + SCANS_AT_A_TIME], how, pool)
            for row, pictures in pool.map(partial(_encode, about), painted):
                writer.add(row, **pictures)
                bar.update()
    return out


def _clean_cards(model: TrainedModel, folder: str | Path, clean_label: str | None) -> list[CardFile]:
    """The cards of a folder that have no damage, in order."""
    cards, clean = some_cards(Path(folder)), clean_label or clean_class(model)
    found = [card for card in cards if card.label in (None, clean)]
    if not found:
        there = ", ".join(sorted({card.label for card in cards}))
        raise CardError(
            f"{folder} has no class {clean}, its classes are {there}; name the clean one, or give its cards alone"
        )
    return found


def _jobs(
    model: TrainedModel, cards: Sequence[CardFile], label: str | None, masks: str | Path, per_card: int, seed: int
) -> list[Job]:
    """What is to be painted, in order."""
    seeds = range(seed, seed + len(cards) * per_card)
    labels = damage_labels(model, seeds, label)
    sources: Sequence[str | Path] = [str(masks)] * len(seeds)
    if masks == "drawn":
        unknown = sorted({label or "damage without a class" for label in labels} - set(KINDS))
        if unknown:
            raise ValueError(f"the renderer draws no {', '.join(unknown)}; give masks, or sample them")
    elif masks != "sampled":
        sources = _mask_files(Path(masks), cards, per_card)
    return [
        Job(cards[place // per_card], *chosen) for place, chosen in enumerate(zip(seeds, labels, sources, strict=True))
    ]


def _mask_files(folder: Path, cards: Sequence[CardFile], per_card: int) -> list[Path]:
    """A mask for each seed: that of its card's name where every card has one, else all of them in turn."""
    files = sorted(Path(entry) for _, entry in picture_files(folder))
    if not files:
        raise CardError(f"{folder} has no pictures; give a folder of masks, or write `sampled` or `drawn`")
    named, stems = {file.stem: file for file in files}, [PurePosixPath(card.name).stem for card in cards]
    if set(stems) <= set(named):
        return [named[stem] for stem in stems for _ in range(per_card)]
    return [files[place % len(files)] for place in range(len(cards) * per_card)]


def _paint(
    model: TrainedModel, jobs: Sequence[Job], how: dict[str, Any], pool: ThreadPoolExecutor
) -> list[tuple[Job, np.ndarray, np.ndarray, Frame, np.ndarray, torch.Tensor, torch.Tensor]]:
    """Each job with its scan, mask, frame, mask at the model's size, and the veil's gain and light."""
    size, portrait = model.config.size, model.config.portrait and model.config.height >= model.config.width
    seeds, labels = [job.seed for job in jobs], [job.label for job in jobs]
    scans = list(pool.map(lambda job: np.asarray(read_image(job.card.image)), jobs))
    frames = [Frame(scan.shape[:2], size, portrait and scan.shape[0] < scan.shape[1]) for scan in scans]
    if jobs[0].masks == "sampled":
        sampled = sample_masks(model, labels, seeds, progress=False, **how).numpy().astype(np.uint8) * 255
        masks = [fit_mask(mask, frame.size) for mask, frame in zip(sampled, frames, strict=True)]
    elif jobs[0].masks == "drawn":
        masks = list(pool.map(_draw_mask, jobs, scans))
    else:
        masks = list(pool.map(_read_mask, jobs, frames))
    small_masks = [frame.shrink_mask(mask) for frame, mask in zip(frames, masks, strict=True)]
    for job, mask in zip(jobs, small_masks, strict=True):
        if not mask.any():
            where = f"the mask {job.masks}" if isinstance(job.masks, Path) else f"the mask {job.masks} for {job.name}"
            raise CardError(f"{where} holds no damage as large as a pixel of {size[0]}x{size[1]} (height x width)")
    clean = np.stack([frame.shrink_scan(scan) for frame, scan in zip(frames, scans, strict=True)])
    veils = find_veils(
        model,
        torch.from_numpy(clean.transpose(0, 3, 1, 2).copy()),
        torch.from_numpy(np.stack(small_masks)),
        labels if model.labels else None,
        seeds,
        progress=False,
        **how,
    )
    return list(zip(jobs, scans, masks, frames, small_masks, veils.gain, veils.light, strict=True))


def _draw_mask(job: Job, scan: np.ndarray) -> np.ndarray:
    """Where the renderer would lay a damage of the job's class on a scan."""
    rng = np.random.default_rng([job.seed, 4, list(KINDS).index(job.label)])
    _, damage = damage_card(scan, scan, np.ones(scan.shape[:2], np.float32), job.label, rng)
    return damage.hard > 0


def _read_mask(job: Job, frame: Frame) -> np.ndarray:
    return fit_mask(np.asarray(read_image(job.masks).convert("L")), frame.size)


def _encode(about: dict[str, Any], painted: tuple) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The metadata row of a painted card, and its pictures as PNG."""
    job, scan, mask, frame, small_mask, gain, light = painted
    mask = frame.within_reach(mask, small_mask)
    soft = feather(mask, about["feathering"] * min(frame.size))
    image = lay_veil(scan, frame, gain, light, soft)
    damage = describe(job.label or "damage", scan, image, soft, mask, np.ones(frame.size, bool))
    row = {"file_name": job.name} | {
        f"{kind}_file_name": f"{kind}s/{job.name}" for kind in ("mask", "soft_mask", "twin")
    }
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
