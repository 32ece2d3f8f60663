"""The contender: training as the diffusers tutorial does it (https://huggingface.co/docs/diffusers/tutorials/basic_training).

Pictures are decoded, resized, mirrored at random and stacked by a DataLoader at every step; noise is predicted on a
linear schedule of 1000 timesteps; AdamW at 1e-4 with 500 steps of warm-up and a cosine decay; mean squared error; no
average of the weights, classes or masks. Precision is bf16 where the processor has instructions for it.
"""

from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from datasets import Dataset, Image
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.optimization import get_cosine_schedule_with_warmup
from torch.utils.data import DataLoader
from torchvision import transforms

from cardsynth.cards.folder import find_cards
from cardsynth.util.device import resolve_precision

SMALL_NET = {  # a net that two processor cores can train, of the demo's widths
    "layers_per_block": 1,
    "block_out_channels": (32, 48, 64, 96),
    "down_block_types": ("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
    "attention_head_dim": 32,
    "norm_num_groups": 8,
}
TUTORIAL_NET = {  # the tutorial's own, without the sixth level, which 80x64 cannot be halved for
    "layers_per_block": 2,
    "block_out_channels": (128, 128, 256, 256, 512),
    "down_block_types": ("DownBlock2D", "DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D", "UpBlock2D"),
}


def tutorial_net(size: tuple[int, int], shape: dict) -> UNet2DModel:
    """An RGB net for cards of (height, width)."""
    return UNet2DModel(sample_size=size, in_channels=3, out_channels=3, **shape)


def tutorial_loader(folder: Path, size: tuple[int, int], batch_size: int) -> DataLoader:
    """Batches of a folder's pictures, float (B, 3, H, W) in [-1, 1], read from disk each time."""
    preprocess = transforms.Compose(
        [
            transforms.Resize(size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.5], [0.5]),
        ]
    )
    paths = [str(card.image) for card in find_cards(folder)]
    pictures = Dataset.from_dict({"image": paths}).cast_column("image", Image())
    pictures.set_transform(lambda rows: {"images": [preprocess(image.convert("RGB")) for image in rows["image"]]})
    return DataLoader(pictures, batch_size=batch_size, shuffle=True)


def tutorial_steps(unet: UNet2DModel, loader: DataLoader, total_steps: int) -> Iterator[float]:
    """Train a net in place, yielding the loss of each of `total_steps` steps."""
    precision = resolve_precision("auto", torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    accelerator = Accelerator(mixed_precision=precision)
    noise_scheduler = DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-4)
    lr_scheduler = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=500, num_training_steps=total_steps)
    unet, optimizer, loader, lr_scheduler = accelerator.prepare(unet, optimizer, loader, lr_scheduler)
    step = 0
    while True:
        for batch in loader:
            clean_images = batch["images"]
            noise = torch.randn(clean_images.shape, device=clean_images.device)
            timesteps = torch.randint(0, 1000, (len(clean_images),), device=clean_images.device)
            noisy_images = noise_scheduler.add_noise(clean_images, noise, timesteps)
            with accelerator.accumulate(unet):
                noise_pred = unet(noisy_images, timesteps, return_dict=False)[0]
                loss = F.mse_loss(noise_pred, noise)
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(unet.parameters(), 1.0)
                optimizer.step()
                lr_scheduler.step()
                optimizer.zero_grad()
            step += 1
            yield loss.detach().item()
            if step == total_steps:
                return
