"""Prompts and seeds -> pictures: from a fine-tuned run, or from the base model alone."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

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
from cardsynth.text.data import digest_of
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
from cardsynth.util.device import resolve_precision
from cardsynth.util.settings import load_config

LORA = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class TextDrawing:
    """How pictures are drawn from prompts; size is (height, width) in pixels, guidance_scale 1 none."""

    size: tuple[int, int]
    num_inference_steps: int = 30
    guidance_scale: float = 7.5
    negative_prompt: str | None = None


@dataclass(frozen=True)
class PromptedPicture:
    """A picture drawn from a prompt: uint8 (3, H, W); `withheld` by the safety checker, where it is all black."""

    prompt: str
    seed: int
    pixels: torch.Tensor
    withheld: bool = False


@dataclass(frozen=True)
class TextModel:
    """A pipeline to draw with, on its device, and what its run says: name, revision, usual drawing, trigger word."""

    pipeline: DiffusionPipeline
    name: str
    revision: str
    drawing: TextDrawing
    trigger: str = ""
    mixed_precision: str = "no"

    def usual(
        self,
        size: tuple[int, int] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        negative_prompt: str | None = None,
    ) -> TextDrawing:
        """How the run draws, but for what is given."""
        given = {"size": size, "num_inference_steps": num_inference_steps, "guidance_scale": guidance_scale}
        given |= {"negative_prompt": negative_prompt}
        return replace(self.drawing, **{name: value for name, value in given.items() if value is not None})

    @property
    def checks_safety(self) -> bool:
        """Whether a safety checker looks at what is drawn."""
        return getattr(self.pipeline, "safety_checker", None) is not None


def open_text_model(
    model: str | Path,
    revision: str | None = None,
    base: str | None = None,
    device: str | torch.device | None = None,
    safety_checker: bool = True,
) -> TextModel:
    """The model of a fine-tuned run (folder or Hub id) or of one of its checkpoints, or a plain Stable Diffusion.

    Adapters take their base model from where the run's settings say, or from `base`; a run of method full is a whole
    pipeline. device: by default the GPU where there is one. Raises TextModelError or HubError where there is no such
    model.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    precision = resolve_precision("auto", device)
    folder, lora = _find_run(model, revision)
    run = next((place for place in (folder, folder.parent.parent) if (place / "settings.json").is_file()), None)
    config = load_config(run / "settings.json", TextConfig()) if run else None
    if not lora:
        pipeline = open_base(folder, None, DTYPES[precision], safety_checker)
    elif base or config:
        where = (base, None) if base else (config.base_model, config.base_revision)
        pipeline = open_base(*where, DTYPES[precision], safety_checker)
        _load_lora(pipeline, folder)
    else:
        raise TextModelError(f"{model} holds adapters and no settings.json; say which base model they are of: --base")
    pipeline.to(device)
    side = native_side(pipeline)
    usual = TextDrawing(tuple(read_manifest(run)["size"] if run else (side, side)))
    if config:
        usual = replace(usual, num_inference_steps=config.num_inference_steps, guidance_scale=config.guidance_scale)
    return TextModel(
        pipeline=pipeline,
        name=folder.resolve().name if Path(model).is_dir() else str(model),
        revision=digest_of(pipeline.unet)[:12],
        drawing=usual,
        trigger=config.trigger if config else "",
        mixed_precision=precision,
    )


