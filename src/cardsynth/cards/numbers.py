"""Numbers of a card that a net can be conditioned on: the share that is damaged, and how dark the damage is."""

from collections.abc import Mapping
from typing import Any

Numbers = Mapping[str, float]  # what a card is or is asked to be, by name; what is not in it is unknown, or left open
LIMITS = {"covered": 1.0, "darkness": 255.0}  # the most that each number can be; the least is 0


def darkness_of(row: Mapping[str, Any] | None) -> float | None:
    """Mean absolute change of lightness under a card's damage, in grey levels (0 to 255), where its metadata row knows.

    That is the row's `darkness`, or else that of its `damages`, weighted by what they cover; 0 where there are none.
    """
    own, damages = (row or {}).get("darkness"), (row or {}).get("damages")
    try:
        if own not in (None, ""):
            darkness = float(own)
        else:
            covered = sum(damage["covered"] for damage in damages)
            darkness = sum(damage["covered"] * damage["darkness"] for damage in damages) / (covered or 1)
    except (TypeError, ValueError, KeyError):
        return None
    return darkness if 0 <= darkness <= LIMITS["darkness"] else None
