"""Names of damage classes."""

from collections.abc import Sequence

# The classes of the data set that the project began with: what a model of the presets draws.
CLASSES = ("CLEAN", "FULL_CARD", "LIGHT", "SMALL", "WHITE_MARKS")
# Further kinds of damage that the renderer draws.
EXTRA_CLASSES = ("WAX_STAIN", "RESIDUE", "TONING", "CREASE", "SCRATCH", "WATER_RING", "HICKEY", "PEN_MARK")


def check_labels(labels: Sequence[str | None], known: Sequence[str], model: str) -> None:
    """Raises ValueError for labels that a model does not know; the message names those it knows."""
    if not known:
        raise ValueError(f"{model} was trained without classes, so it takes no label")
    unknown = sorted({str(label) for label in labels} - set(known))
    if unknown:
        raise ValueError(f"{model} knows no class {', '.join(unknown)}; it knows {', '.join(known)}")
