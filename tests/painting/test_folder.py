"""Folders of clean cards of any size, damaged by a model: pictures, twins, masks and rows."""

import numpy as np
import pytest
import torch
from datasets import load_dataset
from pictures import deep_png, save, speckled, spot
from PIL import Image

from cardsynth.cards.check import check_folder
from cardsynth.cards.folder import CardError, picture_keys, read_metadata
from cardsynth.core.runs import load_model
from cardsynth.painting import folder as painted_cards
from cardsynth.painting.folder import damage_cards
from cardsynth.painting.paint import paint
from cardsynth.painting.placing import Frame, feather, fit_mask
from cardsynth.render.draw import draw_card


@pytest.fixture(scope="module")
def model(trained_run):
    return load_model(trained_run)


@pytest.fixture
def scans(tmp_path):
    """Four clean cards: portrait, on its side, narrow, and a tiny one of 16 bits."""
    for seed, (name, size) in enumerate({"a.png": (90, 66), "b.webp": (50, 73), "c.png": (61, 20)}.items()):
        save(Image.fromarray(draw_card(seed, "CLEAN", size).image), tmp_path / "scans" / name, lossless=True)
    (tmp_path / "scans/d.png").write_bytes(deep_png(40_000, (24, 16)))
    return tmp_path / "scans"


def written(folder):
    """Rows of a card folder with their pictures as arrays, by what they are."""
    rows = read_metadata(folder / "metadata.jsonl")
    return [
        (row, {key.removesuffix("_file_name"): pixels(folder / row[key]) for key in picture_keys(row)}) for row in rows
    ]


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def damaged(model, scans, out, **how):
    return damage_cards(model, scans, out, **({"label": "SMALL", "progress": False} | how))


@pytest.mark.parametrize("masks", ["sampled", "drawn"])
def test_outside_the_mask_every_pixel_is_that_of_the_scan(model, scans, tmp_path, masks):
    out = damaged(model, scans, tmp_path / "out", label=None, masks=masks, per_card=2, seed=5)
    cards = written(out)
    assert [row["source"] for row, _ in cards] == [name for name in ("a.png", "b.webp", "c.png", "d.png") for _ in "12"]
    assert [row["seed"] for row, _ in cards] == list(range(5, 13))
    assert len({row["label"] for row, _ in cards}) == 4
    for row, found in cards:
        scan = pixels(scans / row["source"])
        twin = np.full((24, 16, 3), 156, np.uint8) if row["source"] == "d.png" else scan
        if row["source"] == "d.png":
            twin[0, 0] = 0
        assert np.array_equal(found["twin"], twin)
        assert found["file_name"].shape == twin.shape
        untouched = (found["file_name"] == found["twin"]).all(axis=-1)
        assert untouched[found["soft_mask"] == 0].all()
        assert not untouched[found["soft_mask"] > 0].all()
        assert np.array_equal(found["mask"], np.where(found["soft_mask"] > 0, 255, 0))
        assert row["group"] == row["source"]
        assert row["masks"] == masks
        assert row["objects"]["categories"] == [row["label"]] * len(row["objects"]["bbox"])
        assert row["damages"][0]["covered"] == pytest.approx((found["mask"] > 0).mean(), abs=1e-4)
    report = check_folder(out)
    assert not [problem for problem in report.problems if problem.level == "error"], report.text()
    opened = load_dataset("imagefolder", data_dir=str(out), split="train")
    assert {"image", "mask", "soft_mask", "twin", "label", "objects", "source", "group"} <= set(opened.features)


def test_a_scan_of_the_models_size_goes_the_way_of_cards_in_memory(model, tmp_path):
    drawn = draw_card(7, "SMALL", (40, 32))
    save(Image.fromarray(drawn.twin), tmp_path / "scans/card.png")
    save(Image.fromarray(drawn.mask), tmp_path / "masks/card.png")
    _, found = written(damaged(model, tmp_path / "scans", tmp_path / "out", masks=tmp_path / "masks", seed=3))[0]
    clean, mask = torch.from_numpy(drawn.twin.transpose(2, 0, 1).copy())[None], torch.from_numpy(drawn.mask)[None]
    made = paint(model, clean, mask, "SMALL", [3], progress=False)[0]
    assert np.array_equal(found["file_name"], made[:3].permute(1, 2, 0).numpy())
    assert np.array_equal(found["mask"], drawn.mask)


