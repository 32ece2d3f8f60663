"""How surface damage acts on print: films that take light away and cover what is beneath them."""

import math
from dataclasses import dataclass

import numpy as np

Triple = tuple[float, float, float]
Layer = tuple["Film", np.ndarray]  # a film and its amount, float32 (H, W), 0 or more, about 1 where it is there in full

VISIBLE = 4  # change of a channel, in levels of 255, from which an eye takes print for damaged
LEAST = 0.5 / 255  # no thinner film is laid, so that a soft mask of 0 means untouched


@dataclass(frozen=True)
class Film:
    """What one layer of a damage does to the print beneath it, where its amount is 1.

    through: share of each channel's light that it lets pass (R, G, B, above 0 to 1).
    tint, body: its own colour (0 to 255) and how much of the print that covers (0 to below 1).
    """

    through: Triple
    tint: Triple = (0, 0, 0)
    body: float = 0.0

    def visible(self, stock: Triple) -> float:
        """The amount from which it changes bare stock of a colour by `VISIBLE` levels; 1 where no amount does."""
        amounts = np.arange(1, 256, dtype=np.float32)[None, :] / 255
        bare = np.broadcast_to(np.asarray(stock, np.float32), (1, 255, 3))
        change = np.abs(self.over(bare, amounts) - bare).max(axis=-1)[0]
        return min(1.0, float(np.argmax(np.append(change, VISIBLE) >= VISIBLE) + 1) / 255)

    def over(self, light: np.ndarray, amount: np.ndarray) -> np.ndarray:
        """Print seen through the film: light (H, W, 3) in 0 to 255 and amount (H, W) -> float32 (H, W, 3).

        The film absorbs exponentially in its amount (Beer and Lambert's law) and covers likewise.
        """
        body = -math.log(1 - self.body)
        bare = np.exp(-body * amount)
        seen = np.empty(light.shape, np.float32)
        for channel, (through, tint) in enumerate(zip(self.through, self.tint, strict=True)):
            passed = np.exp((math.log(through) - body) * amount) if through < 1 else bare
            seen[..., channel] = light[..., channel] * passed + tint * (1 - bare)
        return seen


def lay(picture: np.ndarray, film: Film, amount: np.ndarray) -> None:
    """Lay a film on a picture, uint8 (H, W, 3), in place; amount: float32 (H, W), 0 or more, 0 leaves it untouched."""
    rows, columns = (np.flatnonzero(amount.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    picture[window] = film.over(picture[window], amount[window]) + 0.5


def torn(stock: Triple) -> Film:
    """The fibre of a stock laid open: paler than the stock, and than its surface ever was."""
    tint = tuple(min(254.0, light + max(16.0, 0.55 * (250 - light))) for light in stock)
    return Film((0.95, 0.95, 0.95), tint, 0.93)


GUM = Film((0.72, 0.55, 0.37), (150, 104, 58), 0.20)
LIGHT_GUM = Film((0.88, 0.79, 0.64), (190, 152, 98), 0.06)
GLOSS = Film((1, 1, 1), (255, 246, 226), 0.20)
SPOT = Film((0.46, 0.35, 0.26), (78, 46, 24), 0.45)
WHITE = Film((0.95, 0.95, 0.95), (251, 249, 244), 0.94)
WAX = Film((0.84, 0.80, 0.70), (196, 194, 184), 0.14)
TONE = Film((0.90, 0.80, 0.60), (176, 136, 84), 0.05)
SHADE = Film((0.62, 0.60, 0.58), (60, 54, 50), 0.10)
FOLD_LIGHT = Film((1, 1, 1), (255, 253, 247), 0.38)
WATER = Film((0.74, 0.62, 0.46), (150, 116, 74), 0.10)
RESIDUES = tuple(
    Film((0.9, 0.9, 0.9), tint, 0.82)
    for tint in ((228, 128, 150), (222, 176, 60), (120, 178, 150), (168, 138, 190), (216, 128, 76))
)
PENS = (
    Film((0.36, 0.42, 0.78), (30, 52, 150), 0.62),
    Film((0.30, 0.30, 0.32), (30, 28, 36), 0.66),
    Film((0.80, 0.34, 0.36), (186, 26, 40), 0.62),
    Film((0.34, 0.62, 0.44), (20, 110, 60), 0.62),
)
