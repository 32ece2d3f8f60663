"""A run of text to card: steps taken, watched, drawn and saved, so that it can go on from where it was stopped."""

import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from cardsynth.cards.fitting import encode_png
from cardsynth.cards.folder import CardWriter
from cardsynth.core.config import save_config
from cardsynth.core.recorder import Recorder, TrainingStep
from cardsynth.core.runs import (
    RunError,
    check_resumable,
    checkpoints,
    describe_environment,
    is_run,
    read_log,
    read_manifest,
    save_pipeline,
    start_run,
)
from cardsynth.core.safeguards import DivergenceGuard, TrainingError, fitting_memory, saving, what_is_safe
from cardsynth.text.config import MAY_CHANGE, TextConfig
from cardsynth.text.data import (
    CaptionedPictures,
    digest_of,
    encode_captions,
    encode_pictures,
    epoch_batches,
    read_captioned,
)
from cardsynth.text.draw import LORA, TextDrawing, draw_pictures, pixels_of, prompt_grid
from cardsynth.text.kind import text_kind
from cardsynth.text.learner import Encoded, TextLearner, save_adapters
from cardsynth.text.model import DTYPES, open_base, text_encoders
from cardsynth.util.device import build_accelerator, used_memory_mb
from cardsynth.util.files import replace_folder

PICTURES_BEFORE = 50  # whose loss is measured before training, for the guard; or of ten steps where these are more


