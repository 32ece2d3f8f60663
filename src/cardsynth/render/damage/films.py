"""How surface damage acts on print: films that absorb light and cover what is beneath them.

The films are in `films.toml`.
"""

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Triple = tuple[float, float, float]
Layer = tuple["Film", np.ndarray]  # a film and its thickness, float32 (H, W), 0 or more, about 1 for a full film

VISIBLE = 4  # smallest change of a channel, in levels of 255, that an eye notices
THINNEST = 0.5 / 255  # thinner films are dropped, so that a soft mask of 0 means untouched


@dataclass(frozen=True)
class Film:
    """The effect of one layer of damage at thickness 1.

    Attributes:
        through: Fraction of red, green and blue light that it transmits, above 0 to 1.
        tint: Its own colour, 0 to 255.
        body: Fraction of the print that its colour covers, 0 to below 1.
    """

    through: Triple
    tint: Triple = (0, 0, 0)
    body: float = 0.0

    def visible(self, stock: Triple) -> float:
        """Smallest thickness that changes bare stock of a colour by VISIBLE levels; 1 if none does."""
        thickness = np.arange(1, 256, dtype=np.float32)[None, :] / 255
        bare = np.broadcast_to(np.asarray(stock, np.float32), (1, 255, 3))
        change = np.abs(self.over(bare, thickness) - bare).max(axis=-1)[0]
        return min(1.0, float(np.argmax(np.append(change, VISIBLE) >= VISIBLE) + 1) / 255)

    def over(self, light: np.ndarray, thickness: np.ndarray) -> np.ndarray:
        """Lays the film over print. It absorbs, and covers, exponentially in its thickness (Beer-Lambert law).

        Args:
            light: (H, W, 3) in 0 to 255.
            thickness: (H, W), 0 or more.

        Returns:
            float32 (H, W, 3).
        """
        body = -math.log(1 - self.body)
        uncovered = np.exp(-body * thickness)
        result = np.empty(light.shape, np.float32)
        for channel, (through, tint) in enumerate(zip(self.through, self.tint, strict=True)):
            passed = np.exp((math.log(through) - body) * thickness) if through < 1 else uncovered
            result[..., channel] = light[..., channel] * passed + tint * (1 - uncovered)
        return result


def lay(picture: np.ndarray, film: Film, thickness: np.ndarray) -> None:
    """Lays a film on a picture, uint8 (H, W, 3), in place; thickness 0, float32 (H, W), leaves a pixel untouched."""
    rows, columns = (np.flatnonzero(thickness.any(axis=axis)) for axis in (1, 0))
    if len(rows):
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        picture[window] = film.over(picture[window], thickness[window]) + 0.5


def torn(stock: Triple) -> Film:
    """The torn fibre of a stock, which is paler than its surface."""
    tint = tuple(min(254.0, light + max(16.0, 0.55 * (250 - light))) for light in stock)
    return Film((0.95, 0.95, 0.95), tint, 0.93)


_DATA = tomllib.loads(Path(__file__).with_name("films.toml").read_text("utf-8"))
RESIDUES, PENS = ([Film(**values) for values in _DATA.pop(name)] for name in ("residues", "pens"))
FILMS = {name: Film(**values) for name, values in _DATA.items()}
