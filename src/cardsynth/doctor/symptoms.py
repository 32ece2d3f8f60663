"""Checks of the samples and the cards of a run; each names the cause and the setting to change."""

from itertools import combinations

import numpy as np
import torch

from cardsynth.core.config import TrainingConfig
from cardsynth.doctor.examination import Examination, Finding
from cardsynth.util.intervals import standard_error

# A card appears to have one colour if its grey levels deviate by less than 2 % of the range, which is near the limit of
# vision, or by less than a tenth of the deviation of real cards. (Drawn and generated cards: 25 to 53.)
ONE_COLOUR, ONE_COLOUR_SHARE = 5.0, 0.1
# A card is noise if its neighbouring pixels correlate by less than this, or by less than this share of the correlation
# in real cards. Independent noise has 0; noise with the variance of the picture halves it. (Drawn cards at 80x64, whose
# print is fine: 0.65; generated ones: 0.75.)
NOISE, NOISE_SHARE = 0.3, 0.5
# Classes are alike if cards of one seed and two classes differ by less than this share of the difference between seeds.
# (Generated: 1.1 and more between the two classes that differ most.)
CLASSES_ALIKE = 0.05
SURE = 3.0  # standard errors of a significant difference; wrong labels raise the loss of sound runs by 7
# A card is a near-copy if its nearest training card is nearer than half the median distance between nearest training
# cards. Blur alone leaves 0.7 of it: it removes one of two equal variances. (Sound runs: the nearest of 20 at 0.73.)
NEAR_COPY, COPIES = 0.5, 0.2
MIRROR_IMAGE = 0.25  # the same for the mirror image of a real card and another real card
FEWEST = 16  # cards that a mean requires


def check_one_colour(run: Examination) -> Finding | None:
    """Finds drawn cards of a single colour."""
    if run.drawn is None:
        return None
    drawn, least = _median(deviation(run.drawn.flatten(0, 1))), ONE_COLOUR
    if run.real is not None:
        least = max(1.0, ONE_COLOUR_SHARE * _median(deviation(_real_sample(run))))
    if drawn >= least:
        return None
    cause = f"the grey levels of a drawn card deviate by {drawn:.1f} of 255 (at least {least:.1f} in a picture)"
    remedy = f"train anew with {other_learning_rate(run, 1 / 3)}; if the loss fell anyway, check the training cards"
    return Finding("samples of one colour", "error", cause, remedy)


def check_noise(run: Examination) -> Finding | None:
    """Finds drawn cards that are noise."""
    if run.drawn is None or check_one_colour(run):
        return None
    drawn, least = _median(neighbour_correlation(run.drawn.flatten(0, 1))), NOISE
    if run.real is not None:
        least = NOISE_SHARE * _median(neighbour_correlation(_real_sample(run)))
    if drawn >= least:
        return None
    cause = f"neighbouring pixels of a drawn card correlate by {drawn:.2f} (at least {least:.2f} in a picture)"
    return Finding("samples are noise", "error", cause, _remedy_of_noise(run))


def _remedy_of_noise(run: Examination) -> str:
    config = run.model.config
    if isinstance(config, TrainingConfig) and config.num_inference_steps < 8:
        return f"draw with num_inference_steps 20 instead of {config.num_inference_steps}; if noise remains, train on"
    if isinstance(config, TrainingConfig) and config.guidance_scale > 5:
        return f"draw with guidance_scale 2 instead of {config.guidance_scale:g}; if noise remains, train on"
    return finish_training(run) or (
        f"train longer: --resume with max_train_steps {max(2000, 4 * run.steps)} instead of {run.steps}"
    )


def finish_training(run: Examination) -> str:
    """Returns advice to finish a run that stopped early; empty if it is finished."""
    if run.steps >= run.planned_steps:
        return ""
    return f"train to the end (--resume): {run.steps} of {run.planned_steps} steps are done"


def check_copies(run: Examination) -> Finding | None:
    """Finds drawn cards that are near-copies of training cards."""
    if run.nearest is None or not len(run.nearest.drawn) or not _are_pictures(run) or len(run.real) < 3:
        return None
    median = float(np.median(run.nearest.real))
    limit = NEAR_COPY * median
    copies, real_copies = ((distance < limit).mean() for distance in (run.nearest.drawn, run.nearest.real))
    if copies <= real_copies + COPIES:
        return None
    passes = run.steps * run.model.config.cards_per_process / len(run.real)
    cause = (
        f"{copies:.0%} of the drawn cards and {real_copies:.0%} of the training cards lie within {limit:.1f} grey"
        f" levels of another training card (medians: {np.median(run.nearest.drawn):.1f} and {median:.1f})"
    )
    times = f"each of the {len(run.real)} cards was seen {passes:.0f} times; " if passes else ""
    remedy = f"{times}use more cards, or train anew with max_train_steps {max(1, run.steps // 4)}"
    if isinstance(run.model.config, TrainingConfig):
        remedy += f" and dropout {max(0.1, run.model.config.dropout):g}"
    return Finding("over-fitting: copies of training cards", "error", cause, remedy)


def check_flip(run: Examination) -> Finding | None:
    """Finds a run that mirrored its training cards although mirror images differ from real cards."""
    if not (run.config and run.config.horizontal_flip):
        return None
    severity, cause = "warning", "horizontal_flip is on: half of the cards, with their text, were mirrored in training"
    if run.nearest is not None and len(run.nearest.real) >= FEWEST:
        difference = run.nearest.mirrored - run.nearest.real
        if difference.mean() <= SURE * standard_error(difference):
            return None
        severity = "error"
        cause += (
            f"; a mirrored training card lies {np.median(run.nearest.mirrored):.1f} grey levels from the nearest other"
            f" card, an unmirrored one {np.median(run.nearest.real):.1f}"
        )
        nearer = float((run.nearest.drawn_mirrored < run.nearest.drawn).mean()) if len(run.nearest.drawn) else 0.0
        cause += f"; {nearer:.0%} of the drawn cards are nearer to a training card when mirrored" if nearer else ""
    return Finding("mirrored text", severity, cause, "train anew with horizontal_flip False")


