"""Fine-tunes Stable Diffusion on captioned cards, as a generator of small steps."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from diffusers import DiffusionPipeline

from cardsynth.cards.fitting import encode_png
from cardsynth.cards.folder import CardWriter
from cardsynth.core.recorder import TrainingStep
from cardsynth.core.runs import RunError, check_resumable, is_run, start_run
from cardsynth.core.safeguards import fitting_memory
from cardsynth.core.trainer import Trainer
from cardsynth.text.config import TextConfig
from cardsynth.text.data import CaptionedPictures, encode_captions, encode_pictures, read_captioned
from cardsynth.text.divergence import DivergenceMonitor
from cardsynth.text.draw import TextDrawing, draw_pictures, pixels_of
from cardsynth.text.kind import text_kind
from cardsynth.text.learner import Encoded, TextLearner
from cardsynth.text.model import DTYPES, open_base
from cardsynth.util.device import build_accelerator
from cardsynth.util.environment import describe_environment
from cardsynth.util.hashing import hash_weights


def train_text(
    config: TextConfig, source: str | Path, run: str | Path, *, resume: bool = False, overwrite: bool = False
) -> Iterator[TrainingStep]:
    """Fine-tunes a base model on the captioned pictures of a card folder or Hub id, yielding after each step.

    The run folder gets settings, manifest, log, sample grids by step from fixed seeds (step 0: the base model),
    checkpoints, and what was trained: adapters as `pytorch_lora_weights.safetensors`, or with method `full` the whole
    pipeline with averaged weights. Closing the generator saves a checkpoint first; with `resume` a run goes on from its
    last checkpoint, and ends with the weights of an unbroken one.

    Args:
        config: settings of the run.
        source: card folder or Hub id with captions.
        run: run folder to write.
        resume: go on from the last checkpoint if the folder holds a run.
        overwrite: replace a run that exists.

    Raises:
        CardError: captions or pictures are missing or unusable.
        TextModelError: the base model cannot be opened.
        RunError: the folder is taken, or the run in it does not fit settings or pictures.
        TrainingError: the loss is not finite or has risen far above what it was before training, memory does not
            suffice, or files cannot be written.
    """
    run = Path(run)
    accelerator = build_accelerator(config.mixed_precision, config.cpu)
    if accelerator.num_processes > 1:
        raise RunError("text to card trains on one GPU: start it without accelerate launch")
    pipeline = open_base(config.base_model, config.base_revision, DTYPES[accelerator.mixed_precision])
    pictures = read_captioned(source, pipeline, config.resolution, config.fit)
    prompts = config.validation_prompts or _default_prompts(config.trigger, pictures.captions)
    drawing = TextDrawing(next(iter(pictures.bucket_counts)), config.num_inference_steps, config.guidance_scale)
    base_weights = hash_weights(pipeline.unet.state_dict())[:12]
    manifest = _build_manifest(config, pictures, prompts) | text_kind(config, drawing.size)
    manifest |= {"base_weights": base_weights, "size": list(drawing.size)}
    if resume and is_run(run):
        check_resumable(run, config, manifest)
    else:
        start_run(run, config, manifest, overwrite)
    prior = None
    with fitting_memory(run, 1, "take a smaller resolution"):
        # Encode before the net gets trainable adapters.
        if config.prior_prompt:
            drawn = _draw_prior(config, pipeline, run / "prior", drawing, accelerator)
            prior = _encode(config, pipeline, drawn, accelerator.device)
        encoded = _encode(config, pipeline, pictures, accelerator.device)
        learner = TextLearner(config, accelerator, pipeline, encoded, prior, prompts, drawing)
    trainer = Trainer(learner, config, run, manifest, resume=True, monitor=DivergenceMonitor())
    yield from trainer.train()


def _build_manifest(config: TextConfig, pictures: CaptionedPictures, prompts: tuple[str, ...]) -> dict[str, Any]:
    source = Path(pictures.source)
    return {
        "base_model": config.base_model,
        "trigger": config.trigger,
        "validation_prompts": list(prompts),
        "data": {
            "source": source.name if source.exists() else pictures.source,
            "count": len(pictures),
            "captions": len(set(pictures.captions)),
            "buckets": {f"{h}x{w}": count for (h, w), count in pictures.bucket_counts.items()},
            "fingerprint": pictures.fingerprint,
        },
        **describe_environment(),
        "seed": config.seed,
        "steps": 0,
        "wall_time_s": 0.0,
    }


def _encode(
    config: TextConfig, pipeline: DiffusionPipeline, pictures: CaptionedPictures, device: torch.device
) -> Encoded:
    latents = encode_pictures(pipeline, pictures, device)
    embeddings = {} if config.train_text_encoder else encode_captions(pipeline, pictures.captions, device)
    return Encoded(latents, pictures.captions, pictures.buckets, embeddings)


def _draw_prior(
    config: TextConfig,
    pipeline: DiffusionPipeline,
    folder: Path,
    drawing: TextDrawing,
    accelerator: Accelerator,
) -> CaptionedPictures:
    """Draws missing pictures for prior preservation, by the base model."""
    prompt, precision = config.prior_prompt, accelerator.mixed_precision
    seeds = [seed for seed in range(config.prior_images) if not (folder / f"{seed:06d}.png").is_file()]
    pipeline.to(accelerator.device)
    with CardWriter(folder) as writer:
        for picture in draw_pictures(pipeline, [prompt] if seeds else [], seeds, drawing, precision):
            row = {"file_name": f"{picture.seed:06d}.png", "text": prompt, "seed": picture.seed}
            writer.add(row, encode_png(pixels_of(picture)))
    pipeline.to("cpu")
    return read_captioned(folder, pipeline, config.resolution, config.fit)


def _default_prompts(trigger: str, captions: tuple[str, ...]) -> tuple[str, ...]:
    """The trigger alone, and two captions of the training pictures."""
    examples = dict.fromkeys((captions[0], captions[len(captions) // 2]))
    return (f"a {trigger} card back", *examples)
