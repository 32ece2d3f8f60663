"""How good pictures from prompts are: do they fit the prompt (CLIP), are they copies, what is withheld."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError

from cardsynth.cards.dataset import read_cards
from cardsynth.cards.fitting import fit_image
from cardsynth.evaluation.copies import TALLEST, Copying, copying, nearest_in_pixels
from cardsynth.evaluation.features import TRANSFORMERS
from cardsynth.evaluation.metrics import NORMAL_95
from cardsynth.text.data import digest_of
from cardsynth.text.draw import TextDrawing, TextModel, pixels_of, write_pictures
from cardsynth.text.model import TextModelError
from cardsynth.util.files import write_atomically
from cardsynth.util.intervals import Figure

TRIGGER_ONLY, WITH_WORDS = "trigger only", "trigger with other words"
OTHER_WORDS = (
    "a {trigger} card back from the 1970s, grey stock, large gum stain",
    "a {trigger} card back, white stock, no damage",
    "a {trigger} card back on a wooden table",
    "a pencil drawing of a {trigger} card back",
)
FEWEST = 8  # training pictures, by which nearness can be judged
JUDGEMENT = "judgement.json"


class ClipScorer:
    """CLIP from a folder or the Hub's cache on this disk, which says how well a picture fits a text.

    Raises TextModelError where it is not there.
    """

    def __init__(self, model: str | Path = TRANSFORMERS["clip"]) -> None:
        from transformers import AutoProcessor, CLIPModel

        try:
            self._model = CLIPModel.from_pretrained(str(model), local_files_only=True).eval()
            self._processor = AutoProcessor.from_pretrained(str(model), local_files_only=True)
        except (OSError, ValueError, SafetensorError) as error:
            raise TextModelError(
                f"{model} is no CLIP on this disk: `hf download {TRANSFORMERS['clip']}` puts one into the cache, or"
                " name its folder"
            ) from error
        self.name = f"{Path(model).name} {digest_of(self._model)[:4]}"

    @torch.inference_mode()
    def score(self, pixels: np.ndarray, text: str) -> float:
        """100 times the cosine of picture, uint8 (H, W, 3), and text, at least 0 (after Hessel et al. 2021, section 3).

        CLIPScore of torchmetrics is the same, averaged over pictures.
        """
        inputs = self._processor(
            text=[text], images=[Image.fromarray(pixels)], return_tensors="pt", padding=True, truncation=True
        )
        output = self._model(**inputs)
        return 100 * max(0.0, torch.cosine_similarity(output.image_embeds, output.text_embeds).item())


@dataclass(frozen=True)
class JudgedPicture:
    """A picture and what is said of it; of one that was withheld, nothing.

    nearest: name of the nearest training picture, at `distance` (root mean square difference in grey levels of 255).
    """

    style: str
    prompt: str
    seed: int
    file_name: str
    withheld: bool
    clip_score: float | None = None
    nearest: str | None = None
    distance: float | None = None


@dataclass(frozen=True)
class Judgement:
    """All pictures that a model drew to be judged, and figures of them.

    clip_scores: mean of each prompt style with its interval of 95 % (None where nothing could be scored). copies: how
    near they lie to training pictures, where these were given.
    """

    model: str
    revision: str
    drawing: TextDrawing
    clip: str | None
    checks_safety: bool
    pictures: list[JudgedPicture]
    clip_scores: dict[str, Figure | None]
    copies: Copying | None

    def withheld(self, style: str) -> int:
        """How many pictures of a style the safety checker withheld."""
        return sum(picture.withheld for picture in self.pictures if picture.style == style)

    def text(self) -> str:
        """The figures of each style, and of copies, in a few lines."""
        lines = [f"{self.model} ({self.revision}): {len(self.pictures)} pictures, CLIP score by {self.clip or 'none'}"]
        for style, figure in self.clip_scores.items():
            count = sum(picture.style == style for picture in self.pictures)
            held = f"{self.withheld(style)} withheld" if self.checks_safety else "no safety checker"
            lines.append(f"{style:>26} {count:4d} pictures, CLIP score {figure.text(1) if figure else 'none'}, {held}")
        if self.copies:
            lines.append(
                f"near-copies: {self.copies.share.percent()}, of training pictures among themselves"
                f" {self.copies.held_out_share.percent()}; median distance {self.copies.median:g}"
                f" (among themselves {self.copies.held_out_median:g})"
            )
        if self.copies and self.copies.alarming:
            lines.append("WARNING: copies of training pictures are among these; stop earlier, or train on more of them")
        return "\n".join(lines)


def prompt_styles(trigger: str, prompts: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """Prompts of both styles: the trigger alone, and with other words (those given, or four usual ones).

    Raises ValueError for an empty trigger.
    """
    if not trigger.strip():
        raise ValueError("the model's trigger word is not known; say it: --trigger")
    others = tuple(prompts) or tuple(prompt.format(trigger=trigger) for prompt in OTHER_WORDS)
    return {TRIGGER_ONLY: (f"a {trigger} card back",), WITH_WORDS: others}


def judge(
    model: TextModel,
    styles: Mapping[str, Sequence[str]],
    seeds: Sequence[int],
    out: str | Path,
    drawing: TextDrawing,
    training: str | Path | None = None,
    scorer: ClipScorer | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Judgement:
    """Draw each prompt of each style from all seeds, once: what is written to the card folder `out` is what is scored.

    training: the card folder (or data set on the Hub) whose nearest picture is looked for. Figures go to
    `judgement.json` in `out` too. Raises what `write_pictures` raises, and CardError for training pictures that cannot
    be read.
    """
    style_of = {prompt: style for style, prompts in styles.items() for prompt in prompts}
    small = _small(drawing.size)
    known = read_cards(training, small, portrait=False, use_masks=False, use_labels=False) if training else None
    drawn, seen = [], []
    for name, picture in write_pictures(model, out, list(style_of), seeds, drawing, overwrite, progress):
        pixels = pixels_of(picture)
        score = scorer.score(pixels, picture.prompt) if scorer and not picture.withheld else None
        drawn.append((name, picture.prompt, picture.seed, picture.withheld, score))
        if not picture.withheld:
            seen.append(fit_image(Image.fromarray(pixels), small, portrait=False).transpose(2, 0, 1))
    copies = None
    if known is not None and len(known) >= FEWEST and seen:
        found = nearest_in_pixels(torch.from_numpy(np.stack(seen)), known.pixels, progress=False)
        usual = nearest_in_pixels(known.pixels[::2], known.pixels[1::2], progress=False)
        copies = copying(found, usual, "grey levels")
    nearest = iter(zip(copies.nearest, copies.distance, strict=True) if copies else ())
    pictures = []
    for name, prompt, seed, withheld, score in drawn:
        index, distance = next(nearest, (None, None)) if not withheld else (None, None)
        close = known.names[index] if index is not None else None
        pictures.append(JudgedPicture(style_of[prompt], prompt, seed, name, withheld, score, close, distance))
    scores = {style: _mean([p.clip_score for p in pictures if p.style == style]) for style in styles}
    judged = Judgement(
        model=model.name,
        revision=model.revision,
        drawing=drawing,
        clip=scorer.name if scorer else None,
        checks_safety=model.checks_safety,
        pictures=pictures,
        clip_scores=scores,
        copies=copies,
    )
    write_atomically(Path(out) / JUDGEMENT, (json.dumps(asdict(judged), indent=2) + "\n").encode())
    return judged


def _small(size: tuple[int, int]) -> tuple[int, int]:
    """A size of the same shape, at which copies are looked for."""
    zoom = min(1.0, TALLEST / size[0])
    return round(size[0] * zoom), max(8, round(size[1] * zoom))


def _mean(scores: Sequence[float | None]) -> Figure | None:
    """Mean of scores with its interval of 95 %, by the normal distribution; of one score the whole range."""
    known = np.array([score for score in scores if score is not None])
    if not len(known):
        return None
    mean = float(known.mean())
    if len(known) == 1:
        return Figure(mean, 0.0, 100.0)
    reach = NORMAL_95 * float(known.std(ddof=1)) / len(known) ** 0.5
    return Figure(mean, max(0.0, mean - reach), min(100.0, mean + reach))
