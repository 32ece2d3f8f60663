"""What is exported, what is refused, and that nothing is lost on the way."""

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import png, save, speckled, spot, write_rows
from PIL import Image
from tiny_folders import contents

from cardsynth.cards.folder import CardError, CardFile, CardWriter
from cardsynth.formats.export import export_cards
from cardsynth.formats.instances import Rules, annotate_card


def mask_with(*boxes: tuple[int, int, int, int]) -> Image.Image:
    """A mask of 24x16 (height x width) with boxes of x, y, width, height."""
    values = np.zeros((24, 16), np.uint8)
    for x, y, width, height in boxes:
        values[y : y + height, x : x + width] = 255
    return Image.fromarray(values)


def make(folder: Path, *cards: tuple[dict, Image.Image | None]) -> Path:
    """A card folder of rows with their masks."""
    with CardWriter(folder) as writer:
        for seed, (row, mask) in enumerate(cards):
            row = {"file_name": f"{seed}.png", **row}
            if mask:
                row["mask_file_name"] = f"masks/{row['file_name']}"
            writer.add(row, png(speckled(seed)), mask and png(mask))
    return folder


def coco_of(folder: Path, out: Path, **how) -> tuple[dict, list[tuple[str, list[float], float]]]:
    """Images by file name, and category, box and area of all annotations, of one split."""
    export_cards(folder, out, "coco", shares=(1,), overwrite=out.exists(), **how)
    coco = json.loads((out / "annotations/instances_train.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    boxes = [(names[one["category_id"]], one["bbox"], one["area"]) for one in coco["annotations"]]
    return {image["file_name"]: image for image in coco["images"]}, boxes


def test_small_components_are_dropped_everywhere_and_counted(tmp_path):
    mask = mask_with((1, 1, 3, 3), (8, 8, 1, 3), (12, 12, 2, 2))
    cards = make(tmp_path / "cards", ({"label": "SMALL"}, mask))
    summary = export_cards(cards, tmp_path / "out", "masks", shares=(1,))
    assert "1 damages of fewer than 4 pixels were dropped" in summary.text()
    written = np.asarray(Image.open(tmp_path / "out/SegmentationObject/0.png"))
    assert (written > 0).sum() == 9 + 4
    assert coco_of(cards, tmp_path / "coco", rules=Rules(least_area=9))[1] == [("SMALL", [1, 1, 3, 3], 9)]
    assert len(coco_of(cards, tmp_path / "coco", rules=Rules(least_area=1))[1]) == 3


def test_the_box_of_the_row_that_lies_on_a_component_names_its_category(tmp_path):
    objects = {"bbox": [[1, 1, 4, 4], [8, 8, 5, 5]], "categories": ["SMALL", "CREASE"]}
    mask = mask_with((1, 1, 4, 4), (8, 8, 5, 4), (1, 18, 4, 4))
    cards = make(tmp_path / "cards", ({"label": "SMALL", "objects": objects}, mask))
    assert coco_of(cards, tmp_path / "out")[1] == [
        ("SMALL", [1, 1, 4, 4], 16),
        ("CREASE", [8, 8, 5, 4], 20),
        ("SMALL", [1, 18, 4, 4], 16),
    ]


def test_a_full_card_is_one_box_but_for_other_damage_on_it(tmp_path):
    objects = {"bbox": [[0, 20, 3, 3]], "categories": ["CREASE"]}
    mask = mask_with((1, 1, 4, 4), (10, 10, 5, 5), (15, 0, 1, 1), (0, 20, 3, 3))
    cards = make(tmp_path / "cards", ({"label": "FULL_CARD", "objects": objects}, mask))
    assert coco_of(cards, tmp_path / "out")[1] == [("FULL_CARD", [1, 0, 15, 15], 42), ("CREASE", [0, 20, 3, 3], 9)]
    apart = coco_of(cards, tmp_path / "out", rules=Rules(one_object=()))[1]
    assert [category for category, *_ in apart] == ["FULL_CARD", "FULL_CARD", "CREASE"]


def test_cards_with_boxes_alone(tmp_path):
    objects = {"bbox": [[1.5, 2, 4, 4], [10, 20, 9, 9]], "categories": ["SMALL", "PEN_MARK"]}
    cards = make(tmp_path / "cards", ({"label": "SMALL", "objects": objects}, None), ({"label": "CLEAN"}, None))
    assert coco_of(cards, tmp_path / "out")[1] == [("SMALL", [1.5, 2, 4, 4], 16), ("PEN_MARK", [10, 20, 6, 4], 24)]
    export_cards(cards, tmp_path / "voc", "voc", shares=(1,))
    assert "<xmin>2</xmin>" in (tmp_path / "voc/Annotations/0.xml").read_text()
    for form in ("yolo-segment", "masks"):
        with pytest.raises(CardError, match=r"0\.png has boxes and no mask"):
            export_cards(cards, tmp_path / form, form)
        assert not (tmp_path / form).exists()


def test_cards_of_which_nobody_knows_the_damage_are_refused(tmp_path):
    for seed, label in enumerate(("CLEAN", "SMALL", "LIGHT")):
        save(speckled(seed), tmp_path / "cards" / label / "1.png")
    with pytest.raises(CardError, match=r"LIGHT/1\.png has neither a mask nor boxes .* \(1 more of 3 cards") as error:
        export_cards(tmp_path / "cards", tmp_path / "out", "coco")
    assert "name its class as undamaged" in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cards"]


def test_undamaged_classes(tmp_path):
    labels_and_masks = (("free", spot()), ("SMALL", spot()), ("SMALL", mask_with()))
    cards = make(tmp_path / "cards", *(({"label": label}, mask) for label, mask in labels_and_masks))
    summary = export_cards(cards, tmp_path / "out", "coco", shares=(1,), rules=Rules(undamaged=("free",)))
    assert summary.damages == {"train": {"SMALL": 1}}
    assert "1 cards labelled undamaged have damage marked" in summary.text()
    assert "1 cards that are not labelled undamaged have no damage" in summary.text()


def test_cards_without_labels(tmp_path):
    cards = make(tmp_path / "cards", ({}, spot()), ({"objects": {"bbox": [[1, 2, 3, 4]]}}, None))
    assert coco_of(cards, tmp_path / "out")[1] == [("damage", [2, 3, 7, 7], 49), ("damage", [1, 2, 3, 4], 12)]
    export_cards(cards, tmp_path / "hub", "hub", shares=(1,))


def test_categories_can_be_given_so_that_several_exports_agree(tmp_path):
    cards = make(tmp_path / "cards", ({"label": "SMALL"}, spot()))
    export_cards(cards, tmp_path / "out", "yolo", shares=(1,), categories=("CREASE", "SMALL"))
    assert (tmp_path / "out/labels/train/0.txt").read_text().startswith("1 ")
    with pytest.raises(CardError, match="has damage of SMALL too"):
        export_cards(cards, tmp_path / "other", "yolo", categories=("CREASE",))
    clean = make(tmp_path / "clean", ({"label": "CLEAN"}, None))
    with pytest.raises(CardError, match="no categories; name them"):
        export_cards(clean, tmp_path / "other", "yolo")
    export_cards(clean, tmp_path / "other", "yolo", shares=(1,), categories=("SMALL",))


def test_pictures_are_copied_byte_for_byte_unless_tools_would_see_them_otherwise(tmp_path):
    cards = tmp_path / "cards"
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = save(speckled(0, (16, 24)), cards / "SMALL/turned.jpg", exif=exif, quality=100, subsampling=0)
    plain = save(speckled(1), cards / "SMALL/Plain.JPEG", format="JPEG")
    grey = save(speckled(2).convert("L"), cards / "SMALL/grey.png")
    alpha = speckled(3)
    alpha.putalpha(0)
    save(alpha, cards / "SMALL/alpha.png")
    save(speckled(4), cards / "SMALL/moving.gif", save_all=True, append_images=[speckled(5)])
    for name in ("turned", "Plain", "grey", "alpha", "moving"):
        save(spot(), cards / f"masks/SMALL/{name}.png")
    before = contents(cards)
    images, _ = coco_of(cards, tmp_path / "out")
    assert sorted(images) == [
        f"SMALL_{name}" for name in ("Plain.jpeg", "alpha.png", "grey.png", "moving.png", "turned.png")
    ]
    assert {(image["height"], image["width"]) for image in images.values()} == {(24, 16)}
    written = tmp_path / "out/images/train"
    assert (written / "SMALL_Plain.jpeg").read_bytes() == plain.read_bytes()
    assert (written / "SMALL_grey.png").read_bytes() == grey.read_bytes()
    with Image.open(written / "SMALL_turned.png") as upright, Image.open(turned) as lying:
        assert (np.asarray(upright) == np.rot90(np.asarray(lying), -1)).all()
    with Image.open(written / "SMALL_alpha.png") as image:
        assert (np.asarray(image) == 255).all()
    assert contents(cards) == before
    (written / "SMALL_grey.png").write_bytes(b"changed by some tool")
    assert contents(cards) == before


def test_names_that_are_alike_stay_apart(tmp_path):
    cards = tmp_path / "cards"
    names = ("a/b_c.png", "a_b/c.png", "a/b_c.jpg", "A_B/C.png")
    for seed, name in enumerate(names):
        save(speckled(seed), cards / name)
    write_rows(cards, *({"file_name": name, "label": "CLEAN"} for name in names))
    images, _ = coco_of(cards, tmp_path / "out", categories=("SMALL",))
    assert {image["card"] for image in images.values()} == set(names)
    assert len({name.casefold().rpartition(".")[0] for name in images}) == 4


def test_what_is_there_is_replaced_only_if_asked_and_only_an_export(tmp_path):
    cards = make(tmp_path / "cards", ({"label": "SMALL"}, spot()))
    out = tmp_path / "out"
    export_cards(cards, out, "coco")
    before = contents(out)
    with pytest.raises(CardError, match="exists already"):
        export_cards(cards, out, "yolo")
    assert contents(out) == before
    export_cards(cards, out, "yolo", overwrite=True)
    assert (out / "data.yaml").is_file()
    assert not (out / "annotations").exists()
    other = make(tmp_path / "other", ({"label": "SMALL"}, spot()))
    before = contents(other)
    with pytest.raises(CardError, match="was not exported and is not overwritten"):
        export_cards(cards, other, "yolo", overwrite=True)
    for inside in (cards / "coco", cards, tmp_path):
        with pytest.raises(CardError, match="lie in each other"):
            export_cards(cards, inside, "yolo", overwrite=True)
    assert contents(other) == before
    (tmp_path / "empty").mkdir()
    export_cards(cards, tmp_path / "empty", "voc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cards", "empty", "other", "out"]


def test_a_failed_export_leaves_what_was_there(tmp_path, monkeypatch):
    cards = make(tmp_path / "cards", *(({"label": "SMALL"}, spot()) for _ in range(3)))
    out = tmp_path / "out"
    export_cards(cards, out, "coco")
    before = contents(out)

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space left"):
        export_cards(cards, out, "yolo", overwrite=True)
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cards", "out"]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"objects": "x"}, "is not"),
        ({"objects": {"bbox": [[1, 2, 3]]}}, "is not"),
        ({"objects": {"bbox": [[1, 2, 3, 4]], "categories": []}}, "numbers of boxes and categories differ"),
        ({"objects": {"bbox": [[1, 2, 3, 4]], "categories": 5}}, "is not"),
        ({"objects": {"categories": ["SMALL"]}}, "is not"),
        ({"objects": {"bbox": [[16, 2, 3, 4]]}}, "outside its picture of 24x16"),
        ({"objects": {"bbox": [[1, 2, 0, 4]]}}, "is empty or outside"),
        ({"objects": {"bbox": [[float("nan"), 2, 1, 4]]}}, "is not"),
    ],
)
def test_boxes_that_are_none_are_named(tmp_path, row, message):
    cards = make(tmp_path / "cards", ({"label": "SMALL", **row}, None))
    with pytest.raises(CardError, match=message) as error:
        export_cards(cards, tmp_path / "out", "coco")
    assert "0.png" in str(error.value)


