"""One optimiser step of a Stable Diffusion fine-tune: adapters or the whole net, noise, loss, optimiser."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import DiffusionPipeline
from diffusers.training_utils import EMAModel
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image

from cardsynth.core.diffusion import spread_timesteps, training_target
from cardsynth.core.optimizer import build_optimizer
from cardsynth.core.runs import save_pipeline
from cardsynth.core.trainer import Learner
from cardsynth.text.config import TextConfig
from cardsynth.text.data import batch_at, epoch_batches
from cardsynth.text.draw import LORA, TextDrawing, draw_pictures, prompt_grid
from cardsynth.text.model import encode_prompts, text_encoders, training_schedule, unet_conditions
from cardsynth.util.files import write_atomically

# The linear layers of attention that get adapters, in the U-Net and in text encoders (Hu et al. 2021, section 4.2).
UNET_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True)
class Encoded:
    """Encoded training pictures.

    Attributes:
        latents: Mean and standard deviation of the latents of each picture, float32 (2, C, h, w).
        captions: Captions.
        buckets: Buckets (height, width) in pixels.
        embeddings: Embeddings by caption, as of `encode_captions`; empty if the text encoder is trained, so that each
            step encodes its captions.
    """

    latents: list[torch.Tensor]
    captions: tuple[str, ...]
    buckets: tuple[tuple[int, int], ...]
    embeddings: dict[str, dict[str, torch.Tensor]]


def add_adapters(pipeline: DiffusionPipeline, rank: int, text_encoder: bool = False, seed: int = 0) -> None:
    """Adds trainable adapters of scale 1 to a pipeline, which have no effect before training.

    Args:
        pipeline: The base model.
        rank: Rank of the adapters.
        text_encoder: Add adapters to the text encoders too, not only to the U-Net.
        seed: Seed of the initial weights.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name, part in {"unet": pipeline.unet, **(text_encoders(pipeline) if text_encoder else {})}.items():
            layers = UNET_LAYERS if name == "unet" else TEXT_LAYERS
            # The scale is alpha / rank; programs that ignore alpha assume 1.
            config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(layers), init_lora_weights="gaussian")
            part.add_adapter(config)


def save_adapters(pipeline: DiffusionPipeline, folder: Path) -> None:
    """Writes `pytorch_lora_weights.safetensors`, which `load_lora_weights` of diffusers opens."""
    parts = {"unet": pipeline.unet, **text_encoders(pipeline)}
    layers = {
        f"{name}_lora_layers": convert_state_dict_to_diffusers(get_peft_model_state_dict(part))
        for name, part in parts.items()
        if getattr(part, "peft_config", None)
    }
    pipeline.save_lora_weights(str(folder), safe_serialization=True, **layers)


