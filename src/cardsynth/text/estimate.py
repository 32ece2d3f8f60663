"""What fine-tuning a Stable Diffusion takes: parameters and memory, counted beforehand on nets without numbers."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from cardsynth.doctor.estimate import ALLOCATOR, CONTEXT_GB, PeakMemory
from cardsynth.text.config import TextConfig
from cardsynth.text.learner import add_adapters
from cardsynth.text.model import TextModelError, pull_file, unet_conditions

FLOAT, HALF = torch.float32, torch.bfloat16  # bytes of bfloat16 and float16 are the same


@dataclass(frozen=True)
class TextEstimate:
    """What a run takes on a GPU, memory in 10^9 bytes.

    parameters: of U-Net and text encoders; trained: those that are trained. training_gb, drawing_gb, encoding_gb: at
    the highest point of a training step, of a validation picture and of encoding the data; the largest is what is
    needed, with what CUDA and its allocator hold over it.
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
        """Weights, what the optimiser keeps of them, and activations with gradients."""
        return self.weights_gb + self.states_gb + self.activations_gb

    @property
    def memory_gb(self) -> float:
        """What a GPU must have."""
        return max(self.training_gb, self.drawing_gb, self.encoding_gb) * ALLOCATOR + CONTEXT_GB

    def text(self, memory_gb: float | None = None) -> str:
        """A few lines; memory_gb: what the GPU has."""
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
    """What training with these settings takes on a GPU in 16 bits (in 32 with mixed_precision no).

    Of the base model only its configuration is read, or downloaded. Raises TextModelError where there is none.
    """
    configs = _read_configs(config)
    dtype = FLOAT if config.mixed_precision == "no" else HALF
    nets = _nets(config, configs, dtype)
    with FakeTensorMode(allow_non_fake_inputs=True):
        return _estimate(config, configs, dtype, *nets)


def _estimate(
    config: TextConfig,
    configs: dict[str, dict[str, Any]],
    dtype: torch.dtype,
    unet: UNet2DConditionModel,
    encoders: dict[str, nn.Module],
    vae: AutoencoderKL,
) -> TextEstimate:
    full, factor = config.method == "full", 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    side = config.resolution or factor * configs["unet"]["sample_size"]
    size, latents = (side, side), (side // factor, side // factor)
    nets = (unet, *encoders.values())
    parts = (unet, *(encoders.values() if config.train_text_encoder else ()))
    for net in (*nets, vae):
        _give_memory(net)
    trained = sum(value.numel() for net in nets for value in net.parameters() if value.requires_grad)
    counted = sum(value.numel() for net in nets for value in net.parameters()) - (0 if full else trained)
    _as_on_a_gpu(unet)
    if config.gradient_checkpointing:
        unet.enable_gradient_checkpointing()

    def draw(batch: int, asked: bool) -> torch.Tensor:
        told = _told(encoders, configs["unet"], batch, dtype, asked)
        noisy = torch.empty(batch, configs["unet"]["in_channels"], *latents, dtype=dtype)
        return unet(noisy, torch.zeros(batch, dtype=torch.long), **unet_conditions(told, size)).sample

    with PeakMemory(_tensors(*nets)) as training, torch.autocast("cpu", HALF, enabled=dtype != FLOAT):
        draw(config.train_batch_size, config.train_text_encoder).float().square().mean().backward()
    with torch.no_grad():
        with PeakMemory(_tensors(*nets)) as drawing, torch.autocast("cpu", HALF, enabled=dtype != FLOAT):
            draw(2, False)  # with the prompt, and without, for guidance
        with PeakMemory(_tensors(vae)) as decoding:
            vae.decode(torch.empty(1, configs["vae"]["latent_channels"], *latents))
        with PeakMemory(_tensors(vae)) as encoding:
            vae.encode(torch.empty(1, 3, *size))
    states = 4 * trained * (3 if full else 2)  # Adam's two moments, and of method full the average
    stored = 4 * trained if full else 0  # the trained weights, while the averaged ones stand in their place
    return TextEstimate(
        size=size,
        batch=config.train_batch_size,
        parameters=counted,
        trained=trained,
        weights_gb=_bytes(*parts) / 1e9,
        states_gb=states / 1e9,
        activations_gb=training.peak / 1e9,
        drawing_gb=(_bytes(*nets, vae) + states + stored + max(drawing.peak, decoding.peak)) / 1e9,
        encoding_gb=(_bytes(vae) + encoding.peak) / 1e9,
    )


def _nets(
    config: TextConfig, configs: dict[str, dict[str, Any]], dtype: torch.dtype
) -> tuple[UNet2DConditionModel, dict[str, nn.Module], AutoencoderKL]:
    """U-Net, text encoders and VAE without numbers, in the precisions and with the adapters that training has."""
    kinds = {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection}
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(configs["unet"])
        encoders = {name: kinds[name](CLIPTextConfig.from_dict(configs[name])) for name in kinds if name in configs}
        vae = AutoencoderKL.from_config(configs["vae"])
        for net in (unet, *encoders.values()):
            nn.Module.to(net, dtype)  # the nets' own warns of parts that they do not have
        for net in (unet, vae, *encoders.values()):
            net.requires_grad_(False)
        if config.method == "full":
            for net in (unet, *(encoders.values() if config.train_text_encoder else ())):
                net.float().requires_grad_(True)
        else:
            add_adapters(SimpleNamespace(unet=unet, **encoders), config.lora_rank, config.train_text_encoder)
    return unet, encoders, vae


def _give_memory(net: nn.Module) -> None:
    """Put tensors that claim memory in the places of those that do not; what is trained becomes float32."""
    for module in net.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            given = torch.empty(value.shape, dtype=FLOAT if value.requires_grad else value.dtype)
            setattr(module, name, nn.Parameter(given, value.requires_grad))
        for name, value in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.zeros(value.shape, dtype=value.dtype))


