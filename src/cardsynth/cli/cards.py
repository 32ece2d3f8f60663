"""Commands of cards: drawn, checked, found on scanner pages, exported for detectors."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from cardsynth.cards.labels import CLASSES, EXTRA_CLASSES
from cardsynth.cli.options import SIZE_HELP, Text, parse_range, parse_shares, parse_size


def render(
    out: Annotated[Path, Text(help="Folder to write the card folder to.")],
    count: Annotated[int, Text(help="Number of cards.")] = 100,
    size: Annotated[str, SIZE_HELP] = "160x128",
    seed: Annotated[int, Text(help="First seed; card i has seed + i.")] = 0,
    classes: Annotated[
        tuple[str, ...], Text(help=f"Damage classes, drawn in turn; also: {', '.join(EXTRA_CLASSES)}.")
    ] = CLASSES,
    style: Annotated[tuple[str, ...], Text(help="Styles to draw: layouts, stocks and inks.")] = ("a", "b", "c"),
    damages: Annotated[str, Text(help="Damages on a damaged card, like 2 or 1-3; the first is of its class.")] = "1",
    others: Annotated[tuple[str, ...], Text(help="Kinds of damage to draw all but the first from.")] = EXTRA_CLASSES,
    severity: Annotated[float, Text(help="Factor of damage's size and darkness, 0.25 to 2.")] = 1.0,
    soft_masks: Annotated[bool, Text(help="Write soft masks too: how much damage lies on each pixel.")] = False,
    twins: Annotated[bool, Text(help="Write each card's undamaged twin too.")] = False,
    workers: Annotated[int | None, Text(help="Processes; default: one for each core.")] = None,
    overwrite: Annotated[bool, Text(help="Replace pictures that are there.")] = False,
) -> None:
    """Draw card backs with damage and exact masks into a card folder."""
    from cardsynth.render.draw import render_cards

    how = {"damages": parse_range(damages), "severity": severity, "others": others}
    files = {"overwrite": overwrite, "soft_masks": soft_masks, "twins": twins}
    render_cards(out, count, parse_size(size), seed, classes, workers, styles=style, **how, **files)
    print(f"{count} cards are in {out}")


def check(
    folder: Annotated[tyro.conf.Positional[Path], Text(help="A card folder, or a folder of scans.")],
    labels: Annotated[tuple[str, ...], Text(help="Classes that there should be; others are reported.")] = (),
    captions: Annotated[bool, Text(help="Check captions too: missing, empty, too long, one of several cards.")] = False,
) -> None:
    """List every problem of a card folder, with its remedy; exit code 1 where there are errors."""
    from cardsynth.cards.check import check_folder
    from cardsynth.text.captions import captions_of, check_captions

    report = check_folder(folder, labels)
    if captions:
        report.problems.extend(check_captions(captions_of(folder)))
    print(report.text())
    if not report.ok:
        sys.exit(1)


def scans(
    pages: Annotated[
        tyro.conf.Positional[Path], Text(help="Folder of scanner pages or photos; classes as sub-folders.")
    ],
    out: Annotated[Path, Text(help="Card folder to write.")],
    review: Annotated[Path | None, Text(help="Folder for unsure cards; default: OUT_review.")] = None,
    size: Annotated[str, SIZE_HELP] = "700x500",
    aspect: Annotated[float, Text(help="Long over short side of a card.")] = 1.4,
    confidence: Annotated[float, Text(help="Confidence from which a card is sure.")] = 0.6,
    workers: Annotated[int | None, Text(help="Processes; default: one for each core.")] = None,
    overwrite: Annotated[bool, Text(help="Read all pages anew and replace their cards.")] = False,
) -> None:
    """Find, straighten and crop the cards of scanner pages; goes on where it was stopped."""
    from cardsynth.scans.pages import ScanSettings, scan_pages

    settings = ScanSettings(parse_size(size), aspect, confidence, min(0.3, confidence))
    summary = scan_pages(pages, out, review, settings, workers, overwrite)
    print(f"{summary.text()}\nCards are in {out}; see its contact sheets in {out / 'report'}")
    if summary.broken:
        sys.exit(1)


def export(
    cards: Annotated[Path, Text(help="Card folder.")],
    out: Annotated[Path, Text(help="Folder to write.")],
    format: Annotated[
        Literal["coco", "yolo", "yolo-segment", "voc", "masks", "hub"],
        Text(help="yolo: boxes; yolo-segment: polygons; masks: PNG of indices; hub: Parquet, for load_dataset."),
    ],
    shares: Annotated[
        str, Text(help="Shares of training, validation and test cards; 0,0,1 for test cards alone.")
    ] = "0.8,0.1,0.1",
    group_by: Annotated[
        str | None, Text(metavar="REGEX", help="Cards for which its first group finds the same text stay together.")
    ] = None,
    seed: Annotated[int, Text(help="Seed of the splits.")] = 0,
    least_area: Annotated[int, Text(help="Pixels that a damage has at least; smaller ones are dropped.")] = 4,
    undamaged: Annotated[tuple[str, ...], Text(help="Classes of cards without damage.")] = ("CLEAN",),
    one_object: Annotated[tuple[str, ...], Text(help="Categories all of whose parts on a card are one object.")] = (
        "FULL_CARD",
    ),
    categories: Annotated[
        tuple[str, ...],
        Text(help="Categories in order, so that several exports number them alike; default: those found."),
    ] = (),
    segmentation: Annotated[
        Literal["polygons", "rle"], Text(help="How COCO holds masks; both are exact.")
    ] = "polygons",
    overwrite: Annotated[bool, Text(help="Replace an export that is there.")] = False,
) -> None:
    """Write a card folder as COCO, YOLO, Pascal VOC, masks or a Hub data set, in training, validation and test splits.

    Cards of one group (row), source, drawn print or generated seed stay in one split.
    """
    from cardsynth.formats.export import export_cards
    from cardsynth.formats.instances import Rules

    rules = Rules(least_area, undamaged, one_object)
    how = {"categories": categories, "segmentation": segmentation, "overwrite": overwrite}
    summary = export_cards(cards, out, format, parse_shares(shares), seed, group_by, rules, **how)
    print(f"{summary.text()}\nThe data set is in {out}")
