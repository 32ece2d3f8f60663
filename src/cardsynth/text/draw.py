"""Draws pictures from prompts and seeds, by a fine-tuned run or by a base model."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler
from PIL import Image
from safetensors import SafetensorError
from tqdm.auto import tqdm

from cardsynth.cards.dataset import denormalize
from cardsynth.cards.fitting import encode_png
from cardsynth.cards.folder import CardError, CardWriter
from cardsynth.cards.grids import card_grid
from cardsynth.core.runs import read_manifest
from cardsynth.text.captions import check_captions
from cardsynth.text.config import TextConfig
from cardsynth.text.model import (
    DRAWN_MULTIPLE,
    DTYPES,
    TextModelError,
    find_base,
    most_tokens,
    native_side,
    open_base,
    pull_file,
    tokenizers,
)
from cardsynth.util.device import default_device, resolve_precision
from cardsynth.util.hashing import hash_weights
from cardsynth.util.settings import load_config

LORA = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class TextDrawing:
    """Options of drawing.

    Attributes:
        size: (height, width) in pixels.
        num_inference_steps: Sampler steps of each picture.
        guidance_scale: Classifier-free guidance; 1: none.
        negative_prompt: Prompt that guidance leads away from.
    """

    size: tuple[int, int]
    num_inference_steps: int = 30
    guidance_scale: float = 7.5
    negative_prompt: str | None = None


@dataclass(frozen=True)
class PromptedPicture:
    """A picture drawn from a prompt: `pixels` uint8 (3, H, W), all black if the safety checker withheld it."""

    prompt: str
    seed: int
    pixels: torch.Tensor
    withheld: bool = False


@dataclass(frozen=True)
class TextModel:
    """A pipeline to draw with.

    Attributes:
        pipeline: The pipeline, on its device.
        name: Name of the model.
        revision: Hash of the weights of the U-Net.
        drawing: Default options of drawing, from the run's settings.
        trigger: Word that stands for the cards.
        mixed_precision: Precision to draw in.
    """

    pipeline: DiffusionPipeline
    name: str
    revision: str
    drawing: TextDrawing
    trigger: str = ""
    mixed_precision: str = "no"

    def with_options(self, **options: Any) -> TextDrawing:
        """Returns the model's options of drawing with other values; None keeps the default."""
        return replace(self.drawing, **{name: value for name, value in options.items() if value is not None})

    @property
    def checks_safety(self) -> bool:
        """Whether the pipeline has a safety checker."""
        return getattr(self.pipeline, "safety_checker", None) is not None


def open_text_model(
    model: str | Path,
    revision: str | None = None,
    base: str | None = None,
    device: str | torch.device | None = None,
    safety_checker: bool = True,
) -> TextModel:
    """Opens a fine-tuned run, one of its checkpoints, or a Stable Diffusion.

    Args:
        model: Run folder, checkpoint folder, diffusers folder, or id on the Hub.
        revision: Branch, tag or commit on the Hub.
        base: Base model of adapters; default: that of the run's settings.
        device: Device of the nets; default: a GPU if available.
        safety_checker: Load the model's safety checker, if any.

    Raises:
        HubError: The model does not exist on the Hub, or the Hub cannot be reached.
        TextModelError: The model or its base model does not exist, is broken or of another kind.
    """
    device = torch.device(device or default_device())
    precision = resolve_precision("auto", device)
    folder, lora = _find_run(model, revision)
    run = next((path for path in (folder, folder.parent.parent) if (path / "settings.json").is_file()), None)
    config = load_config(run / "settings.json", TextConfig()) if run else None
    if not lora:
        pipeline = open_base(folder, None, DTYPES[precision], safety_checker)
    elif base or config:
        source = (base, None) if base else (config.base_model, config.base_revision)
        pipeline = open_base(*source, DTYPES[precision], safety_checker)
        _load_lora(pipeline, folder)
    else:
        raise TextModelError(f"{model} holds adapters and no settings.json; give their base model: --base")
    pipeline.to(device)
    side = native_side(pipeline)
    drawing = TextDrawing(tuple(read_manifest(run)["size"] if run else (side, side)))
    if config:
        drawing = replace(drawing, num_inference_steps=config.num_inference_steps, guidance_scale=config.guidance_scale)
    return TextModel(
        pipeline=pipeline,
        name=folder.resolve().name if Path(model).is_dir() else str(model),
        revision=hash_weights(pipeline.unet.state_dict())[:12],
        drawing=drawing,
        trigger=config.trigger if config else "",
        mixed_precision=precision,
    )


