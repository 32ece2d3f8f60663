"""Captions of cards: written from the metadata of each card by templates, and checked."""

import json
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cardsynth.cards.faults import Problem
from cardsynth.cards.folder import CardError, CardFile, card_root, read_metadata
from cardsynth.cards.reading import some_cards
from cardsynth.render.draw import DAMAGE_WORDS
from cardsynth.util.files import write_atomically

TRIGGER = "crdbck"  # unknown to all models, so that training alone gives it a meaning
# A part in brackets is left out if the card lacks one of the values that it names.
TEMPLATES = (
    "{trigger}, a[ {decade}s] trading card back[, {stock} stock][, {inks} ink][, {damage}]",
    "a scan of a {trigger} card back[ from the {decade}s][ with {damage}][, printed in {inks} on {stock} stock]",
    "the back of a {trigger} trading card[, {damage}][, {layout} layout][, {inks} ink]",
    "a {trigger} card back[ on {stock} stock][ in {inks} ink][, {damage}][, {decade}s]",
    "[{damage} on ]a {trigger} card back[, {decade}s {layout} design][, {stock} stock]",
    "a[ {decade}s] {trigger} baseball card, reverse side[, {inks} print][, {stock} stock][; {damage}]",
)
MOST_TOKENS = 77  # that CLIP's text encoders read, including the start and end tokens
# Words for severity: upper limits of the covered share of the card, and of the change in grey levels.
SIZES = ((0.05, "tiny"), (0.2, "small"), (0.5, "large"), (2.0, "card-wide"))
STRENGTHS = ((25.0, "faint"), (70.0, ""), (256.0, "heavy"))
STAINS = {"FULL_CARD": "gum stain", "LIGHT": "gum stain", "SMALL": "gum spots"}  # nouns without their severity
SIZED = {*STAINS, "WAX_STAIN", "RESIDUE", "TONING", "WATER_RING"}


def describe_damage(row: Mapping[str, Any]) -> str | None:
    """Describes the damage of a card in words, with its severity if the row holds covered share and darkness.

    Args:
        row: Row of the metadata with `damages`, as of drawn cards, or a `label`, the damage class.

    Returns:
        The description; None without damages and label.
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


def fill_template(template: str, values: Mapping[str, Any]) -> str:
    """Fills a template: `{name}` is replaced by a value, and a part in [brackets] is left out if it lacks a value.

    Args:
        template: The template.
        values: Values by name.

    Raises:
        KeyError: A value outside brackets is unknown.
    """

    def part(match: re.Match) -> str:
        names = re.findall(r"{(\w+)}", match[1])
        return match[1].format_map(values) if all(name in values for name in names) else ""

    return re.sub(r"\s+", " ", re.sub(r"\[([^][]*)\]", part, template).format_map(values)).strip()


def write_captions(
    folder: str | Path,
    trigger: str = TRIGGER,
    templates: Sequence[str] = TEMPLATES,
    seed: int = 0,
    overwrite: bool = False,
) -> dict[str, str]:
    """Writes a caption for each card into the folder's metadata, as `text`.

    Values of a template are the trigger, the damage in words, and each text or number of the card's row (`decade`,
    `stock`, `inks`, `layout`, ...). Each card gets a random template; a template that would repeat a caption is skipped
    if another one is possible. All else in the metadata stays. A folder without metadata gets a `metadata.jsonl`.

    Args:
        folder: Card folder.
        trigger: Word that stands for the cards.
        templates: Templates, as of `fill_template`.
        seed: Seed of which card gets which template.
        overwrite: Replace captions that exist.

    Returns:
        The new captions by file name.

    Raises:
        CardError: The folder has no cards, its metadata cannot be read, the trigger is empty, or a template names a
            value that a card lacks.
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
    values = {name: value for name, value in row.items() if isinstance(value, str | int | float) and value != ""}
    values |= {"trigger": trigger} | ({"damage": damage} if (damage := describe_damage(row)) else {})
    rng = np.random.default_rng([seed, zlib.crc32(card.name.encode())])
    captions = []
    for index in rng.permutation(len(templates)).tolist():
        try:
            captions.append(fill_template(templates[index], values))
        except (KeyError, ValueError, IndexError) as error:
            raise CardError(
                f"{card.name}: the template {templates[index]!r} names {error}, which its metadata lacks; put that"
                f" part into [brackets], or use {', '.join(sorted(values))}"
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
    """Writes captions into a metadata.csv; columns and their order stay."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    previous = table.get("text", "")
    table["text"] = table["file_name"].map(captions).fillna(previous)
    write_atomically(path, table.to_csv(index=False, lineterminator="\n").encode())


def count_tokens(caption: str, tokenizer: Callable[..., Any] | None = None) -> int:
    """Counts the tokens of a caption, including the start and end tokens.

    Args:
        caption: The caption.
        tokenizer: Tokenizer of the model; None: return a lower bound, as CLIP's tokenizers make at least one token of
            each word, digit and run of punctuation.
    """
    if tokenizer is not None:
        return len(tokenizer(caption, verbose=False).input_ids)
    return 2 + len(re.findall(r"[^\W\d_]+|\d|[^\w\s]+", caption))


def check_captions(
    captions: Mapping[str, str | None], tokenizers: Sequence[Callable[..., Any]] = (), most_tokens: int = MOST_TOKENS
) -> list[Problem]:
    """Checks captions: a missing, empty or too long caption is an error, a caption of several cards a warning.

    Args:
        captions: Captions by file name.
        tokenizers: Tokenizers of the model; empty: count a lower bound.
        most_tokens: Number of tokens that the text encoder reads.
    """
    problems, names = [], defaultdict(list)
    for name, caption in captions.items():
        if not (caption or "").strip():
            reason = "has no caption" if caption is None else "has an empty caption"
            problems.append(Problem("error", name, reason, "write its `text`, or run cardsynth caption"))
            continue
        names[" ".join(caption.lower().split())].append(name)
        count = max(count_tokens(caption, tokenizer) for tokenizer in tokenizers or (None,))
        if count > most_tokens:
            reason = (
                f"has a caption of {count} tokens{'' if tokenizers else ' or more'}, and the model reads"
                f" {most_tokens}: the rest would be lost"
            )
            problems.append(Problem("error", name, reason, "shorten it"))
    for caption, (first, *others) in names.items():
        if others:
            reason = f"has the caption of {len(others)} more ({others[0]}): {caption[:60]!r}"
            problems.append(Problem("warning", first, reason, "write how they differ, or run cardsynth caption"))
    return sorted(problems, key=lambda problem: (problem.level, problem.file))


def captions_of(folder: str | Path) -> dict[str, str | None]:
    """Returns the captions of a local folder by file name, None for a card without; CardError without cards."""
    return {card.name: card.text for card in some_cards(Path(folder))}
