"""Pretrained Stable Diffusion: opened from a folder or the Hub, and what fine-tuning asks of it."""

import json
import math
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler, DiffusionPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors import SafetensorError

from cardsynth.hub.push_pull import HubError, ask_hub
from cardsynth.text.config import BASE_MODEL

KINDS = {kind.__name__: kind for kind in (StableDiffusionPipeline, StableDiffusionXLPipeline)}
DRAWN_MULTIPLE = 8  # of heights and widths that diffusers' pipelines draw
DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TextModelError(RuntimeError):
    """A base model that is missing, closed or of another kind: says which, and what to do."""


def open_base(
    model: str | Path,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    safety_checker: bool = False,
) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """The pipeline of a diffusers folder or Hub id of Stable Diffusion 1.x, 2.x or XL, on the CPU, nothing trainable.

    dtype: of all its nets but the VAE, which stays in float32, for XL's fails in float16. safety_checker: load it too,
    where the model has one. Raises TextModelError where there is no such model, none of this kind, or a broken one.
    """
    folder = find_base(model, revision)
    kind = KINDS[_index(folder)["_class_name"]]
    without = {} if safety_checker else {"safety_checker": None, "requires_safety_checker": False}
    if kind is StableDiffusionXLPipeline:
        without = {}
    try:
        pipeline = kind.from_pretrained(
            folder, dtype={"vae": torch.float32, "default": dtype}, use_safetensors=True, **without
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TextModelError(f"{model} cannot be loaded ({reason}); download or copy it again") from error
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def find_base(model: str | Path, revision: str | None = None) -> Path:
    """The folder of a base model on this disk: its own, or that of the Hub's cache, downloaded where it must be.

    Raises TextModelError as `open_base` does.
    """
    folder = Path(model).expanduser()
    if folder.is_file():
        raise TextModelError(
            f"{model} is one file, and a diffusers folder is wanted; turn it into one:"
            " StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)"
        )
    if not folder.is_dir():
        folder = _pull(str(model), revision)
    found = _index(folder).get("_class_name")
    if found not in KINDS:
        raise TextModelError(f"{model} is a {found}; text to card takes Stable Diffusion 1.x, 2.x or XL, as diffusers")
    parts = [name for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler") if not (folder / name).is_dir()]
    if parts:
        raise TextModelError(f"{model} is not complete: it lacks {', '.join(parts)}; download or copy it again")
    return folder


def _pull(repo_id: str, revision: str | None) -> Path:
    def download(token: str | None) -> str:
        return DiffusionPipeline.download(repo_id, revision=revision, token=token, use_safetensors=True)

    try:
        if pull_file(repo_id, "model_index.json", revision) is None:
            raise TextModelError(f"{repo_id} on the Hub is no diffusers pipeline (it has no model_index.json)")
        return Path(ask_hub(download, _pulling(repo_id), repo_id, revision))
    except HubError as error:
        mirror = f" Is it gone? 1.5, say, lives on as {BASE_MODEL}." if "has no" in str(error) else ""
        raise TextModelError(f"{error}{mirror} Or name a folder on this disk.") from error


def pull_file(repo_id: str, name: str, revision: str | None = None) -> Path | None:
    """A file of a model on the Hub, downloaded into its cache; None where the model has no such file.

    Raises HubError where there is no such model, or the Hub cannot be asked.
    """

    def download(token: str | None) -> Path | None:
        try:
            return Path(hf_hub_download(repo_id, name, revision=revision, token=token))
        except LocalEntryNotFoundError:
            raise
        except EntryNotFoundError:
            return None

    return ask_hub(download, _pulling(repo_id), repo_id, revision)


def _pulling(repo_id: str) -> str:
    return f"There is no folder {repo_id} here, and pulling a model of that name from the Hub failed"


def _index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    if not path.is_file():
        raise TextModelError(
            f"{folder} is no diffusers folder (it has no model_index.json); save one with pipeline.save_pretrained"
        )
    try:
        index = json.loads(path.read_text())
    except ValueError as error:
        raise TextModelError(f"{path} is not JSON ({error}); download or copy it again") from error
    return index if isinstance(index, dict) else {}


def text_encoders(pipeline: DiffusionPipeline) -> dict[str, torch.nn.Module]:
    """The text encoders of a pipeline by name: one, or two of XL."""
    names = ("text_encoder", "text_encoder_2")
    return {name: getattr(pipeline, name) for name in names if getattr(pipeline, name, None) is not None}


def tokenizers(pipeline: DiffusionPipeline) -> list[Any]:
    """The tokenizers of a pipeline: one, or two of XL."""
    names = ("tokenizer", "tokenizer_2")
    return [getattr(pipeline, name) for name in names if getattr(pipeline, name, None) is not None]


def most_tokens(pipeline: DiffusionPipeline) -> int:
    """How many tokens of a caption all its text encoders read."""
    return min(encoder.config.max_position_embeddings for encoder in text_encoders(pipeline).values())


def pixel_multiple(pipeline: DiffusionPipeline) -> int:
    """What heights and widths must be multiples of, in pixels, so that each level of VAE and U-Net halves exactly."""
    halved = pipeline.vae_scale_factor * 2 ** (len(pipeline.unet.config.block_out_channels) - 1)
    return math.lcm(halved, DRAWN_MULTIPLE)


def native_side(pipeline: DiffusionPipeline) -> int:
    """Side of the square that the model was made for, in pixels."""
    side = pipeline.unet.config.sample_size
    return pipeline.vae_scale_factor * (side if isinstance(side, int) else max(side))


def training_schedule(pipeline: DiffusionPipeline) -> DDPMScheduler:
    """The noise schedule that the model was trained with, its prediction type included."""
    return DDPMScheduler.from_config(pipeline.scheduler.config)


def encode_prompts(pipeline: DiffusionPipeline, prompts: list[str], device: torch.device) -> dict[str, torch.Tensor]:
    """What the U-Net is told of prompts: `prompt_embeds` (B, T, D), and of XL also `pooled` (B, P).

    The text encoders must lie on the device.
    """
    found = pipeline.encode_prompt(
        prompts, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
    )  # prompt, negative prompt; of XL also pooled prompt, pooled negative prompt
    return {"prompt_embeds": found[0]} | ({"pooled": found[2]} if len(found) == 4 else {})


def unet_conditions(told: dict[str, torch.Tensor], size: tuple[int, int]) -> dict[str, Any]:
    """Keyword arguments of the U-Net for encoded prompts and a picture of (height, width) pixels.

    XL is told the size that is drawn, no crop and no other size of the original (Podell et al. 2023, section 2.2), as
    its pipeline says when it draws.
    """
    conditions: dict[str, Any] = {"encoder_hidden_states": told["prompt_embeds"]}
    if "pooled" in told:
        sizes = torch.tensor([[*size, 0, 0, *size]], device=told["pooled"].device, dtype=told["pooled"].dtype)
        sizes = sizes.expand(len(told["pooled"]), -1)
        conditions["added_cond_kwargs"] = {"text_embeds": told["pooled"], "time_ids": sizes}
    return conditions
