"""Folders of scanner pages turned into a card folder, a review folder and contact sheets, page by page."""

import os
from collections import Counter
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
LEAST_CONFIDENCE = 0.6


@dataclass(frozen=True)
class ScanSettings:
    """How pages are read: card size (height, width), long over short side, and the confidences of a card.

    From `confidence` on a card goes to the card folder, from `review` on to the review folder; less is no card.
    """

    size: tuple[int, int] = CARD_SIZE
    aspect: float = CARD_ASPECT
    confidence: float = LEAST_CONFIDENCE
    review: float = 0.3


@dataclass
class ScanSummary:
    """What became of the pages: counts, pages `done` before, messages of `broken` pages, pictures `left_out`."""

    pages: int = 0
    done: int = 0
    cards: int = 0
    review: int = 0
    empty: int = 0
    turned: int = 0
    broken: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def text(self) -> str:
        """One line of counts, then a line for each broken page."""
        counts = f"{self.pages} pages ({self.done} done before): {self.cards} cards, {self.review} to review, "
        counts += f"{self.empty} pages without cards, {self.turned} cards turned from upside down"
        strays = [f"Left out, since it lies beside class folders: {name}" for name in self.left_out]
        return "\n".join([counts, *(f"Not read: {message}" for message in self.broken), *strays])


@dataclass(frozen=True)
class ReadPage:
    """A page's cards, encoded: (whether sure, row, PNG, PNG of the mask or None) each; its picture with outlines."""

    cards: list[tuple[bool, dict[str, Any], bytes, bytes | None]]
    picture: bytes


def scan_pages(
    pages: str | Path,
    out: str | Path,
    review: str | Path | None = None,
    settings: ScanSettings | None = None,
    workers: int | None = None,
    overwrite: bool = False,
) -> ScanSummary:
    """Turn a folder of pages into the card folder `out`; unsure cards go to the folder `review`, by default OUT_review.

    Pages are read as cards are: class folders or metadata, masks beside them, and boxes in `objects` travel with the
    cards. Pages done before are left out, broken ones reported and passed over. `out`/report holds the journal and
    contact sheets. workers: processes; 1 reads in this one, None is one a core. Raises CardError for a folder without
    pages, for other settings than those of a begun folder, and where files would be overwritten, unless `overwrite`.
    """
    pages, out = Path(pages), Path(out)
    review = Path(review) if review else out.with_name(f"{out.name}_review")
    settings = settings or ScanSettings()
    if not pages.is_dir():
        raise CardError(f"{pages} is no folder; give the folder that the pages are in")
    files = find_cards(pages)
    if not files:
        raise CardError(f"{pages} holds no pictures; give a folder of JPEG, PNG or TIFF pages")
    folders = [folder.resolve() for folder in (pages, out, review)]
    if any(a == b or a in b.parents for i, a in enumerate(folders) for b in folders[:i] + folders[i + 1 :]):
        raise CardError(f"{pages}, {out} and {review} lie in each other; choose folders beside each other")
    journal = Journal(out / REPORT_FOLDER / JOURNAL, asdict(settings), overwrite)
    stems = _stems(files)
    todo = [file for file in files if file.name not in journal.done]
    summary = ScanSummary(pages=len(files), done=len(files) - len(todo), left_out=_strays(pages, files))
    for folder in (out, review):
        forget_cards(folder, {file.name for file in todo} & journal.begun)
    with ExitStack() as stack:
        writers: dict[Path, CardWriter] = {}
        if workers is None:
            workers = max(1, min(os.cpu_count() or 1, len(todo)))
        jobs = [(file, stems[file.name]) for file in todo]
        results = results_in_order(partial(_read, settings=settings), jobs, workers, start=_use_one_thread)
        stack.callback(results.close)
        for file, page in zip(todo, tqdm(results, "Reading pages", len(todo), unit="page"), strict=True):
            if isinstance(page, str):
                summary.broken.append(page)
                continue
            _check_free(page, out, review, overwrite or file.name in journal.begun)
            journal.write(file.name, "begun")
            for sure, row, image, mask in page.cards:
                folder = out if sure else review
                if folder not in writers:
                    writers[folder] = stack.enter_context(CardWriter(folder, overwrite=True))
                writers[folder].add(row, image, mask)
            write_atomically(_picture_of(out, stems[file.name]), page.picture)
            counts = Counter(sure for sure, *_ in page.cards)
            turned = sum(row["orientation"] == "turned" for _, row, *_ in page.cards)
            journal.write(file.name, "done", cards=counts[True], review=counts[False], turned=turned)
    rows = [journal.done[file.name] for file in files if file.name in journal.done]
    summary.cards, summary.review, summary.turned = (
        sum(row[key] for row in rows) for key in ("cards", "review", "turned")
    )
    summary.empty = sum(row["cards"] + row["review"] == 0 for row in rows)
    pictures = [(file.name, _picture_of(out, stems[file.name])) for file in files if file.name in journal.done]
    write_sheets([item for item in pictures if item[1].is_file()], out / REPORT_FOLDER)
    return summary


