"""Ratings of pairs of pictures as CSV: one row per pair and rater, or wide tables of raters and metrics."""

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cardsynth.evaluation.similarity.agreement import (
    RankCorrelation,
    RaterAgreement,
    correlations,
    rater_agreement,
    sign_of,
)
from cardsynth.util.files import write_atomically
from cardsynth.util.tables import csv_bytes

COLUMNS = ("pair", "first", "second", "rater", "rating")


class RatingError(ValueError):
    """Ratings cannot be read or saved; the message names the file, the line, the fault and the remedy."""


@dataclass(frozen=True)
class Pair:
    """Two pictures to compare, by file name, and the name of the pair."""

    name: str
    first: str
    second: str


@dataclass(frozen=True)
class Rating:
    """The similarity of the two pictures of a pair, rated by one person."""

    pair: Pair
    rater: str
    value: float


@dataclass(frozen=True, eq=False)
class RatingTable:
    """Pairs with their ratings and metrics.

    Attributes:
        pairs: The pairs.
        ratings: One row per pair, one column per rater; NaN marks a missing rating.
        metrics: One row per pair, one column per metric.
    """

    pairs: tuple[Pair, ...]
    ratings: pd.DataFrame
    metrics: pd.DataFrame

    @property
    def people(self) -> np.ndarray:
        """Mean rating of each pair, float64 (N,); NaN if nobody rated it."""
        return self.ratings.mean(axis=1).to_numpy(float)

    def agreement(self) -> RaterAgreement:
        """Returns the agreement of the raters.

        Raises:
            ValueError: As for `agreement.rater_agreement`.
        """
        return rater_agreement(self.ratings.to_numpy(float).T)

    def correlations(self) -> list[RankCorrelation]:
        """Returns the rank correlation of each metric with the mean ratings, over the rated pairs.

        Raises:
            ValueError: As for `agreement.rank_correlation`.
        """
        rated = ~np.isnan(self.people)
        return correlations(self.metrics[rated], self.people[rated])

    def take(self, indices: Sequence[int]) -> "RatingTable":
        """Returns a table of some of the pairs, by index."""
        ratings, metrics = (frame.iloc[indices].reset_index(drop=True) for frame in (self.ratings, self.metrics))
        return RatingTable(tuple(self.pairs[index] for index in indices), ratings, metrics)


def tabulate(
    ratings: Iterable[Rating], pairs: Sequence[Pair], metrics: Mapping[str, Sequence[float]] | None = None
) -> RatingTable:
    """Arranges ratings and metrics of the same pairs as a table.

    Args:
        ratings: Ratings of these pairs.
        pairs: The pairs.
        metrics: Values of each metric, (N,), by name.

    Raises:
        RatingError: A rating is of another pair, a rater rated a pair twice, or a metric has another number of values.
    """
    row_of = {pair: row for row, pair in enumerate(pairs)}
    table: dict[str, list[float]] = {}
    for rating in ratings:
        if rating.pair not in row_of:
            raise RatingError(f"{rating.rater} rated {rating.pair}, which is none of the {len(pairs)} pairs")
        column, row = table.setdefault(rating.rater, [math.nan] * len(pairs)), row_of[rating.pair]
        if not math.isnan(column[row]):
            raise RatingError(f"{rating.rater} rated pair {rating.pair.name!r} twice; remove one rating")
        column[row] = rating.value
    for name, values in (metrics or {}).items():
        if len(values) != len(pairs):
            raise RatingError(f"{name} has {len(values)} values for {len(pairs)} pairs; give one for each")
    return RatingTable(tuple(pairs), *(pd.DataFrame(columns or {}, range(len(pairs))) for columns in (table, metrics)))


def read_ratings(source: str | Path) -> list[Rating]:
    """Reads ratings with the columns pair, first, second, rater and rating.

    Args:
        source: A CSV file, or a folder of CSV files.

    Raises:
        RatingError: A file cannot be read, a rating is not a number, a pair has different pictures in different rows,
            or a rater rated a pair twice.
    """
    files = sorted(Path(source).glob("[!.]*.csv")) if Path(source).is_dir() else [Path(source)]
    pairs: dict[str, Pair] = {}
    ratings: dict[tuple[str, str], Rating] = {}
    for line, row in (row for path in files for row in _rows(path, COLUMNS)):
        pair, rater = Pair(row["pair"], row["first"], row["second"]), row["rater"]
        if pairs.setdefault(pair.name, pair) != pair:
            raise RatingError(f"{line}: pair {pair.name!r} has other pictures than before; give it another name")
        if (pair.name, rater) in ratings:
            raise RatingError(f"{line}: {rater} rated pair {pair.name!r} before; remove one rating")
        ratings[pair.name, rater] = Rating(pair, rater, _number(line, "rating", row["rating"]))
    return list(ratings.values())


