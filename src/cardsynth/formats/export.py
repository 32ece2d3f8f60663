"""Exports a card folder as a data set for training detectors: COCO, YOLO, Pascal VOC, masks or Parquet."""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from tqdm.auto import tqdm

from cardsynth.cards.folder import CardError, CardFile
from cardsynth.cards.reading import some_cards
from cardsynth.cards.splits import SHARES, SPLITS, groups_of, split_cards
from cardsynth.formats.coco_yolo import Segmentation, write_coco, write_yolo
from cardsynth.formats.instances import AnnotatedCard, Rules, annotate_card
from cardsynth.formats.items import Item, is_portable, require_masks, write_text
from cardsynth.formats.voc import write_masks, write_voc
from cardsynth.util.files import replace_folder
from cardsynth.util.processes import results_in_order

Format = Literal["coco", "yolo", "yolo-segment", "voc", "masks", "hub"]

RECORD = "export.json"  # how an exported folder was made; only a folder that has it is overwritten


@dataclass(frozen=True)
class Summary:
    """What was exported.

    Attributes:
        cards: Number of cards by split.
        groups: Number of groups by split.
        damages: Number of damages by split and category.
        notes: What the user should know.
    """

    cards: dict[str, int]
    groups: dict[str, int]
    damages: dict[str, dict[str, int]]
    notes: tuple[str, ...]

    def text(self) -> str:
        """Returns one line for each split, then the notes."""
        lines = []
        for split, count in self.cards.items():
            damages = ", ".join(f"{name} {number}" for name, number in self.damages[split].items() if number) or "none"
            lines.append(f"{split:>6} {count:6d} cards in {self.groups[split]} groups; damages: {damages}")
        return "\n".join([*lines, *self.notes])


