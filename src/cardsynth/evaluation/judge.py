"""The judge: a small net, trained on cards that are known to be right, that tells a card's class and its damage."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm.auto import tqdm

from cardsynth.cards.dataset import Cards, normalize
from cardsynth.util.device import backward_in_threads, in_threads

CHANNELS = (24, 48, 64)


def _block(inside: int, outside: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inside, outside):
        layers += [nn.Conv2d(channels, outside, 3, padding=1, bias=False), nn.GroupNorm(8, outside), nn.ReLU(True)]
    return nn.Sequential(*layers)


class JudgeNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) with two heads, for RGB cards (B, 3, H, W) in [-1, 1], H and W even.

    It works on blocks of 2x2 pixels. Returns class logits (B, num_classes) and damage logits (B, H, W).
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in zip((12, *CHANNELS), CHANNELS, strict=False))
        self.up = nn.ModuleList(_block(a + b, a) for a, b in pairwise(CHANNELS))
        self.to_mask = nn.Conv2d(CHANNELS[0], 4, 1)
        self.to_class = nn.Linear(CHANNELS[-1], max(1, num_classes))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features, skips = F.pixel_unshuffle(images, 2), []
        for index, block in enumerate(self.down):
            features = block(F.max_pool2d(features, 2) if index else features)
            skips.append(features)
        logits = self.to_class(features.mean(dim=(2, 3)))
        for block, skip in zip(reversed(self.up), reversed(skips[:-1]), strict=True):
            features = F.interpolate(features, skip.shape[2:], mode="bilinear")
            features = block(torch.cat([skip, features], dim=1))
        return logits, F.pixel_shuffle(self.to_mask(features), 2).squeeze(1)


@dataclass(frozen=True)
class Verdict:
    """What the judge says of cards: `labels` int64 (N,) and `masks` bool (N, H, W)."""

    labels: torch.Tensor
    masks: torch.Tensor


def train_judge(cards: Cards, steps: int = 250, batch_size: int = 32, seed: int = 0) -> JudgeNet:
    """Train a judge on cards with labels, masks or both (AdamW, one cycle); it sees each card shifted and relit.

    Cards without either teach nothing: the judge of them is untrained, and no one asks it.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = JudgeNet(len(cards.label_names))
    if not (cards.label_names or cards.has_mask):
        return net.eval()
    parameters = list(net.parameters())
    optimizer = torch.optim.AdamW(parameters, 3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    random = np.random.default_rng(seed)
    net.train()
    for _ in tqdm(range(steps), "Training the judge", unit="step", leave=False):
        chosen = torch.from_numpy(random.choice(len(cards), min(batch_size, len(cards)), replace=False))
        pixels = _shifted(cards.pixels[chosen], random)
        light = torch.from_numpy(random.uniform(0.9, 1.1, (len(chosen), 1, 1, 1)).astype(np.float32))
        shown = replace(cards, pixels=pixels, labels=cards.labels[chosen], darkness=None)
        backward_in_threads(partial(_part_of_loss, net, shown, light), slice(0, len(shown)), parameters)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return net.eval()


def _part_of_loss(net: JudgeNet, cards: Cards, light: torch.Tensor, part: slice) -> torch.Tensor:
    """Class and mask losses of a part of a batch, as a share of the batch's mean."""
    pixels, labels = cards.pixels[part], cards.labels[part]
    class_logits, mask_logits = net(normalize(pixels[:, :3]) * light[part])
    loss = F.cross_entropy(class_logits, labels, reduction="sum")
    if cards.has_mask:
        loss = loss + _mask_losses(mask_logits, (pixels[:, 3] >= 128).float()).sum()
    return loss / len(cards)


def _mask_losses(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy and soft Dice (Milletari et al. 2016), (B,): sure pixels, and small damage not drowned."""
    probability = logits.sigmoid()
    overlap = (probability * masks).sum(dim=(1, 2))
    dice = 1 - (2 * overlap + 1) / (probability.sum(dim=(1, 2)) + masks.sum(dim=(1, 2)) + 1)
    return F.binary_cross_entropy_with_logits(logits, masks, reduction="none").mean(dim=(1, 2)) + dice


def _shifted(pixels: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Cards moved by up to two pixels, edges repeated."""
    height, width = pixels.shape[2:]
    padded = F.pad(pixels.float(), (2, 2, 2, 2), mode="replicate")
    top, left = random.integers(0, 5, 2)
    return padded[:, :, top : top + height, left : left + width]


def ask(net: JudgeNet, cards: Cards, batch_size: int = 64) -> Verdict:
    """The judge's class and damage of each card."""

    def verdict(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.inference_mode():
            class_logits, mask_logits = net(normalize(pixels[part]))
        return class_logits.argmax(dim=1), mask_logits > 0

    found = []
    for pixels in cards.pixels[:, :3].split(batch_size):
        found += in_threads(verdict, len(pixels), pixels.device)
    labels, masks = zip(*found, strict=True)
    return Verdict(torch.cat(labels), torch.cat(masks))
