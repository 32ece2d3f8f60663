"""The layouts of card backs by name: how each is printed, in which decade, which way it lies."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from cardsynth.render import landscapes, portraits
from cardsynth.render.players import Player
from cardsynth.render.press import Press


@dataclass(frozen=True)
class Layout:
    """A way to set a card back.

    decade: when such backs were printed. seasons: fewest and most that the player has played. draw: prints them.
    landscape: whether it lies on its long side. frame: the ink of its outermost frame, which centering is measured by.
    """

    name: str
    decade: int
    seasons: tuple[int, int]
    draw: Callable[[Press, Player, random.Random], None]
    landscape: bool = False
    frame: int = 0


_LAYOUTS = (
    Layout("banner", 1950, (1, 3), portraits.banner, frame=1),
    Layout("reverse", 1950, (2, 5), portraits.reverse, frame=1),
    Layout("comic", 1960, (1, 4), portraits.comic),
    Layout("pennant", 1960, (3, 5), portraits.pennant, frame=1),
    Layout("leaders", 1970, (6, 12), portraits.leaders),
    Layout("ledger", 1970, (7, 13), portraits.ledger, frame=1),
    Layout("framed", 1970, (3, 6), portraits.framed),
    Layout("checklist", 1970, (1, 2), portraits.checklist),
    Layout("wirephoto", 1970, (4, 7), portraits.wirephoto),
    Layout("sidebar", 1980, (5, 7), portraits.sidebar, frame=1),
    Layout("gazette", 1950, (2, 9), landscapes.gazette, landscape=True),
    Layout("halves", 1960, (1, 6), landscapes.halves, landscape=True, frame=1),
    Layout("funnies", 1970, (1, 4), landscapes.funnies, landscape=True, frame=1),
    Layout("autograph", 1970, (1, 4), landscapes.autograph, landscape=True),
    Layout("marquee", 1970, (2, 8), landscapes.marquee, landscape=True),
    Layout("annual", 1980, (6, 17), landscapes.annual, landscape=True, frame=1),
)
LAYOUTS = {layout.name: layout for layout in _LAYOUTS}
