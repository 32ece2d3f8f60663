"""Estimates the parameters and memory of fine-tuning a Stable Diffusion, from the configurations of its nets."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from cardsynth.doctor.activations import Precision, SavedBytes
from cardsynth.doctor.estimate import ALLOCATOR, CONTEXT_GB
from cardsynth.text.config import TextConfig
from cardsynth.text.learner import add_adapters
from cardsynth.text.model import TextModelError, pull_file, unet_conditions

KINDS = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}
# A residual block without gradients holds its input, the output of its norm and that of its activation function.
TENSORS_IN_USE = 3


@dataclass(frozen=True)
class TextEstimate:
    """The cost of a run on a GPU, memory in 10^9 bytes.

    Attributes:
        size: Height and width of a picture in pixels.
        batch: Pictures in a batch.
        parameters: Parameters of the U-Net and the text encoders, without adapters.
        trained: Trained parameters.
        weights_gb: Weights of the nets that a training step uses.
        states_gb: Adam's moments, and the averaged weights of method `full`.
        activations_gb: Activations and gradients at the highest point of a training step.
        drawing_gb: Memory to draw a validation picture during training.
        encoding_gb: Memory to encode the training pictures.
    """

    size: tuple[int, int]
    batch: int
    parameters: int
    trained: int
    weights_gb: float
    states_gb: float
    activations_gb: float
    drawing_gb: float
    encoding_gb: float

    @property
    def training_gb(self) -> float:
        """Memory of a training step."""
        return self.weights_gb + self.states_gb + self.activations_gb

    @property
    def memory_gb(self) -> float:
        """Memory that a GPU must have, including that of CUDA and its allocator."""
        return max(self.training_gb, self.drawing_gb, self.encoding_gb) * ALLOCATOR + CONTEXT_GB

    def text(self, memory_gb: float | None = None) -> str:
        """Returns a few lines of text, which say whether the run fits if the GPU's memory is given."""
        share = f"{self.trained / 1e6:.2f} million trained, {self.trained / self.parameters:.2%}"
        lines = [
            f"pictures    {self.size[0]}x{self.size[1]}, {self.batch} at a time",
            f"parameters  {self.parameters / 1e6:.1f} million, {share}",
            f"training    {self.training_gb:.1f} GB: weights {self.weights_gb:.1f}, optimiser {self.states_gb:.1f},"
            f" activations and gradients {self.activations_gb:.1f}",
            f"drawing     {self.drawing_gb:.1f} GB; encoding the pictures {self.encoding_gb:.1f} GB",
            f"needed      {self.memory_gb:.1f} GB on a GPU",
        ]
        if memory_gb is not None:
            fits = (
                "fits" if self.memory_gb <= memory_gb else "does NOT fit: try --gradient-checkpointing, --method lora"
            )
            lines.append(f"of          {memory_gb:.1f} GB: {fits}")
        return "\n".join(lines)


def estimate_text(config: TextConfig) -> TextEstimate:
    """Estimates the cost of fine-tuning on a GPU, in 16 bits unless `mixed_precision` is `no`.

    Only the configurations of the base model are read or downloaded. The nets lie on the meta device, see
    `cardsynth.doctor.activations`.

    Raises:
        TextModelError: The base model lacks a configuration.
    """
    configs, half, full = _read_configs(config), config.mixed_precision != "no", config.method == "full"
    nets = _meta_nets(config, configs, torch.bfloat16 if half else torch.float32)
    unet, vae = nets["unet"], nets.pop("vae")
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    side = config.resolution or factor * unet.config.sample_size
    size, latent_side, batch = (side, side), side // factor, config.train_batch_size
    encoders = [net for name, net in nets.items() if name != "unet"]

    activations = SavedBytes(*nets.values())
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing(activations.checkpoint)
    with activations, Precision(half, on_gpu=True), torch.device("meta"):
        prompts = _encode_prompts(unet, encoders, batch, config.train_text_encoder)
        noisy_latents = torch.empty(batch, unet.config.in_channels, latent_side, latent_side, dtype=unet.dtype)
        timesteps = torch.zeros(batch, dtype=torch.long)
        unet(noisy_latents, timesteps, **unet_conditions(prompts, size)).sample.float().square().mean()
    trained = sum(value.numel() for net in nets.values() for value in net.parameters() if value.requires_grad)
    counted = sum(value.numel() for net in nets.values() for value in net.parameters())
    gradients = average = 4 * trained
    states = 2 * gradients + (average if full else 0)
    # While a picture is drawn, the averaged weights replace the trained ones, which are stored. The U-Net draws in
    # less memory than the VAE decodes.
    stored = average if full else 0
    decoding = _pass_bytes(vae, vae.decode, (vae.config.latent_channels, latent_side, latent_side))
    parts = nets.values() if config.train_text_encoder else [unet]
    return TextEstimate(
        size=size,
        batch=batch,
        parameters=counted if full else counted - trained,
        trained=trained,
        weights_gb=_bytes(*parts) / 1e9,
        states_gb=states / 1e9,
        activations_gb=max(activations.peak, 2 * gradients) / 1e9,
        drawing_gb=(_bytes(*nets.values(), vae) + states + stored + decoding) / 1e9,
        encoding_gb=(_bytes(vae) + _pass_bytes(vae, vae.encode, (3, *size))) / 1e9,
    )