class TextLearner(Learner):
    """The trained parts of a pipeline, their optimiser and averages, and the steps.

    Args:
        config: settings of the run.
        accelerator: device and precision.
        pipeline: the base model.
        pictures: the pictures to learn from.
        prior: pictures drawn by the base model, for prior preservation.
        prompts: validation prompts.
        drawing: how the validation prompts are drawn.
    """

    def __init__(
        self,
        config: TextConfig,
        accelerator: Accelerator,
        pipeline: DiffusionPipeline,
        pictures: Encoded,
        prior: Encoded | None = None,
        prompts: Sequence[str] = (),
        drawing: TextDrawing | None = None,
    ) -> None:
        self.config, self.accelerator, self.device, self.pipeline = config, accelerator, accelerator.device, pipeline
        self.prompts, self.drawing, self._pictures, self._prior = prompts, drawing, pictures, prior
        self.noise_scheduler = training_schedule(pipeline)
        self._parts = {"unet": pipeline.unet, **(text_encoders(pipeline) if config.train_text_encoder else {})}
        if config.method == "lora":
            add_adapters(pipeline, config.lora_rank, config.train_text_encoder, config.seed)
        else:
            for part in self._parts.values():
                part.float().requires_grad_(True)
        for part in self._parts.values():
            part.to(self.device).train()
        if config.gradient_checkpointing:
            pipeline.unet.enable_gradient_checkpointing()
        named = (
            (f"{name}.{path}", value) for name, part in self._parts.items() for path, value in part.named_parameters()
        )
        self._trained = {name: value for name, value in named if value.requires_grad}
        self.parameters = list(self._trained.values())
        for value in self.parameters:
            value.data = value.data.float()
        optimizer, self.lr_scheduler = build_optimizer(config, self.parameters, config.max_train_steps)
        self.optimizer = accelerator.prepare(optimizer)
        self.average = None
        if config.method == "full":
            self.average = EMAModel(self.parameters, config.ema_decay, use_ema_warmup=True, power=3 / 4, foreach=True)
            self.average.to(self.device)
        self.micro_batch = config.train_batch_size
        batches = epoch_batches(config.seed, 0, pictures.buckets, config.train_batch_size)
        self.epoch_steps = math.ceil(len(batches) / config.gradient_accumulation_steps)
        self.total_steps = config.max_train_steps
        self.cards_per_step = config.train_batch_size * config.gradient_accumulation_steps

    def optimise(self, step: int) -> torch.Tensor:
        """Takes optimiser step `step` (from 0); returns its loss and gradient norm, float64 (2,)."""
        loss = sum(loss.item() for loss in self._losses(step, backward=True))
        gradient_norm = self.accelerator.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        self.optimizer.step()
        self.lr_scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.step(self.parameters)
        return torch.tensor([loss, float(gradient_norm)], dtype=torch.float64)

    def relieve(self) -> str:
        """Works on smaller parts of a batch, then with gradient checkpointing; the gradients stay the same."""
        self.optimizer.zero_grad(set_to_none=True)
        if self.micro_batch > 1:
            self.micro_batch = -(-self.micro_batch // 2)
            return f"the batch is worked on {self.micro_batch} at a time, and trains alike"
        if not self.pipeline.unet.is_gradient_checkpointing:
            self.pipeline.unet.enable_gradient_checkpointing()
            return "gradient_checkpointing is on: less memory for more time, and it trains alike"
        return ""

    @property
    def about(self) -> dict[str, int]:
        """What the manifest says of the nets: parameters of the base model, and those that are trained."""
        parts = (self.pipeline.unet, *text_encoders(self.pipeline).values())
        whole = sum(value.numel() for part in parts for value in part.parameters())
        trained = sum(value.numel() for value in self.parameters)
        return {"parameters": whole - trained if self.config.method == "lora" else whole, "trained_parameters": trained}

    @property
    def memory_advice(self) -> str:
        """What to do if memory does not suffice."""
        advice = "turn on gradient_checkpointing, or take a smaller resolution, train_batch_size or lora_rank"
        return advice + (", or method lora, which takes a third" if self.config.method == "full" else "")

    def sample_grid(self) -> Image.Image:
        """Draws the validation prompts, one row each, always from the same seeds."""
        with self.averaged():
            self.pipeline.to(self.device)
            seeds, precision = range(self.config.validation_images), self.accelerator.mixed_precision
            pictures = draw_pictures(self.pipeline, self.prompts, seeds, self.drawing, precision, progress=False)
            grid = prompt_grid(list(pictures))
            for part in (self.pipeline.vae, *text_encoders(self.pipeline).values()):
                if not any(value.requires_grad for value in part.parameters()):
                    part.to("cpu")
        return grid

    def save_model(self, run: Path, checkpoint: Path) -> None:
        """Saves what was trained inside the run, and adapters inside the checkpoint too, to choose from later."""
        if self.config.method == "full":
            with self.averaged():
                save_pipeline(run, self.pipeline)
            return
        save_adapters(self.pipeline, checkpoint)
        write_atomically(run / LORA, (checkpoint / LORA).read_bytes())

    @torch.no_grad()
    def loss_of_step(self, step: int) -> float:
        """Returns the loss that step `step` would have, without taking it."""
        return sum(loss.item() for loss in self._losses(step, backward=False))

    def _losses(self, step: int, backward: bool) -> Iterator[torch.Tensor]:
        """Yields the losses of parts of a step, which add up to its loss; `backward` adds up their gradients."""
        config, accumulated = self.config, self.config.gradient_accumulation_steps
        seed = int(np.random.SeedSequence([config.seed, 1, step]).generate_state(1, np.uint64)[0] >> 1)
        generator = torch.Generator(self.device).manual_seed(seed)
        weighted = [(self._pictures, 1.0)] + ([(self._prior, config.prior_weight)] if self._prior else [])
        for index in range(step * accumulated, (step + 1) * accumulated):
            for pictures, weight in weighted:
                batch = batch_at(config.seed, index, pictures.buckets, config.train_batch_size)
                loss_of = self._loss_of(pictures, batch, generator, weight / accumulated)
                for start in range(0, len(batch), self.micro_batch):
                    loss = loss_of(slice(start, start + self.micro_batch))
                    if backward:
                        self.accelerator.backward(loss)
                    yield loss.detach()

    def _loss_of(
        self, pictures: Encoded, batch: list[int], generator: torch.Generator, weight: float
    ) -> Callable[[slice], torch.Tensor]:
        """Squared error of parts of a batch at random timesteps, as a share of its weighted mean."""
        unet, device = self.pipeline.unet, self.device
        mean, deviation = torch.stack([pictures.latents[index] for index in batch], dim=1).to(device)
        latents = mean + deviation * torch.randn(mean.shape, generator=generator, device=device)
        noise = torch.randn(mean.shape, generator=generator, device=device)
        timesteps = spread_timesteps(len(batch), self.noise_scheduler.config.num_train_timesteps, generator)
        noisy_latents = self.noise_scheduler.add_noise(latents, noise, timesteps).to(unet.dtype)
        target = training_target(self.noise_scheduler, latents, noise, timesteps)
        captions = [pictures.captions[index] for index in batch]

        def loss_of(part: slice) -> torch.Tensor:
            with self.accelerator.autocast():
                conditions = unet_conditions(self._embeddings(pictures, captions[part]), pictures.buckets[batch[0]])
                model_output = unet(noisy_latents[part], timesteps[part], **conditions).sample
            errors = (model_output.float() - target[part]).square().mean(dim=(1, 2, 3))
            return weight * errors.sum() / len(batch)

        return loss_of

    def _embeddings(self, pictures: Encoded, captions: list[str]) -> dict[str, torch.Tensor]:
        if not pictures.embeddings:
            return encode_prompts(self.pipeline, captions, self.device)
        encoded = [pictures.embeddings[caption] for caption in captions]
        return {name: torch.stack([values[name] for values in encoded]).to(self.device) for name in encoded[0]}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Replaces the trained weights by their average, if there is one, within the context."""
        if self.average is None:
            yield
            return
        self.average.store(self.parameters)
        self.average.copy_to(self.parameters)
        try:
            yield
        finally:
            self.average.restore(self.parameters)

    def stateful(self) -> dict[str, Any]:
        """Returns optimiser, schedule of the learning rate, gradient scaler and average by name, if there is one."""
        parts = {"optimizer": self.optimizer, "lr_scheduler": self.lr_scheduler}
        parts |= {"scaler": self.accelerator.scaler, "average": self.average}
        return {name: part for name, part in parts.items() if part is not None}

    def state(self) -> dict[str, Any]:
        """Returns all that resuming needs, except settings, base model and data."""
        return super().state() | {"trained": {name: value.detach() for name, value in self._trained.items()}}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        with torch.no_grad():
            for name, value in self._trained.items():
                value.copy_(state["trained"][name])
        super().load_state(state)