def test_a_card_on_its_side_is_damaged_like_one_upright(model, tmp_path):
    drawn = draw_card(7, "SMALL", (100, 70))
    for name, turns in (("upright", 0), ("aside", -1)):
        save(Image.fromarray(np.rot90(drawn.twin, turns)), tmp_path / name / "card.png")
        save(Image.fromarray(np.rot90(drawn.mask, turns)), tmp_path / f"masks_{name}/card.png")
    (_, upright), (_, aside) = (
        written(damaged(model, tmp_path / name, tmp_path / f"out_{name}", masks=tmp_path / f"masks_{name}"))[0]
        for name in ("upright", "aside")
    )
    assert aside["file_name"].shape == (70, 100, 3)
    assert np.array_equal(np.rot90(aside["soft_mask"]), upright["soft_mask"])
    difference = np.abs(np.rot90(aside["file_name"]).astype(int) - upright["file_name"])
    assert difference.max() <= 1
    assert (upright["file_name"] != drawn.twin).any()


def test_files_depend_on_card_and_seed_alone(model, scans, tmp_path, monkeypatch):
    together = damaged(model, scans, tmp_path / "together", seed=10)
    (scans / "d.png").unlink()
    monkeypatch.setattr(painted_cards, "SCANS_AT_A_TIME", 2)
    fewer = damaged(model, scans, tmp_path / "fewer", seed=10)
    names = [path.relative_to(fewer) for path in sorted(fewer.rglob("*.png"))]
    assert len(names) == 3 * 4
    assert all((fewer / name).read_bytes() == (together / name).read_bytes() for name in names)


