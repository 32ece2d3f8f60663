"""What one optimiser step of text to card is made of: adapters or the whole net, noise, loss, optimiser; no files."""

import sys
from collections.abc import Callable, Iterator
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

from cardsynth.core.diffusion import spread_timesteps, training_target
from cardsynth.core.optimizer import build_optimizer
from cardsynth.text.config import TextConfig
from cardsynth.text.data import batch_at
from cardsynth.text.model import encode_prompts, text_encoders, training_schedule, unet_conditions
from cardsynth.util.device import free_memory, is_out_of_memory

# The linear layers of attention that get adapters, in the U-Net and in text encoders (Hu et al. 2021, section 4.2).
UNET_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")


@dataclass(frozen=True)
class Encoded:
    """Pictures as the U-Net learns them: mean and deviation of latents (2, C, h, w), captions, buckets (height, width).

    told: what each caption says to the U-Net; empty where the text encoder is trained, and asked anew at each step.
    """

    latents: list[torch.Tensor]
    captions: tuple[str, ...]
    buckets: tuple[tuple[int, int], ...]
    told: dict[str, dict[str, torch.Tensor]]


def add_adapters(pipeline: DiffusionPipeline, rank: int, text_encoder: bool = False, seed: int = 0) -> None:
    """Give the U-Net, and on demand the text encoders, trainable adapters of scale 1, which change nothing at first."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name, part in {"unet": pipeline.unet, **(text_encoders(pipeline) if text_encoder else {})}.items():
            layers = UNET_LAYERS if name == "unet" else TEXT_LAYERS
            # Scale is alpha / rank: at 1, no program that loads the file can get it wrong.
            part.add_adapter(
                LoraConfig(r=rank, lora_alpha=rank, target_modules=list(layers), init_lora_weights="gaussian")
            )


def save_adapters(pipeline: DiffusionPipeline, folder: Path) -> None:
    """Write `pytorch_lora_weights.safetensors`, which `load_lora_weights` of plain diffusers opens."""
    parts = {"unet": pipeline.unet, **text_encoders(pipeline)}
    layers = {
        f"{name}_lora_layers": convert_state_dict_to_diffusers(get_peft_model_state_dict(part))
        for name, part in parts.items()
        if getattr(part, "peft_config", None)
    }
    pipeline.save_lora_weights(str(folder), safe_serialization=True, **layers)


class TextLearner:
    """The trained parts of a pipeline, their optimiser and averages, and the steps; `prior`: what to preserve."""

    def __init__(
        self,
        config: TextConfig,
        accelerator: Accelerator,
        pipeline: DiffusionPipeline,
        pictures: Encoded,
        prior: Encoded | None = None,
    ) -> None:
        self.config, self.accelerator, self.pipeline = config, accelerator, pipeline
        self.device = accelerator.device
        self._pictures, self._prior = pictures, prior
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
        self.parameters = [value for _, value in self._named()]
        for value in self.parameters:
            value.data = value.data.float()
        optimizer, self.lr_scheduler = build_optimizer(config, self.parameters, config.max_train_steps)
        self.optimizer = accelerator.prepare(optimizer)
        self.average = None
        if config.method == "full":
            self.average = EMAModel(self.parameters, config.ema_decay, use_ema_warmup=True, power=3 / 4, foreach=True)
            self.average.to(self.device)
        self.micro_batch = config.train_batch_size

    def _named(self) -> list[tuple[str, torch.nn.Parameter]]:
        return [
            (f"{name}.{path}", value)
            for name, part in self._parts.items()
            for path, value in part.named_parameters()
            if value.requires_grad
        ]

    @property
    def pictures_per_step(self) -> int:
        """Pictures of one optimiser step, the preserved ones left out."""
        return self.config.train_batch_size * self.config.gradient_accumulation_steps

    def optimise(self, step: int) -> tuple[float, float]:
        """Take optimiser step `step` (from 0); returns its loss and gradient norm.

        Where memory does not suffice, the batch is worked on in parts, and then with gradient checkpointing; it trains
        alike. Raises what says that memory is short where that does not help.
        """
        while True:
            try:
                loss = sum(loss.item() for loss in self._losses(step, backward=True))
                break
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or not (what := self._relieve()):
                    raise
                reason = str(error).splitlines()[0]
            self.optimizer.zero_grad(set_to_none=True)
            free_memory()
            print(f"\nOut of memory at step {step + 1} ({reason}): from here on {what}.", file=sys.stderr, flush=True)
        gradient_norm = self.accelerator.clip_grad_norm_(self.parameters, self.config.max_grad_norm)
        self.optimizer.step()
        self.lr_scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average:
            self.average.step(self.parameters)
        return loss, float(gradient_norm)

    def _relieve(self) -> str:
        """Turn to what takes less memory; returns what that is, nothing where there is no more."""
        if self.micro_batch > 1:
            self.micro_batch = -(-self.micro_batch // 2)
            return f"the batch is worked on {self.micro_batch} at a time, and trains alike"
        if not self.pipeline.unet.is_gradient_checkpointing:
            self.pipeline.unet.enable_gradient_checkpointing()
            return "gradient_checkpointing is on: less memory for more time, and it trains alike"
        return ""

    @torch.no_grad()
    def loss_of_step(self, step: int) -> float:
        """The loss that step `step` would have, without taking it."""
        return sum(loss.item() for loss in self._losses(step, backward=False))

    def _losses(self, step: int, backward: bool) -> Iterator[torch.Tensor]:
        """The step's losses, which add up to its own, each gone backward where that is wanted."""
        config, accumulated = self.config, self.config.gradient_accumulation_steps
        seed = int(np.random.SeedSequence([config.seed, 1, step]).generate_state(1, np.uint64)[0] >> 1)
        generator = torch.Generator(self.device).manual_seed(seed)
        sets = [(self._pictures, 1.0)] + ([(self._prior, config.prior_weight)] if self._prior else [])
        for index in range(step * accumulated, (step + 1) * accumulated):
            for pictures, weight in sets:
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
                conditions = unet_conditions(self._told(pictures, captions[part]), pictures.buckets[batch[0]])
                model_output = unet(noisy_latents[part], timesteps[part], **conditions).sample
            errors = (model_output.float() - target[part]).square().mean(dim=(1, 2, 3))
            return weight * errors.sum() / len(batch)

        return loss_of

    def _told(self, pictures: Encoded, captions: list[str]) -> dict[str, torch.Tensor]:
        if not pictures.told:
            return encode_prompts(self.pipeline, captions, self.device)
        told = [pictures.told[caption] for caption in captions]
        return {name: torch.stack([one[name] for one in told]).to(self.device) for name in told[0]}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The averaged weights in the place of the trained ones, where there are such, for a while."""
        if self.average is None:
            yield
            return
        self.average.store(self.parameters)
        self.average.copy_to(self.parameters)
        try:
            yield
        finally:
            self.average.restore(self.parameters)

    def state(self) -> dict[str, Any]:
        """All that going on takes, but for the settings, the base model and the data."""
        kept = {"optimizer": self.optimizer, "lr_scheduler": self.lr_scheduler, "scaler": self.accelerator.scaler}
        kept |= {"average": self.average}
        state = {name: one.state_dict() for name, one in kept.items() if one is not None}
        return state | {"trained": {name: value.detach() for name, value in self._named()}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        with torch.no_grad():
            for name, value in self._named():
                value.copy_(state["trained"][name])
        kept = {"optimizer": self.optimizer, "lr_scheduler": self.lr_scheduler, "scaler": self.accelerator.scaler}
        kept |= {"average": self.average}
        for name, one in kept.items():
            if one is not None:
                one.load_state_dict(state[name])
