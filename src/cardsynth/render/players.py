"""Invented players: names, teams, figures that add up, and the sentences that the back of a card says about them."""

import random
from dataclasses import dataclass

FIRST_NAMES = (
    "Abner Bix Clem Dov Egan Fitz Gil Hob Ike Jory Kip Lute Milo Ned Orrin Pike Quin Rafe Sully Tobe Ugo Vern Wick Zeb"
)
NAME_HEADS = "Bram Corl Dun Ferr Gand Hask Jarr Kell Lomb Mard Norr Pell Quar Rusk Stad Tarn Vand Wex Yarr Zell"
NAME_TAILS = "aby ander berg dock ero field ginski hew inello jack kin low moor nardo ock pool quist rove sby tino wick"
TOWNS = "Ansel Brackwater Cobbleton Dunmere Eastlow Farrow Grindell Harrowgate Inkwell Kestrel Lowmoor Marlbank"
NICKNAMES = "Anvils Badgers Comets Drovers Foundrymen Herons Kites Lamplighters Otters Ploughmen Quarrymen Weavers"
POSITIONS = "Pitcher Catcher Shortstop Outfield"
SENTENCES = (
    "{last} joined the {team} after two strong summers in the lower leagues.",
    "{last} came to camp without a contract and left it as a regular.",
    "Off the field {first} restores old radios and keeps bees.",
    "The {team} count on his quick glove and his good humor.",
    "He learned the game on a farm field near {home}.",
    "Once walked nine miles through snow to reach spring training.",
    "Came to the {team} in a trade for two players and cash.",
    "Signed with the {team} out of high school.",
    "Spends his winters as a carpenter in {home}.",
    "Two of his brothers played in the same league.",
    "Has never missed a team bus.",
    "{first} led all rookies in assists.",
    "Plays the cornet.",
    "Works best in light rain.",
)
BATTER_SENTENCES = (
    "In 19{best} {last} hit {average} with {home_runs} home runs, the finest of his seasons.",
    "A steady hand at the plate, he led the club in doubles last season.",
    "{first} hit safely in nineteen games running and took it calmly.",
    "His throw from deep center ended the longest game of the year.",
)
PITCHER_SENTENCES = (
    "In 19{best} {last} won {wins} games and struck out {strikeouts}, the finest of his seasons.",
    "His slow curve has puzzled the best hitters of the circuit.",
    "{first} walked only four men in all of last September.",
    "He went the full nine innings three times in eight days.",
)
DOODLES = (
    "Keeps bees in winter.",
    "Runs for the early train!",
    "Can whistle any tune.",
    "Likes a long fly ball.",
    "Mends clocks at home.",
    "Sings in a quartet.",
    "Once raised prize geese.",
    "Sleeps with his glove.",
)
TRIVIA = (
    ("How far is it from home plate to second base?", "127 feet, 3 inches."),
    ("How many stitches are in a baseball?", "One hundred and eight."),
    ("How many outs are in a full inning?", "Six, three for each side."),
    ("What is a 'can of corn'?", "An easy fly ball."),
    ("Which club is called the 'River Boys'?", "The Brackwater Otters."),
    ("Who won 31 games for the Kites in 1947?", "Lute Haskero."),
    ("What does a 'cup of coffee' mean?", "A short stay in the majors."),
    ("How wide is home plate?", "Seventeen inches."),
    ("Where is the oldest park of the league?", "In Harrowgate."),
)
# The columns of a table by its width, for batters and for pitchers.
COLUMNS = {
    "full": (("YEAR", "CLUB", "G", "AB", "R", "H", "2B", "3B", "HR", "RBI", "AVG"),
             ("YEAR", "CLUB", "G", "IP", "W", "L", "H", "ER", "SO", "BB", "ERA")),
    "middle": (("YR", "CLUB", "G", "AB", "R", "H", "HR", "RBI", "AVG"),
               ("YR", "CLUB", "G", "IP", "W", "L", "SO", "BB", "ERA")),
    "narrow": (("YR", "CLUB", "G", "AB", "H", "HR", "AVG"), ("YR", "CLUB", "G", "W", "L", "SO", "ERA")),
}  # fmt: skip
Table = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Player:
    """An invented player: everything the back of a card says about him.

    `seasons` are (year of the century, town of the club, counts by column), first season first. Counts are whole
    numbers: G AB R H 2B 3B HR RBI for batters; G IP W L H ER SO BB for pitchers.
    """

    first: str
    last: str
    team: str
    town: str
    home: str
    position: str
    number: int
    height: str
    weight: int
    bats: str
    throws: str
    born: str
    sentences: tuple[str, ...]
    doodle: str
    trivia: tuple[str, str]
    seasons: tuple[tuple[int, str, dict[str, int]], ...]

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"

    @property
    def vitals(self) -> tuple[tuple[str, str], ...]:
        """Height, weight, hands and birth as pairs of (label, value)."""
        return (
            ("HT", self.height),
            ("WT", str(self.weight)),
            ("BATS", self.bats),
            ("THROWS", self.throws),
            ("BORN", self.born),
        )

    @property
    def vitals_line(self) -> str:
        """The vitals in one line."""
        return "   ".join(f"{label} {value}" for label, value in self.vitals)

    def table(self, width: str) -> Table:
        """The statistics as rows of text, head first, totals last; `width` is full, middle or narrow."""
        names = COLUMNS[width][self.position == "Pitcher"]
        rows = [names]
        for year, club, counts in self.seasons:
            place = (f"19{year}", club) if names[0] == "YEAR" else (f"{year}", club[:3].upper())
            rows.append((*place, *_cells(counts, names[2:])))
        totals = {name: sum(counts[name] for _, _, counts in self.seasons) for name in self.seasons[0][2]}
        return (*rows, ("TOTALS", "", *_cells(totals, names[2:])))