def _find_run(model: str | Path, revision: str | None) -> tuple[Path, bool]:
    """The folder of a model on this disk, and whether it holds adapters alone."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        lora, *_ = (pull_file(str(model), name, revision) for name in (LORA, "settings.json", "manifest.json"))
        folder = lora.parent if lora else find_base(model, revision)
    return folder, (folder / LORA).is_file()


def _load_lora(pipeline: DiffusionPipeline, folder: Path) -> None:
    # It warns of adapters of the U-Net alone, which are the usual ones.
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
    """Yield the pictures of all prompts, each from all seeds, one by one, so that none depends on the others.

    Same pipeline, prompt, seed and drawing, same picture. mixed_precision: of the U-Net and text encoders; pictures are
    decoded in the VAE's own precision. What the safety checker withholds is black. Raises ValueError for prompts that
    are empty or longer than the model reads, negative seeds, and sizes that the model does not draw.
    """
    if any(side <= 0 or side % DRAWN_MULTIPLE for side in drawing.size):
        raise ValueError(f"sizes are multiples of {DRAWN_MULTIPLE}, and {drawing.size[0]}x{drawing.size[1]} is not")
    if not all(prompt.strip() for prompt in prompts):
        raise ValueError("a prompt is empty; say what to draw")
    texts = [*prompts, *filter(None, [drawing.negative_prompt])]
    for problem in check_captions({repr(text): text for text in texts}, tokenizers(pipeline), most_tokens(pipeline)):
        if problem.level == "error":
            raise ValueError(f"the prompt {problem.file[:60]} {problem.reason}; {problem.remedy}")
    if any(seed < 0 for seed in seeds):
        raise ValueError("seeds must be whole numbers from 0")
    wanted = [(prompt, seed) for prompt in prompts for seed in seeds]
    for prompt, seed in tqdm(wanted, "Drawing", unit="picture", disable=not progress):
        yield _draw(pipeline, prompt, seed, drawing, mixed_precision)


@torch.no_grad()
def _draw(
    pipeline: DiffusionPipeline, prompt: str, seed: int, drawing: TextDrawing, mixed_precision: str
) -> PromptedPicture:
    device, dtype = pipeline.unet.device, DTYPES[mixed_precision]
    height, width = drawing.size
    shape = (
        1,
        pipeline.unet.config.in_channels,
        height // pipeline.vae_scale_factor,
        width // pipeline.vae_scale_factor,
    )
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    usual, pipeline.scheduler = pipeline.scheduler, DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
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
        pipeline.scheduler = usual
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
    """Draw pictures into a card folder, its captions the prompts; yields each with its file name, once it is written.

    A picture's file name is its seed, in a folder for each prompt where there are several: `prompt_01/000016.png`.
    Each row of the metadata says how to make it again. What the safety checker withholds is yielded and not written.
    Raises CardError before anything is drawn where a picture is there, unless `overwrite`, and ValueError as
    `draw_pictures` does.
    """
    out, prompts = Path(out), list(dict.fromkeys(prompts))
    folder_of = {prompt: f"prompt_{index:02d}/" if len(prompts) > 1 else "" for index, prompt in enumerate(prompts, 1)}
    names = [out / f"{folder_of[prompt]}{seed:06d}.png" for prompt in prompts for seed in seeds]
    taken = [name for name in names if name.exists()]
    if taken and not overwrite:
        raise CardError(
            f"{taken[0]} exists already, as do {len(taken)} of {len(names)}; take other seeds, or overwrite"
        )
    how = {"num_inference_steps": drawing.num_inference_steps, "guidance_scale": drawing.guidance_scale}
    how |= {"negative_prompt": drawing.negative_prompt} if drawing.negative_prompt else {}
    drawn = draw_pictures(model.pipeline, prompts, seeds, drawing, model.mixed_precision, progress)
    with CardWriter(out, overwrite) as writer:
        for picture in drawn:
            row = {"file_name": f"{folder_of[picture.prompt]}{picture.seed:06d}.png", "text": picture.prompt}
            row |= {"seed": picture.seed, "model": model.name, "revision": model.revision, **how}
            if not picture.withheld:
                writer.add(row, encode_png(pixels_of(picture)))
            yield row["file_name"], picture


def pixels_of(picture: PromptedPicture) -> np.ndarray:
    """A picture as uint8 (H, W, 3)."""
    return np.ascontiguousarray(picture.pixels.permute(1, 2, 0).numpy())


def prompt_grid(pictures: Sequence[PromptedPicture]) -> Image.Image:
    """Pictures in a row for each prompt, prompts and seeds in the order they come."""
    columns = max(1, len({picture.seed for picture in pictures}))
    return card_grid(torch.stack([picture.pixels for picture in pictures]), columns)
