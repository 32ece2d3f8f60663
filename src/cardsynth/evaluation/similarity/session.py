"""Rating of pairs by one person, in random order and with random sides; every rating is saved at once."""

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cardsynth.evaluation.similarity.tables import Pair, Rating, RatingError, read_ratings, write_ratings

LEAST, MOST = 0, 10  # of the scale: entirely different, identical


class RatingSession:
    """Presents pairs to a rater one at a time and continues where an earlier session stopped.

    Attributes:
        rater: Name of the rater.
        path: CSV file of the ratings, in the order in which they were given.
        place: Index of the pair to rate next.
    """

    def __init__(self, pairs: Sequence[Pair], rater: str, out: str | Path, seed: int = 0) -> None:
        """Starts or continues a session.

        Args:
            pairs: Pairs with distinct names.
            rater: Name of up to 40 letters, digits, - and _.
            out: Folder for the ratings; they are saved in `out`/RATER.csv.
            seed: Order and sides depend on the seed and on the rater's name.

        Raises:
            RatingError: The name is invalid, pairs share a name, or the file has ratings by another rater or of other
                pairs. The file is not changed.
        """
        if not re.fullmatch(r"\w[\w-]{0,39}", rater):
            raise RatingError(f"{rater!r} is not a valid name; use up to 40 letters, digits, - and _")
        if not pairs or len({pair.name for pair in pairs}) < len(pairs):
            raise RatingError(f"there are {len(pairs)} pairs to rate, and each needs a name of its own")
        self.rater, self.path = rater, Path(out) / f"{rater}.csv"
        self._content = self.path.read_bytes() if self.path.is_file() else None
        self._ratings = self._read(pairs)
        rng = np.random.default_rng([seed, int.from_bytes(hashlib.sha256(rater.encode()).digest()[:8], "big")])
        shuffled = [pairs[place] for place in rng.permutation(len(pairs))]
        self._swapped = {
            pair.name for pair, swapped in zip(pairs, rng.integers(0, 2, len(pairs)), strict=True) if swapped
        }
        self._order = [*self._ratings, *(pair for pair in shuffled if pair not in self._ratings)]
        self.place = len(self._ratings)

    def _read(self, pairs: Sequence[Pair]) -> dict[Pair, float]:
        ratings = read_ratings(self.path) if self._content is not None else []
        for rating in ratings:
            pair = rating.pair
            if rating.rater != self.rater:
                raise RatingError(
                    f"{self.path} has ratings by {rating.rater!r}; choose another name than {self.rater!r}"
                )
            if pair not in pairs:
                raise RatingError(
                    f"{self.path} has a rating of {pair.first} and {pair.second}, which are not among these pairs;"
                    " choose another folder for the ratings, or another name"
                )
        return {rating.pair: rating.value for rating in ratings}

    def __len__(self) -> int:
        return len(self._order)

    @property
    def finished(self) -> bool:
        """Whether all pairs are rated and none is being corrected."""
        return self.place == len(self)

    @property
    def sides(self) -> tuple[str, str]:
        """File names of the left and the right picture of the pair at `place`."""
        pair = self._order[self.place]
        return (pair.second, pair.first) if pair.name in self._swapped else (pair.first, pair.second)

    @property
    def rating(self) -> float | None:
        """The rating of the pair at `place`; None if it has none."""
        return None if self.finished else self._ratings.get(self._order[self.place])

    @property
    def ratings(self) -> list[Rating]:
        """All ratings, in the order in which they were first given."""
        return [Rating(pair, self.rater, value) for pair, value in self._ratings.items()]

    def rate(self, value: float) -> None:
        """Saves a rating of the pair at `place` and advances to the next pair.

        Args:
            value: Rating, 0 to 10.

        Raises:
            RatingError: The value is off the scale, all pairs are rated, or another session changed the file.
            OSError: The file cannot be written.
        """
        if not (math.isfinite(value) and LEAST <= value <= MOST):
            raise RatingError(f"a rating of {value} is off the scale: {LEAST} to {MOST}")
        if self.finished:
            raise RatingError(f"all {len(self)} pairs are rated; go back to correct a rating")
        if (self.path.read_bytes() if self.path.is_file() else None) != self._content:
            raise RatingError(f"{self.path} was changed by another session of {self.rater!r}; start this one again")
        changed = {**self._ratings, self._order[self.place]: float(value)}
        rows = [Rating(pair, self.rater, rating) for pair, rating in changed.items()]
        self._content = write_ratings(self.path, rows, overwrite=True)
        self._ratings = changed
        self.place += 1

    def back(self) -> None:
        """Returns to the previous pair to correct its rating; stays at the first one."""
        self.place = max(0, self.place - 1)
