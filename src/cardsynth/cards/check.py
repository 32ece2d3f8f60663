"""Checks a card folder: lists every problem with file name, reason and remedy."""

import os
import re
import unicodedata
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from cardsynth.cards.faults import Level, Problem, ReportProblem, Size, is_inside, look_at, report_error
from cardsynth.cards.folder import (
    COMPANIONS,
    IMAGE_SUFFIXES,
    NAME_ONE,
    OF_FOLDERS,
    REPORT_FOLDER,
    CardError,
    CardFile,
    card_of_row,
    card_root,
    find_pictures,
    inner_card_folders,
    is_gathering,
    metadata_file,
    parse_metadata,
)
from cardsynth.cards.numbers import darkness_of

UNREAD_SUFFIXES = {".avif", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".pdf", ".psd"}
MIXED_SHAPES = 1.1  # ratio of the slimmest to the squarest picture above which fitting crops or pads a tenth and more


@dataclass(frozen=True)
class Report:
    """The contents and problems of a card folder.

    Attributes:
        folder: the folder.
        cards: number of cards.
        sizes: number of readable pictures of each (height, width).
        classes: number of cards of each class.
        masks: number of cards with a mask.
        problems: all problems, errors first.
    """

    folder: Path
    cards: int
    sizes: Counter[Size]
    classes: dict[str, int]
    masks: int
    problems: list[Problem]

    @property
    def ok(self) -> bool:
        """Whether the folder has no errors; warnings are allowed."""
        return not any(problem.level == "error" for problem in self.problems)

    def text(self) -> str:
        """Counts, class balance, sizes and orientations, then one line per problem."""
        lines = [f"{self.folder}: {self.cards} cards, {self.masks} with a mask"]
        for label, count in Counter(self.classes).most_common():
            rare = "   rare: under a third of the largest class" if count * 3 < max(self.classes.values()) else ""
            lines.append(f"{label:>16} {count:6d} {count / self.cards:6.1%}{rare}")
        if self.sizes:
            common = [f"{height}x{width} ({count})" for (height, width), count in self.sizes.most_common(5)]
            more = f" and {len(self.sizes) - 5} more" if len(self.sizes) > 5 else ""
            turns = Counter(_orientation(size) for size in self.sizes.elements())
            lines.append(f"Sizes, height x width: {', '.join(common)}{more}")
            lines.append(f"Orientation: {', '.join(f'{count} {turn}' for turn, count in turns.most_common())}")
        levels = Counter(problem.level for problem in self.problems)
        counted = [f"{levels[level]} {level}{'s' * (levels[level] > 1)}" for level in sorted(levels)]
        lines.append(f"Problems: {', '.join(counted) or 'none'}")
        lines += [f"{p.level:>9}  {p.file}: {p.reason}; {p.remedy}" for p in self.problems]
        return "\n".join(_printable(line) for line in lines)


def check_folder(folder: str | Path, known_labels: Sequence[str] = ()) -> Report:
    """Lists every problem of a card folder; reads all pictures.

    Args:
        folder: the card folder.
        known_labels: the allowed classes; other labels are errors. Empty: all are allowed.

    Raises:
        CardError: there is no such folder.
    """
    folder, problems = Path(folder), set()
    if not folder.is_dir():
        raise CardError(f"{folder} is no folder; check the path")

    def report(level: Level, path: Path, reason: str, remedy: str) -> None:
        name = path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
        problems.add(Problem(level, name, reason, remedy))

    root = card_root(folder)
    metadata = metadata_file(root)
    cards = find_pictures(root) if metadata is None else _read_rows(metadata, report)
    if metadata is None and (inner := inner_card_folders(root)):
        report("error", root, OF_FOLDERS, f"{NAME_ONE}, as {inner[0]}")
    pictures = list(_walk(root, report))
    _check_strays(cards, pictures, root, folder, metadata, report)
    _check_names({*pictures, *(card.image for card in cards)}, folder, report)
    _check_labels(cards, known_labels, report)
    masked = any(card.mask for card in cards)
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = pool.map(lambda card: look_at(card, folder, masked, report), cards)
        looks = list(tqdm(looks, "Checking cards", len(cards), unit="card", leave=False))
    readable = [(card, *look) for card, look in zip(cards, looks, strict=True) if look]
    _check_duplicates(readable, report)
    _check_shapes({card.image: size for card, size, _ in readable}, folder, report)
    return Report(
        folder=folder,
        cards=len(cards),
        sizes=Counter(size for _, size, _ in readable),
        classes=dict(sorted(Counter(card.label for card in cards if card.label is not None).items())),
        masks=sum(card.mask is not None for card in cards),
        problems=sorted(problems, key=lambda p: (p.level, p.file, p.reason)),
    )


def _read_rows(metadata: Path, report: ReportProblem) -> list[CardFile]:
    cards: dict[str, CardFile] = {}
    lines: dict[str, int] = {}
    for number, row in parse_metadata(metadata):
        if isinstance(row, CardError):
            report_error(row, metadata, report)
            continue
        card = card_of_row(metadata.parent, row)
        if row.get("darkness") not in (None, "") and darkness_of(row) is None:
            reason = f"has a darkness of {row['darkness']!r}, so that it is unknown"
            report("warning", card.image, reason, "write grey levels, 0 to 255, or remove it")
        key = os.path.normpath(card.image)
        if key in cards:
            reason = f"lines {lines[key]} and {number} of {metadata.name} are both rows of it"
            report("error", card.image, reason, "remove one of them")
        cards.setdefault(key, card)
        lines.setdefault(key, number)
    return list(cards.values())


