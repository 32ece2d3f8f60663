"""Prepared cards: the same as read ones, never stale, whole or not there, and in nobody's way."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import psutil
import pytest
import torch
from cached import SIZE, assert_equal, caches, uncached
from pictures import save, speckled, spot

from cardsynth.cards import cache, reading
from cardsynth.cards.check import check_folder
from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.cards.folder import CardError, find_cards

pytestmark = [pytest.mark.usefixtures("cached_from_four"), pytest.mark.filterwarnings("error")]


def reads(monkeypatch) -> list[Path]:
    """The pictures that are read from now on."""
    opened, read_image = [], reading.read_image

    def read(file, name):
        opened.append(file)
        return read_image(file, name)

    monkeypatch.setattr(reading, "read_image", read)
    return opened


# The same cards


CHOICES = {
    "all": {},
    "without masks": {"use_masks": False},
    "without labels": {"use_labels": False},
    "one class": {"only_labels": ["SMALL"]},
    "skipping bad ones": {"skip_bad": True},
    "another size": {"size": (20, 20), "fit": "pad", "portrait": False},
    "stretched": {"size": (8, 24), "fit": "stretch"},
}


@pytest.mark.parametrize("choice", CHOICES)
def test_prepared_cards_are_those_that_are_read(masked, choice, monkeypatch):
    arguments = {"size": SIZE, **CHOICES[choice]}
    with uncached():
        plain = read_cards(masked, **arguments)
    assert not (masked / cache.CACHE_FOLDER).exists()
    assert_equal(read_cards(masked, **arguments), plain)
    assert len(caches(masked)) == 1
    opened = reads(monkeypatch)
    again = read_cards(masked, **arguments)
    assert opened == []
    assert_equal(again, plain)
    recomputed = Cards(again.pixels, again.labels, again.label_names)
    assert recomputed.fingerprint == again.fingerprint


def test_bad_cards_are_left_out_and_named_by_the_cache_too(masked, monkeypatch):
    for seed in (10, 11, 12):
        save(speckled(seed), masked / f"SMALL/{seed:06d}.png")
        save(spot(), masked / f"masks/SMALL/{seed:06d}.png")
    if (masked / "metadata.jsonl").exists():
        with (masked / "metadata.jsonl").open("a") as rows:
            for seed in (10, 11, 12):
                name = f"SMALL/{seed:06d}.png"
                rows.write(f'{{"file_name": "./{name}", "mask_file_name": "masks/{name}", "label": "SMALL"}}\n')
    (masked / "SMALL/000002.png").write_bytes(b"no picture")
    save(spot((9, 9)), masked / "masks/SMALL/000011.png")
    with pytest.raises(CardError, match=r"skip_bad \(and 1 more: cardsynth check"):
        read_cards(masked, SIZE)
    assert caches(masked) == []
    with uncached():
        plain = read_cards(masked, SIZE, skip_bad=True)
    assert (len(plain), len(plain.skipped)) == (5, 2)
    assert_equal(read_cards(masked, SIZE, skip_bad=True), plain)
    opened = reads(monkeypatch)
    assert_equal(read_cards(masked, SIZE, skip_bad=True), plain)
    assert opened == []


def test_more_cards_than_are_read_at_a_time(tmp_path):
    for seed in range(61):
        save(speckled(seed), tmp_path / f"{seed % 3}/{seed}.png")
    for seed in (7, 8, 9, 40):
        (tmp_path / f"{seed % 3}/{seed}.png").write_bytes(b"")
    cards = read_cards(tmp_path, SIZE, skip_bad=True)
    assert (len(cards), len(cards.skipped), len(caches(tmp_path))) == (57, 4, 1)
    for name, pixels in zip(cards.names, cards.pixels, strict=True):
        assert np.array_equal(pixels.permute(1, 2, 0), speckled(int(Path(name).stem)))


def test_small_folders_keep_no_cache(masked, monkeypatch):
    monkeypatch.setattr(cache, "CACHED_FROM", 9)
    read_cards(masked, SIZE)
    assert not (masked / cache.CACHE_FOLDER).exists()


# Never stale


def same_times(path: Path, write) -> None:
    """Write to a file and set its times back."""
    status = path.stat()
    write()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def change_picture(masked):
    picture = masked / "SMALL/000000.png"
    same_times(picture, lambda: save(speckled(99), picture))
    assert picture.stat().st_size == save(speckled(0), masked.parent / "first.png").stat().st_size


def change_mask(masked):
    save(spot().rotate(180), masked / "masks/SMALL/000000.png")


def remove_card(masked):
    (masked / "SMALL/000000.png").unlink()
    (masked / "masks/SMALL/000000.png").unlink()
    metadata = masked / "metadata.jsonl"
    if metadata.exists():
        metadata.write_text("".join(metadata.read_text().splitlines(keepends=True)[1:]))


def add_card(masked):
    save(speckled(7), masked / "SMALL/000007.png")
    save(spot(), masked / "masks/SMALL/000007.png")
    if (masked / "metadata.jsonl").exists():
        with (masked / "metadata.jsonl").open("a") as rows:
            name = "SMALL/000007.png"
            rows.write(f'{{"file_name": "{name}", "mask_file_name": "masks/{name}", "label": "SMALL"}}\n')


def change_label(masked):
    metadata = masked / "metadata.jsonl"
    if metadata.exists():
        same_times(metadata, lambda: metadata.write_text(metadata.read_text().replace('"SMALL"', '"LARGE"')))
    else:
        (masked / "SMALL").rename(masked / "LARGE")
        (masked / "masks/SMALL").rename(masked / "masks/LARGE")


def swap_pictures(masked):
    first, second = (masked / f"SMALL/{seed:06d}.png" for seed in (0, 2))
    for path in (first, second):
        os.utime(path, (1, 1))
    first.rename(masked / "other.png")
    second.rename(first)
    (masked / "other.png").rename(second)


@pytest.mark.parametrize(
    "change",
    [change_picture, change_mask, remove_card, add_card, change_label, swap_pictures],
    ids=lambda c: c.__name__,
)
def test_a_changed_folder_is_prepared_anew(masked, change):
    before = read_cards(masked, SIZE)
    if change is swap_pictures:
        for seed in (0, 2):
            os.utime(masked / f"SMALL/{seed:06d}.png", (1, 1))
        before = read_cards(masked, SIZE)
    old = caches(masked)
    change(masked)
    with uncached():
        plain = read_cards(masked, SIZE)
    assert plain.fingerprint != before.fingerprint
    after = read_cards(masked, SIZE)
    assert_equal(after, plain)
    assert len(caches(masked)) == 1
    assert caches(masked) != old


@pytest.mark.parametrize("masked", ["class folders"], indirect=True)
def test_an_empty_folder_of_images_hides_the_others(masked):
    read_cards(masked, SIZE)
    (masked / "images").mkdir()
    with pytest.raises(CardError, match="no pictures"):
        read_cards(masked, SIZE)


def test_each_choice_has_a_cache_of_its_own(masked):
    for arguments in CHOICES.values():
        read_cards(masked, **{"size": SIZE, **arguments})
    assert len(caches(masked)) == len(CHOICES)
    save(speckled(50), masked / "SMALL/000000.png")
    for arguments in CHOICES.values():
        read_cards(masked, **{"size": SIZE, **arguments})
    assert len(caches(masked)) == len(CHOICES)


def test_what_changes_no_card_needs_no_preparing(masked, monkeypatch):
    plain = read_cards(masked, SIZE)
    opened = reads(monkeypatch)
    save(speckled(3), masked / "report/grid.png")
    (masked / "notes.txt").write_text("scanned in May")
    assert_equal(read_cards(masked, SIZE), plain)
    moved = masked.rename(masked.parent / "moved")
    assert read_cards(moved, SIZE).fingerprint == plain.fingerprint
    assert opened == []


# Pixels in a file


def test_writing_to_the_pixels_does_not_change_the_cache(masked):
    first = read_cards(masked, SIZE)
    kept = first.pixels.clone()
    first.pixels.zero_()
    assert torch.equal(read_cards(masked, SIZE).pixels, kept)


@pytest.mark.skipif(os.name == "nt", reason="no sparse files")
def test_more_pixels_than_memory(tmp_path):
    cards = (psutil.virtual_memory().total + psutil.swap_memory().total) // (3 * 64 * 64) + 1000
    with (tmp_path / "pixels").open("wb") as file:
        file.truncate(cards * 3 * 64 * 64)
        file.seek(-1, os.SEEK_END)
        file.write(b"\7")
    pixels = torch.from_numpy(cache._map(tmp_path / "pixels", (cards, 3, 64, 64), at_random=True))
    assert pixels[torch.tensor([0, cards // 2, cards - 1])].sum() == 7


def test_little_memory(masked, monkeypatch):
    assert 0 < cache.free_memory() <= psutil.virtual_memory().total
    plain = read_cards(masked, SIZE)
    monkeypatch.setattr(cache, "free_memory", lambda: 0)
    assert_equal(read_cards(masked, SIZE), plain)


def test_a_fingerprint_is_of_the_cards_that_have_it(masked):
    cards = read_cards(masked, SIZE)
    assert replace(cards, pixels=cards.pixels[:2], labels=cards.labels[:2]).fingerprint != cards.fingerprint
    assert cards.to("cpu").fingerprint == cards.fingerprint
    assert cards.to("cpu").pixels.data_ptr() == cards.pixels.data_ptr()


# Nothing that others stumble over


def test_nobody_takes_the_cache_for_cards(masked, tmp_path):
    def seen():
        opened = datasets.load_dataset("imagefolder", data_dir=str(masked), cache_dir=str(tmp_path / "hf"))
        pictures = {split: [np.asarray(row["image"]).tolist() for row in rows] for split, rows in opened.items()}
        return find_cards(masked), check_folder(masked), opened.column_names, pictures

    before = seen()
    read_cards(masked, SIZE)
    shutil.rmtree(tmp_path / "hf")
    assert len(caches(masked)) == 1
    assert seen() == before
    assert (masked / cache.CACHE_FOLDER / ".gitignore").read_text() == "*\n"
