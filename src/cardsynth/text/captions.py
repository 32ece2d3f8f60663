"""Captions of cards: written from what is known of each, in several templates, beside the pictures; and checked."""

import csv
import io
import json
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cardsynth.cards.faults import Problem
from cardsynth.cards.folder import CardError, CardFile, card_root, read_metadata
from cardsynth.cards.reading import some_cards
from cardsynth.render.draw import DAMAGE_WORDS
from cardsynth.util.files import write_atomically

TRIGGER = "crdbck"  # a word that no model knows, so that training gives it its meaning
# A part in brackets is left out for cards of which it names something unknown.
TEMPLATES = (
    "{trigger}, a[ {decade}s] trading card back[, {stock} stock][, {inks} ink][, {damage}]",
    "a scan of a {trigger} card back[ from the {decade}s][ with {damage}][, printed in {inks} on {stock} stock]",
    "the back of a {trigger} trading card[, {damage}][, {layout} layout][, {inks} ink]",
    "a {trigger} card back[ on {stock} stock][ in {inks} ink][, {damage}][, {decade}s]",
    "[{damage} on ]a {trigger} card back[, {decade}s {layout} design][, {stock} stock]",
    "a[ {decade}s] {trigger} baseball card, reverse side[, {inks} print][, {stock} stock][; {damage}]",
)
MOST_TOKENS = 77  # that CLIP's text encoders read, its two marks of beginning and end among them
# Words of severity: below so large a share of the card, or so many grey levels of change.
SIZES = ((0.05, "tiny"), (0.2, "small"), (0.5, "large"), (2.0, "card-wide"))
STRENGTHS = ((25.0, "faint"), (70.0, ""), (256.0, "heavy"))
STAINS = {"FULL_CARD": "gum stain", "LIGHT": "gum stain", "SMALL": "gum spots"}  # nouns without their severity
SIZED = {*STAINS, "WAX_STAIN", "RESIDUE", "TONING", "WATER_RING"}


def describe_damage(row: Mapping[str, Any]) -> str | None:
    """Damage in words, with its severity where the row tells covered share and darkness; None where nothing is known.

    row: a metadata row with `damages` as cards are drawn with, or a `label`, the damage class.
    """
    damages, label = row.get("damages"), row.get("label")
    if isinstance(damages, list) and damages:
        return " and ".join(dict.fromkeys(_damage_words(damage) for damage in damages))
    if label in (None, ""):
        return None
    return DAMAGE_WORDS.get(str(label)) or re.sub(r"[\W_]+", " ", str(label)).strip().lower()


def _damage_words(damage: Mapping[str, Any]) -> str:
    kind = str(damage.get("kind"))
    if not {"covered", "darkness"} <= damage.keys():
        return describe_damage({"label": kind})
    size = _word(SIZES, damage["covered"]) if kind in SIZED else ""
    noun = STAINS.get(kind) or describe_damage({"label": kind})
    return " ".join(filter(None, (_word(STRENGTHS, damage["darkness"]), size, noun)))


def _word(steps: Sequence[tuple[float, str]], value: float) -> str:
    return next((word for limit, word in steps if value < limit), steps[-1][1])


def fill_template(template: str, facts: Mapping[str, Any]) -> str:
    """A caption from a template: `{name}` is a fact, and a part in [brackets] goes where one of its facts is unknown.

    Raises KeyError for an unknown fact outside brackets.
    """

    def part(match: re.Match) -> str:
        names = re.findall(r"{(\w+)}", match[1])
        return match[1].format_map(facts) if all(name in facts for name in names) else ""

    return re.sub(r"\s+", " ", re.sub(r"\[([^][]*)\]", part, template).format_map(facts)).strip()


def write_captions(
    folder: str | Path,
    trigger: str = TRIGGER,
    templates: Sequence[str] = TEMPLATES,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, str]:
    """Write a caption of each card into the folder's metadata, as `text`; returns those written, by file name.

    Facts of a template are the trigger, the damage in words, and what else the card's row has as text or number
    (`decade`, `stock`, `inks`, `layout`, ...). Each card draws its template by `seed`; one that would repeat a caption
    gives way to the next. Captions that are there stay unless `overwrite`; all else in the metadata stays, and a folder
    without metadata gets a `metadata.jsonl`. Raises CardError for a folder without cards, metadata that cannot be read,
    a template that asks a card for what is not known of it, and an empty trigger.
    """
    if not trigger.strip():
        raise CardError("the trigger word is empty; give a word that stands for your cards, like crdbck")
    root = card_root(Path(folder))
    cards = some_cards(Path(folder))
    taken = {card.text for card in cards if card.text and not overwrite}
    written: dict[str, str] = {}
    for card in cards:
        if overwrite or not (card.text or "").strip():
            written[card.name] = _caption(card, trigger.strip(), templates, seed, taken)
            taken.add(written[card.name])
    if written:
        _write_text(root, cards, written)
    return written


