"""The judge: a small net that predicts the class and the damage mask of a card, trained on correctly labelled cards."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from cardsynth.cards.augment import shifted_crop
from cardsynth.cards.dataset import Cards, normalize
from cardsynth.util.device import backward_in_threads, in_threads

CHANNELS = (24, 48, 64)
SHIFT = 2  # largest augmentation shift in pixels


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        convolution = nn.Conv2d(channels, out_channels, 3, padding=1, bias=False)
        layers += [convolution, nn.GroupNorm(8, out_channels), nn.ReLU(True)]
    return nn.Sequential(*layers)


class JudgeNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) with a classification head and a segmentation head.

    It works on blocks of 2x2 pixels.
    """

    def __init__(self, num_classes: int) -> None:
        """Builds the net.

        Args:
            num_classes: Number of classes; 0 is treated as 1.
        """
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in zip((12, *CHANNELS), CHANNELS, strict=False))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in pairwise(CHANNELS))
        self.to_mask = nn.Conv2d(CHANNELS[0], 4, 1)
        self.to_class = nn.Linear(CHANNELS[-1], max(1, num_classes))

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Returns the feature maps of each level, from fine to coarse.

        Args:
            images: RGB cards in [-1, 1], float (B, 3, H, W), H and W even.
        """
        maps = []
        for level, block in enumerate(self.down):
            maps.append(block(F.max_pool2d(maps[-1], 2) if level else F.pixel_unshuffle(images, 2)))
        return maps

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicts classes and damage.

        Args:
            images: RGB cards in [-1, 1], float (B, 3, H, W), H and W even.

        Returns:
            Class logits (B, num_classes) and damage logits (B, H, W).
        """
        *skips, features = self.encode(images)
        class_logits = self.to_class(features.mean(dim=(2, 3)))
        for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
            features = F.interpolate(features, skip.shape[2:], mode="bilinear")
            features = block(torch.cat([skip, features], dim=1))
        return class_logits, F.pixel_shuffle(self.to_mask(features), 2).squeeze(1)


@dataclass(frozen=True)
class Verdict:
    """Predictions of the judge.

    Attributes:
        labels: Predicted classes, int64 (N,).
        masks: Predicted damage masks, bool (N, H, W).
    """

    labels: torch.Tensor
    masks: torch.Tensor


def train_judge(cards: Cards, steps: int = 250, batch_size: int = 32, seed: int = 0) -> JudgeNet:
    """Trains a judge with AdamW and a one-cycle schedule; the cards are randomly shifted and brightened or darkened.

    Args:
        cards: Training cards with labels, masks or both.
        steps: Number of optimiser steps.
        batch_size: Cards per step.
        seed: Seed of the initial weights, the batches and the augmentation.

    Returns:
        The trained net. Without labels and masks it is untrained; callers must not use its predictions.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = JudgeNet(len(cards.label_names))
    if not (cards.label_names or cards.has_mask):
        return net.eval()
    parameters = list(net.parameters())
    optimizer = torch.optim.AdamW(parameters, 3e-3, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    random = np.random.default_rng(seed)
    net.train()
    for _ in tqdm(range(steps), "Training the judge", unit="step", leave=False):
        indices = torch.from_numpy(random.choice(len(cards), min(batch_size, len(cards)), replace=False))
        top, left = random.integers(0, 2 * SHIFT + 1, 2)
        brightness = torch.from_numpy(random.uniform(0.9, 1.1, (len(indices), 1, 1, 1)).astype(np.float32))
        pixels = shifted_crop(cards.pixels[indices], top, left, SHIFT)
        batch = replace(cards, pixels=pixels, labels=cards.labels[indices], darkness=None)
        backward_in_threads(partial(_partial_loss, net, batch, brightness), slice(0, len(batch)), parameters)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    return net.eval()


def _partial_loss(net: JudgeNet, cards: Cards, brightness: torch.Tensor, part: slice) -> torch.Tensor:
    """Returns the class and mask losses of part of a batch, divided by the size of the whole batch."""
    pixels, labels = cards.pixels[part], cards.labels[part]
    class_logits, mask_logits = net(normalize(pixels[:, :3]) * brightness[part])
    loss = F.cross_entropy(class_logits, labels, reduction="sum")
    if cards.has_mask:
        loss = loss + _mask_losses(mask_logits, (pixels[:, 3] >= 128).float()).sum()
    return loss / len(cards)


def _mask_losses(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Returns cross-entropy plus soft Dice (Milletari et al. 2016), (B,); Dice gives weight to small damage."""
    probability = logits.sigmoid()
    overlap = (probability * masks).sum(dim=(1, 2))
    dice = 1 - (2 * overlap + 1) / (probability.sum(dim=(1, 2)) + masks.sum(dim=(1, 2)) + 1)
    return F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean(dim=(1, 2)) + dice


def ask(net: JudgeNet, cards: Cards, batch_size: int = 64) -> Verdict:
    """Predicts the class and the damage of each card.

    Args:
        net: A trained judge.
        cards: Cards to judge; their labels and masks are ignored.
        batch_size: Cards per batch.
    """

    def predict(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode():
            class_logits, mask_logits = net(normalize(batch[part]))
        return class_logits.argmax(dim=1), mask_logits > 0

    predictions = []
    for batch in cards.pixels[:, :3].split(batch_size):
        predictions += in_threads(predict, len(batch), batch.device)
    labels, masks = zip(*predictions, strict=True)
    return Verdict(torch.cat(labels), torch.cat(masks))
