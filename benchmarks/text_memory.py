"""Compares the estimated memory of fine-tuning Stable Diffusion 1.5 with that of real steps, with random weights.

`python benchmarks/text_memory.py` measures on a GPU if available. On a CPU, PyTorch's profiler follows the bytes of all
tensors of one step (--resolution 256 takes a few minutes and about 8 GB).
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from cardsynth.doctor.estimate import ALLOCATOR
from cardsynth.text.config import TextConfig
from cardsynth.text.estimate import estimate_text
from cardsynth.text.learner import Encoded, TextLearner
from cardsynth.text.model import DTYPES
from cardsynth.util.device import build_accelerator
from cardsynth.util.environment import describe_machine

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))
from peak_bytes import peak_bytes

UNET = {
    "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8, "in_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
}  # fmt: skip
VAE = {
    "block_out_channels": [128, 256, 512, 512], "latent_channels": 4, "layers_per_block": 2,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip
TEXT = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
TEXT |= {"vocab_size": 49408, "max_position_embeddings": 77}


def write_configs(folder: Path) -> Path:
    """Writes the configurations of 1.5's nets, which an estimate reads."""
    for name, config in {"unet": UNET, "vae": VAE, "text_encoder": TEXT}.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(json.dumps(config))
    return folder


def measure(config: TextConfig, steps: int) -> float:
    """Returns the memory at the highest point of training steps, in 10^9 bytes."""
    accelerator = build_accelerator(config.mixed_precision, config.cpu)
    torch.set_default_dtype(DTYPES[accelerator.mixed_precision])
    unet = UNet2DConditionModel.from_config(UNET).requires_grad_(False)
    torch.set_default_dtype(torch.float32)
    encoder = CLIPTextModel(CLIPTextConfig(**TEXT)) if config.train_text_encoder else None
    pipeline = StableDiffusionPipeline(
        AutoencoderKL.from_config(VAE), encoder, None, unet, DDIMScheduler(), None, None, requires_safety_checker=False
    )
    side = config.resolution or 512
    count = config.train_batch_size
    prompts = {"prompt_embeds": torch.zeros(77, 768, dtype=unet.dtype)}
    pictures = Encoded(
        [torch.zeros(2, 4, side // 8, side // 8)] * count, ("a",) * count, ((side, side),) * count, {"a": prompts}
    )
    learner = TextLearner(config, accelerator, pipeline, pictures)
    if accelerator.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        for step in range(steps):
            learner.optimise(step)
        return torch.cuda.max_memory_reserved() / 1e9
    weights = sum(value.nbytes for value in unet.parameters())
    return (weights + peak_bytes(lambda: learner.optimise(0))) / 1e9


def main() -> None:
    """Prints estimated and measured memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--mixed-precision", default="auto")
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        base = TextConfig(base_model=str(write_configs(Path(folder) / "1.5")), resolution=options.resolution)
        base = base.replace(mixed_precision=options.mixed_precision)
        for changes in ({}, {"gradient_checkpointing": True}):
            config = base.replace(**changes)
            estimate, measured = estimate_text(config), measure(config, options.steps)
            on_gpu = torch.cuda.is_available()
            expected = estimate.training_gb * (ALLOCATOR if on_gpu else 1)
            figures = f"estimated {expected:.2f} GB, measured {measured:.2f} GB, {expected / measured:.3f}"
            print(f"{changes or 'plain'}: {figures}\n{estimate.text()}", flush=True)


if __name__ == "__main__":
    main()
