"""Models damage as a veil over a known card: the share of the print's light it transmits, and the light it adds."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from cardsynth.cards.dataset import normalize

# Films transmit less of the print than the clearest veil of their colour: this power of its share. Measured on the
# print and damage of drawn cards and their twins (1.3 to 1.5 by class).
COVERING = 1.4
SPREAD = 1.5  # pixels; veils are blurred by it, so that print which a net invents or omits has no influence


@dataclass(frozen=True)
class Veil:
    """How damage changes print: seen = gain * print + light, with light from 0 to 255.

    Attributes:
        gain: float32 (N, 3, H, W), share of the print's light that is transmitted.
        light: float32 (N, 3, H, W), light that is added.
    """

    gain: torch.Tensor
    light: torch.Tensor

    def over(self, cards: torch.Tensor) -> torch.Tensor:
        """Lays the veil over cards.

        Args:
            cards: (N, 3, H, W), light from 0 to 255.

        Returns:
            float32 (N, 3, H, W).
        """
        return self.gain * cards + self.light


def find_veil(painted: torch.Tensor, clean: torch.Tensor, masks: torch.Tensor, noise_ratio: float = 0.0) -> Veil:
    """Estimates the veil that painted damage lays over clean cards.

    Colours are local means over a Gaussian of `SPREAD` pixels within the mask (normalized convolution, Knutsson and
    Westin 1993), so that print invented by the net has no influence. A veil keeps light within 0 to 255 if and only if
    gain <= min(seen / clean, (255 - seen) / (255 - clean)); the gain is that bound to the power of `COVERING`.

    Args:
        painted: float32 (N, 3, H, W), 0 to 255.
        clean: float32 (N, 3, H, W), 0 to 255.
        masks: float32 (N, 1, H, W), 0 or 1, none of them empty.
        noise_ratio: Noise of the picture from which it was painted, see `diffusion.noise_ratio`. It widens the Gaussian
            by as many pixels, since the net cannot have seen finer details.

    Returns:
        The veil; its values outside the masks have no meaning.
    """
    spread = SPREAD + noise_ratio
    weight = _blur(masks, spread).clamp(min=1e-30)
    seen, card = (_blur(cards * masks, spread) / weight for cards in (painted, clean))
    card = card.clamp(1, 254)
    bound = torch.minimum(seen / card, (255 - seen) / (255 - card)).clamp(0, 1)
    gain = bound**COVERING
    return Veil(gain, seen - gain * card)


def _blur(values: torch.Tensor, spread: float) -> torch.Tensor:
    """Blurs values (N, C, H, W) by an unnormalized Gaussian; the cost does not depend on its width."""
    down, across = (_gaussian(side, spread, values.device) for side in values.shape[2:])
    return down @ values @ across


def _gaussian(count: int, spread: float, device: torch.device) -> torch.Tensor:
    positions = torch.arange(count, device=device, dtype=torch.float32)
    return torch.exp(-0.5 * ((positions[:, None] - positions) / spread).square())


@dataclass(frozen=True)
class KnownCards:
    """Cards that are known outside the masks where damage is to be painted.

    Attributes:
        clean: float32 (N, 3, H, W), light from 0 to 255.
        masks: bool (N, 1, H, W).
        patch_size: Side, in pixels, of the patches that the net folds into channels.
    """

    clean: torch.Tensor
    masks: torch.Tensor
    patch_size: int

    def __len__(self) -> int:
        """Number of cards."""
        return len(self.clean)

    def of(self, part: slice) -> "KnownCards":
        """Selects cards; indices beyond the last card repeat it."""
        indices = torch.arange(part.start, part.stop).clamp(max=len(self) - 1)
        return replace(self, clean=self.clean[indices], masks=self.masks[indices])

    def to(self, device: torch.device) -> "KnownCards":
        """Copies the cards to a device."""
        return replace(self, clean=self.clean.to(device), masks=self.masks.to(device))

    def keep(self, clean_images: torch.Tensor, noise_ratio: float) -> torch.Tensor:
        """Corrects a net's prediction of the clean images by what is known.

        The mask channel becomes the given mask. Outside it the card becomes the known card; inside it, the known card
        seen through the veil that the net painted. As in RePaint (Lugmayr et al. 2022), known values replace predicted
        ones before each step, but as a clean image: the sampler adds its own noise, so any sampler works.

        Args:
            clean_images: float32 (N, C, h, w) in [-1, 1], folded into patches.
            noise_ratio: See `find_veil`.

        Returns:
            The corrected images, of the same shape and range.
        """
        masks = self.masks.float()
        painted = (F.pixel_shuffle(clean_images, self.patch_size)[:, :3] + 1) * 127.5
        seen = find_veil(painted, self.clean, masks, noise_ratio).over(self.clean)
        cards = torch.cat([torch.where(self.masks, seen, self.clean), 255 * masks], dim=1)
        return normalize(cards, self.patch_size)
