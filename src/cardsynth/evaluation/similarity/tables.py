"""Ratings of pairs of pictures as CSV: one row a pair and rater, or wide tables with a column a rater and a metric."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cardsynth.evaluation.similarity.agreement import (
    RankCorrelation,
    RaterAgreement,
    correlations,
    rater_agreement,
    sign_of,
)
from cardsynth.util.files import write_atomically

COLUMNS = ("pair", "first", "second", "rater", "rating")


class RatingError(ValueError):
    """Ratings that cannot be read or kept: says which file and line, what is wrong and what to do."""


@dataclass(frozen=True)
class Pair:
    """Two pictures to compare, by the names of their files, and the name of the pair."""

    name: str
    first: str
    second: str


@dataclass(frozen=True)
class Rating:
    """How alike one person finds the two pictures of a pair."""

    pair: Pair
    rater: str
    value: float


@dataclass(frozen=True)
class RatingTable:
    """Pairs with what each rater and each metric says of them.

    ratings: by rater, a value a pair, NaN where left out. metrics: by metric, a value a pair.
    """

    pairs: tuple[Pair, ...]
    ratings: dict[str, tuple[float, ...]]
    metrics: dict[str, tuple[float, ...]]

    @property
    def people(self) -> np.ndarray:
        """Mean rating of each pair over those who rated it, float64 (N,), NaN where nobody did."""
        table = np.array(list(self.ratings.values()), float).reshape(len(self.ratings), len(self.pairs))
        count = (~np.isnan(table)).sum(axis=0)
        return np.where(count, np.nansum(table, axis=0), math.nan) / np.maximum(count, 1)

    def agreement(self) -> RaterAgreement:
        """How far the raters agree; raises ValueError as `ratings.rater_agreement` does."""
        return rater_agreement(list(self.ratings.values()))

    def correlations(self) -> list[RankCorrelation]:
        """Each metric's rank correlation with people, over the pairs that somebody rated.

        Raises ValueError as `ratings.rank_correlation` does.
        """
        rated = self.take(np.flatnonzero(~np.isnan(self.people)).tolist())
        return correlations(rated.metrics, rated.people)

    def take(self, places: Sequence[int]) -> "RatingTable":
        """The same table of some of its pairs."""
        chosen = {
            field: {name: tuple(values[place] for place in places) for name, values in getattr(self, field).items()}
            for field in ("ratings", "metrics")
        }
        return replace(self, pairs=tuple(self.pairs[place] for place in places), **chosen)


def tabulate(
    ratings: Iterable[Rating], pairs: Sequence[Pair], metrics: Mapping[str, Sequence[float]] | None = None
) -> RatingTable:
    """Ratings of some pairs as a table, with what metrics say of the same pairs.

    metrics: by name, a value a pair (N,). Raises RatingError for a rating of another pair, for a second rating of one
    pair by one rater, and for metrics of another number of pairs.
    """
    place_of, table = {pair: place for place, pair in enumerate(pairs)}, {}
    for rating in ratings:
        row = table.setdefault(rating.rater, [math.nan] * len(pairs))
        if rating.pair not in place_of:
            raise RatingError(f"{rating.rater} rated {rating.pair}, which is none of the {len(pairs)} pairs")
        if not math.isnan(row[place_of[rating.pair]]):
            raise RatingError(f"{rating.rater} rated pair {rating.pair.name!r} twice; leave one rating out")
        row[place_of[rating.pair]] = rating.value
    values = {name: tuple(float(value) for value in found) for name, found in (metrics or {}).items()}
    for name, found in values.items():
        if len(found) != len(pairs):
            raise RatingError(f"{name} has {len(found)} values for {len(pairs)} pairs; give one for each")
    return RatingTable(tuple(pairs), {rater: tuple(row) for rater, row in table.items()}, values)


def read_ratings(source: str | Path) -> list[Rating]:
    """Ratings of a CSV file, or of all CSV files of a folder, with the columns pair, first, second, rater and rating.

    Raises RatingError, naming file and line, for what cannot be read, a rating that is no number, a pair whose pictures
    differ from row to row, and a pair that one rater rated twice.
    """
    files = sorted(Path(source).glob("[!.]*.csv")) if Path(source).is_dir() else [Path(source)]
    ratings, pairs, seen = [], {}, set()
    for path in files:
        for where, row in _rows(path, COLUMNS):
            pair = Pair(row["pair"], row["first"], row["second"])
            if pairs.setdefault(pair.name, pair) != pair:
                raise RatingError(f"{where}: pair {pair.name!r} has other pictures than before; give it another name")
            if (pair.name, row["rater"]) in seen:
                raise RatingError(f"{where}: {row['rater']} rated pair {pair.name!r} before; leave one rating out")
            seen.add((pair.name, row["rater"]))
            ratings.append(Rating(pair, row["rater"], _number(where, "rating", row["rating"])))
    return ratings


def write_ratings(path: str | Path, ratings: Iterable[Rating], overwrite: bool = False) -> bytes:
    """Write ratings as a CSV file that `read_ratings` reads, whole or not at all, and return its bytes.

    Raises RatingError where the file exists already, unless `overwrite`.
    """
    if Path(path).exists() and not overwrite:
        raise RatingError(f"{path} exists already; choose another file, or overwrite")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rating in ratings:
        pair, value = rating.pair, float(rating.value)
        shown = int(value) if value.is_integer() else repr(value)
        writer.writerow((pair.name, pair.first, pair.second, rating.rater, shown))
    content = text.getvalue().encode()
    write_atomically(Path(path), content)
    return content


def read_table(path: str | Path, raters: Sequence[str] | None = None) -> RatingTable:
    """A wide table, one row a pair: the columns `first` and `second`, one a rater, and one a metric.

    raters: the columns that hold people's ratings, by default those that begin with `rater`; an empty cell is a pair
    left out. `pair` may name the pairs. All other columns are metrics, whose names tell distance from similarity (see
    `ratings.sign_of`). Raises RatingError, naming file and line, for what cannot be read, and for other columns.
    """
    path = Path(path)
    rows = list(_rows(path, ("first", "second")))
    if not rows:
        raise RatingError(f"{path}: holds no pairs")
    others = [name for name in rows[0][1] if name not in ("pair", "first", "second")]
    raters = [name for name in others if name.startswith("rater")] if raters is None else list(raters)
    if missing := sorted(set(raters) - set(others)):
        raise RatingError(f"{path}: has no column {', '.join(missing)}; it has {', '.join(others)}")
    metrics = [name for name in others if name not in raters]
    for name in metrics:
        try:
            sign_of(name)
        except ValueError as error:
            raise RatingError(f"{path}: {error}; or name the columns of raters") from error
    pairs = [Pair(row.get("pair") or f"{row['first']}-{row['second']}", row["first"], row["second"]) for _, row in rows]
    if len(set(pairs)) < len(pairs):
        again = next(where for place, (where, _) in enumerate(rows) if pairs[place] in pairs[:place])
        raise RatingError(f"{again}: this pair stood before; leave one row out")
    return RatingTable(
        tuple(pairs),
        {name: tuple(_number(where, name, row[name], may_lack=True) for where, row in rows) for name in raters},
        {name: tuple(_number(where, name, row[name]) for where, row in rows) for name in metrics},
    )


def _rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Where it stands, and each row of a CSV file that has the needed columns, none of their cells empty."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RatingError(f"{path}: cannot be read ({error.strerror or error}); name a CSV file of ratings") from error
    except UnicodeDecodeError as error:
        raise RatingError(f"{path}: not UTF-8 text; save the file as CSV in UTF-8") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise RatingError(f"{path}: has two columns {', '.join(twice)}; name each of them differently")
        if missing := [name for name in needed if name not in names]:
            raise RatingError(f"{path}: has no column {', '.join(missing)}; its first line is {','.join(names)!r}")
        reader.fieldnames = names
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise RatingError(f"{where}: has not as many cells as the first line; put text with commas in quotes")
            row = {name: cell.strip() for name, cell in row.items()}
            if empty := [name for name in needed if not row[name]]:
                raise RatingError(f"{where}: {', '.join(empty)} is empty; fill it in or remove the line")
            yield where, row
    except csv.Error as error:
        raise RatingError(f"{path}, line {reader.line_num}: not CSV ({error}); mend or remove the line") from error


def _number(where: str, name: str, text: str, may_lack: bool = False) -> float:
    if may_lack and not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RatingError(f"{where}: {name} is {text!r}; write it as a number")
    return value
