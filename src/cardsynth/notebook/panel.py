"""Controls for notebooks: a panel that generates cards from a model in runs/ or on the Hub."""

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
from cardsynth.cards.fitting import read_image
from cardsynth.cards.numbers import LIMITS
from cardsynth.core.denoise import TrainedModel
from cardsynth.core.diffusion import SAMPLERS
from cardsynth.core.runs import WEIGHTS
from cardsynth.core.sampling import CardModel, choose_labels, write_cards
from cardsynth.models import open_model
from cardsynth.plots.cards import figure_png, show_images

MOST_SHOWN = 40
NETS = ("unet", *(folder for folder, _ in BASELINE_NETS.values()))  # folders of nets that draw cards


def find_runs(folder: str | Path = "runs") -> list[Path]:
    """Run folders in a folder that have a saved model to generate from, sorted by name."""
    return sorted(path for path in Path(folder).glob("*") if any((path / net / WEIGHTS).is_file() for net in NETS))


def read_generated(folder: str | Path, seeds: Sequence[int]) -> torch.Tensor:
    """Pixels uint8 (N, C, H, W) of generated cards by their seeds, with the mask as fourth channel where they have one.

    Raises CardError for a seed that has no card there.
    """
    masks = Path(folder) / "masks"

    def read(name: str) -> np.ndarray:
        image = np.asarray(read_image(Path(folder) / name))
        if (masks / name).is_file():
            image = np.concatenate([image, np.asarray(read_image(masks / name))[..., :1]], axis=-1)
        return image.transpose(2, 0, 1)

    return torch.from_numpy(np.stack([read(f"{seed:06d}.png") for seed in seeds]))


class GeneratorPanel(widgets.VBox):
    """Chooses a model, class, count, first seed, sampler and guidance; its button writes cards and shows them.

    Offers the runs in `runs_folder` and any Hub id, and writes into the folder `out`/MODEL. What goes wrong is shown in
    `status`.
    """

    def __init__(self, runs_folder: str | Path = "runs", out: str | Path = "generated_cards") -> None:
        self.out = Path(out)
        self.trained: CardModel | None = None
        runs = [(path.name, str(path)) for path in find_runs(runs_folder)]
        self.run = _control(widgets.Dropdown, "Model", options=runs, disabled=not runs)
        self.hub_id = _control(widgets.Text, "or Hub id", placeholder="name/model", continuous_update=False)
        self.label = _control(widgets.Dropdown, "Class", options=[("each in turn", None)])
        self.count = _control(widgets.BoundedIntText, "Cards", value=16, min=1, max=100_000)
        self.first_seed = _control(widgets.BoundedIntText, "First seed", value=0, min=0, max=2**31 - 1)
        self.sampler = _control(widgets.Dropdown, "Sampler", options=SAMPLERS)
        self.guidance = _control(widgets.BoundedFloatText, "Guidance", value=1.0, min=0.0, max=20.0, step=0.5)
        self.covered = _control(widgets.Text, "Covered")
        self.darkness = _control(widgets.Text, "Darkness")
        self.overwrite = widgets.Checkbox(description="Replace cards that are there", indent=False)
        self.button = widgets.Button(description="Generate", button_style="primary", icon="play")
        self.status = widgets.HTML()
        self.picture = widgets.Image(format="png", layout={"display": "none", "max_width": "100%"})
        self.button.on_click(lambda _: self.generate())
        for control in (self.run, self.hub_id):
            control.observe(lambda _: self.choose_model(), "value")
        self.label.observe(lambda _: self._show_dials(), "value")
        columns = (
            (self.run, self.hub_id, self.label, self.covered, self.darkness),
            (self.count, self.first_seed, self.overwrite),
            (self.sampler, self.guidance, self.button),
        )
        super().__init__([widgets.HBox([widgets.VBox(column) for column in columns]), self.status, self.picture])
        self.choose_model()

    def choose_model(self) -> None:
        """Load the model that is chosen, and offer its classes and its own guidance."""
        self.trained = None
        self._show_dials()
        self.button.disabled = True
        self.label.options = [("each in turn", None)]
        chosen = self.hub_id.value.strip() or self.run.value
        if not chosen:
            self._say("No trained model is here yet: train one in 02_train, or name one on the Hub.")
            return
        with self._showing_errors():
            self._say(f"Loading {chosen} ...")
            self.trained = open_model(chosen)
            self.label.options = [("each in turn", None), *((name, name) for name in self.trained.labels)]
            diffuses = isinstance(self.trained, TrainedModel)
            self.sampler.disabled = self.guidance.disabled = not diffuses
            self.guidance.value = self.trained.config.guidance_scale if diffuses else 1.0
            self._show_dials()
            height, width = self.trained.config.size
            kind = "cards with masks" if self.trained.has_mask else "cards"
            self._say(f"{self.trained.name} draws {kind} of {height}x{width} pixels (height x width).")
            self.button.disabled = False

    def generate(self) -> None:
        """Write the cards that are asked for as a card folder, and show the first of them."""
        if self.trained is None:
            self.choose_model()
            return
        self.button.disabled = True
        self.picture.layout.display = "none"
        try:
            with self._showing_errors():
                self._say(f"Generating {self.count.value} cards ...")
                self._generate(range(self.first_seed.value, self.first_seed.value + self.count.value))
        finally:
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
        self._say(f"{len(seeds)} cards are in {folder}{more}.")

    def _show_dials(self) -> None:
        """Offer the numbers that the model knows, each with those of the class's training cards."""
        for name, control in {"covered": self.covered, "darkness": self.darkness}.items():
            known = self.trained is not None and name in self.trained.config.conditions
            control.layout.display = "" if known else "none"
            if known:
                ranges = self.trained.number_ranges.get(name, {})
                least, most = ranges.get(self.label.value or "all", (0, LIMITS[name]))
                control.placeholder = f"any, or {least:g} to {most:g}"
            else:
                control.value = ""

    def _say(self, text: str) -> None:
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
    """What is written in a field, None where it is empty; raises ValueError for what is no number."""
    text = control.value.strip()
    try:
        return float(text) if text else None
    except ValueError:
        raise ValueError(f"{control.description} is {text!r}: write a number, or leave it empty") from None


def _control(kind: type[widgets.Widget], description: str, **settings: Any) -> Any:
    return kind(description=description, style={"description_width": "5.5em"}, layout={"width": "19em"}, **settings)