def _find_run(model: str | Path, revision: str | None) -> tuple[Path, bool]:
    """Folder of a model on this disk, and whether it holds adapters only."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        lora, *_ = (pull_file(str(model), name, revision) for name in (LORA, "settings.json", "manifest.json"))
        folder = lora.parent if lora else find_base(model, revision)
    return folder, (folder / LORA).is_file()


def _load_lora(pipeline: DiffusionPipeline, folder: Path) -> None:
    # diffusers warns if adapters cover the U-Net only, which is the default here.
    logging.getLogger("diffusers.loaders.lora_base").setLevel(logging.ERROR)
    try:
        pipeline.load_lora_weights(str(folder), weight_name=LORA)
    except (RuntimeError, ValueError, KeyError, OSError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise TextModelError(
            f"the adapters of {folder} do not fit their base model ({reason}); is it the right one?"
        ) from error


def draw_pictures(
    pipeline: DiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    drawing: TextDrawing,
    mixed_precision: str = "no",
    progress: bool = True,
) -> Iterator[PromptedPicture]:
    """Draws each prompt from all seeds, one picture at a time, so that no picture depends on the others.

    A picture depends on pipeline, prompt, seed and drawing alone.

    Args:
        pipeline: The pipeline, on its device.
        prompts: Prompts.
        seeds: Seeds, from 0.
        drawing: Options of drawing.
        mixed_precision: Precision of U-Net and text encoders; the VAE decodes in its own.
        progress: Show a progress bar.

    Yields:
        Pictures, prompt by prompt.

    Raises:
        ValueError: A prompt is empty or too long for the model, a seed is negative, or the model cannot draw the size.
    """
    if any(side <= 0 or side % DRAWN_MULTIPLE for side in drawing.size):
        raise ValueError(f"sizes are multiples of {DRAWN_MULTIPLE}, and {drawing.size[0]}x{drawing.size[1]} is not")
    if not all(prompt.strip() for prompt in prompts):
        raise ValueError("a prompt is empty; describe the picture")
    texts = [*prompts, *filter(None, [drawing.negative_prompt])]
    for problem in check_captions({repr(text): text for text in texts}, tokenizers(pipeline), most_tokens(pipeline)):
        if problem.level == "error":
            raise ValueError(f"the prompt {problem.file[:60]} {problem.reason}; {problem.remedy}")
    if any(seed < 0 for seed in seeds):
        raise ValueError("seeds must be whole numbers from 0")
    pairs = [(prompt, seed) for prompt in prompts for seed in seeds]
    for prompt, seed in tqdm(pairs, "Drawing", unit="picture", disable=not progress):
        yield _draw(pipeline, prompt, seed, drawing, mixed_precision)


@torch.no_grad()
def _draw(
    pipeline: DiffusionPipeline, prompt: str, seed: int, drawing: TextDrawing, mixed_precision: str
) -> PromptedPicture:
    device, dtype = pipeline.unet.device, DTYPES[mixed_precision]
    height, width = drawing.size
    shape = (1, pipeline.unet.config.in_channels, *(side // pipeline.vae_scale_factor for side in drawing.size))
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    original, pipeline.scheduler = (
        pipeline.scheduler,
        DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config),
    )
    try:
        with torch.autocast(device.type, dtype) if mixed_precision != "no" else nullcontext():
            latents = pipeline(
                prompt=prompt,
                negative_prompt=drawing.negative_prompt,
                height=height,
                width=width,
                num_inference_steps=drawing.num_inference_steps,
                guidance_scale=drawing.guidance_scale,
                latents=noise.to(device, pipeline.unet.dtype),
                output_type="latent",
            ).images
    finally:
        pipeline.scheduler = original
    vae = pipeline.vae
    scaled = latents.to(vae.dtype) / vae.config.scaling_factor + (vae.config.shift_factor or 0.0)
    image, withheld = vae.decode(scaled).sample, [False]
    checker = getattr(pipeline, "safety_checker", None)
    if checker is not None:
        image, withheld = pipeline.run_safety_checker(image, device, checker.dtype)
    pixels = torch.zeros(3, height, width, dtype=torch.uint8) if withheld[0] else denormalize(image)[0].cpu()
    return PromptedPicture(prompt, seed, pixels, bool(withheld[0]))


def write_pictures(
    model: TextModel,
    out: str | Path,
    prompts: Sequence[str],
    seeds: Sequence[int],
    drawing: TextDrawing,
    overwrite: bool = False,
    progress: bool = True,
) -> Iterator[tuple[str, PromptedPicture]]:
    """Draws pictures into a card folder with the prompts as captions.

    The file name is the seed, in one folder per prompt if there are several: `prompt_01/000016.png`. The metadata holds
    all that is needed to draw a picture again. Pictures that the safety checker withholds are not written.

    Args:
        model: The model.
        out: Card folder to write.
        prompts: Prompts.
        seeds: Seeds of each prompt.
        drawing: Options of drawing.
        overwrite: Replace pictures that exist.
        progress: Show a progress bar.

    Yields:
        File name and picture, once it is written.

    Raises:
        CardError: A picture exists already; nothing was drawn.
        ValueError: A prompt, a seed or the size is unusable, as in `draw_pictures`.
    """
    out, prompts = Path(out), list(dict.fromkeys(prompts))
    folder_of = {prompt: f"prompt_{index:02d}/" if len(prompts) > 1 else "" for index, prompt in enumerate(prompts, 1)}
    names = [out / f"{folder_of[prompt]}{seed:06d}.png" for prompt in prompts for seed in seeds]
    taken = [name for name in names if name.exists()]
    if taken and not overwrite:
        raise CardError(
            f"{taken[0]} exists already, as do {len(taken)} of {len(names)}; take other seeds, or overwrite"
        )
    options = {"num_inference_steps": drawing.num_inference_steps, "guidance_scale": drawing.guidance_scale}
    options |= {"negative_prompt": drawing.negative_prompt} if drawing.negative_prompt else {}
    pictures = draw_pictures(model.pipeline, prompts, seeds, drawing, model.mixed_precision, progress)
    with CardWriter(out, overwrite) as writer:
        for picture in pictures:
            row = {"file_name": f"{folder_of[picture.prompt]}{picture.seed:06d}.png", "text": picture.prompt}
            row |= {"seed": picture.seed, "model": model.name, "revision": model.revision, **options}
            if not picture.withheld:
                writer.add(row, encode_png(pixels_of(picture)))
            yield row["file_name"], picture


def pixels_of(picture: PromptedPicture) -> np.ndarray:
    """Returns a picture as uint8 (H, W, 3)."""
    return np.ascontiguousarray(picture.pixels.permute(1, 2, 0).numpy())


def prompt_grid(pictures: Sequence[PromptedPicture]) -> Image.Image:
    """Arranges pictures in one row per prompt, in their order."""
    columns = max(1, len({picture.seed for picture in pictures}))
    return card_grid(torch.stack([picture.pixels for picture in pictures]), columns)
