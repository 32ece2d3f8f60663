"""The layouts of card backs by name: how each is printed, in which decade, and its orientation."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from cardsynth.render import landscapes, portraits
from cardsynth.render.players import Player
from cardsynth.render.press import BAND, KEY, Press


@dataclass(frozen=True)
class Layout:
    """A way to set a card back.

    Attributes:
        draw: Prints a player on a press.
        decade: When such backs were printed.
        seasons: Minimum and maximum number of seasons that the player has played.
        frame: Plate of the outermost frame, by which centering is measured.
        landscape: Whether the card lies on its long side.
    """

    draw: Callable[[Press, Player, random.Random], None]
    decade: int
    seasons: tuple[int, int]
    frame: int = KEY
    landscape: bool = False

    @property
    def name(self) -> str:
        """Name of the function that prints it."""
        return self.draw.__name__


_LAYOUTS = (
    Layout(portraits.banner, 1950, seasons=(1, 3), frame=BAND),
    Layout(portraits.reverse, 1950, seasons=(2, 5), frame=BAND),
    Layout(portraits.comic, 1960, seasons=(1, 4)),
    Layout(portraits.pennant, 1960, seasons=(3, 5), frame=BAND),
    Layout(portraits.leaders, 1970, seasons=(6, 12)),
    Layout(portraits.ledger, 1970, seasons=(7, 13), frame=BAND),
    Layout(portraits.framed, 1970, seasons=(3, 6)),
    Layout(portraits.checklist, 1970, seasons=(1, 2)),
    Layout(portraits.wirephoto, 1970, seasons=(4, 7)),
    Layout(portraits.sidebar, 1980, seasons=(5, 7), frame=BAND),
    Layout(landscapes.gazette, 1950, seasons=(2, 9), landscape=True),
    Layout(landscapes.halves, 1960, seasons=(1, 6), frame=BAND, landscape=True),
    Layout(landscapes.funnies, 1970, seasons=(1, 4), frame=BAND, landscape=True),
    Layout(landscapes.autograph, 1970, seasons=(1, 4), landscape=True),
    Layout(landscapes.marquee, 1970, seasons=(2, 8), landscape=True),
    Layout(landscapes.annual, 1980, seasons=(6, 17), frame=BAND, landscape=True),
)
LAYOUTS = {layout.name: layout for layout in _LAYOUTS}
