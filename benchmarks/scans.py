"""Measures `cardsynth scans` on pages composed from drawn cards and on pages without any; prints and writes a table."""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from render_speed import machine_name
from scan_pages import GROUNDS, Page, compose_page, empty_page

from cardsynth.cards.folder import read_metadata
from cardsynth.scans.find import angle_of
from cardsynth.scans.pages import scan_pages

PAGE_SIZE = (3508, 2480)  # A4 at 300 dots an inch
EMPTY_SIZE = (1754, 1240)
FIRST_SEED = 20_000  # the finder was tuned on seeds below 1,000
COUNTS = (1, 4, 9)
FOUND = 0.1  # of the card's width: mean distance of the corners up to which a card counts as found
TARGETS = {
    "cards found, %": "98",
    "corner error, median, % of width": "1",
    "corner error, 95th percentile, % of width": "3",
    "angle error, median, degrees": "0.3",
    "false cards on pages without any": "0",
    "false cards to review on pages without any": "",
    "false cards beside cards": "",
    "cards to review, %": "",
    "way up told, %": "",
    "way up told right, % of told": "",
    "pages a second": "2",
}


def write_page(page: Page, path: Path) -> None:
    """Save a page as a scanner does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(page.image).save(path, quality=95)


def rows_by_page(folder: Path) -> dict[str, list[dict]]:
    """Metadata rows of a card folder, by the page that they come from."""
    rows: dict[str, list[dict]] = {}
    if (folder / "metadata.jsonl").is_file():
        for row in read_metadata(folder / "metadata.jsonl"):
            rows.setdefault(row["page"], []).append(row)
    return rows


def match(corners: np.ndarray, rows: list[dict]) -> tuple[dict, np.ndarray, bool] | None:
    """The row of a true card, the distance of each corner in card widths, and whether it stands on its head."""
    width = np.linalg.norm(corners[1] - corners[0])
    best = None
    for row in rows:
        for turned in (False, True):
            distances = np.linalg.norm(np.roll(row["corners"], 2 * turned, axis=0) - corners, axis=1) / width
            if distances.mean() < FOUND and (best is None or distances.mean() < best[1].mean()):
                best = row, distances, turned
    return best


def measure(pages: int, empty: int, workers: int, folder: Path) -> dict:
    """All figures, by the names of `TARGETS`, and cards found by ground."""
    truth = {}
    for index in range(pages):
        ground = GROUNDS[index // len(COUNTS) % len(GROUNDS)]
        page = compose_page(FIRST_SEED + index, PAGE_SIZE, COUNTS[index % len(COUNTS)], ground)
        truth[f"{index:03d}.jpg"] = ground, page.corners
        write_page(page, folder / "pages" / f"{index:03d}.jpg")
    start = time.perf_counter()
    scan_pages(folder / "pages", folder / "cards", workers=workers)
    seconds = time.perf_counter() - start
    sure, unsure = rows_by_page(folder / "cards"), rows_by_page(folder / "cards_review")
    distances, angles, review, told, right, by_ground = [], [], 0, 0, 0, {ground: [0, 0] for ground in GROUNDS}
    for name, (ground, cards) in truth.items():
        for corners in cards:
            found = match(corners, sure.get(name, []))
            by_ground[ground][0] += found is not None
            by_ground[ground][1] += 1
            if not found:
                review += match(corners, unsure.get(name, [])) is not None
                continue
            row, distance, turned = found
            distances += list(distance)
            off = angle_of(np.array(row["corners"])) - angle_of(corners)
            angles.append(abs((off + 90) % 180 - 90))
            told += row["orientation"] != "unsure"
            right += row["orientation"] != "unsure" and not turned
    for index in range(empty):
        write_page(empty_page(FIRST_SEED + index, EMPTY_SIZE), folder / "empty" / f"{index:03d}.jpg")
    nothing = scan_pages(folder / "empty", folder / "none", workers=workers)
    count = sum(total for _, total in by_ground.values())
    figures = (
        100 * len(angles) / count,
        100 * np.median(distances),
        100 * np.percentile(distances, 95),
        np.median(angles),
        nothing.cards,
        nothing.review,
        sum(map(len, sure.values())) - len(angles),
        100 * review / count,
        100 * told / len(angles),
        100 * right / max(told, 1),
        pages / seconds,
    )
    named = {name: round(float(figure), 3) for name, figure in zip(TARGETS, figures, strict=True)}
    return {"cards": count, **named, "found by ground": {ground: f"{a} of {b}" for ground, (a, b) in by_ground.items()}}


def main() -> None:
    """Measure, print the table, and write it as JSON and Markdown where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=48, help="pages of 1, 4 and 9 cards, in turn")
    parser.add_argument("--empty", type=int, default=80, help="pages without cards")
    parser.add_argument("--out", type=Path, metavar="STEM", help="also write STEM.json and STEM.md")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep pages, cards and contact sheets here")
    arguments = parser.parse_args()
    workers = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as temporary:
        figures = measure(arguments.pages, arguments.empty, workers, arguments.keep or Path(temporary))
    machine = f"{machine_name()}, {workers} workers, Python {platform.python_version()}, OpenCV {cv2.__version__}"
    lines = [
        "# Cards found on composed pages",
        "",
        f"`python benchmarks/scans.py`: {figures['cards']} cards on {arguments.pages} pages of 3508x2480 (1, 4 or 9 a"
        f" page; white lid, black, wood, grey felt; up to 30 degrees; shadow, noise, blur, JPEG; every fourth page as a"
        f" phone sees it), and {arguments.empty} pages of 1754x1240 without cards. Pages are written as JPEG and read"
        f" by `cardsynth scans`. {machine}.",
        "",
        "| what | measured | target |",
        "| --- | --- | --- |",
        *(f"| {name} | {figures[name]:g} | {target} |" for name, target in TARGETS.items()),
        *(f"| found on {ground} | {found} | |" for ground, found in figures["found by ground"].items()),
    ]
    print("\n".join(lines))
    if arguments.out:
        result = {"machine": machine, "pages": arguments.pages, "empty pages": arguments.empty, **figures}
        arguments.out.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        arguments.out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
