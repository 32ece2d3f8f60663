"""A panel for notebooks that generates cards from a model in runs/ or on the Hub."""

import html
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch

from cardsynth.baselines.model import NETS as BASELINE_NETS
from cardsynth.cards.folder import CardFile
from cardsynth.cards.numbers import LIMITS
from cardsynth.cards.reading import read_pictures
from cardsynth.core.denoise import CardModel, TrainedModel
from cardsynth.core.diffusion import SAMPLERS
from cardsynth.core.runs import WEIGHTS
from cardsynth.core.sampling import choose_labels, write_cards
from cardsynth.models import open_model
from cardsynth.plots.cards import figure_png, show_images

MOST_SHOWN = 40
NETS = ("unet", *(folder for folder, _ in BASELINE_NETS.values()))  # folders of nets that generate cards
ALL_CLASSES = ("each in turn", None)


def find_runs(folder: str | Path = "runs") -> list[Path]:
    """Lists the runs in a folder that have a saved model to generate from.

    Args:
        folder: Folder of run folders.

    Returns:
        Run folders, sorted by name.
    """
    return sorted(path for path in Path(folder).glob("*") if any((path / net / WEIGHTS).is_file() for net in NETS))


def read_generated(folder: str | Path, seeds: Sequence[int]) -> torch.Tensor:
    """Reads generated cards by their seeds.

    Args:
        folder: Card folder.
        seeds: Seeds of the cards.

    Returns:
        uint8 (N, C, H, W), with the mask as fourth channel if the cards have masks.

    Raises:
        CardError: If a card is missing.
    """
    cards = []
    for name in (f"{seed:06d}.png" for seed in seeds):
        mask_file = Path(folder) / "masks" / name
        image, mask = read_pictures(CardFile(name, Path(folder) / name, mask_file if mask_file.is_file() else None))
        cards.append(np.dstack([image] if mask is None else [image, mask]).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(cards))


