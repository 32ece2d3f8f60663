"""Seeds and labels -> cards with their damage masks, each card from a random generator of its own."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DModel
from PIL import Image
from torchvision.utils import make_grid
from tqdm.auto import tqdm

from cardsynth.cards import denormalize
from cardsynth.device import in_threads
from cardsynth.diffusion import build_sampler, predict_clean_images
from cardsynth.fitting import encode_png
from cardsynth.folder import CardError, CardWriter
from cardsynth.hub import pull_run
from cardsynth.runs import TrainedModel, load_model
from cardsynth.stains import mask_boxes

# Cards of one batch together have at most so many pixels: about 1 GB of activations at float32.
PIXELS_IN_BATCH = 64 * 160 * 128


@dataclass(frozen=True)
class GeneratedBatch:
    """Generated cards: `pixels` uint8 (B, C, H, W) on the CPU, mask as fourth channel of 0 or 255; seeds and labels."""

    pixels: torch.Tensor
    seeds: list[int]
    labels: list[str | None]


def open_model(
    model: str | Path, revision: str | None = None, device: str | torch.device | None = None
) -> TrainedModel:
    """The model of a run folder or of a Hub id like name/model, on `device`, or else on the GPU where there is one.

    Raises HubError or RunError where there is no such model.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    run = pull_run(model, revision=revision)
    return load_model(run, name="" if Path(model).is_dir() else str(model), device=device)


def choose_labels(model: TrainedModel, seeds: Sequence[int], labels: str | Sequence[str] | None) -> list[str | None]:
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
) -> dict[str, str | int | float | None]:
    """Sampling settings with the model's defaults filled in; raises ValueError for what cannot be."""
    own_sampler = model.config.sampler
    sampler = sampler or own_sampler
    if num_inference_steps is None:
        all_steps = model.noise_scheduler.config.num_train_timesteps
        num_inference_steps = all_steps if sampler == "ddpm" != own_sampler else model.config.num_inference_steps
    if guidance_scale is None:
        guidance_scale = model.config.guidance_scale
    if negative_label is None and model.config.negative_label in model.labels:
        negative_label = model.config.negative_label
    if negative_label is not None:
        choose_labels(model, [0], negative_label)
    build_sampler(sampler, model.noise_scheduler, num_inference_steps)
    return {
        "sampler": sampler,
        "num_inference_steps": num_inference_steps,
        "guidance_scale": guidance_scale,
        "negative_label": negative_label,
        "guidance_limit": model.config.guidance_limit if guidance_limit is None else guidance_limit,
    }


