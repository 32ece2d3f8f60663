"""Seeds and labels -> cards with their damage masks, each card from a random generator of its own."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.utils import make_grid
from tqdm.auto import tqdm

from cardsynth.baselines.model import CARDS_AT_ONCE, NETS, BaselineModel, is_baseline, load_baseline
from cardsynth.cards.dials import choose_numbers
from cardsynth.cards.fitting import encode_png
from cardsynth.cards.folder import CardError, CardWriter
from cardsynth.cards.numbers import Numbers
from cardsynth.core.config import check_interval
from cardsynth.core.denoise import Recipe, cards_at_once, draw_cards, try_out
from cardsynth.core.diffusion import build_sampler
from cardsynth.core.kind import DIFFUSION
from cardsynth.core.runs import RunError, TrainedModel, load_model
from cardsynth.hub.push_pull import pull_run
from cardsynth.painting.veils import KnownCards
from cardsynth.render.damage.stains import mask_boxes
from cardsynth.util.device import compile_net, resolve_precision

AnyModel = TrainedModel | BaselineModel

GRID_PADDING = 2  # pixels between the cards of a grid


@dataclass(frozen=True)
class GeneratedBatch:
    """Generated cards: `pixels` uint8 (B, C, H, W) on the CPU, mask as fourth channel of 0 or 255; seeds and labels.

    numbers: what each card was asked to be, `covered` and `darkness`; what was left open is not in it.
    """

    pixels: torch.Tensor
    seeds: list[int]
    labels: list[str | None]
    numbers: list[Numbers]


def open_model(
    model: str | Path,
    revision: str | None = None,
    device: str | torch.device | None = None,
    ema_decay: float | None = None,
) -> AnyModel:
    """The model of a run folder or of a Hub id like name/model, on `device`, or else on the GPU where there is one.

    ema_decay: which of a diffusion run's averages to take; default: its main one. Raises HubError or RunError where
    there is no such model.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    name = "" if Path(model).is_dir() else str(model)
    run = pull_run(model, revision=revision, kinds=(DIFFUSION, *NETS))
    if not is_baseline(run):
        return load_model(run, name=name, device=device, ema_decay=ema_decay)
    if ema_decay is not None:
        raise RunError(f"{model} keeps one average of its weights alone; leave the EMA decay out")
    return load_baseline(run, name, device)


def choose_labels(model: AnyModel, seeds: Sequence[int], labels: str | Sequence[str] | None) -> list[str | None]:
    """One label for each seed: the given one or ones, else each seed's turn of the model's classes.

    Raises ValueError for labels that the model does not know or of another number than the seeds.
    """
    if not model.labels:
        if labels is not None:
            raise ValueError(f"{model.name} was trained without classes, so it takes no label")
        return [None] * len(seeds)
    if labels is None:
        return [model.labels[seed % len(model.labels)] for seed in seeds]
    chosen = [labels] * len(seeds) if isinstance(labels, str) else list(labels)
    unknown = sorted(set(chosen) - set(model.labels))
    if unknown:
        raise ValueError(f"{model.name} knows no class {', '.join(unknown)}; it knows {', '.join(model.labels)}")
    if len(chosen) != len(seeds):
        raise ValueError(f"there are {len(seeds)} seeds and {len(chosen)} labels; give one label for each seed")
    return chosen