class GeneratorPanel(widgets.VBox):
    """Chooses a model, class, count, first seed, sampler and guidance; its button writes cards and shows them.

    Attributes:
        status: Shows what the panel does, and errors.
        trained: The loaded model; None if none could be loaded.
    """

    def __init__(self, runs_folder: str | Path = "runs", out: str | Path = "generated_cards") -> None:
        """Creates the panel and loads the first model.

        Args:
            runs_folder: Folder of the runs to choose from; Hub ids can be typed as well.
            out: Folder to write to; each model has its own card folder in it.
        """
        self.out = Path(out)
        self.trained: CardModel | None = None
        runs = [(path.name, str(path)) for path in find_runs(runs_folder)]
        self.run = _control(widgets.Dropdown, "Model", options=runs, disabled=not runs)
        self.hub_id = _control(widgets.Text, "or Hub id", placeholder="name/model", continuous_update=False)
        self.label = _control(widgets.Dropdown, "Class", options=[ALL_CLASSES])
        self.count = _control(widgets.BoundedIntText, "Cards", value=16, min=1, max=100_000)
        self.first_seed = _control(widgets.BoundedIntText, "First seed", value=0, min=0, max=2**31 - 1)
        self.sampler = _control(widgets.Dropdown, "Sampler", options=SAMPLERS)
        self.guidance = _control(widgets.BoundedFloatText, "Guidance", value=1.0, min=0.0, max=20.0, step=0.5)
        self.covered = _control(widgets.Text, "Covered")
        self.darkness = _control(widgets.Text, "Darkness")
        self.overwrite = widgets.Checkbox(description="Replace existing cards", indent=False)
        self.button = widgets.Button(description="Generate", button_style="primary", icon="play")
        self.status = widgets.HTML()
        self.picture = widgets.Image(format="png", layout={"display": "none", "max_width": "100%"})
        self.button.on_click(lambda _: self.generate())
        for control in (self.run, self.hub_id):
            control.observe(lambda _: self.choose_model(), "value")
        self.label.observe(lambda _: self._show_conditions(), "value")
        columns = (
            (self.run, self.hub_id, self.label, self.covered, self.darkness),
            (self.count, self.first_seed, self.overwrite),
            (self.sampler, self.guidance, self.button),
        )
        super().__init__([widgets.HBox([widgets.VBox(column) for column in columns]), self.status, self.picture])
        self.choose_model()

    def choose_model(self) -> None:
        """Loads the chosen model, and offers its classes and its guidance scale."""
        self.trained, self.button.disabled, self.label.options = None, True, [ALL_CLASSES]
        self._show_conditions()
        chosen = self.hub_id.value.strip() or self.run.value
        if not chosen:
            self._report("There is no trained model yet: train one in 02_train, or name one on the Hub.")
            return
        with self._showing_errors():
            self._report(f"Loading {chosen} ...")
            self.trained = open_model(chosen)
            self.label.options = [ALL_CLASSES, *((name, name) for name in self.trained.labels)]
            diffuses = isinstance(self.trained, TrainedModel)
            self.sampler.disabled = self.guidance.disabled = not diffuses
            self.guidance.value = self.trained.config.guidance_scale if diffuses else 1.0
            self._show_conditions()
            height, width = self.trained.config.size
            kind = "cards with masks" if self.trained.has_mask else "cards"
            self._report(f"{self.trained.name} generates {kind} of {height}x{width} pixels (height x width).")
            self.button.disabled = False

    def generate(self) -> None:
        """Writes the requested cards as a card folder, and shows the first of them."""
        if self.trained is None:
            self.choose_model()
            return
        self.button.disabled, self.picture.layout.display = True, "none"
        with self._showing_errors():
            self._report(f"Generating {self.count.value} cards ...")
            self._generate(range(self.first_seed.value, self.first_seed.value + self.count.value))
        self.button.disabled = False

    def _generate(self, seeds: range) -> None:
        diffuses = isinstance(self.trained, TrainedModel)
        how = {"sampler": self.sampler.value, "guidance_scale": self.guidance.value} if diffuses else {}
        folder = write_cards(
            self.trained,
            self.out / self.trained.name.replace("/", "--"),
            seeds,
            self.label.value,
            covered=_number_in(self.covered),
            darkness=_number_in(self.darkness),
            overwrite=self.overwrite.value,
            progress=False,
            **how,
        )
        shown = seeds[:MOST_SHOWN]
        labels = choose_labels(self.trained, shown, self.label.value)
        titles = [f"{seed}\n{label}" if label else f"{seed}" for seed, label in zip(shown, labels, strict=True)]
        self.picture.value = figure_png(show_images(read_generated(folder, shown), titles))
        self.picture.layout.display = ""
        more = f"; the first {len(shown)} are shown" if len(shown) < len(seeds) else ""
        self._report(f"{len(seeds)} cards are in {folder}{more}.")

    def _show_conditions(self) -> None:
        """Offers the conditions that the model was trained with, and their range in the class's training cards."""
        for name, control in {"covered": self.covered, "darkness": self.darkness}.items():
            known = self.trained is not None and name in self.trained.config.conditions
            control.layout.display = "" if known else "none"
            if known:
                ranges = self.trained.number_ranges.get(name, {})
                low, high = ranges.get(self.label.value or "all", (0, LIMITS[name]))
                control.placeholder = f"any, or {low:g} to {high:g}"
            else:
                control.value = ""

    def _report(self, text: str) -> None:
        self.status.value = html.escape(text)

    @contextmanager
    def _showing_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.status.value = (
                f'<b style="color: #b00020">{type(error).__name__}: {html.escape(str(error))}</b>'
                f"<details><summary>where</summary><pre>{html.escape(traceback.format_exc())}</pre></details>"
            )


def _number_in(control: widgets.Text) -> float | None:
    """Reads a number; None if the field is empty. Raises ValueError for other text."""
    text = control.value.strip()
    try:
        return float(text) if text else None
    except ValueError:
        raise ValueError(f"{control.description} is {text!r}: write a number, or leave it empty") from None


def _control(kind: type[widgets.Widget], description: str, **settings: Any) -> Any:
    return kind(description=description, style={"description_width": "5.5em"}, layout={"width": "19em"}, **settings)
