"""One person's rating of pairs: in random order, sides swapped at random, kept on disk after each rating."""

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cardsynth.evaluation.similarity.tables import Pair, Rating, RatingError, read_ratings, write_ratings

LEAST, MOST = 0, 10  # of the scale: entirely different, and the same


class RatingSession:
    """Pairs in an order of the rater's own, one of which is to be rated next; goes on where an earlier one stopped.

    pairs: with different names. rater: a name of letters, digits, - and _; the ratings are kept in `out`/RATER.csv, in
    the order in which they were given. seed: order and sides follow from it and from the rater's name.
    Raises RatingError for other names, pairs that cannot be told apart, and a file that holds somebody else's ratings,
    or ratings of other pairs; the file stays as it is.
    """

    def __init__(self, pairs: Sequence[Pair], rater: str, out: str | Path, seed: int = 0) -> None:
        if not re.fullmatch(r"\w[\w-]{0,39}", rater):
            raise RatingError(f"{rater!r} is no name for a rater; use up to 40 letters, digits, - and _")
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
        found = read_ratings(self.path) if self._content is not None else []
        for rating in found:
            if rating.rater != self.rater:
                raise RatingError(
                    f"{self.path} holds ratings by {rating.rater!r}; take another name than {self.rater!r}"
                )
            if rating.pair not in pairs:
                raise RatingError(
                    f"{self.path} holds a rating of {rating.pair.first} and {rating.pair.second}, which are not among"
                    f" these pairs; choose another folder for the ratings, or another name"
                )
        return {rating.pair: rating.value for rating in found}

    def __len__(self) -> int:
        return len(self._order)

    @property
    def finished(self) -> bool:
        """Whether the last pair is rated, and none is being mended."""
        return self.place == len(self)

    @property
    def sides(self) -> tuple[str, str]:
        """File names of the pictures at the left and at the right, of the pair at `place`."""
        pair = self._order[self.place]
        return (pair.second, pair.first) if pair.name in self._swapped else (pair.first, pair.second)

    @property
    def rating(self) -> float | None:
        """The rating of the pair at `place`, where it has one already."""
        return None if self.finished else self._ratings.get(self._order[self.place])

    @property
    def ratings(self) -> list[Rating]:
        """The ratings so far, in the order in which they were first given."""
        return [Rating(pair, self.rater, value) for pair, value in self._ratings.items()]

    def rate(self, value: float) -> None:
        """Rate the pair at `place`, 0 to 10, on disk first, and go on to the next one.

        Raises RatingError, keeping what is there, for another value, after the last pair, and where the file was
        changed by another session in the meantime; OSError where it cannot be written.
        """
        if not (math.isfinite(value) and LEAST <= value <= MOST):
            raise RatingError(f"a rating of {value} is off the scale: {LEAST} to {MOST}")
        if self.finished:
            raise RatingError(f"all {len(self)} pairs are rated; go back to mend a rating")
        if (self.path.read_bytes() if self.path.is_file() else None) != self._content:
            raise RatingError(f"{self.path} was changed by another session of {self.rater!r}; start this one again")
        changed = {**self._ratings, self._order[self.place]: float(value)}
        rows = [Rating(pair, self.rater, found) for pair, found in changed.items()]
        self._content = write_ratings(self.path, rows, overwrite=True)
        self._ratings = changed
        self.place += 1

    def back(self) -> None:
        """Return to the pair before, to mend its rating; stays at the first one."""
        self.place = max(0, self.place - 1)