def _walk(root: Path, report: ReportProblem) -> Iterator[Path]:
    """Yields the pictures of the folder, links included; reports files that look like pictures and are not read."""

    def unreadable(error: OSError) -> None:
        report("error", Path(error.filename), f"cannot be opened ({error.strerror})", "mend its permissions")

    for where, folders, files in os.walk(root, onerror=unreadable):
        here = Path(where)
        folders[:] = sorted(name for name in folders if name[0] != "." and here / name != root / REPORT_FOLDER)
        for name in folders:
            if (here / name).is_symlink():
                report("error", here / name, "is a link to a folder, which is not read", "copy the folder in its place")
        for path in (here / name for name in sorted(files)):
            suffix = path.suffix.lower()
            if path.name.startswith(".") and suffix == ".tmp":
                report("warning", path, "was left by an interrupted write", "delete it")
            elif path.name.startswith("."):
                continue
            elif suffix in UNREAD_SUFFIXES:
                report("warning", path, f"is not read: {suffix} is none of the formats", "save it as PNG or JPEG")
            elif suffix in IMAGE_SUFFIXES:
                yield path


def _check_strays(
    cards: list[CardFile], pictures: list[Path], root: Path, folder: Path, metadata: Path | None, report: ReportProblem
) -> None:
    used = {os.path.normpath(path) for card in cards for path in (card.image, card.mask, *card.others) if path}
    for path in pictures:
        if os.path.normpath(path) in used or (path.is_symlink() and not is_inside(path, folder, report)):
            continue
        if path.relative_to(root).parts[0] in COMPANIONS:
            report("warning", path, "is a mask or twin without a card", "add its card, or remove it")
        elif metadata:
            report("warning", path, f"has no row in {metadata.name}, so it is not read", "add a row, or remove it")
        elif (root / "images").is_dir() and not path.is_relative_to(root / "images"):
            report("warning", path, "lies beside images/, so it is not read", "move it into images/, or remove it")
        elif not any(is_gathering(parent) for parent in path.relative_to(root).parents):
            reason = "has no label where other cards have one, so it is not read"
            report("warning", path, reason, "move it into the folder of its class")


def _check_names(paths: set[Path], folder: Path, report: ReportProblem) -> None:
    first: dict[str, Path] = {}
    for path in sorted(paths):
        other = first.setdefault(unicodedata.normalize("NFC", str(path)).casefold(), path)
        if other != path:
            reason = (
                f"has the name of {other.name} but for case or Unicode form; on Windows and macOS they are one file"
            )
            report("warning", path, reason, "rename one of them")


def _check_labels(cards: list[CardFile], known_labels: Sequence[str], report: ReportProblem) -> None:
    cards_of = defaultdict(list)
    for card in cards:
        cards_of[card.label].append(card)
    for card in cards_of.pop(None, []) if len(cards_of) > 1 else []:
        report("error", card.image, "has no label where other cards have one", "add its label")
    spellings = defaultdict(list)
    for label in sorted(filter(None, cards_of), key=lambda label: -len(cards_of[label])):
        if known_labels and label not in known_labels:
            for card in cards_of[label]:
                reason = f"label {label!r} is none of {', '.join(known_labels)}"
                report("error", card.image, reason, "mend the label, or name it among the known ones")
        else:
            spellings[re.sub(r"[\s_-]", "", label).casefold()].append(label)
    for usual, *others in spellings.values():
        for label in others:
            reason = f"label {label!r} is {usual!r} but for case or spaces ({len(cards_of[label])} such cards)"
            report("warning", cards_of[label][0].image, reason, "write one class one way")


def _check_duplicates(readable: list[tuple[CardFile, Size, bytes]], report: ReportProblem) -> None:
    first: dict[bytes, CardFile] = {}
    for card, _, digest in readable:
        other = first.setdefault(digest, card)
        if other.label != card.label:
            reason = f"is the same picture as {other.name}, with the label {card.label} and not {other.label}"
            report("error", card.image, reason, "keep the one whose label is right")
        elif other is not card:
            report("warning", card.image, f"is the same picture as {other.name}", "remove one of them")


def _check_shapes(sizes: dict[Path, Size], folder: Path, report: ReportProblem) -> None:
    if len(sizes) < 2:
        report("error", folder, f"has {len(sizes)} readable pictures, and training needs two", "add pictures")
    turns = Counter(map(_orientation, sizes.values()))
    if turns["portrait"] and turns["landscape"]:
        odd, usual = sorted(("landscape", "portrait"), key=lambda turn: turns[turn])
        for path in (path for path, size in sizes.items() if _orientation(size) == odd):
            reason = f"is {odd} among {usual} pictures; landscape is turned a quarter to portrait"
            report("warning", path, reason, "turn it upright")
    shapes = [max(size) / min(size) for size in sizes.values()]
    if shapes and max(shapes) > MIXED_SHAPES * min(shapes):
        reason = f"has mixed shapes (long over short side is {min(shapes):.2f} to {max(shapes):.2f}), which are cropped"
        report("warning", folder, reason, "crop the scans alike, or train with --fit pad")


def _orientation(size: Size) -> str:
    height, width = size
    return "portrait" if height > width else "landscape" if width > height else "square"


def _printable(line: str) -> str:
    """Escapes control characters and what cannot be encoded: file names may hold anything."""
    return "".join(c if c.isprintable() or c == " " else c.encode("unicode_escape").decode() for c in line)
