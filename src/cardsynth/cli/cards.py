"""Commands of card folders: render, scans, check and export."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cardsynth.cards.labels import CLASSES, EXTRA_CLASSES
from cardsynth.cli.options import FLAT, GROUP_BY, OVERWRITE, SIZE, WORKERS, parse_range, parse_shares, parse_size
from cardsynth.util.settings import about

FORMAT = tyro.conf.arg(
    name="format", help="yolo: boxes; yolo-segment: polygons; masks: PNG of indices; hub: Parquet, for load_dataset."
)


@dataclass(frozen=True)
class RenderOptions:
    """Options of `render` that are passed on to `render_cards`."""

    styles: Annotated[tuple[str, ...], tyro.conf.arg(name="style", help="Layouts, stocks, inks.")] = ("a", "b", "c")
    others: Annotated[tuple[str, ...], about("Kinds of damage that follow the first one.")] = EXTRA_CLASSES
    severity: Annotated[float, about("Factor of the size and darkness of damage, 0.25 to 2.")] = 1.0
    soft_masks: Annotated[bool, about("Write soft masks too: the strength of damage on each pixel.")] = False
    twins: Annotated[bool, about("Write the undamaged twin of each card too.")] = False
    workers: Annotated[int | None, WORKERS] = None
    overwrite: Annotated[bool, OVERWRITE] = False


def render(
    out: Annotated[Path, about("Card folder to write.")],
    count: Annotated[int, about("Number of cards.")] = 100,
    size: Annotated[str, SIZE] = "160x128",
    seed: Annotated[int, about("First seed; card i has seed + i.")] = 0,
    classes: Annotated[tuple[str, ...], about(f"Damage classes; also: {', '.join(EXTRA_CLASSES)}.")] = CLASSES,
    damages: Annotated[str, about("Damages on a damaged card, like 2 or 1-3; the first is of its class.")] = "1",
    options: Annotated[RenderOptions, FLAT] = RenderOptions(),
) -> None:
    """Draw card backs with damage and exact masks into a card folder."""
    from cardsynth.render.draw import render_cards

    render_cards(out, count, parse_size(size), seed, classes, damages=parse_range(damages), **vars(options))
    print(f"{count} cards are in {out}")


def check(
    folder: Annotated[tyro.conf.Positional[Path], about("A card folder, or a folder of scans; also --data.")],
    labels: Annotated[tuple[str, ...], about("Expected classes; others are reported.")] = (),
    captions: Annotated[bool, about("Check captions too: missing, empty, too long, or shared by cards.")] = False,
) -> None:
    """List every problem of a card folder, with its remedy; the exit code is 1 if there are errors."""
    from cardsynth.cards.check import check_folder

    report = check_folder(folder, labels)
    if captions:
        from cardsynth.text.captions import captions_of, check_captions

        report.problems.extend(check_captions(captions_of(folder)))
    print(report.text())
    if not report.ok:
        sys.exit(1)


def scans(
    pages: Annotated[tyro.conf.Positional[Path], about("Folder of pages or photos, or of class folders; also --data.")],
    out: Annotated[Path, about("Card folder to write.")],
    review: Annotated[Path | None, about("Folder for uncertain cards; default: OUT_review.")] = None,
    size: Annotated[str, SIZE] = "700x500",
    aspect: Annotated[float, about("Long side over short side of a card.")] = 1.4,
    confidence: Annotated[float, about("Cards below this confidence are uncertain, 0 to 1.")] = 0.6,
    workers: Annotated[int | None, WORKERS] = None,
    overwrite: Annotated[bool, about("Read all pages again and replace their cards.")] = False,
) -> None:
    """Find, straighten and crop the cards of scanner pages; resumes where it stopped."""
    from cardsynth.scans.pages import ScanSettings, scan_pages

    settings = ScanSettings(parse_size(size), aspect, confidence, min(0.3, confidence))
    summary = scan_pages(pages, out, review, settings, workers, overwrite)
    print(f"{summary.text()}\nCards are in {out}; contact sheets in {out / 'report'}")
    if summary.broken:
        sys.exit(1)


def export(
    data: Annotated[Path, about("Card folder.")],
    out: Annotated[Path, about("Folder to write.")],
    layout: Annotated[Literal["coco", "yolo", "yolo-segment", "voc", "masks", "hub"], FORMAT],
    shares: Annotated[str, about("Shares of training, validation and test cards.")] = "0.8,0.1,0.1",
    group_by: Annotated[str | None, GROUP_BY] = None,
    seed: Annotated[int, about("Seed of the splits.")] = 0,
    least_area: Annotated[int, about("Minimum area of a damage in pixels; smaller ones are dropped.")] = 4,
    undamaged: Annotated[tuple[str, ...], about("Classes of cards without damage.")] = ("CLEAN",),
    one_object: Annotated[tuple[str, ...], about("Categories whose parts on a card form one object.")] = ("FULL_CARD",),
    categories: Annotated[tuple[str, ...], about("Categories by number; default: those of the cards.")] = (),
    segmentation: Annotated[Literal["polygons", "rle"], about("Masks in COCO; both are exact.")] = "polygons",
    overwrite: Annotated[bool, about("Replace an existing export.")] = False,
) -> None:
    """Write a card folder as COCO, YOLO, Pascal VOC, masks or a Hub data set, split for training, validation and test.

    Cards of one group (row), source, drawn print or generated seed stay in one split.
    """
    from cardsynth.formats.export import export_cards
    from cardsynth.formats.instances import Rules

    rules = Rules(least_area, undamaged, one_object)
    settings = (parse_shares(shares), seed, group_by, rules, categories, segmentation, overwrite)
    summary = export_cards(data, out, layout, *settings)
    print(f"{summary.text()}\nThe data set is in {out}")