def _read_configs(config: TextConfig) -> dict[str, dict[str, Any]]:
    """Reads the configurations of the base model's nets, including those of a second text encoder if there is one."""
    configs, folder = {}, Path(config.base_model).expanduser()
    for name in KINDS:
        path = folder / name / "config.json"
        if not folder.exists():
            path = pull_file(config.base_model, f"{name}/config.json", config.base_revision)
        if path and path.is_file():
            configs[name] = json.loads(path.read_text())
    missing = [name for name in ("unet", "vae", "text_encoder") if name not in configs]
    if missing:
        raise TextModelError(f"{config.base_model} is not a Stable Diffusion folder: {', '.join(missing)} missing")
    return configs


def _meta_nets(config: TextConfig, configs: dict[str, dict[str, Any]], dtype: torch.dtype) -> dict[str, nn.Module]:
    """Builds the nets without weights, in the precisions and with the adapters of training."""
    nets = {}
    with torch.device("meta"):
        for name, values in configs.items():
            if name.startswith("text"):
                nets[name] = KINDS[name](CLIPTextConfig.from_dict(values))
            else:
                nets[name] = KINDS[name].from_config(values)
            nets[name].requires_grad_(False)
            if name != "vae":
                nn.Module.to(nets[name], dtype)  # the nets' own methods warn about missing parts
        trained = [net for name, net in nets.items() if name == "unet" or (config.train_text_encoder and name != "vae")]
        if config.method == "full":
            for net in trained:
                net.float().requires_grad_(True)
        else:
            add_adapters(SimpleNamespace(**nets), config.lora_rank, config.train_text_encoder)
            for value in (value for net in trained for value in net.parameters() if value.requires_grad):
                value.data = value.data.float()
    return nets


def _encode_prompts(
    unet: UNet2DConditionModel, encoders: list[nn.Module], batch: int, with_encoders: bool
) -> dict[str, torch.Tensor]:
    """Returns prompt embeddings; `with_encoders` passes through the text encoders, whose activations then count."""
    shape = (batch, encoders[0].config.max_position_embeddings)
    prompts = {"prompt_embeds": torch.empty(*shape, unet.config.cross_attention_dim, dtype=unet.dtype)}
    if with_encoders:
        tokens = torch.zeros(shape, dtype=torch.long)
        hidden = [encoder(tokens, output_hidden_states=True).hidden_states[-1] for encoder in encoders]
        prompts["prompt_embeds"] = torch.cat(hidden, dim=-1)
    if len(encoders) > 1:
        prompts["pooled"] = torch.empty(batch, encoders[1].config.projection_dim, dtype=unet.dtype)
    return prompts


def _pass_bytes(vae: AutoencoderKL, function: Callable, shape: tuple[int, ...]) -> int:
    """Returns the bytes that a VAE holds while it encodes or decodes one picture, in float32 and without gradients."""
    saved = SavedBytes(vae)
    with saved, Precision(half=False, on_gpu=True), torch.device("meta"):
        function(torch.empty(1, *shape, requires_grad=True))
    return TENSORS_IN_USE * saved.largest


def _bytes(*nets: nn.Module) -> int:
    return sum(value.nbytes for net in nets for value in (*net.parameters(), *net.buffers()))