def export_cards(
    folder: str | Path,
    out: str | Path,
    form: Format,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    pattern: str | None = None,
    rules: Rules | None = None,
    categories: Sequence[str] = (),
    segmentation: Segmentation = "polygons",
    overwrite: bool = False,
) -> Summary:
    """Exports the cards of a folder into a new folder.

    All cards are read before anything is written; `out` is then built under a temporary name and renamed. Pictures are
    copied byte for byte. Those that other tools would decode differently (EXIF rotation, transparency, palette, 16
    bits) become upright RGB PNG.

    Args:
        folder: Card folder.
        out: Folder to write.
        form: Format of the data set.
        shares: Shares of training, validation and test cards, see `splits.split_groups`.
        seed: Seed of the splits.
        pattern: Regular expression that groups cards by their names, see `splits.groups_of`.
        rules: What counts as one damage.
        categories: Names of all categories, in order; default: those of the damages, sorted.
        segmentation: How COCO stores masks.
        overwrite: Replace `out` if it is an export.

    Returns:
        Counts by split, and notes.

    Raises:
        CardError: If the folder has no cards, a card cannot be read or its damage is unknown, `categories` lacks a
            category, or `out` exists (unless `overwrite` and it is an export).
    """
    folder, out, rules = Path(folder), Path(out).absolute(), rules or Rules()
    _check_out(folder, out, overwrite)
    if not folder.is_dir():
        raise CardError(f"{folder} is no folder; give the folder that the cards are in")
    cards = some_cards(folder)
    if repeated := [name for name, count in Counter(card.name for card in cards).items() if count > 1]:
        raise CardError(f"{repeated[0]} has several rows in the metadata of {folder}; remove all but one")
    groups, parts = groups_of(cards, pattern), split_cards(cards, shares, seed, pattern)
    split_of = {index: split for split, indices in parts.items() for index in indices}
    items = []
    for index, (annotated, stem) in enumerate(zip(_annotate(cards, rules), _stems(cards), strict=True)):
        copied = is_portable(annotated.card.image)
        suffix = annotated.card.image.suffix.lower() if copied else ".png"
        items.append(Item(annotated, split_of[index], stem, suffix, groups[index], copied))
    categories = _categories(items, categories, folder)
    if form in ("yolo-segment", "masks"):
        require_masks(items, form)
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _write(form, temporary, items, categories, segmentation, out.name)
        record = {"format": form, "cards": folder.resolve().name, "shares": list(shares), "seed": seed}
        record |= {"group_by": pattern, **asdict(rules), "categories": categories}
        record["splits"] = {
            split: {item.name: item.annotated.card.name for item in items if item.split == split} for split in parts
        }
        write_text(temporary / RECORD, json.dumps(record, ensure_ascii=False, indent=1) + "\n")
        replace_folder(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _summary(items, categories, rules, pattern)


def _check_out(folder: Path, out: Path, overwrite: bool) -> None:
    source, target = folder.resolve(), out.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise CardError(f"{folder} and {out} lie in each other; choose folders beside each other")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise CardError(f"{out} exists already; choose another folder, or overwrite")
    if not (out / RECORD).is_file():
        raise CardError(f"{out} has no {RECORD}, so it was not exported and is not overwritten; choose another folder")


def _annotate(cards: Sequence[CardFile], rules: Rules) -> list[AnnotatedCard]:
    """Reads all cards; raises the first error and counts the others."""
    results = results_in_order(partial(_card_or_error, rules=rules), cards, os.cpu_count() or 1, threads=True)
    results = list(tqdm(results, "Reading cards", len(cards), unit="card", leave=False))
    if errors := [result for result in results if isinstance(result, CardError)]:
        more = f" ({len(errors) - 1} more of {len(cards)} cards cannot be exported either)" if len(errors) > 1 else ""
        raise CardError(f"{errors[0]}{more}") from errors[0]
    return results


def _card_or_error(card: CardFile, rules: Rules) -> AnnotatedCard | CardError:
    try:
        return annotate_card(card, rules)
    except CardError as error:
        return error


def _stems(cards: Sequence[CardFile]) -> Iterator[str]:
    """Yields a file name without suffix for each card, from its folders and name; a number makes it unique."""
    used: set[str] = set()
    for card in cards:
        path = PurePosixPath(card.name.removeprefix("images/")).with_suffix("")
        base = stem = "_".join(part for part in path.parts if part not in ("/", ".."))
        number = 1
        while stem.casefold() in used:
            number += 1
            stem = f"{base}_{number}"
        used.add(stem.casefold())
        yield stem


def _categories(items: Sequence[Item], names: Sequence[str], folder: Path) -> list[str]:
    present = sorted({instance.category for item in items for instance in item.annotated.instances})
    if missing := [name for name in present if names and name not in names]:
        raise CardError(f"{folder} has damage of {', '.join(missing)} too; name all categories, in order")
    if not present and not names:
        raise CardError(f"no card of {folder} has a damage that is large enough, so there are no categories; name them")
    return list(dict.fromkeys(names)) or present


def _write(
    form: Format, folder: Path, items: Sequence[Item], categories: list[str], segmentation: Segmentation, title: str
) -> None:
    if form == "coco":
        write_coco(folder, items, categories, segmentation)
    elif form in ("yolo", "yolo-segment"):
        write_yolo(folder, items, categories, segment=form == "yolo-segment")
    elif form == "voc":
        write_voc(folder, items)
    elif form == "masks":
        write_masks(folder, items, categories)
    elif form == "hub":
        from cardsynth.formats.parquet import write_parquet

        write_parquet(folder, items, categories, title)
    else:
        raise CardError(f"there is no format {form!r}; choose coco, yolo, yolo-segment, voc, masks or hub")


def _summary(items: Sequence[Item], categories: Sequence[str], rules: Rules, pattern: str | None) -> Summary:
    cards = [item.annotated for item in items]
    unmarked = [card for card in cards if not card.instances and card.card.label not in rules.undamaged]
    ungrouped = [card for card in cards if pattern is not None and not re.search(pattern, card.card.name)]
    counted = {
        f"damages of fewer than {rules.least_area} pixels were dropped": sum(card.dropped for card in cards),
        "cards that are not labelled undamaged have no damage: images without annotations": len(unmarked),
        "cards labelled undamaged have damage marked, which was left out": sum(card.contradicted for card in cards),
        "pictures became PNG: other tools would decode them differently": sum(not item.copied for item in items),
        f"cards have names in which {pattern!r} is not found, so it groups them with none": len(ungrouped),
    }
    notes = [f"{count} {text}" for text, count in counted.items() if count]
    by_split = {split: part for split in SPLITS if (part := [item for item in items if item.split == split])}
    damages = {split: dict.fromkeys(categories, 0) for split in by_split}
    for item in items:
        for instance in item.annotated.instances:
            damages[item.split][instance.category] += 1
    for split, counts in damages.items():
        if missing := [name for name, count in counts.items() if not count]:
            notes.append(f"{split} has no {', '.join(missing)}: too few groups of cards show it")
    groups = {split: len({item.group for item in part}) for split, part in by_split.items()}
    return Summary({split: len(part) for split, part in by_split.items()}, groups, damages, tuple(notes))