def resolve_sampling(
    model: TrainedModel,
    sampler: str | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    negative_label: str | None = None,
    guidance_limit: float | None = None,
    guidance_interval: tuple[float, float] | None = None,
    mixed_precision: str | None = None,
) -> Recipe:
    """Sampling settings, the run's own where none are given (of another sampler DDPM: all timesteps).

    Guidance leads away from what the net would draw under the negative label (the cards of that class are drawn without
    guidance), or else without a label (Ho & Salimans 2022); its step is at most `guidance_limit`, root mean square
    (Sadat et al. 2024), and only steps within `guidance_interval` are guided, the others cost half (Kynkaanniemi et al.
    2024). Raises ValueError for what cannot be.
    """
    config, own_sampler = model.config, model.config.sampler
    sampler = sampler or own_sampler
    if num_inference_steps is None:
        all_steps = model.noise_scheduler.config.num_train_timesteps
        num_inference_steps = all_steps if sampler == "ddpm" != own_sampler else config.num_inference_steps
    if negative_label is None and config.negative_label in model.labels:
        negative_label = config.negative_label
    if negative_label is not None:
        choose_labels(model, [0], negative_label)
    build_sampler(sampler, model.noise_scheduler, num_inference_steps)
    interval = config.guidance_interval if guidance_interval is None else tuple(guidance_interval)
    check_interval(interval)
    return Recipe(
        sampler=sampler,
        num_inference_steps=num_inference_steps,
        guidance_scale=config.guidance_scale if guidance_scale is None else guidance_scale,
        negative_label=negative_label,
        guidance_limit=config.guidance_limit if guidance_limit is None else guidance_limit,
        guidance_interval=interval,
        mixed_precision=resolve_precision(mixed_precision or config.mixed_precision, model.unet.device),
    )


def generate(
    model: AnyModel,
    seeds: Sequence[int],
    labels: str | Sequence[str] | None = None,
    *,
    known: KnownCards | None = None,
    covered: float | Sequence[float | None] | None = None,
    darkness: float | Sequence[float | None] | None = None,
    batch_size: int | None = None,
    compile: bool = False,
    progress: bool = True,
    **sampling: Any,
) -> Iterator[GeneratedBatch]:
    """Yield cards for seeds (whole numbers from 0), batch by batch, off the device; runs where the model's net lies.

    A seed gives the same card at any batch size. known: what is known of the card of each seed (see
    `painting/paint.py`). covered, darkness: what share of the card its damage is to cover (0 to 1), and by how many
    grey levels it is to change it (0 to 255), of a model that learned these `conditions`; one value for all, or one for
    each seed, None: open, as in the cards that guidance leads away from. How many cards go through the net at once is
    chosen to fit memory, and halved when a GPU has too little. batch_size: how many are yielded at a time (default: on
    a GPU those at once, on a CPU 16 or more); a multiple of those at once loses nothing. compile: run the net compiled,
    which takes a minute at first; where that does not work, it warns and goes on without. sampling: settings as of
    `resolve_sampling`. Raises ValueError for seeds, labels, numbers, sampler or steps that are wrong, and for what
    means nothing for a DCGAN or a VAE.
    """
    seeds = list(seeds)
    if any(seed < 0 for seed in seeds) or len(set(seeds)) != len(seeds):
        raise ValueError("seeds must be different whole numbers from 0")
    labels = choose_labels(model, seeds, labels)
    numbers = choose_numbers(model, labels, covered=covered, darkness=darkness)
    if isinstance(model, BaselineModel):
        model.refuse(known=known, compile=compile or None, **sampling)
        draw, at_once = partial(_decode, model), CARDS_AT_ONCE
    else:
        draw, at_once = _denoiser(model, compile, **sampling), cards_at_once(model.unet)
    if batch_size is None:
        on_cpu = model.net.device.type == "cpu"
        batch_size = max(16, at_once * torch.get_num_threads()) if on_cpu else at_once
    position = 0
    with tqdm(total=len(seeds), desc="Generating", unit="card", disable=not progress) as bar:
        while position < len(seeds):
            part = slice(position, position + batch_size)
            try:
                pixels = draw(seeds[part], labels[part], numbers[part], at_once, known and known.of(part))
            except torch.OutOfMemoryError:
                if at_once == 1:
                    raise
                at_once //= 2
                torch.cuda.empty_cache()
                continue
            yield GeneratedBatch(pixels, seeds[part], labels[part], numbers[part])
            position += len(pixels)
            bar.update(len(pixels))


