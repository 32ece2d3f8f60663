"""Walks through latent space, between seeds and between classes, for any LatentModel.

At a seed, the latent of a walk equals the seed's own to the bit, so the card equals the one generated from the seed.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise

import torch

from cardsynth.latents.latent_model import LatentModel, class_weights

Labels = str | Sequence[str] | None
Interpolation = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def linear(start: torch.Tensor, end: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Interpolates along a line. Halfway between two seeds, points are shorter than the latents of seeds.

    Args:
        start: First point, float32 (*shape).
        end: Last point, float32 (*shape).
        shares: Shares of the length, (N,), from 0 to 1.

    Returns:
        Points, float32 (N, *shape).
    """
    return torch.lerp(start, end, _expand(shares, start))


def spherical(start: torch.Tensor, end: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Interpolates along an arc (Shoemake 1985; for latents White 2016, "Sampling generative networks").

    Parallel and opposite points define no unique arc and are interpolated along a line.

    Args:
        start: First point, float32 (*shape).
        end: Last point, float32 (*shape).
        shares: Shares of the angle, (N,), from 0 to 1.

    Returns:
        Points, float32 (N, *shape).
    """
    first, last = start.double().flatten(), end.double().flatten()
    cosine = (first @ last) / (first.norm() * last.norm()).clamp(min=1e-30)
    angle = torch.arccos(cosine.clamp(-1, 1))
    if torch.sin(angle) < 1e-6:
        return linear(start, end, shares)
    fraction = _expand(shares, start).double()
    return ((torch.sin((1 - fraction) * angle) * start + torch.sin(fraction * angle) * end) / torch.sin(angle)).float()


INTERPOLATIONS: dict[str, Interpolation] = {"spherical": spherical, "linear": linear}


def interpolate(
    model: LatentModel, seeds: Sequence[int], count: int, labels: Labels = None, how: str = "spherical"
) -> torch.Tensor:
    """Draws cards between two seeds, which are the first and the last card.

    Args:
        model: Model to decode with.
        seeds: Two seeds. The same seed twice, with two labels, interpolates between classes alone.
        count: Number of cards, at least 2.
        labels: Class of both seeds, or of each; class embeddings are mixed by the same shares as latents.
        how: `spherical` or `linear`.

    Returns:
        Cards uint8 (count, C, H, W).

    Raises:
        ValueError: An argument is out of range.
    """
    latents, weights = _seed_points(model, seeds, labels, 2)
    shares = _shares(count)
    mixed = None if weights is None else linear(*weights, shares)
    return model.decode(_interpolation(how)(*latents, shares), mixed)


def corner_grid(
    model: LatentModel, seeds: Sequence[int], size: tuple[int, int], labels: Labels = None, how: str = "spherical"
) -> torch.Tensor:
    """Draws a grid of cards between four seeds.

    Args:
        model: Model to decode with.
        seeds: Seeds of the corners: top left, top right, bottom left, bottom right.
        size: (rows, columns), each at least 2.
        labels: Class of all seeds, or of each.
        how: `spherical` or `linear`.

    Returns:
        Cards uint8 (rows * columns, C, H, W), row by row.

    Raises:
        ValueError: An argument is out of range.
    """
    latents, weights = _seed_points(model, seeds, labels, 4)
    rows, columns = map(_shares, size)
    mixed = None if weights is None else _between_corners(linear, weights, rows, columns)
    return model.decode(_between_corners(_interpolation(how), latents, rows, columns), mixed)


def add_constants(
    model: LatentModel, seed: int, constants: Sequence[float] | torch.Tensor, label: str | None = None
) -> torch.Tensor:
    """Draws cards uint8 (N, C, H, W) of a seed's latent, to whose elements each of N constants is added."""
    latents, weights = _seed_points(model, [seed], label, 1)
    offsets = _expand(torch.as_tensor(constants, dtype=torch.float32), latents[0])
    return model.decode(latents + offsets, None if weights is None else weights.repeat(len(offsets), 1))


def walk(
    model: LatentModel,
    seeds: Sequence[int],
    frames: int,
    labels: Labels = None,
    loop: bool = True,
    how: str = "spherical",
) -> Iterator[torch.Tensor]:
    """Yields cards of a walk from seed to seed; few are in memory at a time.

    Each seed's card is among them and equals, to the byte, the one generated alone. Legs between seeds have equally
    many cards, up to one.

    Args:
        model: Model to decode with.
        seeds: At least two seeds.
        frames: Number of cards, at least one for each seed.
        labels: Class of all seeds, or of each; None lets seeds take the classes in turn.
        loop: Return to the first seed, so that a repeated film continues smoothly.
        how: `spherical` or `linear`.

    Yields:
        Cards uint8 (C, H, W).

    Raises:
        ValueError: An argument is out of range.
    """
    if len(seeds) < 2:
        raise ValueError(f"a walk takes at least two seeds, not {len(seeds)}")
    latents, weights = _seed_points(model, seeds, labels, len(seeds))
    interpolation = _interpolation(how)
    points = iter(list(_points(len(seeds), frames, loop)))
    while part := list(islice(points, max(16, 8 * torch.get_num_threads()))):
        pairs = [(leg, (leg + 1) % len(seeds), torch.tensor([share])) for leg, share in part]
        points_of_part = torch.cat([interpolation(latents[start], latents[end], share) for start, end, share in pairs])
        mixed = None
        if weights is not None:
            mixed = torch.cat([linear(weights[start], weights[end], share) for start, end, share in pairs])
        yield from model.decode(points_of_part, mixed)


def _points(seeds: int, frames: int, loop: bool) -> Iterator[tuple[int, float]]:
    """Yields the leg of each frame (0: from the first seed to the second) and its share of the leg's length."""
    if frames < seeds:
        raise ValueError(f"a walk through {seeds} seeds takes at least {seeds} frames, not {frames}")
    legs = seeds if loop else seeds - 1
    moves = frames if loop else frames - 1
    starts = [leg * moves // legs for leg in range(legs + 1)]
    for leg, (start, end) in enumerate(pairwise(starts)):
        for frame in range(start, end):
            yield leg, (frame - start) / (end - start)
    if not loop:
        yield legs - 1, 1.0


def _between_corners(
    interpolation: Interpolation, corners: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    left, right = interpolation(corners[0], corners[2], rows), interpolation(corners[1], corners[3], rows)
    return torch.cat([interpolation(start, end, columns) for start, end in zip(left, right, strict=True)])


def _seed_points(
    model: LatentModel, seeds: Sequence[int], labels: Labels, count: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Returns latents and class weights of `count` seeds."""
    if len(seeds) != count:
        raise ValueError(f"this function takes {count} seeds, not {len(seeds)}")
    if any(seed < 0 for seed in seeds):
        raise ValueError("seeds must be non-negative integers")
    return model.seed_latents(seeds), class_weights(model, seeds, labels)


def _interpolation(how: str) -> Interpolation:
    if how not in INTERPOLATIONS:
        raise ValueError(f"unknown interpolation {how!r}; choose from {', '.join(INTERPOLATIONS)}")
    return INTERPOLATIONS[how]


def _shares(count: int) -> torch.Tensor:
    if count < 2:
        raise ValueError(f"an interpolation takes at least 2 cards, not {count}")
    return torch.linspace(0, 1, count)


def _expand(values: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
    """Reshapes values (N,) to (N, 1, ...), which broadcasts with latents (N, *shape)."""
    return values.reshape(-1, *[1] * latent.dim())
