"""Turns a folder of scanner pages into a card folder, a review folder and contact sheets, page by page."""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from cardsynth.cards.fitting import encode_png, read_image
from cardsynth.cards.folder import IMAGE_SUFFIXES, REPORT_FOLDER, CardError, CardFile, CardWriter, find_cards
from cardsynth.scans.find import CARD_ASPECT, FoundCard, find_cards_on_page, turned_over
from cardsynth.scans.journal import Journal, forget_cards
from cardsynth.scans.outlines import cv2
from cardsynth.scans.sheets import draw_page, write_sheets
from cardsynth.scans.straighten import CARD_SIZE, boxes_on_card, rectify, rectify_mask
from cardsynth.scans.upright import SURE, reading_direction
from cardsynth.util.files import write_atomically
from cardsynth.util.processes import results_in_order

JOURNAL = "pages.jsonl"


@dataclass(frozen=True)
class ScanSettings:
    """How pages are read.

    Attributes:
        size: (height, width) of a straightened card.
        aspect: Long side over short side of a card.
        confidence: Confidence from which a card goes to the card folder, 0 to 1.
        review: Confidence from which a card goes to the review folder; outlines below it are rejected.
    """

    size: tuple[int, int] = CARD_SIZE
    aspect: float = CARD_ASPECT
    confidence: float = 0.6
    review: float = 0.3


@dataclass
class ScanSummary:
    """The result of reading a folder of pages.

    Attributes:
        pages: Number of pages.
        done: Pages that an earlier run finished.
        cards: Cards in the card folder.
        review: Cards in the review folder.
        empty: Pages without cards.
        turned: Cards that were upside down and were turned over.
        broken: One message for each page that could not be read.
        left_out: Pictures beside class folders, which are not pages.
    """

    pages: int = 0
    done: int = 0
    cards: int = 0
    review: int = 0
    empty: int = 0
    turned: int = 0
    broken: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def text(self) -> str:
        """Returns a line of counts, then a line for each broken page and each picture left out."""
        counts = f"{self.pages} pages ({self.done} done before): {self.cards} cards, {self.review} to review, "
        counts += f"{self.empty} pages without cards, {self.turned} cards turned from upside down"
        broken = [f"Not read: {message}" for message in self.broken]
        return "\n".join([counts, *broken, *(f"Left out, as it lies beside class folders: {p}" for p in self.left_out)])


@dataclass(frozen=True)
class EncodedCard:
    """A card ready to be written: its metadata row, PNG, mask PNG, and whether it goes to the card folder."""

    is_sure: bool
    row: dict[str, Any]
    image: bytes
    mask: bytes | None


def scan_pages(
    pages: str | Path,
    out: str | Path,
    review: str | Path | None = None,
    settings: ScanSettings | None = None,
    workers: int | None = None,
    overwrite: bool = False,
) -> ScanSummary:
    """Finds, straightens and crops the cards of a folder of pages; an interrupted run resumes.

    Pages may lie in class folders or have metadata, as cards do. Masks beside them, and boxes in `objects` of their
    rows, are transformed with the cards. Broken pages are reported and skipped. A journal and contact sheets are
    written to `out`/report.

    Args:
        pages: Folder of pages.
        out: Card folder for cards of high confidence.
        review: Card folder for cards of lower confidence; default: `out` with the suffix `_review`.
        settings: How pages are read.
        workers: Number of processes; 1 reads in this process; default: one for each core.
        overwrite: Read all pages again and replace their cards.

    Returns:
        Counts and messages.

    Raises:
        CardError: If there are no pages, if one folder lies in another, if `out` was begun with other settings, or if
            files would be overwritten; the last two unless `overwrite`.
    """
    pages, out = Path(pages), Path(out)
    review = Path(review) if review else out.with_name(f"{out.name}_review")
    settings = settings or ScanSettings()
    files = _page_files(pages)
    _check_apart(pages, out, review)
    journal, stems = Journal(out / REPORT_FOLDER / JOURNAL, asdict(settings), overwrite), _stems(files)
    begun, done = set(journal.rows), journal.done
    remaining = [file for file in files if file.name not in done]
    summary = ScanSummary(pages=len(files), done=len(files) - len(remaining), left_out=_strays(pages, files))
    for folder in (out, review):
        forget_cards(folder, {file.name for file in remaining} & begun)
    pictures = {file.name: out / REPORT_FOLDER / "pages" / f"{stems[file.name]}.png" for file in files}
    with ExitStack() as stack:
        writers: dict[Path, CardWriter] = {}
        workers = workers or max(1, min(os.cpu_count() or 1, len(remaining)))
        jobs = [(file, stems[file.name]) for file in remaining]
        results = results_in_order(partial(_read_page, settings=settings), jobs, workers, start=_use_one_thread)
        stack.callback(results.close)
        for file, page in zip(remaining, tqdm(results, "Reading pages", len(remaining), unit="page"), strict=True):
            if isinstance(page, str):
                summary.broken.append(page)
                continue
            cards, picture = page
            if not overwrite and file.name not in begun:
                _check_free(cards, out, review)
            journal.write(file.name, "begun")
            for card in cards:
                folder = out if card.is_sure else review
                if folder not in writers:
                    writers[folder] = stack.enter_context(CardWriter(folder, overwrite=True))
                writers[folder].add(card.row, card.image, card.mask)
            write_atomically(pictures[file.name], picture)
            sure = sum(card.is_sure for card in cards)
            turned = sum(card.row["orientation"] == "turned" for card in cards)
            journal.write(file.name, "done", cards=sure, review=len(cards) - sure, turned=turned)
    rows = [row for file in files if (row := journal.rows.get(file.name)) and row["state"] == "done"]
    for count in ("cards", "review", "turned"):
        setattr(summary, count, sum(row[count] for row in rows))
    summary.empty = sum(row["cards"] + row["review"] == 0 for row in rows)
    drawn = [(row["page"], pictures[row["page"]]) for row in rows if pictures[row["page"]].is_file()]
    write_sheets(drawn, out / REPORT_FOLDER)
    return summary


