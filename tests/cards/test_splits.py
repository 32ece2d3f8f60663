"""Splits keep what belongs together together, whatever the order of the files."""

import random
from collections import Counter
from pathlib import Path

import pytest

from cardsynth.cards.folder import CardError, CardFile, find_cards
from cardsynth.cards.splits import groups_of, split_cards, split_groups
from cardsynth.render.draw import render_cards


def card(name: str, label: str | None = None, **row) -> CardFile:
    return CardFile(name, Path(name), label=label, row={"file_name": name, **row} if row else None)


def together(cards: list[CardFile], pattern: str | None = None) -> list[set[str]]:
    """The names of each group of more than one card."""
    groups = groups_of(cards, pattern)
    members = {group: set() for group in sorted(groups)}
    for card, group in zip(cards, groups, strict=True):
        members[group].add(card.name)
    return [names for names in members.values() if len(names) > 1]


def test_groups_of_rows():
    cards = [card("a.png", group="x"), card("b.png", group="x"), card("c.png", group="y"), card("d.png")]
    assert together(cards) == [{"a.png", "b.png"}]


def test_what_was_made_from_one_card_stays_with_it_also_where_that_is_elsewhere():
    cards = [
        card("CLEAN/1.png", seed=1, style="a"),
        card("painted/1.png", source="CLEAN/1.png", seed=7, model="m"),
        card("painted/2.png", source="CLEAN/1.png"),
        card("repainted.png", source="painted/2.png"),
        card("painted/3.png", source="elsewhere/9.jpg"),
        card("painted/4.png", source="elsewhere/9.jpg"),
        card("LIGHT/1.png", seed=1, style="a"),
        card("CLEAN/2.png", twin_file_name="twins/2.png"),
        card("twins/2.png"),
    ]
    assert together(cards) == [
        {"CLEAN/1.png", "painted/1.png", "painted/2.png", "repainted.png", "LIGHT/1.png"},
        {"CLEAN/2.png", "twins/2.png"},
        {"painted/3.png", "painted/4.png"},
    ]


def test_a_source_that_is_no_picture_groups_nothing():
    assert together([card("a.png", source="eBay"), card("b.png", source="eBay")]) == []


def test_generated_siblings_and_drawn_prints_stay_together_and_others_apart():
    cards = [
        *(card(f"{label}/1.png", seed=1, model="m", label=label) for label in ("LIGHT", "SMALL")),
        *(card(f"drawn/{label}/1.png", seed=1, style="a", label=label) for label in ("LIGHT", "SMALL")),
        card("other_model.png", seed=1, model="n"),
        card("other_style.png", seed=1, style="b"),
        card("other_seed.png", seed=2, model="m"),
        card("scan.png", seed=1),
    ]
    assert together(cards) == [{"LIGHT/1.png", "SMALL/1.png"}, {"drawn/LIGHT/1.png", "drawn/SMALL/1.png"}]


def test_the_same_print_under_another_damage_is_one_group(tmp_path):
    for classes in ("CLEAN", "SMALL"):
        render_cards(tmp_path, 3, (40, 32), seed=5, classes=(classes,), workers=1, styles=("a",))
    assert [len(names) for names in together(find_cards(tmp_path))] == [2, 2, 2]


def test_a_pattern_finds_the_object_in_the_name_of_a_card_or_its_source():
    cards = [card("exp1_num_3.jpg"), card("exp2_num_3.jpg"), card("x.png", source="exp1_num_3.jpg"), card("free.jpg")]
    cards.append(card("exp1_num_4.jpg"))
    assert together(cards, r"num_(\d+)") == [{"exp1_num_3.jpg", "exp2_num_3.jpg", "x.png"}]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("num_(", "no regular expression"), ("num_", "has no brackets"), (r"tile(\d+)", "found in no card's name")],
)
def test_a_pattern_that_cannot_be_meant_is_refused(pattern, message):
    with pytest.raises(CardError, match=message):
        groups_of([card("num_1.png")], pattern)


def parted(groups, labels, **how) -> list[set[str]]:
    """The names of the cards in each split; groups and labels by name of the card."""
    names = list(groups)
    parts = split_groups([groups[name] for name in names], [labels[name] for name in names], **how)
    assert sorted(index for part in parts for index in part) == list(range(len(names)))
    return [{names[index] for index in part} for part in parts]


def test_shares_hold_for_every_label_and_groups_stay_whole():
    rng = random.Random(0)
    groups = {f"c{i}": f"g{rng.randrange(300)}" for i in range(1000)}
    label_of = {f"g{i}": rng.choices(("A", "B", "C"), (6, 3, 1))[0] for i in range(300)}
    labels = {name: label_of[group] for name, group in groups.items()}
    parts = parted(groups, labels)
    for part, share in zip(parts, (0.8, 0.1, 0.1), strict=True):
        for label, count in Counter(labels.values()).items():
            assert sum(labels[name] == label for name in part) / count == pytest.approx(share, abs=0.03)
    assert not {groups[name] for name in parts[0]} & {groups[name] for name in parts[1] | parts[2]}


def test_splits_depend_on_the_seed_and_not_on_the_order_of_cards():
    groups = {f"c{i}": f"g{i // 2}" for i in range(100)}
    labels = {name: "AB"[int(name[1:]) % 4 // 2] for name in groups}
    mixed = dict(random.Random(1).sample(list(groups.items()), 100))
    assert parted(groups, labels) == parted(mixed, labels) == parted(groups, labels, seed=0)
    assert parted(groups, labels) != parted(groups, labels, seed=1)


@pytest.mark.parametrize(("count", "sizes"), [(1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (10, [8, 1, 1])])
def test_a_label_of_few_groups_is_in_training_first_and_in_every_split_from_three_groups_on(count, sizes):
    groups = {f"c{i}": f"g{i}" for i in range(count + 40)}
    labels = {name: "rare" if int(name[1:]) < count else "common" for name in groups}
    parts = parted(groups, labels)
    assert [sum(labels[name] == "rare" for name in part) for part in parts] == sizes
    assert [sum(labels[name] == "common" for name in part) for part in parts] == [32, 4, 4]


def test_cards_without_labels_and_other_numbers_of_splits():
    groups = {f"c{i}": f"c{i}" for i in range(20)}
    labels = dict.fromkeys(groups)
    assert [len(part) for part in parted(groups, labels)] == [16, 2, 2]
    assert [len(part) for part in parted(groups, labels, shares=(0.5, 0.5))] == [10, 10]
    assert [len(part) for part in parted(groups, labels, shares=(1,))] == [20]
    assert [len(part) for part in parted(groups, labels, shares=(0.75, 0, 0.25))] == [15, 0, 5]
    assert [len(part) for part in parted(groups, labels, shares=(0, 0, 1))] == [0, 0, 20]


@pytest.mark.parametrize("shares", [(0.8, 0.1), (0.8, 0.1, 0.1, 0.1), (1.2, -0.2), (1, float("nan"))])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="shares"):
        split_groups(["a"], ["b"], shares)


def test_split_cards_takes_three_shares_at_most():
    cards = [card(f"{i}.png") for i in range(10)]
    assert {split: len(part) for split, part in split_cards(cards).items()} == {"train": 8, "val": 1, "test": 1}
    with pytest.raises(ValueError, match="give one to three"):
        split_cards(cards, (0.4, 0.2, 0.2, 0.2))