def _picture_of(out: Path, stem: str) -> Path:
    return out / REPORT_FOLDER / "pages" / f"{stem}.png"


def _strays(pages: Path, files: list[CardFile]) -> list[str]:
    """Pictures that lie loose beside class folders, and so are not taken for pages."""
    read = {file.image for file in files}
    loose = (path for folder in (pages, pages / "images") for path in sorted(folder.glob("*")))
    return [str(path) for path in loose if path.suffix.lower() in IMAGE_SUFFIXES and path not in read]


def _stems(files: list[CardFile]) -> dict[str, str]:
    """What the cards of each page are named after: its path without suffix, or with it where two pages share one."""
    paths = {file.name: Path(file.name.removeprefix("images/")) for file in files}
    count = Counter(path.with_suffix("") for path in paths.values())
    return {
        name: path.with_suffix("").as_posix() + (f"_{path.suffix[1:]}" if count[path.with_suffix("")] > 1 else "")
        for name, path in paths.items()
    }


def _check_free(page: ReadPage, out: Path, review: Path, may_replace: bool) -> None:
    for sure, row, _, mask in page.cards:
        for name in (row["file_name"], row["mask_file_name"] if mask else None):
            path = (out if sure else review) / name if name else None
            if path and path.exists() and not may_replace:
                raise CardError(f"{path} exists already; choose another folder, or overwrite")


def _use_one_thread() -> None:
    cv2.setNumThreads(1)


def _read(job: tuple[CardFile, str], settings: ScanSettings) -> ReadPage | str:
    return read_page(*job, settings)


def read_page(file: CardFile, stem: str, settings: ScanSettings) -> ReadPage | str:
    """The cards of a page, encoded, with their rows; the message where the page or its mask cannot be read."""
    try:
        page = np.asarray(read_image(file.image))
        mask = np.asarray(read_image(file.mask).convert("L")) if file.mask else None
        if mask is not None and mask.shape != page.shape[:2]:
            sizes = "x".join(map(str, mask.shape)), "x".join(map(str, page.shape[:2]))
            raise CardError(f"{file.mask} measures {sizes[0]} and its page {sizes[1]}; save both at one size")
    except CardError as error:
        return str(error)
    looked_at = find_cards_on_page(page, settings.aspect, least=0)
    encode = partial(_encode_card, page, mask, file, stem, settings)
    cards, drawn = [], []
    for card in looked_at:
        if card.confidence < settings.review:
            drawn.append((card, ""))
            continue
        number = len(cards) + 1
        cards.append(encode(card, number))
        drawn.append((card, str(number)))
    return ReadPage(cards, draw_page(page, drawn, settings.confidence, settings.review))


def _encode_card(
    page: np.ndarray,
    mask: np.ndarray | None,
    file: CardFile,
    stem: str,
    settings: ScanSettings,
    card: FoundCard,
    number: int,
) -> tuple[bool, dict[str, Any], bytes, bytes | None]:
    picture = rectify(page, card.corners, settings.size)
    direction = reading_direction(picture)
    turned = direction.upside_down and direction.confidence >= SURE
    if turned:
        card, picture = turned_over(card), np.ascontiguousarray(picture[::-1, ::-1])
    orientation = "turned" if turned else "upright" if direction.confidence >= SURE else "unsure"
    name = f"{stem}_{number}.png"
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
    objects = (file.row or {}).get("objects")
    if objects:
        boxes = boxes_on_card(objects["bbox"], card.corners, settings.size)
        row["objects"] = {"bbox": [box for _, box in boxes]}
        for key in objects.keys() - {"bbox"}:
            row["objects"][key] = [objects[key][index] for index, _ in boxes]
    marked = None if mask is None else encode_png(rectify_mask(mask, card.corners, settings.size))
    return card.confidence >= settings.confidence, row, encode_png(picture), marked
