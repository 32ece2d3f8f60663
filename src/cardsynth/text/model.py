"""Opens a pretrained Stable Diffusion from a folder or the Hub, and reads the properties that fine-tuning needs."""

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
DRAWN_MULTIPLE = 8  # heights and widths of diffusers' pipelines are multiples of it
DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TextModelError(RuntimeError):
    """A base model that is missing, gated, broken or of another kind; the message names it and the remedy."""


def open_base(
    model: str | Path,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    safety_checker: bool = False,
) -> StableDiffusionPipeline | StableDiffusionXLPipeline:
    """Opens Stable Diffusion 1.x, 2.x or XL on the CPU, with all weights frozen.

    Args:
        model: diffusers folder, or id on the Hub.
        revision: Branch, tag or commit on the Hub.
        dtype: Precision of the nets. The VAE stays in float32, as that of XL overflows in float16.
        safety_checker: Load the model's safety checker, if any.

    Raises:
        TextModelError: The model does not exist, is broken or of another kind.
    """
    folder = find_base(model, revision)
    kind = KINDS[_index(folder)["_class_name"]]
    options = {"dtype": {"vae": torch.float32, "default": dtype}, "use_safetensors": True}
    if kind is StableDiffusionPipeline and not safety_checker:
        options |= {"safety_checker": None, "requires_safety_checker": False}
    try:
        pipeline = kind.from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TextModelError(f"{model} cannot be loaded ({reason}); download or copy it again") from error
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def find_base(model: str | Path, revision: str | None = None) -> Path:
    """Returns the folder of a base model, downloaded into the Hub's cache if necessary.

    Args:
        model: diffusers folder, or id on the Hub.
        revision: Branch, tag or commit on the Hub.

    Raises:
        TextModelError: The model does not exist, is incomplete or of another kind.
    """
    folder = Path(model).expanduser()
    if folder.is_file():
        raise TextModelError(
            f"{model} is one file, not a diffusers folder; convert it:"
            " StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)"
        )
    if not folder.is_dir():
        folder = _pull(str(model), revision)
    kind = _index(folder).get("_class_name")
    if kind not in KINDS:
        raise TextModelError(f"{model} is a {kind}; text to card takes Stable Diffusion 1.x, 2.x or XL, as diffusers")
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
    """Downloads a file of a model on the Hub into its cache.

    Args:
        repo_id: Id of the model.
        name: Path of the file in the repository.
        revision: Branch, tag or commit.

    Returns:
        The file in the cache; None if the model has no such file.

    Raises:
        HubError: The model does not exist, or the Hub cannot be reached.
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
    """Returns the text encoders of a pipeline by name: one, or two for XL."""
    names = ("text_encoder", "text_encoder_2")
    return {name: getattr(pipeline, name) for name in names if getattr(pipeline, name, None) is not None}


def tokenizers(pipeline: DiffusionPipeline) -> list[Any]:
    """Returns the tokenizers of a pipeline: one, or two for XL."""
    names = ("tokenizer", "tokenizer_2")
    return [getattr(pipeline, name) for name in names if getattr(pipeline, name, None) is not None]


def most_tokens(pipeline: DiffusionPipeline) -> int:
    """Returns the number of tokens that all text encoders of a pipeline read."""
    return min(encoder.config.max_position_embeddings for encoder in text_encoders(pipeline).values())


def pixel_multiple(pipeline: DiffusionPipeline) -> int:
    """Returns the number of pixels that must divide heights and widths, for VAE and U-Net to halve them exactly."""
    halved = pipeline.vae_scale_factor * 2 ** (len(pipeline.unet.config.block_out_channels) - 1)
    return math.lcm(halved, DRAWN_MULTIPLE)


def native_side(pipeline: DiffusionPipeline) -> int:
    """Returns the side in pixels of the square pictures that the model was trained on."""
    side = pipeline.unet.config.sample_size
    return pipeline.vae_scale_factor * (side if isinstance(side, int) else max(side))


def training_schedule(pipeline: DiffusionPipeline) -> DDPMScheduler:
    """Returns the noise schedule that the model was trained with, including the prediction type."""
    return DDPMScheduler.from_config(pipeline.scheduler.config)


def encode_prompts(pipeline: DiffusionPipeline, prompts: list[str], device: torch.device) -> dict[str, torch.Tensor]:
    """Encodes prompts for the U-Net.

    Args:
        pipeline: The base model.
        prompts: Prompts.
        device: Device of the text encoders.

    Returns:
        `prompt_embeds` (B, T, D), and for XL also `pooled` (B, P).
    """
    # Prompt and negative prompt; for XL also pooled prompt and pooled negative prompt.
    encoded = pipeline.encode_prompt(prompts, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False)
    return {"prompt_embeds": encoded[0]} | ({"pooled": encoded[2]} if len(encoded) == 4 else {})


def unet_conditions(embeddings: dict[str, torch.Tensor], size: tuple[int, int]) -> dict[str, Any]:
    """Returns the keyword arguments of the U-Net for encoded prompts.

    XL is conditioned on the size of the picture, as its original size too, and on no crop (Podell et al. 2023,
    section 2.2); its pipeline does the same when it draws.

    Args:
        embeddings: As of `encode_prompts`.
        size: (height, width) of the picture in pixels.
    """
    conditions: dict[str, Any] = {"encoder_hidden_states": embeddings["prompt_embeds"]}
    if "pooled" in embeddings:
        pooled = embeddings["pooled"]
        sizes = torch.tensor([[*size, 0, 0, *size]], device=pooled.device, dtype=pooled.dtype)
        conditions["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": sizes.expand(len(pooled), -1)}
    return conditions
