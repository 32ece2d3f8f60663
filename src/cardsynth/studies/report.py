"""Reports of studies: pages written from the wing's templates."""

from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from cardsynth.util.files import write_atomically

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def render(template: str, **values: object) -> str:
    """Returns the text of the template of this name; raises UndefinedError for a missing value."""
    return TEMPLATES.get_template(template).render(**values)


@dataclass(frozen=True)
class Report:
    """What a study shows.

    Args:
        path: The page, which holds all of it.
        sentences: Findings in words, as Markdown.
        tables: Tables as Markdown.
        figure: The figure; None if nothing is measured yet.
    """

    path: Path
    sentences: str
    tables: str
    figure: Figure | None

    def write(self, template: str, **values: object) -> None:
        """Writes the page.

        Args:
            template: Name of its template, which receives this report as `report`.
            values: Further values of the template.
        """
        write_atomically(self.path, render(template, report=self, **values).encode())
