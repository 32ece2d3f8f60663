"""Captions: written from what is known, varied, seeded; nothing of the metadata lost; checked."""

import csv
import json

import pytest
from pictures import make_flat, make_labelled, save, speckled, write_rows

from cardsynth.cards.folder import CardError, read_metadata
from cardsynth.render.draw import render_cards
from cardsynth.text.captions import (
    TEMPLATES,
    captions_of,
    check_captions,
    describe_damage,
    fill_template,
    write_captions,
)


def problems(captions, **options):
    return [(problem.level, problem.file) for problem in check_captions(captions, **options)]


def test_drawn_cards_get_varied_captions_that_say_what_they_show(tmp_path):
    drawn = render_cards(tmp_path / "drawn", 30, (40, 32), workers=1)
    before = read_metadata(drawn / "metadata.jsonl")
    assert write_captions(drawn) == {}
    written = write_captions(drawn, "zzyx", overwrite=True)
    after = read_metadata(drawn / "metadata.jsonl")
    assert [{**row, "text": None} for row in after] == [{**row, "text": None} for row in before]
    assert {row["file_name"]: row["text"] for row in after} == written == captions_of(drawn)
    for row in after:
        assert "zzyx" in row["text"]
        assert describe_damage(row) in row["text"]
    assert len(set(written.values())) == 30
    assert len({caption.split()[0] for caption in written.values()}) >= 4
    assert problems(written) == []
    assert write_captions(drawn, "zzyx", overwrite=True) == written
    others = write_captions(drawn, "zzyx", seed=1, overwrite=True)
    assert sum(others[name] != written[name] for name in written) > 15


def test_severity_is_put_into_words():
    row = {"damages": [{"kind": "FULL_CARD", "covered": 0.7, "darkness": 80.0}], "label": "FULL_CARD"}
    assert describe_damage(row) == "heavy card-wide gum stain"
    row["damages"] += [{"kind": "CREASE", "covered": 0.01, "darkness": 20.0}, {"kind": "PEN_MARK"}]
    assert describe_damage(row) == "heavy card-wide gum stain and faint crease and pen marks"
    assert describe_damage({"label": "LIGHT"}) == "faint gum stain"
    assert describe_damage({"label": "COFFEE_SPILL", "damages": []}) == "coffee spill"
    assert describe_damage({}) is None


def test_a_part_of_which_nothing_is_known_is_left_out():
    assert (
        fill_template("a {trigger} card[ of the {decade}s]", {"trigger": "x", "decade": 1970})
        == "a x card of the 1970s"
    )
    assert fill_template("a {trigger} card[ of the {decade}s]", {"trigger": "x"}) == "a x card"
    for template in TEMPLATES:
        bare = fill_template(template, {"trigger": "x"})
        assert "x" in bare.split() or "x," in bare.split()
        assert not set("[]{}") & set(bare)


def test_class_folders_get_metadata_with_labels_and_masks(tmp_path):
    folder = make_labelled(tmp_path)
    (folder / "metadata.jsonl").unlink()
    write_captions(folder)
    rows = read_metadata(folder / "metadata.jsonl")
    assert [(row["label"], row["mask_file_name"]) for row in rows] == [
        (row["file_name"].split("/")[0], f"masks/{row['file_name']}") for row in rows
    ]
    assert "faint gum stain" in rows[0]["text"]


def test_a_csv_keeps_its_columns_and_their_order(tmp_path):
    folder = make_flat(tmp_path)
    table = 'price,file_name,note,text\n3,0.png,"a, b",\n,1.png,,mine\n5,2.png,,\n'
    (folder / "metadata.csv").write_text(table)
    assert set(write_captions(folder)) == {"0.png", "2.png"}
    with (folder / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["price", "file_name", "note", "text"]
    assert [(row["price"], row["note"]) for row in rows] == [("3", "a, b"), ("", ""), ("5", "")]
    assert rows[1]["text"] == "mine"
    assert "crdbck" in rows[0]["text"]
    assert not (folder / "metadata.jsonl").exists()


def test_columns_of_a_users_own_can_stand_in_a_template(tmp_path):
    folder = make_flat(tmp_path)
    write_rows(folder, *({"file_name": f"{n}.png", "brand": f"maker {n}", "year": 1980 + n} for n in range(3)))
    written = write_captions(folder, templates=["{trigger} by {brand}[, {year}][, {damage}]"])
    assert written["2.png"] == "crdbck by maker 2, 1982"
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "0.png"}) + "\n")
    before = (folder / "metadata.jsonl").read_bytes()
    with pytest.raises(CardError, match=r"0.png: the template .* names 'brand'.*\[brackets\]"):
        write_captions(folder, templates=["{trigger} by {brand}"])
    with pytest.raises(CardError, match="trigger word is empty"):
        write_captions(folder, trigger=" ")
    assert (folder / "metadata.jsonl").read_bytes() == before


def test_bad_captions_are_named():
    captions = {"a": None, "b": "  ", "c": "word " * 500, "d": "A card,  stained", "e": "a card, stained", "f": "fine"}
    found = check_captions(captions)
    assert [(one.level, one.file) for one in found] == [
        ("error", "a"), ("error", "b"), ("error", "c"), ("warning", "d"),
    ]  # fmt: skip
    assert "502 tokens or more, and the model reads 77" in found[2].reason
    assert problems({"a": "fine", "b": "also fine"}) == []


def test_pictures_without_metadata_are_captioned_too(tmp_path):
    save(speckled(0), tmp_path / "a.jpg")
    save(speckled(1), tmp_path / "b.webp")
    assert set(write_captions(tmp_path)) == {"a.jpg", "b.webp"}
    with pytest.raises(CardError, match="no pictures"):
        write_captions(tmp_path / "train")
