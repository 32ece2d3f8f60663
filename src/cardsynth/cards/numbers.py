"""Numbers of a card that a net can be conditioned on: the share that is damaged, and how dark the damage is."""

from collections.abc import Mapping
from typing import Any

Numbers = dict[str, float]  # numbers of a card by name; one that is missing is unknown or left open
LIMITS = {"covered": 1.0, "darkness": 255.0}  # the most that each number can be; the least is 0


def darkness_of(row: Mapping[str, Any] | None) -> float | None:
    """Mean absolute change of lightness under a card's damage, in grey levels (0 to 255), by its metadata row.

    It is the row's `darkness`, or else the mean of its `damages` weighted by their area; 0 if it has none.

    Returns:
        The darkness; None if the row does not tell.
    """
    row = row or {}
    own = row.get("darkness")
    try:
        if own not in (None, ""):
            darkness = float(own)
        else:
            damages = row["damages"]
            covered = sum(damage["covered"] for damage in damages)
            darkness = sum(damage["covered"] * damage["darkness"] for damage in damages) / (covered or 1)
    except (TypeError, ValueError, KeyError):
        return None
    return darkness if 0 <= darkness <= LIMITS["darkness"] else None
