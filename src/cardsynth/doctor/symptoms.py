"""What can be wrong with the samples and cards of a run: a check each, naming the cause seen and what to change."""

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import torch

from cardsynth.cards.dataset import Cards
from cardsynth.core.config import TrainingConfig
from cardsynth.doctor.examination import Examination

# Deviation of a card's grey levels below which it looks like one colour: 2 % of the range is near what eyes can tell
# apart. Beside real cards: a tenth of theirs. (Drawn and generated cards: 25 to 53.)
ONE_COLOUR, ONE_COLOUR_BESIDE_REAL = 5.0, 0.1
# Correlation of neighbouring pixels below which a card is more noise than picture. Independent noise has 0, and noise
# of the picture's own variance halves it. (Drawn cards at 80x64, whose print is fine: 0.65; generated ones: 0.75.)
NOISE, NOISE_BESIDE_REAL = 0.3, 0.5
# Difference between cards of one seed and two classes, as a share of that between cards of two seeds. (Generated: 1.1
# and more between the two classes that differ most.)
CLASSES_ALIKE = 0.05
# Standard errors from which a difference of means counts; with wrong labels, say, the loss rises by 7 in sound runs.
SURE = 3.0
# A card is a near-copy where a training card is nearer than half the usual distance between a training card and its
# nearest other. Blur alone leaves 0.7 of that distance: it removes one of two equal variances. (Sound runs: the nearest
# of 20 cards at 0.73.)
NEAR_COPY, COPIES = 0.5, 0.2
MIRROR_IMAGE = 0.25  # the same for the mirror image of a real card and another real card
FEWEST = 16  # cards from which a mean says something


@dataclass(frozen=True)
class Finding:
    """What is wrong with a run: a short `name`, the cause with the figures seen, and the remedy."""

    name: str
    severity: Literal["error", "warning"]
    cause: str
    remedy: str


def check_one_colour(run: Examination) -> Finding | None:
    """Drawn cards that are one colour all over."""
    if run.drawn is None:
        return None
    found, least = _median(deviation(run.drawn.flatten(0, 1))), ONE_COLOUR
    if run.real is not None:
        least = max(1.0, ONE_COLOUR_BESIDE_REAL * _median(deviation(_some(run.real))))
    if found >= least:
        return None
    cause = f"the grey levels of a drawn card deviate by {found:.1f} of 255 (at least {least:.1f} in a picture)"
    remedy = (
        f"train anew with {other_learning_rate(run, 1 / 3)}; if the loss fell all the same, look at the training cards"
    )
    return Finding("samples of one colour", "error", cause, remedy)


def check_noise(run: Examination) -> Finding | None:
    """Drawn cards that are noise."""
    if run.drawn is None or check_one_colour(run):
        return None
    found, least = _median(neighbour_correlation(run.drawn.flatten(0, 1))), NOISE
    if run.real is not None:
        least = NOISE_BESIDE_REAL * _median(neighbour_correlation(_some(run.real)))
    if found >= least:
        return None
    cause = f"neighbouring pixels of a drawn card correlate at {found:.2f} (at least {least:.2f} in a picture)"
    return Finding("samples are noise", "error", cause, _remedy_of_noise(run))


def _remedy_of_noise(run: Examination) -> str:
    config = run.model.config
    if isinstance(config, TrainingConfig) and config.num_inference_steps < 8:
        return f"draw with num_inference_steps 20 instead of {config.num_inference_steps}; if that is noise, train on"
    if isinstance(config, TrainingConfig) and config.guidance_scale > 5:
        return f"draw with guidance_scale 2 instead of {config.guidance_scale:g}; if that is noise, train on"
    if run.steps < run.planned_steps:
        return f"train on to the end (--resume): it stands at {run.steps} of {run.planned_steps} steps"
    return f"train longer: --resume with max_train_steps {max(2000, 4 * run.steps)} instead of {run.steps}"