class TextTrainer:
    """A learner and its run folder; `steps` drives them."""

    def __init__(self, config: TextConfig, source: str | Path, run: Path, resume: bool, overwrite: bool) -> None:
        self.config, self.run, self.step = config, run, 0
        self.accelerator = build_accelerator(config)
        if self.accelerator.num_processes > 1:
            raise RunError("text to card trains on one GPU: start it without accelerate launch")
        self.device, self.precision = self.accelerator.device, self.accelerator.mixed_precision
        self.pipeline = open_base(config.base_model, config.base_revision, DTYPES[self.precision])
        pictures = read_captioned(source, self.pipeline, config.resolution, config.fit)
        self.prompts = config.validation_prompts or _usual_prompts(config.trigger, pictures.captions)
        self.drawing = TextDrawing(
            next(iter(pictures.bucket_counts)), config.num_inference_steps, config.guidance_scale
        )
        self.manifest = self._manifest(pictures)
        goes_on = resume and is_run(run)
        if goes_on:
            check_resumable(run, config, self.manifest, MAY_CHANGE)
            self.manifest |= {name: read_manifest(run)[name] for name in ("loss_before",) if name in read_manifest(run)}
        else:
            start_run(run, config, self.manifest, overwrite)
        with self._fitting_memory():
            self.learner = self._learner(pictures)
        self.epoch_steps = math.ceil(
            len(epoch_batches(config.seed, 0, pictures.buckets, config.train_batch_size))
            / config.gradient_accumulation_steps
        )
        self._count_parameters()
        wall_time_s = self._resume() if goes_on else 0.0
        self.recorder = Recorder(run, self.manifest, self.step, wall_time_s)
        self._watch()

    def _manifest(self, pictures: CaptionedPictures) -> dict[str, Any]:
        source = Path(pictures.source)
        return {
            **text_kind(self.config, self.drawing.size),
            "base_model": self.config.base_model,
            "base_weights": digest_of(self.pipeline.unet)[:12],
            "trigger": self.config.trigger,
            "size": list(self.drawing.size),
            "validation_prompts": list(self.prompts),
            "data": {
                "source": source.name if source.exists() else pictures.source,
                "count": len(pictures),
                "captions": len(set(pictures.captions)),
                "buckets": {f"{h}x{w}": count for (h, w), count in pictures.bucket_counts.items()},
                "fingerprint": pictures.fingerprint,
            },
            **describe_environment(),
            "mixed_precision": self.precision,
            "seed": self.config.seed,
            "steps": 0,
            "wall_time_s": 0.0,
        }

    def _learner(self, pictures: CaptionedPictures) -> TextLearner:
        """Encode the pictures, and what shall be preserved, before the net gets what is trained."""
        prior = self._encode(self._prior()) if self.config.prior_prompt else None
        return TextLearner(self.config, self.accelerator, self.pipeline, self._encode(pictures), prior)

    def _encode(self, pictures: CaptionedPictures) -> Encoded:
        latents = encode_pictures(self.pipeline, pictures, self.device)
        told = {}
        if not self.config.train_text_encoder:
            told = encode_captions(self.pipeline, pictures.captions, self.device)
        return Encoded(latents, pictures.captions, pictures.buckets, told)

    def _prior(self) -> CaptionedPictures:
        """Pictures that the base model draws of what shall be preserved, once, into the run's `prior/`."""
        folder, prompt = self.run / "prior", self.config.prior_prompt
        seeds = [seed for seed in range(self.config.prior_images) if not (folder / f"{seed:06d}.png").is_file()]
        self.pipeline.to(self.device)
        with CardWriter(folder) as writer:
            for picture in draw_pictures(self.pipeline, [prompt] if seeds else [], seeds, self.drawing, self.precision):
                row = {"file_name": f"{picture.seed:06d}.png", "text": prompt, "seed": picture.seed}
                writer.add(row, encode_png(pixels_of(picture)))
        self.pipeline.to("cpu")
        return read_captioned(folder, self.pipeline, self.config.resolution, self.config.fit)

    def _count_parameters(self) -> None:
        parts = (self.pipeline.unet, *text_encoders(self.pipeline).values())
        whole = sum(value.numel() for part in parts for value in part.parameters())
        trained = sum(value.numel() for value in self.learner.parameters)
        base = whole - trained if self.config.method == "lora" else whole
        self.manifest |= {"parameters": base, "trained_parameters": trained}

    def _resume(self) -> float:
        """Load the last checkpoint, where there is one; returns the seconds that were spent before it."""
        save_config(self.config, self.run / "settings.json")
        saved = checkpoints(self.run)
        if not saved:
            return 0.0
        self.learner.load_state(torch.load(saved[-1] / "state.pt", map_location=self.device, weights_only=True))
        progress = json.loads((saved[-1] / "progress.json").read_text())
        self.step = progress["step"]
        return progress["wall_time_s"]

    def _watch(self) -> None:
        """Measure the loss before training, once, and let the guard see what there was since."""
        if "loss_before" not in self.manifest:
            count = max(10, math.ceil(PICTURES_BEFORE / self.learner.pictures_per_step))
            steps = tqdm(range(count), "Measuring the loss before training", unit="step", leave=False)
            with self._fitting_memory():
                self.manifest["loss_before"] = [round(self.learner.loss_of_step(step), 6) for step in steps]
        self.guard = DivergenceGuard(self.manifest["loss_before"])
        for row in read_log(self.run):
            self.guard.add(row["loss"])
        self.recorder.manifest = self.manifest
        self.recorder.write_manifest(self.step)

    def steps(self) -> Iterator[TrainingStep]:
        config, learner, first, begun = self.config, self.learner, self.step, time.perf_counter()
        if self.step == 0:
            self._save_grid()
        last = time.perf_counter()
        while self.step < config.max_train_steps:
            learning_rate = learner.lr_scheduler.get_last_lr()[0]
            with self._fitting_memory():
                loss, gradient_norm = learner.optimise(self.step)
            self.step += 1
            now = time.perf_counter()
            row = TrainingStep(
                step=self.step,
                total_steps=config.max_train_steps,
                epoch=math.ceil(self.step / self.epoch_steps),
                loss=loss,
                learning_rate=learning_rate,
                gradient_norm=gradient_norm,
                images_per_second=learner.pictures_per_step / (now - last),
                memory_mb=used_memory_mb(self.device),
                seconds_left=(now - begun) / (self.step - first) * (config.max_train_steps - self.step),
            )
            with saving(self.run, self.step):
                self.recorder.log(row)
            self._guard(row)
            row = replace(row, **self._save_what_is_due())
            last = time.perf_counter()
            yield row
        self.recorder.write_manifest(self.step)

    def _guard(self, row: TrainingStep) -> None:
        """Raise TrainingError where the loss is not finite, or has risen far above what it was before training."""
        lower = f"Try a learning_rate of {self.config.learning_rate / 10:g}, or a longer lr_warmup_steps"
        overflow_is_handled = self.precision == "fp16"
        if not math.isfinite(row.loss + (0 if overflow_is_handled else row.gradient_norm)):
            raise TrainingError(
                f"the loss is {row.loss} and its gradient {row.gradient_norm} at step {row.step};"
                f" {what_is_safe(self.run)}. {lower}, or mixed_precision no"
            )
        self.guard.add(row.loss)
        if self.guard.diverged:
            saved = ", ".join(path.name for path in checkpoints(self.run)) or "none"
            raise TrainingError(
                f"stopped at step {row.step}: the loss of the last {self.guard.count} steps is {self.guard.rise:.1f}"
                " times what it was before training: the model forgets how to draw."
                f" Checkpoints in {self.run}: {saved}; samples/ shows which still draw. {lower}, and start anew"
            )

    def _save_what_is_due(self) -> dict[str, Path]:
        config, done = self.config, self.step == self.config.max_train_steps
        saved: dict[str, Path] = {}
        if done or self.step % config.validation_steps == 0:
            saved["grid"] = self._save_grid()
        if done or self.step % config.save_steps == 0:
            saved["checkpoint"] = self.save_checkpoint()
        return saved

    def _save_grid(self) -> Path:
        """Draw the validation prompts, a row each, always from the same seeds; step 0 is the base model's."""
        path = self.run / "samples" / f"step_{self.step:06d}.png"
        with self._fitting_memory(), self.learner.averaged():
            self.pipeline.to(self.device)
            seeds = range(self.config.validation_images)
            pictures = draw_pictures(self.pipeline, self.prompts, seeds, self.drawing, self.precision, progress=False)
            grid = prompt_grid(list(pictures))
            for part in (self.pipeline.vae, *text_encoders(self.pipeline).values()):
                if not any(value.requires_grad for value in part.parameters()):
                    part.to("cpu")
        with saving(self.run, self.step):
            self.recorder.save_grid(grid, path, self.step)
        return path

    def save_checkpoint(self) -> Path:
        """Save what was trained, and all that going on takes; returns the checkpoint's folder."""
        target = self.run / "checkpoints" / f"step_{self.step:06d}"
        temporary = target.with_name(f".{target.name}.tmp")
        with saving(self.run, self.step):
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            torch.save(self.learner.state(), temporary / "state.pt")
            progress = {"step": self.step, "wall_time_s": self.recorder.wall_time_s}
            (temporary / "progress.json").write_text(json.dumps(progress))
            if self.config.method == "lora":
                save_adapters(self.pipeline, temporary)
                shutil.copyfile(temporary / LORA, self.run / f".{LORA}.tmp")
                (self.run / f".{LORA}.tmp").replace(self.run / LORA)
            else:
                with self.learner.averaged():
                    save_pipeline(self.run, self.pipeline)
            replace_folder(temporary, target)
            self.recorder.write_manifest(self.step)
            for old in checkpoints(self.run)[: -self.config.checkpoints_total_limit]:
                shutil.rmtree(old)
        return target

    def _fitting_memory(self) -> AbstractContextManager[None]:
        advice = "turn on gradient_checkpointing, or take a smaller resolution, train_batch_size or lora_rank"
        if self.config.method == "full":
            advice += ", or method lora, which takes a third"
        return fitting_memory(self.run, self.step + 1, advice)

    def close(self) -> None:
        """Close the log files."""
        self.recorder.close()


def _usual_prompts(trigger: str, captions: tuple[str, ...]) -> tuple[str, ...]:
    """The trigger alone, and two captions of the training pictures."""
    some = dict.fromkeys((captions[0], captions[len(captions) // 2]))
    return (f"a {trigger} card back", *some)
