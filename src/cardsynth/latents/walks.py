"""Walks through latent space, between seeds and between classes, for any LatentModel.

Where a walk comes by a seed, its latent is that seed's to the bit, so its card is the one that is generated alone.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, pairwise

import torch

from cardsynth.latents.latent_model import LatentModel, class_weights

Labels = str | Sequence[str] | None
Interpolation = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def linear(start: torch.Tensor, end: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Points on the line from start to end, float32 (N, *shape), for shares (N,) of its length from 0 to 1.

    Halfway between two seeds they are shorter than any seed's own latent.
    """
    return torch.lerp(start, end, _beside(shares, start))


def spherical(start: torch.Tensor, end: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Points on the arc from start to end, float32 (N, *shape), for shares (N,) of its angle from 0 to 1.

    Shoemake 1985; for latents White 2016, "Sampling generative networks". Where both point the same or opposite ways,
    there is no one arc, and it is the line.
    """
    one, other = start.double().flatten(), end.double().flatten()
    cosine = (one @ other) / (one.norm() * other.norm()).clamp(min=1e-30)
    angle = torch.arccos(cosine.clamp(-1, 1))
    if torch.sin(angle) < 1e-6:
        return linear(start, end, shares)
    along = _beside(shares, start).double()
    return ((torch.sin((1 - along) * angle) * start + torch.sin(along * angle) * end) / torch.sin(angle)).float()


INTERPOLATIONS: dict[str, Interpolation] = {"spherical": spherical, "linear": linear}


def interpolate(
    model: LatentModel, seeds: Sequence[int], count: int, labels: Labels = None, how: str = "spherical"
) -> torch.Tensor:
    """Cards uint8 (count, C, H, W) on the way from one of two seeds to the other, both among them.

    labels: class of both, or of each: the embeddings of their classes are mixed by the same shares. The same seed twice
    is a way between classes alone. how: `spherical` or `linear`. Raises ValueError for other than two seeds, fewer than
    two cards, and a `how` or labels that there are not.
    """
    latents, weights = _seed_points(model, seeds, labels, 2)
    shares = _shares(count)
    mixed = None if weights is None else linear(*weights, shares)
    return model.decode(_interpolation(how)(*latents, shares), mixed)


def corner_grid(
    model: LatentModel, seeds: Sequence[int], size: tuple[int, int], labels: Labels = None, how: str = "spherical"
) -> torch.Tensor:
    """Cards uint8 (rows * columns, C, H, W), row by row, between four seeds: top left, top right, bottom left, right.

    size: (rows, columns), each 2 or more. Other arguments and errors as of `interpolate`.
    """
    latents, weights = _seed_points(model, seeds, labels, 4)
    rows, columns = map(_shares, size)
    mixed = None if weights is None else _between_corners(linear, weights, rows, columns)
    return model.decode(_between_corners(_interpolation(how), latents, rows, columns), mixed)


def add_constants(
    model: LatentModel, seed: int, constants: Sequence[float] | torch.Tensor, label: str | None = None
) -> torch.Tensor:
    """Cards uint8 (N, C, H, W) of a seed's latent with each of N constants added to all of it."""
    latents, weights = _seed_points(model, [seed], label, 1)
    steps = torch.as_tensor(constants, dtype=torch.float32)
    return model.decode(
        latents + _beside(steps, latents[0]), None if weights is None else weights.repeat(len(steps), 1)
    )


def walk(
    model: LatentModel,
    seeds: Sequence[int],
    frames: int,
    labels: Labels = None,
    loop: bool = True,
    how: str = "spherical",
) -> Iterator[torch.Tensor]:
    """Yield so many cards uint8 (C, H, W) on a way from seed to seed, one after another; few are in memory at a time.

    labels: one class for all, or one for each seed (default: each seed's turn). loop: end where the first card follows.
    Each seed is one of the cards, to the byte as generated alone, and the ways between them take equally many, give or
    take one. how: `spherical` or `linear`. Raises ValueError for fewer than two seeds, or fewer frames than those.
    """
    if len(seeds) < 2:
        raise ValueError(f"a walk takes two seeds or more, not {len(seeds)}")
    latents, weights = _seed_points(model, seeds, labels, len(seeds))
    interpolation = _interpolation(how)
    points = iter(list(_points(len(seeds), frames, loop)))
    while part := list(islice(points, max(16, 8 * torch.get_num_threads()))):
        pairs = [(leg, (leg + 1) % len(seeds), torch.tensor([share])) for leg, share in part]
        some = torch.cat([interpolation(latents[one], latents[other], share) for one, other, share in pairs])
        mixed = None
        if weights is not None:
            mixed = torch.cat([linear(weights[one], weights[other], share) for one, other, share in pairs])
        yield from model.decode(some, mixed)


def _points(seeds: int, frames: int, loop: bool) -> Iterator[tuple[int, float]]:
    """The leg (0: from the first seed to the second) and the share of its way of each frame."""
    if frames < seeds:
        raise ValueError(f"a walk through {seeds} seeds takes {seeds} frames or more, not {frames}")
    legs = seeds if loop else seeds - 1
    moves = frames if loop else frames - 1
    starts = [leg * moves // legs for leg in range(legs + 1)]
    for leg, (first, after) in enumerate(pairwise(starts)):
        for frame in range(first, after):
            yield leg, (frame - first) / (after - first)
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
    """Latents and class weights of so many seeds."""
    if len(seeds) != count:
        raise ValueError(f"this takes {count} seeds, not {len(seeds)}")
    if any(seed < 0 for seed in seeds):
        raise ValueError("seeds must be whole numbers from 0")
    return model.seed_latents(seeds), class_weights(model, seeds, labels)


def _interpolation(how: str) -> Interpolation:
    if how not in INTERPOLATIONS:
        raise ValueError(f"there is no interpolation {how!r}; there are {', '.join(INTERPOLATIONS)}")
    return INTERPOLATIONS[how]


def _shares(count: int) -> torch.Tensor:
    if count < 2:
        raise ValueError(f"a way has two ends, so it takes 2 cards or more, not {count}")
    return torch.linspace(0, 1, count)


def _beside(values: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
    """Values (N,) as (N, 1, ...), to be laid over latents (N, *shape)."""
    return values.reshape(-1, *[1] * latent.dim())
