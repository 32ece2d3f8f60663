"""Splits cards into training, validation and test cards; cards of one group stay together."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from cardsynth.cards.folder import IMAGE_SUFFIXES, CardError, CardFile, picture_keys

SPLITS = ("train", "val", "test")
SHARES = (0.8, 0.1, 0.1)


def split_cards(
    cards: Sequence[CardFile], shares: Sequence[float] = SHARES, seed: int = 0, pattern: str | None = None
) -> dict[str, list[int]]:
    """Splits cards by whole groups (see `groups_of` and `split_groups`).

    Args:
        cards: the cards.
        shares: shares of training, validation and test cards; one to three numbers that add up to 1.
        seed: seed of the split.
        pattern: regular expression of groups in file names.

    Returns:
        Indices of the cards of each split, by its name.

    Raises:
        ValueError: shares or pattern are wrong.
    """
    if not 1 <= len(shares) <= len(SPLITS):
        raise ValueError(f"there are {len(shares)} shares; give one to three, for {', '.join(SPLITS)}")
    parts = split_groups(groups_of(cards, pattern), [card.label for card in cards], shares, seed)
    return dict(zip(SPLITS, parts, strict=False))


def groups_of(cards: Sequence[CardFile], pattern: str | None = None) -> list[str]:
    """Finds the group of each card, named after the first of its cards; cards of one group must stay together.

    Two cards are of one group if they share any of these, or if each shares one with a third card:
    - `group` of their rows;
    - what the first group of the regular expression `pattern` finds in their file names: exposures of one object;
    - the card that both were made from, or that one of them was made from: `source` of a row, where it names a picture
      (painted and pasted cards and their clean original), and `twin_file_name` and the like;
    - seed and style, of drawn cards: the same print under another damage;
    - seed and model, of generated cards: the same noise led to another class.
    A card that shares nothing is a group of its own.

    Raises:
        CardError: the pattern is no regular expression, has no group in brackets, or matches no card's name.
    """
    keys = [set(_keys(card)) for card in cards]
    if pattern is not None:
        for key, found in zip(keys, _found_in_names(cards, pattern), strict=True):
            key.update(("pattern", text) for text in found)
    leader: dict[tuple[str, ...], tuple[str, ...]] = {}

    def lead(key: tuple[str, ...]) -> tuple[str, ...]:
        while leader.setdefault(key, key) != key:
            leader[key] = key = leader[leader[key]]
        return key

    for card, shared in zip(cards, keys, strict=True):
        for key in shared:
            leader[lead(key)] = lead(("card", card.name))
    members = [lead(("card", card.name)) for card in cards]
    first: dict[tuple[str, ...], str] = {}
    for card, key in zip(cards, members, strict=True):
        first[key] = min(card.name, first.get(key, card.name))
    return [first[key] for key in members]


def _keys(card: CardFile) -> Iterator[tuple[str, ...]]:
    """Yields the keys that cards of one group share."""
    row = card.row or {}
    yield from (("card", row[key]) for key in picture_keys(row))
    source, seed = row.get("source"), row.get("seed")
    if isinstance(source, str) and Path(source).suffix.lower() in IMAGE_SUFFIXES:
        yield "card", source
    if row.get("group") is not None:
        yield "group", str(row["group"])
    for maker in ("style", "model"):
        if seed is not None and row.get(maker) is not None:
            yield maker, str(row[maker]), str(seed)


def _found_in_names(cards: Sequence[CardFile], pattern: str) -> list[set[str]]:
    """Texts that the first group of the pattern matches in the names of each card and its source."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise CardError(f"{pattern!r} is no regular expression ({error}); mend it") from error
    if not compiled.groups:
        raise CardError(f"{pattern!r} has no brackets; put them round the part that cards of one object share")
    found = []
    for card in cards:
        names = [card.name, str((card.row or {}).get("source") or "")]
        found.append({match[1] for match in map(compiled.search, names) if match and match[1] is not None})
    if not any(found):
        name = cards[0].name if cards else "no card"
        raise CardError(f"{pattern!r} is found in no card's name, like {name}; mend it")
    return found


def split_groups(
    groups: Sequence[str], labels: Sequence[str | None], shares: Sequence[float] = SHARES, seed: int = 0
) -> list[list[int]]:
    """Splits cards by shares, whole groups at a time, each label by itself as far as the groups allow.

    The rarest labels are assigned first, large groups before small ones, and groups of one size in an order that the
    seed shuffles; each goes to the split that lacks most cards of its label. A label with as many groups as there are
    splits gets into every split, one with fewer into the first ones. The order of the cards does not matter.

    Args:
        groups: group of each card.
        labels: label of each card; None without one.
        shares: share of each split; they add up to 1.
        seed: seed of the shuffle.

    Returns:
        For each split the ascending indices of its cards.

    Raises:
        ValueError: shares are negative or do not add up to 1.
    """
    if min(shares) < 0 or not abs(sum(shares) - 1) < 1e-6:
        raise ValueError(f"the shares are {', '.join(f'{share:g}' for share in shares)}; they must add up to 1")
    counts: dict[str, Counter] = defaultdict(Counter)
    for group, label in zip(groups, labels, strict=True):
        counts[group][label] += 1
    groups_with = Counter(label for of in counts.values() for label in of)
    rarest = {group: min(of, key=lambda label: (groups_with[label], str(label))) for group, of in counts.items()}

    def place(group: str) -> tuple:
        shuffled = hashlib.sha256(f"{seed}\0{group}".encode(errors="surrogateescape")).digest()
        return groups_with[rarest[group]], str(rarest[group]), -counts[group].total(), shuffled

    totals = Counter(labels)
    assigned = [Counter() for _ in shares]
    open_splits = [number for number, share in enumerate(shares) if share > 0]
    split_of = {}
    for group in sorted(counts, key=place):
        label = rarest[group]
        empty = [number for number in open_splits if not assigned[number][label]]
        missing = {number: shares[number] * totals[label] - assigned[number][label] for number in open_splits}
        if groups_with[label] < len(empty):
            chosen = empty[0]
        else:
            among = empty if groups_with[label] == len(empty) else open_splits
            chosen = max(among, key=lambda number: missing[number])
        split_of[group] = chosen
        assigned[chosen].update(counts[group])
        groups_with.subtract(list(counts[group]))
    parts: list[list[int]] = [[] for _ in shares]
    for index, group in enumerate(groups):
        parts[split_of[group]].append(index)
    return parts