def check_mirror_images(run: Examination) -> Finding | None:
    """Finds training cards that are mirror images of each other."""
    if run.nearest is None or len(run.real) < 3:
        return None
    median = float(np.median(run.nearest.real))
    # A symmetric card has no text, and its mirror image matches its duplicates.
    pairs = (run.nearest.mirrored < MIRROR_IMAGE * median) & (run.nearest.to_own_mirror > 2 * MIRROR_IMAGE * median)
    if not pairs.any():
        return None
    cause = (
        f"{pairs.sum()} of {len(pairs)} training cards are mirror images of another, within"
        f" {run.nearest.mirrored[pairs].max():.1f} grey levels (nearest cards differ by {median:.1f})"
    )
    return Finding("mirrored training cards", "warning", cause, "remove the mirrored ones and train anew")


def check_classes(run: Examination) -> Finding | None:
    """Finds classes that do not change the drawn cards, or that do not lower the loss."""
    if run.drawn is None or len(run.drawn_labels) < 2 or not _are_pictures(run):
        return None
    between_labels, between_seeds = label_differences(run.drawn)
    cause = (
        f"cards of one seed and different classes differ by at most {between_labels:.1f} grey levels,"
        f" cards of different seeds by {between_seeds:.1f}"
    )
    ignored = between_labels < CLASSES_ALIKE * between_seeds
    if run.errors and "other labels" in run.errors and len(run.errors["averaged"]) >= FEWEST:
        rise = run.errors["other labels"] - run.errors["averaged"]
        errors = float(rise.mean() / max(standard_error(rise), 1e-12))
        cause += f"; wrong labels raise the loss by {rise.mean() / run.errors['averaged'].mean():.1%}"
        cause += f" ({errors:.1f} standard errors)"
        ignored = ignored or errors < SURE
    if not ignored:
        return None
    remedy = "check the labels of the training cards (cardsynth check), then train longer"
    if isinstance(run.model.config, TrainingConfig) and run.model.config.label_dropout > 0.3:
        remedy = f"train anew with label_dropout 0.1 instead of {run.model.config.label_dropout:g}"
    return Finding("classes ignored", "error", cause, remedy)


def check_masks(run: Examination) -> Finding | None:
    """Finds masks that are empty, or full, on all drawn cards."""
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
            return Finding(f"masks are {kind}", "error", cause, "correct the training cards' masks: 255 is damage")
    remedy = "check the masks of the training cards (255 is damage), then train "
    if isinstance(run.model.config, TrainingConfig):
        weight = run.model.config.mask_weight
        remedy += f"anew with mask_weight {2 * weight:g} instead of {weight:g}"
    else:
        remedy += "longer"
    return Finding(f"masks are {kind}", "error", cause, remedy)


def deviation(pixels: torch.Tensor) -> torch.Tensor:
    """Returns the standard deviation of each card's colours, (N,), in grey levels; cards uint8 (N, C, H, W)."""
    return pixels[:, :3].float().flatten(2).std(dim=2).mean(dim=1)


def neighbour_correlation(pixels: torch.Tensor) -> torch.Tensor:
    """Returns the correlation of neighbouring pixels, (N,), in -1 to 1, for cards uint8 (N, C, H, W)."""
    values = pixels[:, :3].float()
    pairs = ((values[..., 1:], values[..., :-1]), (values[..., 1:, :], values[..., :-1, :]))
    return torch.stack([_correlation(*pair) for pair in pairs]).mean(dim=(0, 2))


def _correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    first, second = ((values - values.mean(dim=(2, 3), keepdim=True)).flatten(2) for values in (first, second))
    lengths = (first.square().sum(dim=2) * second.square().sum(dim=2)).sqrt()
    return (first * second).sum(dim=2) / lengths.clamp(min=1e-6)


def label_differences(drawn: torch.Tensor) -> tuple[float, float]:
    """Measures the effect of classes and seeds on drawn cards.

    Args:
        drawn: Cards uint8 (classes, seeds, C, H, W), with or without masks.

    Returns:
        Median root mean square differences in grey levels: of cards of the same seed, for the two classes that differ
        most, and of cards of the same class and different seeds.
    """
    values = drawn.float()
    classes, seeds = (combinations(range(count), 2) for count in drawn.shape[:2])
    by_class = [_median(_rms(values[first] - values[second])) for first, second in classes]
    by_seed = torch.cat([_rms(values[:, first] - values[:, second]) for first, second in seeds])
    return max(by_class), _median(by_seed)


def _are_pictures(run: Examination) -> bool:
    return not (check_one_colour(run) or check_noise(run))


def other_learning_rate(run: Examination, factor: float) -> str:
    """Returns advice to multiply a run's learning rate by a factor."""
    if not run.settings:
        return f"the learning_rate times {factor:.1g}"
    rate = run.settings.learning_rate
    return f"learning_rate {rate * factor:.1g} instead of {rate:g}"


def _real_sample(run: Examination) -> torch.Tensor:
    """Returns the pixels of at most 200 real cards of all classes."""
    return run.real.pixels[:: -(-len(run.real) // 200)]


def _median(values: torch.Tensor) -> float:
    return float(values.float().median())


def _rms(difference: torch.Tensor) -> torch.Tensor:
    return difference.square().mean(dim=(1, 2, 3)).sqrt()