def _read_configs(config: TextConfig) -> dict[str, dict[str, Any]]:
    """The configurations of the base model's nets; of the second text encoder where there is one."""
    found = {}
    folder = Path(config.base_model).expanduser()
    for name in ("unet", "vae", "text_encoder", "text_encoder_2"):
        if folder.exists():
            path = folder / name / "config.json"
        else:
            path = pull_file(config.base_model, f"{name}/config.json", config.base_revision)
        if path and path.is_file():
            found[name] = json.loads(path.read_text())
    missing = [name for name in ("unet", "vae", "text_encoder") if name not in found]
    if missing:
        raise TextModelError(f"{config.base_model} is no Stable Diffusion as diffusers: no {', '.join(missing)} in it")
    return found


def _told(
    encoders: dict[str, nn.Module], config: dict[str, Any], batch: int, dtype: torch.dtype, asked: bool
) -> dict[str, torch.Tensor]:
    """What captions say to the U-Net; `asked`: by way of the text encoders, whose activations then count too."""
    if not asked:
        told = {"prompt_embeds": torch.empty(batch, 77, config["cross_attention_dim"], dtype=dtype)}
    else:
        tokens = torch.zeros(batch, 77, dtype=torch.long)
        hidden = [encoder(tokens, output_hidden_states=True).hidden_states[-1] for encoder in encoders.values()]
        told = {"prompt_embeds": torch.cat(hidden, dim=-1)}
    if "text_encoder_2" in encoders:
        told["pooled"] = torch.empty(batch, encoders["text_encoder_2"].config.projection_dim, dtype=dtype)
    return told


def _as_on_a_gpu(net: nn.Module) -> None:
    """Let a net's norms work in float32, as autocast has them do on a GPU and not on a CPU."""
    for norm in net.modules():
        if isinstance(norm, nn.GroupNorm):
            norm.forward = partial(_group_norm, norm)
        elif isinstance(norm, nn.LayerNorm):
            norm.forward = partial(_layer_norm, norm)


def _group_norm(norm: nn.GroupNorm, values: torch.Tensor) -> torch.Tensor:
    return F.group_norm(values.float(), norm.num_groups, norm.weight.float(), norm.bias.float(), norm.eps)


def _layer_norm(norm: nn.LayerNorm, values: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(values.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps)


def _tensors(*nets: nn.Module) -> list[torch.Tensor]:
    return [value for net in nets for value in (*net.parameters(), *net.buffers())]


def _bytes(*nets: nn.Module) -> int:
    return sum(value.nbytes for value in _tensors(*nets))