def write_ratings(path: str | Path, ratings: Iterable[Rating], overwrite: bool = False) -> bytes:
    """Writes ratings atomically as a CSV file for `read_ratings`.

    Args:
        path: Path of the file.
        ratings: Ratings, one per row.
        overwrite: Whether an existing file may be replaced.

    Returns:
        The contents of the file.

    Raises:
        RatingError: The file exists and `overwrite` is false.
    """
    if Path(path).exists() and not overwrite:
        raise RatingError(f"{path} exists already; choose another file, or overwrite")
    rows = []
    for rating in ratings:
        pair, value = rating.pair, float(rating.value)
        cells = (pair.name, pair.first, pair.second, rating.rater, int(value) if value.is_integer() else value)
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    content = csv_bytes(COLUMNS, rows)
    write_atomically(Path(path), content)
    return content


def read_table(path: str | Path, raters: Sequence[str] | None = None) -> RatingTable:
    """Reads a wide table: one row per pair, columns `first`, `second`, optionally `pair`, raters and metrics.

    An empty cell is a missing rating. Columns that are not raters are metrics; their names tell distances from
    similarities (see `agreement.sign_of`).

    Args:
        path: Path of the CSV file.
        raters: Columns of ratings; by default those whose names begin with `rater`.

    Raises:
        RatingError: The file cannot be read, or a column is neither a rater nor a known metric.
    """
    path = Path(path)
    rows = list(_rows(path, ("first", "second")))
    if not rows:
        raise RatingError(f"{path}: contains no pairs")
    columns = [name for name in rows[0][1] if name not in ("pair", "first", "second")]
    raters = [name for name in columns if name.startswith("rater")] if raters is None else list(raters)
    if missing := sorted(set(raters) - set(columns)):
        raise RatingError(f"{path}: has no column {', '.join(missing)}; it has {', '.join(columns)}")
    metrics = [name for name in columns if name not in raters]
    try:
        for name in metrics:
            sign_of(name)
    except ValueError as error:
        raise RatingError(f"{path}: {error}; or name the columns of raters") from error
    pairs = tuple(
        Pair(row.get("pair") or f"{row['first']}-{row['second']}", row["first"], row["second"]) for _, row in rows
    )
    for index, (line, _) in enumerate(rows):
        if pairs[index] in pairs[:index]:
            raise RatingError(f"{line}: this pair occurs twice; remove one row")

    def frame(names: Sequence[str], optional: bool) -> pd.DataFrame:
        values = {name: [_number(line, name, row[name], optional) for line, row in rows] for name in names}
        return pd.DataFrame(values, range(len(rows)))

    return RatingTable(pairs, frame(raters, optional=True), frame(metrics, optional=False))


def _rows(path: Path, required: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the location and the cells of each row; the required columns exist and have no empty cells."""
    try:
        reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""), strict=True)
    except OSError as error:
        raise RatingError(f"{path}: cannot be read ({error.strerror or error}); name a CSV file of ratings") from error
    except UnicodeDecodeError as error:
        raise RatingError(f"{path}: is not UTF-8 text; save the file as CSV in UTF-8") from error
    try:
        reader.fieldnames = names = [name.strip() for name in reader.fieldnames or ()]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise RatingError(f"{path}: has two columns {', '.join(repeated)}; rename one of them")
        if missing := [name for name in required if name not in names]:
            raise RatingError(f"{path}: has no column {', '.join(missing)}; its first line is {','.join(names)!r}")
        for row in reader:
            line = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise RatingError(f"{line}: differs from the first line in the number of cells; quote text with commas")
            cells = {name: cell.strip() for name, cell in row.items()}
            if empty := [name for name in required if not cells[name]]:
                raise RatingError(f"{line}: {', '.join(empty)} is empty; fill it in or remove the line")
            yield line, cells
    except csv.Error as error:
        raise RatingError(f"{path}, line {reader.line_num}: is not CSV ({error}); correct or remove it") from error


def _number(line: str, name: str, text: str, optional: bool = False) -> float:
    if optional and not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise RatingError(f"{line}: {name} is {text!r}; write it as a number")
    return value