def _page_files(pages: Path) -> list[CardFile]:
    if not pages.is_dir():
        raise CardError(f"{pages} is no folder; give the folder that the pages are in")
    files = find_cards(pages)
    if not files:
        raise CardError(f"{pages} holds no pictures; give a folder of JPEG, PNG or TIFF pages")
    return files


def _check_apart(pages: Path, out: Path, review: Path) -> None:
    """Raises CardError if two of the folders are the same, or one lies in another."""
    folders = [folder.resolve() for folder in (pages, out, review)]
    if any(a == b or a in b.parents for i, a in enumerate(folders) for b in folders[:i] + folders[i + 1 :]):
        raise CardError(f"{pages}, {out} and {review} lie in each other; choose folders beside each other")


def _strays(pages: Path, files: list[CardFile]) -> list[str]:
    """Lists pictures that lie beside class folders, and so are not pages."""
    images = {file.image for file in files}
    loose = (path for folder in (pages, pages / "images") for path in sorted(folder.glob("*")))
    return [str(path) for path in loose if path.suffix.lower() in IMAGE_SUFFIXES and path not in images]


def _stems(files: list[CardFile]) -> dict[str, str]:
    """Names the cards of each page after its path without suffix; pages that differ in the suffix alone keep it."""
    paths = {file.name: Path(file.name.removeprefix("images/")) for file in files}
    count = Counter(path.with_suffix("") for path in paths.values())
    return {
        name: path.with_suffix("").as_posix() + (f"_{path.suffix[1:]}" if count[path.with_suffix("")] > 1 else "")
        for name, path in paths.items()
    }


def _check_free(cards: Sequence[EncodedCard], out: Path, review: Path) -> None:
    """Raises CardError if a file of these cards exists."""
    for card in cards:
        names = [card.row["file_name"], *([card.row["mask_file_name"]] if card.mask else [])]
        for path in ((out if card.is_sure else review) / name for name in names):
            if path.exists():
                raise CardError(f"{path} exists already; choose another folder, or overwrite")


def _use_one_thread() -> None:
    cv2.setNumThreads(1)


def _read_page(job: tuple[CardFile, str], settings: ScanSettings) -> tuple[list[EncodedCard], bytes] | str:
    """Returns a page's cards and the PNG of its outlines, or a message if the page or its mask cannot be read."""
    file, stem = job
    try:
        page = np.asarray(read_image(file.image))
        mask = np.asarray(read_image(file.mask).convert("L")) if file.mask else None
        if mask is not None and mask.shape != page.shape[:2]:
            sizes = "x".join(map(str, mask.shape)), "x".join(map(str, page.shape[:2]))
            raise CardError(f"{file.mask} measures {sizes[0]} and its page {sizes[1]}; save both at one size")
    except CardError as error:
        return str(error)
    cards: list[EncodedCard] = []
    outlines = []
    for outline in find_cards_on_page(page, settings.aspect, min_confidence=0):
        number = ""
        if outline.confidence >= settings.review:
            number = str(len(cards) + 1)
            cards.append(_encode_card(page, mask, file, f"{stem}_{number}.png", settings, outline))
        outlines.append((outline, number))
    return cards, draw_page(page, outlines, settings.confidence, settings.review)


def _encode_card(
    page: np.ndarray, mask: np.ndarray | None, file: CardFile, name: str, settings: ScanSettings, card: FoundCard
) -> EncodedCard:
    picture = rectify(page, card.corners, settings.size)
    direction = reading_direction(picture)
    orientation = "upright" if direction.confidence >= SURE else "unsure"
    if direction.upside_down and orientation == "upright":
        orientation = "turned"
        card, picture = turned_over(card), np.ascontiguousarray(picture[::-1, ::-1])
    row: dict[str, Any] = {"file_name": name}
    if mask is not None:
        row["mask_file_name"] = f"masks/{name}"
    if file.label is not None:
        row["label"] = file.label
    row |= {
        "page": file.name,
        "corners": card.corners.round(2).tolist(),
        "angle": round(card.angle, 2),
        "confidence": round(card.confidence, 3),
        "reason": card.reason,
        "orientation": orientation,
        "orientation_confidence": round(direction.confidence, 3),
    }
    if objects := (file.row or {}).get("objects"):
        boxes = boxes_on_card(objects["bbox"], card.corners, settings.size)
        row["objects"] = {"bbox": [box for _, box in boxes]}
        for key in objects.keys() - {"bbox"}:
            row["objects"][key] = [objects[key][index] for index, _ in boxes]
    card_mask = None if mask is None else encode_png(rectify_mask(mask, card.corners, settings.size))
    return EncodedCard(card.confidence >= settings.confidence, row, encode_png(picture), card_mask)
