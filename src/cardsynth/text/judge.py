"""Judges pictures drawn from prompts: CLIP score, near-copies of training pictures, and withheld pictures."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError

from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.cards.fitting import fit_image
from cardsynth.evaluation.copies import TALLEST, Copying, copying, nearest_in_pixels
from cardsynth.evaluation.features import TRANSFORMERS
from cardsynth.text.draw import TextDrawing, TextModel, pixels_of, write_pictures
from cardsynth.text.model import TextModelError
from cardsynth.util.files import write_atomically
from cardsynth.util.hashing import hash_weights
from cardsynth.util.intervals import Figure, mean_figure

TRIGGER_ONLY, WITH_WORDS = "trigger only", "trigger with other words"
OTHER_WORDS = (
    "a {trigger} card back from the 1970s, grey stock, large gum stain",
    "a {trigger} card back, white stock, no damage",
    "a {trigger} card back on a wooden table",
    "a pencil drawing of a {trigger} card back",
)
FEWEST = 8  # training pictures for a search of near-copies
JUDGEMENT = "judgement.json"


class ClipScorer:
    """Scores how well a picture fits a text, by CLIP; nothing is downloaded.

    Args:
        model: Folder, or Hub id in the Hub's cache on this disk.

    Raises:
        TextModelError: The model is not on this disk.
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
        self.name = f"{Path(model).name} {hash_weights(self._model.state_dict())[:4]}"

    @torch.inference_mode()
    def score(self, pixels: np.ndarray, text: str) -> float:
        """Returns 100 times the cosine similarity of picture and text, at least 0 (Hessel et al. 2021, section 3).

        CLIPScore of torchmetrics is the mean of this over pictures.

        Args:
            pixels: uint8 (H, W, 3).
            text: The prompt.
        """
        inputs = self._processor(
            text=[text], images=[Image.fromarray(pixels)], return_tensors="pt", padding=True, truncation=True
        )
        output = self._model(**inputs)
        return 100 * max(0.0, torch.cosine_similarity(output.image_embeds, output.text_embeds).item())


@dataclass(frozen=True)
class JudgedPicture:
    """A picture with its figures; a withheld picture has none.

    Attributes:
        style: Prompt style.
        file_name: File in the card folder.
        withheld: The safety checker withheld it.
        clip_score: Score of picture and prompt, 0 to 100.
        nearest: Name of the nearest training picture.
        distance: Root mean square difference to it, in grey levels of 255.
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
    """Pictures of a model and their figures.

    Attributes:
        model: Name of the model.
        revision: Hash of its weights.
        drawing: How the pictures were drawn.
        clip: Name of the CLIP model.
        checks_safety: The model has a safety checker.
        pictures: The pictures.
        clip_scores: Mean CLIP score of each prompt style with its 95% interval; None without scores.
        copies: Distances to training pictures, if there were any to compare with.
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
        """Counts the pictures of a style that the safety checker withheld."""
        return sum(picture.withheld for picture in self.pictures if picture.style == style)

    def text(self) -> str:
        """Returns the figures of each style, and of copies, in a few lines."""
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
    """Returns the prompts of both styles: the trigger alone, and the trigger with other words.

    Args:
        trigger: Word that stands for the cards.
        prompts: Prompts with other words; empty: four default ones.

    Raises:
        ValueError: The trigger is empty.
    """
    if not trigger.strip():
        raise ValueError("the model's trigger word is unknown; give it: --trigger")
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
    """Draws each prompt of each style from all seeds, and judges the pictures.

    Args:
        model: The model.
        styles: Prompts by style.
        seeds: Seeds of each prompt.
        out: Card folder to write, with the figures in `judgement.json`.
        drawing: How to draw.
        training: Card folder, or data set on the Hub, to search for near-copies.
        scorer: CLIP; None: no scores.
        overwrite: Replace pictures that exist.
        progress: Show a progress bar.

    Raises:
        CardError: A picture exists already, or the training pictures cannot be read.
        ValueError: A prompt, a seed or the size is unusable.
    """
    style_of = {prompt: style for style, prompts in styles.items() for prompt in prompts}
    small, judged, drawn = _small(drawing.size), [], []
    reference = read_cards(training, small, portrait=False, use_masks=False, use_labels=False) if training else None
    for name, picture in write_pictures(model, out, list(style_of), seeds, drawing, overwrite, progress):
        score = None
        if not picture.withheld:
            pixels = pixels_of(picture)
            score = scorer.score(pixels, picture.prompt) if scorer else None
            drawn.append(fit_image(Image.fromarray(pixels), small, portrait=False).transpose(2, 0, 1))
        style = style_of[picture.prompt]
        judged.append(JudgedPicture(style, picture.prompt, picture.seed, name, picture.withheld, score))
    copies = _find_copies(drawn, reference)
    if copies:
        nearest = iter(zip(copies.nearest, copies.distance, strict=True))
        for position, picture in enumerate(judged):
            if not picture.withheld:
                index, distance = next(nearest)
                judged[position] = replace(picture, nearest=reference.names[index], distance=distance)
    scores = {style: [picture.clip_score for picture in judged if picture.style == style] for style in styles}
    judgement = Judgement(
        model=model.name,
        revision=model.revision,
        drawing=drawing,
        clip=scorer.name if scorer else None,
        checks_safety=model.checks_safety,
        pictures=judged,
        clip_scores={style: _mean_score(values) for style, values in scores.items()},
        copies=copies,
    )
    write_atomically(Path(out) / JUDGEMENT, (json.dumps(asdict(judgement), indent=2) + "\n").encode())
    return judgement


def _small(size: tuple[int, int]) -> tuple[int, int]:
    """Size of the same aspect ratio at which near-copies are searched for."""
    zoom = min(1.0, TALLEST / size[0])
    return round(size[0] * zoom), max(8, round(size[1] * zoom))


def _find_copies(drawn: list[np.ndarray], reference: Cards | None) -> Copying | None:
    """Compares pictures, each uint8 (3, H, W), with training pictures; None if there are too few to compare."""
    if reference is None or len(reference) < FEWEST or not drawn:
        return None
    distances = nearest_in_pixels(torch.from_numpy(np.stack(drawn)), reference.pixels, progress=False)
    held_out = nearest_in_pixels(reference.pixels[::2], reference.pixels[1::2], progress=False)
    return copying(distances, held_out, "grey levels")


def _mean_score(scores: Sequence[float | None]) -> Figure | None:
    known = [score for score in scores if score is not None]
    if len(known) < 2:
        return Figure(known[0], 0.0, 100.0) if known else None
    return mean_figure(known).within(0.0, 100.0)