def check_copies(run: Examination) -> Finding | None:
    """Drawn cards that are near-copies of training cards."""
    if run.nearest is None or not len(run.nearest.drawn) or not _are_pictures(run) or len(run.real) < 3:
        return None
    usual = float(np.median(run.nearest.real))
    copies, among_real = (
        float((distance < NEAR_COPY * usual).mean()) for distance in (run.nearest.drawn, run.nearest.real)
    )
    if copies <= among_real + COPIES:
        return None
    cards = len(run.real)
    seen = run.steps * run.model.config.cards_per_process
    cause = (
        f"{copies:.0%} of the drawn cards lie within {NEAR_COPY * usual:.1f} grey levels of a training card, as do"
        f" {among_real:.0%} of the training cards; usual among these is {usual:.1f}, and of drawn ones"
        f" {np.median(run.nearest.drawn):.1f}"
    )
    times = f"each of the {cards} cards was seen {seen / cards:.0f} times; " if seen else ""
    remedy = f"{times}take more cards, or train anew with max_train_steps {max(1, run.steps // 4)}"
    if isinstance(run.model.config, TrainingConfig):
        remedy += f" and dropout {max(0.1, run.model.config.dropout):g}"
    return Finding("over-fitting: copies of training cards", "error", cause, remedy)


def check_flip(run: Examination) -> Finding | None:
    """Mirrored cards in training: by the setting, for cards that are not as likely mirrored as not."""
    if not (run.config and run.config.horizontal_flip):
        return None
    severity, cause = "warning", "horizontal_flip is on, so that half of the cards were learned mirrored, text and all"
    if run.nearest is not None and len(run.nearest.real) >= FEWEST:
        difference = run.nearest.mirrored - run.nearest.real
        if difference.mean() <= SURE * standard_error(difference):
            return None
        severity = "error"
        cause += (
            f"; a mirrored training card lies {np.median(run.nearest.mirrored):.1f} grey levels from the nearest other,"
            f" and as it is {np.median(run.nearest.real):.1f}"
        )
        nearer = float((run.nearest.drawn_mirrored < run.nearest.drawn).mean()) if len(run.nearest.drawn) else 0.0
        cause += f"; {nearer:.0%} of the drawn cards are nearer to one when mirrored" if nearer else ""
    return Finding("mirrored text", severity, cause, "train anew with horizontal_flip False")


def check_mirror_images(run: Examination) -> Finding | None:
    """Real cards that are mirror images of each other."""
    if run.nearest is None or len(run.real) < 3:
        return None
    usual = float(np.median(run.nearest.real))
    # A card that is its own mirror image has no text, and finds its duplicates here.
    pairs = (run.nearest.mirrored < MIRROR_IMAGE * usual) & (run.nearest.to_own_mirror > 2 * MIRROR_IMAGE * usual)
    if not pairs.any():
        return None
    cause = (
        f"{pairs.sum()} of {len(pairs)} training cards are mirror images of another, within"
        f" {run.nearest.mirrored[pairs].max():.1f} grey levels (nearest cards differ by {usual:.1f})"
    )
    return Finding("mirrored training cards", "warning", cause, "remove the mirrored ones and train anew")


def check_classes(run: Examination) -> Finding | None:
    """Classes that make no difference to what is drawn, or none that helps."""
    if run.drawn is None or len(run.drawn_labels) < 2 or not _are_pictures(run):
        return None
    between_labels, between_seeds = label_differences(run.drawn)
    cause = (
        f"cards of one seed and different classes differ by {between_labels:.1f} grey levels at the most,"
        f" cards of different seeds by {between_seeds:.1f}"
    )
    ignored = between_labels < CLASSES_ALIKE * between_seeds
    if run.errors and "other labels" in run.errors and len(run.errors["averaged"]) >= FEWEST:
        rise = run.errors["other labels"] - run.errors["averaged"]
        tell = float(rise.mean() / max(standard_error(rise), 1e-12))
        cause += f"; with wrong labels the loss rises by {rise.mean() / run.errors['averaged'].mean():.1%}"
        cause += f" ({tell:.1f} standard errors)"
        ignored = ignored or tell < SURE
    if not ignored:
        return None
    remedy = "look whether the labels of the training cards are right (cardsynth check), then train longer"
    if isinstance(run.model.config, TrainingConfig) and run.model.config.label_dropout > 0.3:
        remedy = f"train anew with label_dropout 0.1 instead of {run.model.config.label_dropout:g}"
    return Finding("classes ignored", "error", cause, remedy)


