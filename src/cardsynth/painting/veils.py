"""Damage as a veil over a known card: how much of the print's light it lets through, and what it adds."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from cardsynth.cards.dataset import normalize

# Films let through less of the print than the clearest one that could have left their colour: this power of its share,
# by print and damage of drawn cards and their twins (1.3 to 1.5 by class).
COVERING = 1.4
SPREAD = 1.5  # pixels that a veil is blurred by, so that print which a net makes up, or passes over, is none of it


@dataclass(frozen=True)
class Veil:
    """What damage does to print, in light of 0 to 255: seen = gain * print + light; float32 (N, 3, H, W) both."""

    gain: torch.Tensor
    light: torch.Tensor

    def over(self, cards: torch.Tensor) -> torch.Tensor:
        """Cards (N, 3, H, W), light of 0 to 255, seen through it: float32."""
        return self.gain * cards + self.light


def find_veil(painted: torch.Tensor, clean: torch.Tensor, masks: torch.Tensor, noise_ratio: float = 0.0) -> Veil:
    """The veil that painted damage lays over clean cards, both float32 (N, 3, H, W) in 0 to 255, within masks.

    Only local means of what was painted count, over a Gaussian of `SPREAD` pixels within the mask (normalized
    convolution, Knutsson & Westin 1993), so that print which was made up does not. They tell the damage's colour. Its
    gain follows: no veil that leaves light within 0 to 255 lets more through than the share of the light that is left
    where it darkens, or of the darkness where it whitens; see `COVERING`. masks: float32 (N, 1, H, W), 0 or 1, none of
    them empty. noise_ratio: how noisy the picture is that it was painted from (see `diffusion.noise_ratio`); the
    Gaussian is so many pixels wider, as what is finer than that the net cannot have seen.
    """
    spread = SPREAD + noise_ratio
    weight = _spread(masks, spread).clamp(min=1e-30)
    seen, card = (_spread(cards * masks, spread) / weight for cards in (painted, clean))
    card = card.clamp(1, 254)
    clearest = torch.minimum(seen / card, (255 - seen) / (255 - card)).clamp(0, 1)
    gain = clearest**COVERING
    return Veil(gain, seen - gain * card)


def _spread(values: torch.Tensor, spread: float) -> torch.Tensor:
    """Values (N, C, H, W) blurred by a Gaussian of so many pixels, not normalized; any width at the same cost."""
    down, across = (_gaussian(side, spread, values.device) for side in values.shape[2:])
    return down @ values @ across


def _gaussian(count: int, spread: float, device: torch.device) -> torch.Tensor:
    places = torch.arange(count, device=device, dtype=torch.float32)
    return torch.exp(-0.5 * ((places[:, None] - places) / spread).square())


@dataclass(frozen=True)
class KnownCards:
    """Cards that are known but for damage that is to be painted onto them, where their masks say.

    clean: float32 (N, 3, H, W), light of 0 to 255; masks: bool (N, 1, H, W); patch_size: of the net that paints.
    """

    clean: torch.Tensor
    masks: torch.Tensor
    patch_size: int

    def __len__(self) -> int:
        return len(self.clean)

    def of(self, part: slice) -> "KnownCards":
        """The same of some cards; beyond the last one, it is repeated."""
        places = torch.arange(part.start, part.stop).clamp(max=len(self) - 1)
        return replace(self, clean=self.clean[places], masks=self.masks[places])

    def to(self, device: torch.device) -> "KnownCards":
        """The same on a device."""
        return replace(self, clean=self.clean.to(device), masks=self.masks.to(device))

    def keep(self, clean_images: torch.Tensor, noise_ratio: float) -> torch.Tensor:
        """A net's guess of the clean images, folded float32 (N, C, h, w) in [-1, 1], corrected by what is known.

        The mask is the one asked for. Outside it the card is the known one, which the sampler then follows through its
        own noise: what is known replaces what is guessed before each step, as in RePaint (Lugmayr et al. 2022), but as
        clean image, which any sampler takes. Within it the known card is seen through the veil that the net painted.
        """
        masks = self.masks.float()
        painted = (F.pixel_shuffle(clean_images, self.patch_size)[:, :3] + 1) * 127.5
        seen = find_veil(painted, self.clean, masks, noise_ratio).over(self.clean)
        cards = torch.cat([torch.where(self.masks, seen, self.clean), 255 * masks], dim=1)
        return normalize(cards, self.patch_size)
