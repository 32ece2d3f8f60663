"""The licence of what cardsynth draws, and the README.md of a published data set."""

from pathlib import Path
from typing import Any

from huggingface_hub import DatasetCard, DatasetCardData

LICENSE = "mit"  # as the Hub spells it
TEMPLATE = Path(__file__).parent / "templates" / "data_set.md"


def data_set_card(front: dict[str, Any], *, synthetic: bool, **facts: Any) -> str:
    """Return the README.md text of a data set of cards.

    Args:
        front: Further front matter, as keyword arguments of `DatasetCardData`.
        synthetic: Whether all pictures were generated. Only then the text grants a licence.
        facts: Variables of the template: `title`, `summary`, `classes` (name to count), `counted` (what is counted),
            `columns` (name to type), `code`; optionally `examples` (rows of cards to show), `models` (that drew the
            cards), `painted` (onto clean cards) and `origin` (a sentence on where the cards come from).
    """
    tags = ["cardsynth", "image", *(["synthetic"] if synthetic else [])]
    data = DatasetCardData(license=LICENSE if synthetic else "unknown", tags=tags, **front)
    return f"{DatasetCard.from_template(data, template_path=str(TEMPLATE), synthetic=synthetic, **facts)}\n"