def generate(
    model: TrainedModel,
    seeds: Sequence[int],
    labels: str | Sequence[str] | None = None,
    *,
    sampler: str | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    negative_label: str | None = None,
    guidance_limit: float | None = None,
    batch_size: int | None = None,
    mixed_precision: str = "no",
    progress: bool = True,
) -> Iterator[GeneratedBatch]:
    """Yield cards for seeds (whole numbers from 0), batch by batch, off the device; runs where the model's net lies.

    A seed gives the same card at any batch size. Sampler, steps and guidance default to the run's settings (the steps
    of DDPM, where it is not the run's own sampler, to all timesteps). Guidance leads away from what the net would draw
    under the negative label (the cards of that class are drawn without guidance), or else without a label (Ho &
    Salimans 2022); its step is at most `guidance_limit`, root mean square (Sadat et al. 2024). A batch size that is
    not given is chosen to fit memory, and halved when a GPU has too little. Raises ValueError for seeds, labels,
    sampler or steps that are wrong.
    """
    seeds = list(seeds)
    if any(seed < 0 for seed in seeds) or len(set(seeds)) != len(seeds):
        raise ValueError("seeds must be different whole numbers from 0")
    labels = choose_labels(model, seeds, labels)
    how = resolve_sampling(model, sampler, num_inference_steps, guidance_scale, negative_label, guidance_limit)
    height, width = model.config.size
    most = 256 if model.unet.device.type == "cuda" else 16
    batch_size = batch_size or max(1, min(most, PIXELS_IN_BATCH // (height * width)))
    position = 0
    with tqdm(total=len(seeds), desc="Generating", unit="card", disable=not progress) as bar:
        while position < len(seeds):
            part = slice(position, position + batch_size)
            try:
                pixels = _generate_batch(model, seeds[part], labels[part], mixed_precision, **how)
            except torch.OutOfMemoryError:
                if batch_size == 1:
                    raise
                batch_size //= 2
                torch.cuda.empty_cache()
                continue
            yield GeneratedBatch(pixels, seeds[part], labels[part])
            position += len(pixels)
            bar.update(len(pixels))


@torch.inference_mode()
def _generate_batch(
    model: TrainedModel,
    seeds: list[int],
    labels: list[str | None],
    mixed_precision: str,
    sampler: str,
    num_inference_steps: int,
    guidance_scale: float,
    negative_label: str | None,
    guidance_limit: float | None,
) -> torch.Tensor:
    unet, device = model.unet, model.unet.device
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    side = unet.config.sample_size
    shape = (unet.config.in_channels, *((side, side) if isinstance(side, int) else side))
    images = torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device)
    class_labels = null_labels = None
    if model.labels:
        class_labels = torch.tensor([model.labels.index(label) for label in labels], device=device)
        null_labels = torch.full_like(class_labels, len(model.labels))
        if negative_label is not None:
            null_labels.fill_(model.labels.index(negative_label))
    guided = class_labels is not None and guidance_scale != 1
    if guided:
        class_labels = torch.cat([class_labels, null_labels])
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(mixed_precision)
    scheduler = build_sampler(sampler, model.noise_scheduler, num_inference_steps)
    stochastic = {"generator": generators} if sampler in ("ddpm", "ddim") else {}
    for timestep in scheduler.timesteps:
        inputs = torch.cat([images, images]) if guided else images
        model_output = torch.cat(
            in_threads(partial(_predict, unet, inputs, timestep, class_labels, dtype), len(inputs), device)
        )
        if guided:
            with_label, without_label = model_output.chunk(2)
            step = (guidance_scale - 1) * (with_label - without_label)
            if guidance_limit is not None:
                length = step.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
                step *= (guidance_limit / length.clamp(min=1e-12)).clamp(max=1)
            model_output = with_label + step
        clean_images = predict_clean_images(model.noise_scheduler, model_output, images, timestep)
        images = scheduler.step(clean_images, timestep, images, **stochastic).prev_sample
    pixels = denormalize(images, model.config.patch_size).cpu()
    if model.has_mask:
        pixels[:, 3] = torch.where(pixels[:, 3] >= 128, 255, 0)
    return pixels


@torch.inference_mode()
def _predict(
    unet: UNet2DModel,
    inputs: torch.Tensor,
    timestep: torch.Tensor,
    class_labels: torch.Tensor | None,
    dtype: torch.dtype | None,
    part: slice,
) -> torch.Tensor:
    """What the net says of a part of a batch, float32."""
    labels = None if class_labels is None else class_labels[part]
    with torch.autocast(inputs.device.type, dtype) if dtype else nullcontext():
        return unet(inputs[part], timestep, class_labels=labels).sample.float()


def write_cards(
    model: TrainedModel,
    out: str | Path,
    seeds: Sequence[int],
    labels: str | Sequence[str] | None = None,
    *,
    sampler: str | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    negative_label: str | None = None,
    guidance_limit: float | None = None,
    overwrite: bool = False,
    **others,
) -> Path:
    """Generate cards into a card folder, `000016.png` for seed 16; arguments as of `generate`.

    Each row of the metadata says how to make its card again. Raises CardError before anything is drawn when a picture
    of one of the seeds is there, unless `overwrite`.
    """
    out, seeds = Path(out), list(seeds)
    taken = [out / f"{seed:06d}.png" for seed in seeds if (out / f"{seed:06d}.png").exists()]
    if taken and not overwrite:
        raise CardError(
            f"{taken[0]} exists already, as do {len(taken)} of {len(seeds)}; take other seeds, or overwrite"
        )
    how = resolve_sampling(model, sampler, num_inference_steps, guidance_scale, negative_label, guidance_limit)
    batches = generate(model, seeds, labels, **how, **others)
    with CardWriter(out, overwrite) as writer:
        for batch in batches:
            for pixels, seed, label in zip(batch.pixels.numpy(), batch.seeds, batch.labels, strict=True):
                row = {"file_name": f"{seed:06d}.png", "seed": seed, "model": model.name, "revision": model.revision}
                row |= {name: value for name, value in how.items() if value is not None}
                if label is not None:
                    row["label"] = label
                mask = pixels[3] if model.has_mask else None
                if mask is not None:
                    boxes = mask_boxes(mask)
                    row["mask_file_name"] = f"masks/{row['file_name']}"
                    row["objects"] = {"bbox": boxes, "categories": [label or "damage"] * len(boxes)}
                image = np.ascontiguousarray(pixels[:3].transpose(1, 2, 0))
                writer.add(row, encode_png(image), None if mask is None else encode_png(mask))
    return out


def card_grid(pixels: torch.Tensor, columns: int, with_masks: bool = True, zoom: int = 1) -> Image.Image:
    """A picture of cards uint8 (N, C, H, W) in rows of `columns`, each with its mask to its right where it has one."""
    shown = pixels[:, :3]
    if with_masks and pixels.shape[1] == 4:
        shown = torch.cat([shown, pixels[:, 3:].expand(-1, 3, -1, -1)], dim=3)
    grid = make_grid(shown, nrow=columns, padding=2, pad_value=128)
    image = Image.fromarray(grid.permute(1, 2, 0).numpy())
    return image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
