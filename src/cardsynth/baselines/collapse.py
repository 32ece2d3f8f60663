"""Detects the failures of a GAN: figures that are not finite, mode collapse, a discriminator that has won."""

import math
import statistics
from collections import deque
from typing import Any

MOST_ROLLBACKS = 3
# The generator has collapsed where the variety of its cards (see `variety.py`) falls to this share of the most
# that it was, if that was any; and its cards are called alike where it ends under ALIKE. (Of drawn cards, a good
# diffusion model's have 0.87; a DCGAN's begin at 0.1 and rise, to fall by a third now and then.)
FALLEN, ANY, ALIKE = 0.25, 0.1, 0.4
# The discriminator has won where its loss stays under this, on average over so many steps. (Sound runs: 0.1 and more.)
WON, STEPS = 0.005, 100


class CollapseGuard:
    """Watches the log of a GAN; `reason` says what has gone wrong, and is empty if nothing has."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=STEPS)
        self._most = 0.0
        self.variety: float | None = None
        self._broken = ""

    def start(self, log: list[dict[str, Any]]) -> None:
        """Starts over, after the steps of a log."""
        self.__init__()
        for row in log:
            self.add(row)

    def add(self, row: dict[str, Any]) -> None:
        """Adds the figures of a step: both losses, the gradient norm, and the variety if it was measured."""
        figures = {name: row[name] for name in ("generator_loss", "discriminator_loss", "gradient_norm")}
        if not math.isfinite(sum(figures.values())):
            said = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in figures.items())
            self._broken = f"its figures are not finite ({said})"
        self._losses.append(figures["discriminator_loss"])
        if row.get("variety") is not None:
            self.variety = row["variety"]
            self._most = max(self._most, self.variety)

    def reason(self, variety: float | None = None) -> str:
        """Says what has gone wrong; `variety`: the current one, if measured since the last step."""
        if self._broken:
            return self._broken
        variety = self.variety if variety is None else variety
        if variety is not None and self._most >= ANY and variety < FALLEN * self._most:
            return f"its cards differ {variety:.2f} times as much as real ones, after {self._most:.2f} times before"
        if len(self._losses) == STEPS and statistics.fmean(self._losses) < WON:
            return f"its discriminator has won: over {STEPS} steps its loss was under {WON}"
        return ""