def test_masks_go_by_the_cards_names_or_else_in_turn(model, scans, tmp_path):
    sides = {"a": (90, 66), "b": (50, 73), "c": (61, 20), "d": (24, 16)}
    for place, (name, size) in enumerate(reversed(sides.items())):
        mask = np.zeros(size, np.uint8)
        mask[: size[0] // (2 + place)] = 255
        save(Image.fromarray(mask), tmp_path / f"masks/{name}.png")
    for row, found in written(damaged(model, scans, tmp_path / "named", masks=tmp_path / "masks", per_card=2)):
        assert row["masks"] == f"{row['source'][0]}.png"
        assert np.array_equal(found["mask"], pixels(tmp_path / "masks" / row["masks"]))
    (tmp_path / "masks/b.png").unlink()
    rows = read_metadata(damaged(model, scans, tmp_path / "turn", masks=tmp_path / "masks") / "metadata.jsonl")
    assert [row["masks"] for row in rows] == ["a.png", "c.png", "d.png", "a.png"]


def test_what_is_too_fine_for_the_model_is_neither_painted_nor_labelled(model, tmp_path):
    save(speckled(1, (400, 320)), tmp_path / "scans/card.png")
    mask = np.zeros((400, 320), np.uint8)
    mask[100:200, 100:200] = 255
    mask[300:303, 20:23] = 255
    save(Image.fromarray(mask), tmp_path / "masks/card.png")
    row, found = written(damaged(model, tmp_path / "scans", tmp_path / "out", masks=tmp_path / "masks"))[0]
    assert row["objects"]["bbox"] == [[100, 100, 100, 100]]
    assert np.array_equal(found["file_name"][300:303, 20:23], found["twin"][300:303, 20:23])
    mask[100:200] = 0
    save(Image.fromarray(mask), tmp_path / "masks/card.png")
    with pytest.raises(CardError, match=r"card\.png holds no damage as large as a pixel of 40x32"):
        damaged(model, tmp_path / "scans", tmp_path / "other", masks=tmp_path / "masks")


def test_clean_cards_are_told_by_their_class_and_keep_their_group(model, card_folder, tmp_path):
    out = damaged(model, card_folder, tmp_path / "out")
    rows = read_metadata(out / "metadata.jsonl")
    assert len(rows) == 6
    assert {row["source"].split("/")[0] for row in rows} == {"CLEAN"}
    again = damaged(model, out, tmp_path / "again", clean_label="SMALL")
    assert [row["group"] for row in read_metadata(again / "metadata.jsonl")] == [row["source"] for row in rows]
    with pytest.raises(CardError, match="has no class CLEAN, its classes are SMALL; name the clean one"):
        damaged(model, out, tmp_path / "more")


def test_pictures_that_are_there_stay(model, scans, tmp_path):
    out = damaged(model, scans, tmp_path / "out")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(CardError, match=r"a_000000\.png exists already, as do 4 of 4"):
        damaged(model, scans, out, masks="drawn")
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    damaged(model, scans, out, masks="drawn", overwrite=True)
    damaged(model, scans, out, masks="drawn", seed=4)
    assert [row["seed"] for row in read_metadata(out / "metadata.jsonl")] == list(range(8))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"label": "CLEAN"}, "class of cards without damage"),
        ({"per_card": 0}, "per_card must be 1 or more"),
        ({"masks": "scans"}, "scans has no pictures"),
        ({"sampler": "euler"}, "sampler must be .* and is 'euler'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(model, scans, tmp_path, how, message):
    if how.get("masks"):
        how = {"masks": tmp_path / "empty" / "scans"}
    with pytest.raises(ValueError, match=message):
        damaged(model, scans, tmp_path / "out", **how)
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_scan_that_cannot_be_read_is_named(model, scans, tmp_path):
    (scans / "b.webp").write_bytes(b"no picture")
    with pytest.raises(CardError, match=r"b\.webp is empty, damaged or no picture"):
        damaged(model, scans, tmp_path / "out")


def test_a_frame_holds_the_whole_scan_undistorted():
    upright, aside = Frame((700, 500), (80, 64)), Frame((500, 700), (80, 64), turned=True)
    assert upright.window == aside.window == (slice(0, 80), slice(3, 60))
    mask = np.zeros((700, 500), bool)
    mask[:350] = True
    small = upright.shrink_mask(mask)
    assert np.array_equal(small, aside.shrink_mask(np.rot90(mask, -1)))
    assert small[:40, 3:60].all()
    assert small.sum() == 40 * 57
    assert np.array_equal(upright.within_reach(mask, small), mask)
    ramp = torch.linspace(0, 255, 80)[None, :, None].expand(3, 80, 64)
    whole = slice(None), slice(None)
    values = upright.enlarge(ramp, whole)
    assert values.shape == (700, 500, 3)
    assert np.abs(values[10:-10, 0, 0] - np.linspace(0, 255, 700)[10:-10]).max() < 2
    np.testing.assert_allclose(np.rot90(aside.enlarge(ramp, whole)), values, atol=1e-3)


def test_masks_fit_any_card_and_stay_smooth():
    small = np.asarray(spot((24, 16)))
    assert np.array_equal(fit_mask(small, (24, 16)), small > 0)
    assert np.array_equal(fit_mask(small, (16, 24)), np.rot90(small) > 0)
    assert fit_mask(small, (240, 160)).mean() == pytest.approx((small > 0).mean(), rel=0.05)
    stairs = np.triu(np.full((20, 20), 255, np.uint8))
    large = fit_mask(stairs, (400, 400))
    steps = np.diff(large.argmax(axis=1))[40:-40]
    assert 0 <= steps.min() <= steps.max() <= 4


def test_a_feathered_mask_rises_from_the_outline_to_full():
    mask = np.zeros((30, 30), bool)
    mask[5:25, 5:25] = True
    soft = feather(mask, 5)
    assert np.array_equal(soft > 0, mask)
    profile = soft[15, 5:16].astype(int)
    assert (np.diff(profile) >= 0).all()
    assert profile[0] < 64
    assert (profile[4:] == 255).all()
    assert np.array_equal(feather(mask, 0), mask * np.uint8(255))
    assert (feather(np.ones((4, 4), bool), 3) == 255).all()