def check_masks(run: Examination) -> Finding | None:
    """Masks that are empty, or full, on all drawn cards."""
    if run.drawn is None or not run.model.has_mask or not _are_pictures(run):
        return None
    covered = (run.drawn[:, :, 3] >= 128).float().mean(dim=(2, 3)).flatten()
    empty, full = bool(covered.max() < 0.001), bool(covered.min() > 0.95)
    if not (empty or full):
        return None
    kind = "empty" if empty else "full"
    cause = f"the masks of {len(covered)} drawn cards cover {covered.min():.1%} to {covered.max():.1%} of them"
    if run.real is not None and run.real.has_mask:
        real = (run.real.pixels[:, 3] >= 128).float().mean(dim=(1, 2))
        cause += f", those of the training cards {real.min():.1%} to {real.max():.1%}"
        if (real.max() < 0.001) if empty else (real.min() > 0.95):
            return Finding(f"masks are {kind}", "error", cause, "mend the masks of the training cards: 255 is damage")
    remedy = "look whether the masks of the training cards are right (255 is damage), then train "
    if isinstance(run.model.config, TrainingConfig):
        weight = run.model.config.mask_weight
        remedy += f"anew with mask_weight {2 * weight:g} instead of {weight:g}"
    else:
        remedy += "longer"
    return Finding(f"masks are {kind}", "error", cause, remedy)


def deviation(pixels: torch.Tensor) -> torch.Tensor:
    """Standard deviation of the grey levels of each card's colours, (N,), for cards uint8 (N, C, H, W)."""
    return pixels[:, :3].float().flatten(2).std(dim=2).mean(dim=1)


def neighbour_correlation(pixels: torch.Tensor) -> torch.Tensor:
    """Correlation of pixels with those to their right and below, (N,), in -1 to 1; cards uint8 (N, C, H, W)."""
    values = pixels[:, :3].float()
    pairs = ((values[..., 1:], values[..., :-1]), (values[..., 1:, :], values[..., :-1, :]))
    return torch.stack([_correlation(*pair) for pair in pairs]).mean(dim=(0, 2))


def _correlation(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    one, other = ((values - values.mean(dim=(2, 3), keepdim=True)).flatten(2) for values in (one, other))
    lengths = (one.square().sum(dim=2) * other.square().sum(dim=2)).sqrt()
    return (one * other).sum(dim=2) / lengths.clamp(min=1e-6)


def label_differences(drawn: torch.Tensor) -> tuple[float, float]:
    """Root mean square difference in grey levels, mask included, of the two classes that differ most, and of two seeds.

    drawn: uint8 (classes, seeds, C, H, W). Of pairs with the same seed, and with the same class; medians.
    """
    values = drawn.float()
    classes, seeds = (combinations(range(count), 2) for count in drawn.shape[:2])
    by_class = [_median(_rms(values[one] - values[other])) for one, other in classes]
    by_seed = torch.cat([_rms(values[:, one] - values[:, other]) for one, other in seeds])
    return max(by_class), _median(by_seed)


def _are_pictures(run: Examination) -> bool:
    return not (check_one_colour(run) or check_noise(run))


def other_learning_rate(run: Examination, factor: float) -> str:
    """What to set in place of a run's learning rate, in words."""
    config = run.settings
    return (
        f"learning_rate {config.learning_rate * factor:.1g} instead of {config.learning_rate:g}"
        if config
        else ("a third of the learning_rate")
    )


def _some(cards: Cards) -> torch.Tensor:
    """Pixels of at most 200 of the cards, of all classes."""
    return cards.pixels[:: -(-len(cards) // 200)]


def _median(values: torch.Tensor) -> float:
    return float(values.float().median())


def _rms(difference: torch.Tensor) -> torch.Tensor:
    return difference.square().mean(dim=(1, 2, 3)).sqrt()


def standard_error(values: np.ndarray) -> float:
    """Standard error of the mean of values (N,)."""
    return float(values.std(ddof=1) / len(values) ** 0.5)