def _denoiser(model: TrainedModel, compile: bool, **sampling: Any) -> Callable[..., torch.Tensor]:
    """What draws cards of a diffusion model, as `denoise.draw_cards` does, from seeds on."""
    recipe = resolve_sampling(model, **sampling)
    trial = partial(try_out, model, recipe, cards_at_once(model.unet))
    net = compile_net(model.unet, "default" if compile else "no", model.unet.device, trial)
    return partial(draw_cards, model, net, recipe)


def _decode(
    model: BaselineModel, seeds: list[int], labels: list[str | None], _: Any, at_once: int, __: Any
) -> torch.Tensor:
    """The same of a DCGAN or a VAE, which has no use for numbers and known cards."""
    return model.decode(model.seed_latents(seeds), model.class_weights(labels), at_once)


def write_cards(
    model: AnyModel,
    out: str | Path,
    seeds: Sequence[int],
    labels: str | Sequence[str] | None = None,
    *,
    covered: float | Sequence[float | None] | None = None,
    darkness: float | Sequence[float | None] | None = None,
    overwrite: bool = False,
    batch_size: int | None = None,
    compile: bool = False,
    progress: bool = True,
    **sampling: Any,
) -> Path:
    """Generate cards into a card folder, `000016.png` for seed 16; arguments as of `generate`.

    Each row of the metadata says how to make its card again. A batch is written while the next one is computed. Raises
    CardError before anything is drawn when a picture of one of the seeds is there, unless `overwrite`.
    """
    out, seeds = Path(out), list(seeds)
    taken = [out / f"{seed:06d}.png" for seed in seeds if (out / f"{seed:06d}.png").exists()]
    if taken and not overwrite:
        raise CardError(
            f"{taken[0]} exists already, as do {len(taken)} of {len(seeds)}; take other seeds, or overwrite"
        )
    how = {} if isinstance(model, BaselineModel) else asdict(resolve_sampling(model, **sampling))
    how_many = {"batch_size": batch_size, "compile": compile, "progress": progress}
    batches = generate(model, seeds, labels, covered=covered, darkness=darkness, **how_many, **(how or sampling))
    with CardWriter(out, overwrite) as writer, ThreadPoolExecutor(1) as pool:
        written = None
        for batch in batches:
            if written is not None:
                written.result()
            written = pool.submit(_write_batch, writer, model, how, batch)
        if written is not None:
            written.result()
    return out


def _write_batch(writer: CardWriter, model: AnyModel, how: dict[str, Any], batch: GeneratedBatch) -> None:
    drawn = zip(batch.pixels.numpy(), batch.seeds, batch.labels, batch.numbers, strict=True)
    for pixels, seed, label, numbers in drawn:
        row = {"file_name": f"{seed:06d}.png", "seed": seed, "model": model.name, "revision": model.revision}
        row |= {name: value for name, value in how.items() if value is not None} | numbers
        if label is not None:
            row["label"] = label
        mask = pixels[3] if model.has_mask else None
        if mask is not None:
            boxes = mask_boxes(mask)
            row["mask_file_name"] = f"masks/{row['file_name']}"
            row["objects"] = {"bbox": boxes, "categories": [label or "damage"] * len(boxes)}
        image = np.ascontiguousarray(pixels[:3].transpose(1, 2, 0))
        writer.add(row, encode_png(image), None if mask is None else encode_png(mask))


def grid_columns(count: int) -> int:
    """Columns of a sample grid of so many cards, which is about as wide as high."""
    return max(1, round(count**0.5))


def card_grid(pixels: torch.Tensor, columns: int, with_masks: bool = True, zoom: int = 1) -> Image.Image:
    """A picture of cards uint8 (N, C, H, W) in rows of `columns`, each with its mask to its right where it has one."""
    shown = pixels[:, :3]
    if with_masks and pixels.shape[1] == 4:
        shown = torch.cat([shown, pixels[:, 3:].expand(-1, 3, -1, -1)], dim=3)
    grid = make_grid(shown, nrow=columns, padding=GRID_PADDING, pad_value=128)
    image = Image.fromarray(grid.permute(1, 2, 0).numpy())
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