def test_bad_folders_and_pictures_are_named(tmp_path):
    with pytest.raises(CardError, match="is no folder"):
        export_cards(tmp_path / "nowhere", tmp_path / "out", "coco")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CardError, match="has no pictures"):
        export_cards(tmp_path / "empty", tmp_path / "out", "coco")
    cards = make(tmp_path / "cards", ({"label": "SMALL"}, spot()), ({"label": "SMALL"}, spot((20, 16))))
    with pytest.raises(CardError, match=r"the mask of 1\.png measures 20x16 and the picture 24x16"):
        export_cards(cards, tmp_path / "out", "coco")
    (cards / "0.png").write_bytes((cards / "0.png").read_bytes()[:300])
    with pytest.raises(CardError, match=r"0\.png .*\(1 more of 2 cards"):
        export_cards(cards, tmp_path / "out", "coco")
    twice = make(tmp_path / "twice", ({"label": "SMALL"}, spot()))
    (twice / "metadata.jsonl").write_text((twice / "metadata.jsonl").read_text() * 2)
    with pytest.raises(CardError, match=r"0\.png has several rows"):
        export_cards(twice, tmp_path / "out", "coco")
    assert not (tmp_path / "out").exists()


def test_more_damages_than_a_png_has_indices_are_refused(tmp_path):
    values = np.zeros((64, 64), np.uint8)
    values[::2, ::3] = 255
    cards = tmp_path / "cards"
    save(speckled(0, (64, 64)), cards / "SMALL/a.png")
    save(Image.fromarray(values), cards / "masks/SMALL/a.png")
    with pytest.raises(CardError, match=r"SMALL/a\.png has 704 damages"):
        export_cards(cards, tmp_path / "out", "masks", rules=Rules(least_area=1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cards"]


def test_a_damage_of_which_only_the_box_is_known_has_no_mask(tmp_path):
    path = save(speckled(0), tmp_path / "a.png")
    row = {"file_name": "a.png", "objects": {"bbox": [[1, 2, 3, 4]], "categories": ["SMALL"]}}
    (damage,) = annotate_card(CardFile("a.png", path, row=row), Rules()).instances
    with pytest.raises(ValueError, match="only the box"):
        damage.mask()


def test_groups_stay_in_one_split_and_what_no_split_has_is_said(tmp_path):
    rows = [({"label": "SMALL", "group": f"g{i // 4}"}, spot()) for i in range(40)]
    cards = make(tmp_path / "cards", *rows, ({"label": "LIGHT"}, spot()))
    summary = export_cards(cards, tmp_path / "out", "coco")
    assert summary.cards == {"train": 33, "val": 4, "test": 4}
    assert summary.groups == {"train": 9, "val": 1, "test": 1}
    assert "val has no LIGHT: too few groups of cards show it" in summary.text()
    summary = export_cards(cards, tmp_path / "by", "coco", pattern=r"^(\d)\d")
    assert "10 cards have names in which" in summary.text()