def _caption(card: CardFile, trigger: str, templates: Sequence[str], seed: int, taken: set[str]) -> str:
    row = {**(card.row or {}), "label": card.label}
    facts = {name: value for name, value in row.items() if isinstance(value, str | int | float) and value != ""}
    facts |= {"trigger": trigger} | ({"damage": damage} if (damage := describe_damage(row)) else {})
    rng = np.random.default_rng([seed, zlib.crc32(card.name.encode())])
    captions = []
    for index in rng.permutation(len(templates)).tolist():
        try:
            captions.append(fill_template(templates[index], facts))
        except (KeyError, ValueError, IndexError) as error:
            raise CardError(
                f"{card.name}: the template {templates[index]!r} asks for {error}, which is not known of it; put that"
                f" part into [brackets], or use {', '.join(sorted(facts))}"
            ) from error
    return next((caption for caption in captions if caption not in taken), captions[0])


def _write_text(root: Path, cards: Sequence[CardFile], captions: Mapping[str, str]) -> None:
    if (root / "metadata.csv").is_file() and not (root / "metadata.jsonl").is_file():
        _write_csv(root / "metadata.csv", captions)
        return
    rows = [card.row for card in cards]
    if (root / "metadata.jsonl").is_file():
        rows = read_metadata(root / "metadata.jsonl")
    rows = [row or _row_of(card, root) for row, card in zip(rows, cards, strict=True)]
    rows = [row | ({"text": captions[row["file_name"]]} if row["file_name"] in captions else {}) for row in rows]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_atomically(root / "metadata.jsonl", "".join(lines).encode())


def _row_of(card: CardFile, root: Path) -> dict[str, Any]:
    row = {"file_name": card.name, "label": card.label}
    row["mask_file_name"] = card.mask.relative_to(root).as_posix() if card.mask else None
    return {name: value for name, value in row.items() if value is not None}


def _write_csv(path: Path, captions: Mapping[str, str]) -> None:
    """Put captions into a metadata.csv, its columns and their order kept."""
    reader = csv.DictReader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""))
    rows, buffer = list(reader), io.StringIO()
    names = list(reader.fieldnames or ())
    writer = csv.DictWriter(buffer, names if "text" in names else [*names, "text"], restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        given = captions.get(row["file_name"])
        writer.writerow(row | ({"text": given} if given else {}))
    write_atomically(path, buffer.getvalue().encode())


def count_tokens(caption: str, tokenizer: Callable[..., Any] | None = None) -> int:
    """Tokens of a caption, the marks of its beginning and end among them; without a tokenizer the least there can be.

    CLIP's tokenizers make a token or more of each word and each run of signs.
    """
    if tokenizer is not None:
        return len(tokenizer(caption, verbose=False).input_ids)
    return 2 + len(re.findall(r"[^\W\d_]+|\d|[^\w\s]+", caption))


def check_captions(
    captions: Mapping[str, str | None], tokenizers: Sequence[Callable[..., Any]] = (), most_tokens: int = MOST_TOKENS
) -> list[Problem]:
    """Problems of captions by file name: missing, empty and too long are errors, one caption of several a warning.

    most_tokens: that the text encoder reads; counted with each of the `tokenizers`, without them at the least.
    """
    problems, same = [], defaultdict(list)
    for name, caption in captions.items():
        if caption is None:
            problems.append(Problem("error", name, "has no caption", "write its `text`, or run cardsynth caption"))
        elif not caption.strip():
            problems.append(
                Problem("error", name, "has an empty caption", "write its `text`, or run cardsynth caption")
            )
        else:
            count = max(count_tokens(caption, tokenizer) for tokenizer in tokenizers or (None,))
            same[" ".join(caption.lower().split())].append(name)
            if count > most_tokens:
                reason = (
                    f"has a caption of {count} tokens{'' if tokenizers else ' or more'}, and the model reads"
                    f" {most_tokens}: all behind them would be lost"
                )
                problems.append(Problem("error", name, reason, "shorten it"))
    for caption, (first, *others) in same.items():
        if others:
            reason = f"has the caption of {len(others)} more ({others[0]}): {caption[:60]!r}"
            problems.append(Problem("warning", first, reason, "write what tells them apart, or run cardsynth caption"))
    return sorted(problems, key=lambda problem: (problem.level, problem.file))


def captions_of(folder: str | Path) -> dict[str, str | None]:
    """The caption of each card of a local folder by file name, None where it has none; CardError without cards."""
    return {card.name: card.text for card in some_cards(Path(folder))}
