"""Seeds and labels -> cards with their damage masks, in memory or as a card folder; for every kind of model."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from cardsynth.cards.boxes import mask_boxes
from cardsynth.cards.fitting import encode_png
from cardsynth.cards.folder import CardError, CardWriter
from cardsynth.cards.grids import card_grid, grid_columns
from cardsynth.cards.labels import check_labels
from cardsynth.cards.numbers import Numbers
from cardsynth.core.base_config import SamplingConfig
from cardsynth.core.denoise import CardModel, Known


@dataclass(frozen=True)
class GeneratedBatch:
    """Generated cards.

    Attributes:
        pixels: uint8 (B, C, H, W) on the CPU, the mask as fourth channel of 0 or 255.
        seeds: seed of each card.
        labels: class of each card.
        numbers: what each card was asked to be, `covered` and `darkness`; values that were left open are missing.
        settings: the sampling settings.
    """

    pixels: torch.Tensor
    seeds: list[int]
    labels: list[str | None]
    numbers: list[Numbers]
    settings: dict[str, Any] = field(default_factory=dict)


def choose_labels(model: CardModel, seeds: Sequence[int], labels: str | Sequence[str] | None) -> list[str | None]:
    """Chooses one label for each seed: the given one or ones, else the model's classes in turn.

    Raises:
        ValueError: the model does not know a label, or there are not as many labels as seeds.
    """
    if labels is None:
        return [model.labels[seed % len(model.labels)] if model.labels else None for seed in seeds]
    chosen: list[str | None] = [labels] * len(seeds) if isinstance(labels, str) else list(labels)
    check_labels(chosen, model.labels, model.name)
    if len(chosen) != len(seeds):
        raise ValueError(f"there are {len(seeds)} seeds and {len(chosen)} labels; give one label for each seed")
    return chosen


def generate(
    model: CardModel,
    seeds: Sequence[int],
    labels: str | Sequence[str] | None = None,
    *,
    sampling: SamplingConfig | None = None,
    known: Known | None = None,
    covered: float | Sequence[float | None] | None = None,
    darkness: float | Sequence[float | None] | None = None,
    batch_size: int | None = None,
    progress: bool = True,
    **options: Any,
) -> Iterator[GeneratedBatch]:
    """Draws cards for seeds, batch by batch, on the device of the model's net.

    A seed gives the same card at any batch size. The number of cards that go through the net together is chosen to fit
    memory, and halved if a GPU has too little.

    Args:
        model: the model to draw from.
        seeds: different whole numbers from 0.
        labels: one class for all cards, or one for each; default: the model's classes in turn.
        sampling: sampling settings; default: the run's own.
        known: what is known of the card of each seed (see `painting/paint.py`).
        covered: share of the card that its damage should cover, 0 to 1; one value for all, or one for each card; None
            leaves it open. Only for a model that learned this condition.
        darkness: grey levels by which the damage should change the card, 0 to 255; as `covered`.
        batch_size: cards in a batch that is yielded; default: on a GPU those in the net at once, on a CPU 16 or more.
        progress: show a progress bar.
        options: fields of `SamplingConfig` to change, and `compile=True` to compile the net of a diffusion model.

    Yields:
        Batches of cards, in the order of the seeds.

    Raises:
        ValueError: seeds, labels, numbers or sampling settings are wrong, or mean nothing for this kind of model.
    """
    seeds = list(seeds)
    if any(seed < 0 for seed in seeds) or len(set(seeds)) != len(seeds):
        raise ValueError("seeds must be different whole numbers from 0")
    classes = choose_labels(model, seeds, labels)
    numbers = model.dials.choose(classes, covered=covered, darkness=darkness)
    drawer = model.drawer(sampling, **options)
    if known is not None and not drawer.takes_known:
        raise ValueError(f"{model.name} draws a card in one step, so nothing of it can be known beforehand")

    def draw_batches() -> Iterator[GeneratedBatch]:
        at_once, position = drawer.cards_at_once, 0
        on_cpu = next(model.net.parameters()).device.type == "cpu"
        size = batch_size or (max(16, at_once * torch.get_num_threads()) if on_cpu else at_once)
        with tqdm(total=len(seeds), desc="Generating", unit="card", disable=not progress) as bar:
            while position < len(seeds):
                part = slice(position, position + size)
                chosen = seeds[part], classes[part], numbers[part]
                try:
                    pixels = drawer.draw(*chosen, at_once, known and known.of(part))
                except torch.OutOfMemoryError:
                    if at_once == 1:
                        raise
                    at_once //= 2
                    torch.cuda.empty_cache()
                    continue
                yield GeneratedBatch(pixels, *chosen, drawer.settings)
                position += len(pixels)
                bar.update(len(pixels))

    return draw_batches()


def write_cards(
    model: CardModel,
    out: str | Path,
    seeds: Sequence[int],
    labels: str | Sequence[str] | None = None,
    *,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Generates cards into a card folder, `000016.png` for seed 16; a batch is written while the next one is drawn.

    Each row of the metadata says how to draw its card again.

    Args:
        model: the model to draw from.
        out: card folder to write.
        seeds: different whole numbers from 0.
        labels: one class for all cards, or one for each; default: the model's classes in turn.
        overwrite: replace pictures of the same seeds.
        options: further arguments of `generate`.

    Returns:
        The card folder.

    Raises:
        CardError: a picture of one of the seeds exists; nothing is drawn then.
        ValueError: as of `generate`.
    """
    out, seeds = Path(out), list(seeds)
    existing = [out / f"{seed:06d}.png" for seed in seeds if (out / f"{seed:06d}.png").exists()]
    if existing and not overwrite:
        raise CardError(
            f"{existing[0]} exists already, as do {len(existing)} of {len(seeds)}; take other seeds, or overwrite"
        )
    batches = generate(model, seeds, labels, **options)
    with CardWriter(out, overwrite) as writer, ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: None)
        for batch in batches:
            writing.result()
            writing = pool.submit(_write_batch, writer, model, batch)
        writing.result()
    return out


def _write_batch(writer: CardWriter, model: CardModel, batch: GeneratedBatch) -> None:
    settings = {name: value for name, value in batch.settings.items() if value is not None}
    cards = zip(batch.pixels.numpy(), batch.seeds, batch.labels, batch.numbers, strict=True)
    for pixels, seed, label, numbers in cards:
        row = {"file_name": f"{seed:06d}.png", "seed": seed, "model": model.name, "revision": model.revision}
        row |= settings | numbers
        if label is not None:
            row["label"] = label
        mask = pixels[3] if model.has_mask else None
        if mask is not None:
            boxes = mask_boxes(mask)
            row["mask_file_name"] = f"masks/{row['file_name']}"
            row["objects"] = {"bbox": boxes, "categories": [label or "damage"] * len(boxes)}
        image = np.ascontiguousarray(pixels[:3].transpose(1, 2, 0))
        writer.add(row, encode_png(image), None if mask is None else encode_png(mask))


def sample_grid(model: CardModel, count: int) -> Image.Image:
    """Draws a grid of the cards of seeds 0 to `count` - 1, with the run's own sampling settings."""
    batches = list(generate(model, range(count), progress=False))
    return card_grid(torch.cat([batch.pixels for batch in batches]), grid_columns(count))