def _cells(counts: dict[str, int], names: tuple[str, ...]) -> list[str]:
    shares = {
        "AVG": lambda: f"{counts['H'] / counts['AB']:.3f}".lstrip("0"),
        "ERA": lambda: f"{9 * counts['ER'] / counts['IP']:.2f}",
    }
    return [shares[name]() if name in shares else str(counts[name]) for name in names]


def _batting(rng: random.Random, skill: float) -> dict[str, int]:
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
    """Invent a first and a last name."""
    return rng.choice(FIRST_NAMES.split()), rng.choice(NAME_HEADS.split()) + rng.choice(NAME_TAILS.split())


def invent_player(rng: random.Random, decade: int, seasons: int) -> Player:
    """Invent a player with `seasons` plausible seasons that end in the given decade (1950 to 1980)."""
    first, last = invent_name(rng)
    home, club = rng.choice(TOWNS.split()), rng.choice(TOWNS.split())
    team, position = rng.choice(NICKNAMES.split()), rng.choice(POSITIONS.split())
    year = decade - 1900 + rng.randrange(10)
    skill = rng.uniform(0.23, 0.32)
    lines = []
    for season in range(seasons):
        if rng.random() < 0.12:
            club = rng.choice(TOWNS.split())
        counts = (_pitching if position == "Pitcher" else _batting)(rng, skill)
        lines.append((year - seasons + season, club, counts))
    best_year, _, best = max(lines, key=lambda line: line[2]["W"] if "W" in line[2] else line[2]["H"] / line[2]["AB"])
    feet, inches = divmod(rng.randrange(67, 78), 12)
    birth = year - seasons - rng.randrange(19, 25)
    facts = {
        "first": first, "last": last, "team": team, "home": home, "best": best_year,
        "average": _cells({"AB": 1, **best}, ("AVG",))[0], "home_runs": best.get("HR"),
        "wins": best.get("W"), "strikeouts": best.get("SO"),
    }  # fmt: skip
    own = PITCHER_SENTENCES if position == "Pitcher" else BATTER_SENTENCES
    sentences = rng.sample(SENTENCES, 9)
    for place, text in enumerate(rng.sample(own, 3)):
        sentences.insert(2 * place + 1, text)
    return Player(
        first=first,
        last=last,
        team=team,
        town=club,
        home=home,
        position=position,
        number=rng.randrange(1, 661),
        height=f"{feet}-{inches}",
        weight=rng.randrange(155, 225),
        bats=rng.choice("RRL"),
        throws=rng.choice("RRL"),
        born=f"{rng.randrange(1, 13)}-{rng.randrange(1, 29)}-{birth}",
        sentences=tuple(text.format(**facts) for text in sentences),
        doodle=rng.choice(DOODLES),
        trivia=rng.choice(TRIVIA),
        seasons=tuple(lines),
    )
