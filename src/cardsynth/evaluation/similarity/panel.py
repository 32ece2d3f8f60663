"""A notebook panel for blind ratings of the similarity of pictures."""

import html
from collections.abc import Sequence
from pathlib import Path

import ipywidgets as widgets
import numpy as np
from PIL import Image

from cardsynth.cards.fitting import encode_png, read_image
from cardsynth.evaluation.similarity.session import LEAST, MOST, RatingSession
from cardsynth.evaluation.similarity.tables import Pair, RatingError

LONGEST = 640  # pixels of the longer side; larger pictures are reduced, small ones enlarged up to half of it


class RatingPanel(widgets.VBox):
    """Shows pairs of pictures side by side and saves each rating of 0 to 10.

    Names and metrics of the pictures are hidden. Errors are shown in `status`.
    """

    def __init__(
        self, pairs: Sequence[Pair], pictures: str | Path, out: str | Path, rater: str = "", seed: int = 0
    ) -> None:
        """Builds the panel and starts the session if the rater is known.

        Args:
            pairs: Pairs, whose file names are relative to `pictures`.
            pictures: Folder of the pictures.
            out: Folder for the ratings; a later panel of the same rater continues `out`/RATER.csv.
            rater: Name of the rater; if empty, the panel asks for it.
            seed: Order and sides depend on the seed and on the rater's name.
        """
        self.pairs, self.pictures, self.out, self.seed = tuple(pairs), Path(pictures), Path(out), seed
        self.session: RatingSession | None = None
        self.name = widgets.Text(value=rater, description="Your name", placeholder="letters, digits, - and _")
        self.start_button = widgets.Button(description="Start", button_style="primary")
        self.start_box = widgets.HBox([self.name, self.start_button])
        self.left, self.right = (
            widgets.Image(format="png", layout={"width": "45%", "max_width": "20em"}) for _ in "12"
        )
        self.scale = widgets.ToggleButtons(
            options=[(str(value), value) for value in range(LEAST, MOST + 1)],
            value=None,
            style={"button_width": "3.2em"},
        )
        self.back_button = widgets.Button(description="Back", icon="arrow-left")
        self.next_button = widgets.Button(description="Next", button_style="primary")
        self.progress = widgets.IntProgress(max=max(1, len(self.pairs)), layout={"width": "12em"})
        self.count, self.status = widgets.HTML(), widgets.HTML()
        self.question = widgets.VBox(
            [
                widgets.HBox([self.left, self.right], layout={"justify_content": "space-around"}),
                widgets.HTML(f"How alike are they? {LEAST}: entirely different, {MOST}: the same"),
                self.scale,
            ],
            layout={"margin": "0 0 8px 0"},
        )
        self.steps = widgets.HBox([self.back_button, self.next_button, self.progress, self.count])
        self.start_button.on_click(lambda _: self.start())
        self.back_button.on_click(lambda _: self.back())
        self.next_button.on_click(lambda _: self.rate())
        self.scale.observe(lambda _: self._allow_next(), "value")
        super().__init__([self.start_box, self.question, self.steps, self.status], layout={"max_width": "44em"})
        self._show(self.question, False)
        self._show(self.steps, False)
        if rater:
            self.start()

    def start(self) -> None:
        """Starts or continues the session of the rater whose name is entered."""
        try:
            self._check_pictures()
            self.session = RatingSession(self.pairs, self.name.value.strip(), self.out, self.seed)
        except (RatingError, OSError) as error:
            self._say(error)
            return
        self._show(self.start_box, False)
        self._show(self.steps, True)
        self._turn()

    def rate(self) -> None:
        """Saves the selected rating and shows the next pair."""
        if self.session is None or self.next_button.disabled:
            return
        try:
            self.session.rate(self.scale.value)
        except (RatingError, OSError) as error:
            self._say(error)
            return
        self._turn()

    def back(self) -> None:
        """Shows the previous pair with its rating selected."""
        if self.session is not None:
            self.session.back()
            self._turn()

    def _turn(self) -> None:
        """Shows the current pair, or that all pairs are rated."""
        session = self.session
        self.status.value = ""
        self.scale.value = None if session.rating is None else round(session.rating)
        self._show(self.question, not session.finished)
        self._show(self.next_button, not session.finished)
        self.back_button.disabled = session.place == 0
        self.progress.value = len(session.ratings)
        if session.finished:
            self.count.value = f"{len(session)} of {len(session)}"
            self.status.value = f"Thank you. All pairs are rated; the ratings are in {html.escape(str(session.path))}."
            return
        self.count.value = f"{session.place + 1} of {len(session)}"
        try:
            self.left.value, self.right.value = (_shown(self.pictures / name) for name in session.sides)
        except ValueError as error:
            self.left.value = self.right.value = b""
            self._say(error)
        self._allow_next()

    def _check_pictures(self) -> None:
        for pair in self.pairs:
            for name in (pair.first, pair.second):
                if not (self.pictures / name).is_file():
                    raise RatingError(f"{self.pictures / name} does not exist; restore it, or leave its pairs out")

    def _allow_next(self) -> None:
        self.next_button.disabled = self.scale.value is None or not self.left.value

    def _say(self, error: Exception) -> None:
        self.status.value = f'<b style="color: #b00020">{html.escape(str(error))}</b>'

    @staticmethod
    def _show(widget: widgets.Widget, shown: bool) -> None:
        widget.layout.display = "" if shown else "none"


def _shown(path: Path) -> bytes:
    """Returns the PNG of a scaled picture; small ones are enlarged by whole factors to keep their pixels square."""
    image = read_image(path)
    longest = max(image.size)
    if longest > LONGEST:
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    elif (zoom := LONGEST // 2 // longest) > 1:
        image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    return encode_png(np.asarray(image))
