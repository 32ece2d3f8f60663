"""Invented players: names, teams, consistent statistics, and sentences for the back of a card.

The words are in `words.toml`.
"""

import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

WORDS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))
# Columns of the table by its width, for "batter" and "pitcher".
COLUMNS: dict[str, dict[str, list[str]]] = WORDS["columns"]
Table = Sequence[Sequence[str]]


class Season(NamedTuple):
    """One season: the year of the century, the town of the club, and counts by column."""

    year: int
    town: str
    counts: dict[str, int]


@dataclass(frozen=True)
class Player:
    """An invented player: everything that is printed about him on the back of a card.

    Attributes:
        team: Nickname of the team.
        town: Town of the current club.
        home: Home town.
        vitals: HT, WT, BATS, THROWS and BORN: height, weight, batting and throwing hand, and date of birth.
        seasons: First season first. Counts are G AB R H 2B 3B HR RBI for batters, G IP W L H ER SO BB for pitchers.
    """

    first: str
    last: str
    team: str
    town: str
    home: str
    position: str
    number: int
    vitals: dict[str, str]
    sentences: tuple[str, ...]
    doodle: str
    trivia: tuple[str, str]
    seasons: tuple[Season, ...]

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"

    @property
    def club(self) -> str:
        """Town and nickname of the club."""
        return f"{self.town} {self.team}"

    @property
    def role(self) -> str:
        """Team and position."""
        return f"{self.team} - {self.position}"

    def vitals_line(self, *labels: str) -> str:
        """Joins the vitals with these labels, or all of them, in one line."""
        return "   ".join(f"{label} {self.vitals[label]}" for label in labels or self.vitals)

    def table(self, width: str) -> Table:
        """Sets the statistics as rows of text, head first and totals last.

        Args:
            width: A key of COLUMNS: full, middle or narrow.
        """
        names = COLUMNS[width]["pitcher" if self.position == "Pitcher" else "batter"]
        rows = [names]
        for year, town, counts in self.seasons:
            season = (f"19{year}", town) if names[0] == "YEAR" else (f"{year}", town[:3].upper())
            rows.append((*season, *_cells(counts, names[2:])))
        totals = {name: sum(season.counts[name] for season in self.seasons) for name in self.seasons[0].counts}
        return (*rows, ("TOTALS", "", *_cells(totals, names[2:])))


def _cells(counts: dict[str, int], names: Sequence[str]) -> list[str]:
    ratios = {
        "AVG": lambda: f"{counts['H'] / counts['AB']:.3f}".lstrip("0"),
        "ERA": lambda: f"{9 * counts['ER'] / counts['IP']:.2f}",
    }
    return [ratios[name]() if name in ratios else str(counts[name]) for name in names]


def _batting(rng: random.Random, skill: float) -> dict[str, int]:
    """Invents one season of a batter; `skill` is his expected batting average."""
    games = rng.randrange(60, 160)
    at_bats = int(games * rng.uniform(2.6, 4.0))
    hits = int(at_bats * rng.gauss(skill, 0.018))
    home_runs = int(hits * rng.uniform(0.02, 0.16))
    return {
        "G": games,
        "AB": at_bats,
        "R": int(hits * rng.uniform(0.4, 0.6)),
        "H": hits,
        "2B": int(hits * rng.uniform(0.11, 0.21)),
        "3B": int(hits * rng.uniform(0.0, 0.05)),
        "HR": home_runs,
        "RBI": home_runs + int(hits * rng.uniform(0.25, 0.45)),
    }


def _pitching(rng: random.Random, skill: float) -> dict[str, int]:
    """Invents one season of a pitcher; `skill` is on the scale of a batting average."""
    games = rng.randrange(18, 48)
    innings = int(games * rng.uniform(3.0, 6.2))
    decisions = int(innings / rng.uniform(8.5, 11.5))
    wins = min(decisions, max(0, round(decisions * rng.gauss(0.36 + skill / 2, 0.1))))
    return {
        "G": games,
        "IP": innings,
        "W": wins,
        "L": decisions - wins,
        "H": int(innings * rng.uniform(0.8, 1.05)),
        "ER": int(innings * rng.gauss(0.62 - skill, 0.05)),
        "SO": int(innings * rng.uniform(0.45, 0.9)),
        "BB": int(innings * rng.uniform(0.25, 0.48)),
    }


def invent_name(rng: random.Random) -> tuple[str, str]:
    """Invents a first and a last name."""
    return rng.choice(WORDS["first_names"]), rng.choice(WORDS["surname_heads"]) + rng.choice(WORDS["surname_tails"])


def invent_player(rng: random.Random, decade: int, seasons: int) -> Player:
    """Invents a player with `seasons` plausible seasons, the last of them in the given decade (1950 to 1980)."""
    first, last = invent_name(rng)
    home, town = rng.choice(WORDS["towns"]), rng.choice(WORDS["towns"])
    team, position = rng.choice(WORDS["nicknames"]), rng.choice(WORDS["positions"])
    pitches = position == "Pitcher"
    year = decade - 1900 + rng.randrange(10)
    skill = rng.uniform(0.23, 0.32)
    career = []
    for season in range(seasons):
        if rng.random() < 0.12:  # he changed clubs
            town = rng.choice(WORDS["towns"])
        career.append(Season(year - seasons + season, town, (_pitching if pitches else _batting)(rng, skill)))
    best = max(career, key=lambda season: season.counts["W"] if pitches else season.counts["H"] / season.counts["AB"])
    feet, inches = divmod(rng.randrange(67, 78), 12)
    birth = year - seasons - rng.randrange(19, 25)
    facts = {"first": first, "last": last, "team": team, "home": home, "year": best.year, **best.counts}
    if not pitches:
        facts["AVG"] = _cells(best.counts, ("AVG",))[0]
    sentences = rng.sample(WORDS["sentences"], 9)
    for index, text in enumerate(rng.sample(WORDS["pitcher_sentences" if pitches else "batter_sentences"], 3)):
        sentences.insert(2 * index + 1, text)
    return Player(
        first=first,
        last=last,
        team=team,
        town=town,
        home=home,
        position=position,
        number=rng.randrange(1, 661),
        vitals={
            "HT": f"{feet}-{inches}",
            "WT": str(rng.randrange(155, 225)),
            "BATS": rng.choice("RRL"),
            "THROWS": rng.choice("RRL"),
            "BORN": f"{rng.randrange(1, 13)}-{rng.randrange(1, 29)}-{birth}",
        },
        sentences=tuple(text.format(**facts) for text in sentences),
        doodle=rng.choice(WORDS["doodles"]),
        trivia=tuple(rng.choice(WORDS["trivia"])),
        seasons=tuple(career),
    )
