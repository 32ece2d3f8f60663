"""A card folder turned into a data set that detectors are trained with: COCO, YOLO, Pascal VOC, masks, the Hub's."""

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
from cardsynth.formats.coco_yolo import CocoWriter, Item, Segmentation, Writer, YoloWriter, is_read_alike, need_masks
from cardsynth.formats.instances import Rules, SeenCard, see_card
from cardsynth.formats.voc import MaskWriter, VocWriter
from cardsynth.util.files import replace_folder
from cardsynth.util.processes import results_in_order

Format = Literal["coco", "yolo", "yolo-segment", "voc", "masks", "hub"]

RECORD = "export.json"  # in an exported folder: what it was made of; only a folder that has it is overwritten


@dataclass(frozen=True)
class Summary:
    """What was exported: the cards, groups and damages by category of each split, and what a user should know of it."""

    cards: dict[str, int]
    groups: dict[str, int]
    damages: dict[str, dict[str, int]]
    notes: tuple[str, ...]

    def text(self) -> str:
        """A line a split, then the notes."""
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
    """Write the cards of a folder as a data set of another form into a new folder `out`.

    shares, seed, pattern: of the splits, see `splits`. rules: what is one damage, see `instances`. categories: their
    names in order; by default those found, sorted. segmentation: COCO's. All cards are read before anything is written;
    then `out` is built under a temporary name and renamed. Pictures are copied byte for byte; those that other tools
    would see otherwise (turned by EXIF, transparent, with a palette or 16 bits) become upright RGB PNG.
    Raises CardError for a folder without cards, for cards that cannot be read or whose damage is not known, for names
    in `categories` that are not all, and where `out` exists, unless `overwrite` and it was exported.
    """
    folder, out, rules = Path(folder), Path(out).absolute(), rules or Rules()
    _check_out(folder, out, overwrite)
    if not folder.is_dir():
        raise CardError(f"{folder} is no folder; give the folder that the cards are in")
    cards = some_cards(folder)
    if twice := [name for name, count in Counter(card.name for card in cards).items() if count > 1]:
        raise CardError(f"{twice[0]} has several rows in the metadata of {folder}; remove all but one")
    groups = groups_of(cards, pattern)
    parts = split_cards(cards, shares, seed, pattern)
    seen = _see_all(cards, rules)
    split_of = {index: split for split, indices in parts.items() for index in indices}
    items = []
    for index, (one, stem) in enumerate(zip(seen, _stems(cards), strict=True)):
        copied = is_read_alike(one.card.image)
        suffix = one.card.image.suffix.lower() if copied else ".png"
        items.append(Item(one, split_of[index], stem, suffix, groups[index], copied))
    named = _categories(items, categories, folder)
    if form in ("yolo-segment", "masks"):
        need_masks(items, form)
    temporary = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        writer = _writer(form, temporary, named, items, segmentation, out.name)
        for item in tqdm(items, f"Writing {form}", unit="card", leave=False):
            writer.add(item)
        writer.finish()
        record = {"format": form, "cards": folder.resolve().name, "shares": list(shares), "seed": seed}
        record |= {"group_by": pattern, **asdict(rules), "categories": named}
        record["splits"] = {
            split: {item.name: item.seen.card.name for item in items if item.split == split} for split in parts
        }
        writer.write(RECORD, json.dumps(record, ensure_ascii=False, indent=1) + "\n")
        replace_folder(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _summary(items, named, rules, pattern)


def _check_out(folder: Path, out: Path, overwrite: bool) -> None:
    here, there = folder.resolve(), out.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise CardError(f"{folder} and {out} lie in each other; choose folders beside each other")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise CardError(f"{out} exists already; choose another folder, or overwrite")
    if not (out / RECORD).is_file():
        raise CardError(f"{out} has no {RECORD}, so it was not exported and is not overwritten; choose another folder")


def _see_all(cards: Sequence[CardFile], rules: Rules) -> list[SeenCard]:
    results = results_in_order(partial(_see_or_say, rules=rules), cards, os.cpu_count() or 1, threads=True)
    found = list(tqdm(results, "Reading cards", len(cards), unit="card", leave=False))
    bad = [one for one in found if isinstance(one, CardError)]
    if bad:
        more = f" ({len(bad) - 1} more of {len(cards)} cards cannot be exported either)" if len(bad) > 1 else ""
        raise CardError(f"{bad[0]}{more}") from bad[0]
    return found


def _see_or_say(card: CardFile, rules: Rules) -> SeenCard | CardError:
    try:
        return see_card(card, rules)
    except CardError as error:
        return error


def _stems(cards: Sequence[CardFile]) -> Iterator[str]:
    """A file name without suffix for each card, of its folders and name; a number tells those apart that are alike."""
    taken: set[str] = set()
    for card in cards:
        path = PurePosixPath(card.name.removeprefix("images/")).with_suffix("")
        plain = stem = "_".join(part for part in path.parts if part not in ("/", ".."))
        number = 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{plain}_{number}"
        taken.add(stem.casefold())
        yield stem


def _categories(items: Sequence[Item], asked: Sequence[str], folder: Path) -> list[str]:
    found = sorted({instance.category for item in items for instance in item.seen.instances})
    if missing := [name for name in found if asked and name not in asked]:
        raise CardError(f"{folder} has damage of {', '.join(missing)} too; name all categories, in order")
    if not found and not asked:
        raise CardError(f"no card of {folder} has a damage that is large enough, so there are no categories; name them")
    return list(dict.fromkeys(asked)) or found


def _writer(
    form: Format, folder: Path, categories: list[str], items: Sequence[Item], segmentation: Segmentation, title: str
) -> Writer:
    if form == "hub":
        from cardsynth.formats.parquet import HubWriter

        return HubWriter(folder, categories, items, title)
    if form == "coco":
        return CocoWriter(folder, categories, segmentation)
    if form in ("yolo", "yolo-segment"):
        return YoloWriter(folder, categories, segment=form == "yolo-segment")
    if form in ("voc", "masks"):
        return (VocWriter if form == "voc" else MaskWriter)(folder, categories)
    raise CardError(f"there is no format {form!r}; choose coco, yolo, yolo-segment, voc, masks or hub")


def _summary(items: Sequence[Item], categories: Sequence[str], rules: Rules, pattern: str | None) -> Summary:
    splits = [split for split in SPLITS if any(item.split == split for item in items)]
    of = {split: [item for item in items if item.split == split] for split in splits}
    damages = {
        split: Counter(instance.category for item in of[split] for instance in item.seen.instances) for split in splits
    }
    notes = []

    def note(count: int, text: str) -> None:
        if count:
            notes.append(f"{count} {text}")

    seen = [item.seen for item in items]
    bare = [one for one in seen if not one.instances and one.card.label not in rules.undamaged]
    note(sum(one.dropped for one in seen), f"damages of fewer than {rules.least_area} pixels were dropped")
    note(len(bare), "cards that are not labelled undamaged have no damage: images without annotations")
    note(sum(one.contradicted for one in seen), "cards labelled undamaged have damage marked, which was left out")
    note(sum(not item.copied for item in items), "pictures became PNG: other tools would have seen them otherwise")
    if pattern is not None:
        alone = sum(re.search(pattern, one.card.name) is None for one in seen)
        note(alone, f"cards have names in which {pattern!r} is not found, so it groups them with none")
    for split in splits:
        missing = [name for name in categories if not damages[split][name]]
        notes += [f"{split} has no {', '.join(missing)}: too few groups of cards show it"] if missing else []
    return Summary(
        cards={split: len(of[split]) for split in splits},
        groups={split: len({item.group for item in of[split]}) for split in splits},
        damages={split: {name: damages[split][name] for name in categories} for split in splits},
        notes=tuple(notes),
    )
