"""Prepared cards: the same as read ones, never stale, whole or not there, and in nobody's way."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import warnings
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import psutil
import pytest
import torch
from pictures import make_labelled, save, speckled, spot

from cardsynth import cache
from cardsynth.cards import Cards, read_cards
from cardsynth.check import check_folder
from cardsynth.folder import CardError, find_cards

SIZE = (24, 16)
NEVER = 10**9


@pytest.fixture(autouse=True)
def _from_four_pictures(monkeypatch):
    monkeypatch.setattr(cache, "CACHED_FROM", 4)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings(action="error"):
        yield


@pytest.fixture(params=["metadata", "class folders"])
def folder(request, tmp_path):
    """Four cards with masks of two classes."""
    made = make_labelled(tmp_path / "cards")
    if request.param == "class folders":
        (made / "metadata.jsonl").unlink()
    return made


def caches(folder: Path) -> list[str]:
    """Names of a folder's caches, and of what else is left of preparing them."""
    names = (path.name for path in (folder / cache.CACHE_FOLDER).glob("*"))
    return sorted(name for name in names if name not in (".gitignore", ".lock"))


@contextlib.contextmanager
def uncached():
    before, cache.CACHED_FROM = cache.CACHED_FROM, NEVER
    yield
    cache.CACHED_FROM = before


def assert_equal(cards: Cards, others: Cards) -> None:
    assert torch.equal(cards.pixels, others.pixels)
    assert torch.equal(cards.labels, others.labels)
    assert (cards.pixels.dtype, cards.labels.dtype) == (torch.uint8, torch.int64)
    for name in ("label_names", "names", "source", "skipped", "fingerprint", "has_mask", "class_counts"):
        assert getattr(cards, name) == getattr(others, name), name


def reads(monkeypatch) -> list[Path]:
    """The pictures that are read from now on."""
    opened = []
    read_image = cache.read_into.__globals__["read_image"]

    def read(file, name):
        opened.append(file)
        return read_image(file, name)

    monkeypatch.setitem(cache.read_into.__globals__, "read_image", read)
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
def test_prepared_cards_are_those_that_are_read(folder, choice, monkeypatch):
    arguments = {"size": SIZE, **CHOICES[choice]}
    with uncached():
        plain = read_cards(folder, **arguments)
    assert not (folder / cache.CACHE_FOLDER).exists()
    assert_equal(read_cards(folder, **arguments), plain)
    assert len(caches(folder)) == 1
    opened = reads(monkeypatch)
    again = read_cards(folder, **arguments)
    assert opened == []
    assert_equal(again, plain)
    recomputed = Cards(again.pixels, again.labels, again.label_names)
    assert recomputed.fingerprint == again.fingerprint


def test_bad_cards_are_left_out_and_named_by_the_cache_too(folder, monkeypatch):
    for seed in (10, 11, 12):
        save(speckled(seed), folder / f"SMALL/{seed:06d}.png")
        save(spot(), folder / f"masks/SMALL/{seed:06d}.png")
    if (folder / "metadata.jsonl").exists():
        with (folder / "metadata.jsonl").open("a") as rows:
            for seed in (10, 11, 12):
                name = f"SMALL/{seed:06d}.png"
                rows.write(f'{{"file_name": "./{name}", "mask_file_name": "masks/{name}", "label": "SMALL"}}\n')
    (folder / "SMALL/000002.png").write_bytes(b"no picture")
    save(spot((9, 9)), folder / "masks/SMALL/000011.png")
    with pytest.raises(CardError, match=r"skip_bad \(and 1 more: cardsynth check"):
        read_cards(folder, SIZE)
    assert caches(folder) == []
    with uncached():
        plain = read_cards(folder, SIZE, skip_bad=True)
    assert (len(plain), len(plain.skipped)) == (5, 2)
    assert_equal(read_cards(folder, SIZE, skip_bad=True), plain)
    opened = reads(monkeypatch)
    assert_equal(read_cards(folder, SIZE, skip_bad=True), plain)
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


def test_small_folders_keep_no_cache(folder, monkeypatch):
    monkeypatch.setattr(cache, "CACHED_FROM", 9)
    read_cards(folder, SIZE)
    assert not (folder / cache.CACHE_FOLDER).exists()


# Never stale


def same_times(path: Path, write) -> None:
    """Write to a file and set its times back."""
    status = path.stat()
    write()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def change_picture(folder):
    picture = folder / "SMALL/000000.png"
    same_times(picture, lambda: save(speckled(99), picture))
    assert picture.stat().st_size == save(speckled(0), folder.parent / "first.png").stat().st_size


def change_mask(folder):
    save(spot().rotate(180), folder / "masks/SMALL/000000.png")


def remove_card(folder):
    (folder / "SMALL/000000.png").unlink()
    (folder / "masks/SMALL/000000.png").unlink()
    metadata = folder / "metadata.jsonl"
    if metadata.exists():
        metadata.write_text("".join(metadata.read_text().splitlines(keepends=True)[1:]))


def add_card(folder):
    save(speckled(7), folder / "SMALL/000007.png")
    save(spot(), folder / "masks/SMALL/000007.png")
    if (folder / "metadata.jsonl").exists():
        with (folder / "metadata.jsonl").open("a") as rows:
            name = "SMALL/000007.png"
            rows.write(f'{{"file_name": "{name}", "mask_file_name": "masks/{name}", "label": "SMALL"}}\n')


def change_label(folder):
    metadata = folder / "metadata.jsonl"
    if metadata.exists():
        same_times(metadata, lambda: metadata.write_text(metadata.read_text().replace('"SMALL"', '"LARGE"')))
    else:
        (folder / "SMALL").rename(folder / "LARGE")
        (folder / "masks/SMALL").rename(folder / "masks/LARGE")


def swap_pictures(folder):
    first, second = (folder / f"SMALL/{seed:06d}.png" for seed in (0, 2))
    for path in (first, second):
        os.utime(path, (1, 1))
    first.rename(folder / "other.png")
    second.rename(first)
    (folder / "other.png").rename(second)


@pytest.mark.parametrize(
    "change",
    [change_picture, change_mask, remove_card, add_card, change_label, swap_pictures],
    ids=lambda c: c.__name__,
)
def test_a_changed_folder_is_prepared_anew(folder, change):
    before = read_cards(folder, SIZE)
    if change is swap_pictures:
        for seed in (0, 2):
            os.utime(folder / f"SMALL/{seed:06d}.png", (1, 1))
        before = read_cards(folder, SIZE)
    old = caches(folder)
    change(folder)
    with uncached():
        plain = read_cards(folder, SIZE)
    assert plain.fingerprint != before.fingerprint
    after = read_cards(folder, SIZE)
    assert_equal(after, plain)
    assert len(caches(folder)) == 1
    assert caches(folder) != old


@pytest.mark.parametrize("folder", ["class folders"], indirect=True)
def test_an_empty_folder_of_images_hides_the_others(folder):
    read_cards(folder, SIZE)
    (folder / "images").mkdir()
    with pytest.raises(CardError, match="no pictures"):
        read_cards(folder, SIZE)


def test_each_choice_has_a_cache_of_its_own(folder):
    for arguments in CHOICES.values():
        read_cards(folder, **{"size": SIZE, **arguments})
    assert len(caches(folder)) == len(CHOICES)
    save(speckled(50), folder / "SMALL/000000.png")
    for arguments in CHOICES.values():
        read_cards(folder, **{"size": SIZE, **arguments})
    assert len(caches(folder)) == len(CHOICES)


def test_what_changes_no_card_needs_no_preparing(folder, monkeypatch):
    plain = read_cards(folder, SIZE)
    opened = reads(monkeypatch)
    save(speckled(3), folder / "report/grid.png")
    (folder / "notes.txt").write_text("scanned in May")
    assert_equal(read_cards(folder, SIZE), plain)
    moved = folder.rename(folder.parent / "moved")
    assert read_cards(moved, SIZE).fingerprint == plain.fingerprint
    assert opened == []


# Pixels in a file


def test_writing_to_the_pixels_does_not_change_the_cache(folder):
    first = read_cards(folder, SIZE)
    kept = first.pixels.clone()
    first.pixels.zero_()
    assert torch.equal(read_cards(folder, SIZE).pixels, kept)


@pytest.mark.skipif(os.name == "nt", reason="no sparse files")
def test_more_pixels_than_memory(tmp_path):
    cards = (psutil.virtual_memory().total + psutil.swap_memory().total) // (3 * 64 * 64) + 1000
    with (tmp_path / "pixels").open("wb") as file:
        file.truncate(cards * 3 * 64 * 64)
        file.seek(-1, os.SEEK_END)
        file.write(b"\7")
    pixels = torch.from_numpy(cache._map(tmp_path / "pixels", (cards, 3, 64, 64)))
    assert pixels[torch.tensor([0, cards // 2, cards - 1])].sum() == 7


def test_a_fingerprint_is_of_the_cards_that_have_it(folder):
    cards = read_cards(folder, SIZE)
    assert replace(cards, pixels=cards.pixels[:2], labels=cards.labels[:2]).fingerprint != cards.fingerprint
    assert cards.to("cpu").fingerprint == cards.fingerprint
    assert cards.to("cpu").pixels.data_ptr() == cards.pixels.data_ptr()


@pytest.mark.parametrize("damage", ["pixels cut off", "listing cut off", "no pixels", "another listing"])
def test_a_damaged_cache_is_not_believed(folder, damage):
    plain = read_cards(folder, SIZE)
    (name,) = caches(folder)
    pixels, listing = (folder / cache.CACHE_FOLDER / name / file for file in (cache.PIXELS, cache.LISTING))
    if damage == "pixels cut off":
        pixels.write_bytes(pixels.read_bytes()[:-1])
    elif damage == "no pixels":
        pixels.unlink()
    else:
        listing.write_text(listing.read_text()[:-5] if damage == "listing cut off" else "[1, 2]")
    assert_equal(read_cards(folder, SIZE), plain)
    assert caches(folder) == [name]


# Where no cache can be kept


def test_a_folder_that_cannot_be_written(folder):
    with uncached():
        plain = read_cards(folder, SIZE)
    (folder / cache.CACHE_FOLDER).write_text("in the way")
    with pytest.warns(UserWarning, match="keeps no prepared cards .*File exists.* read into memory"):
        assert_equal(read_cards(folder, SIZE), plain)


def test_a_full_disk(folder, monkeypatch):
    with uncached():
        plain = read_cards(folder, SIZE)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert_equal(read_cards(folder, SIZE), plain)
    monkeypatch.undo()
    monkeypatch.setattr(cache, "CACHED_FROM", 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.warns(UserWarning, match=r"they take 0\.0 GB, and 0\.0 GB are free"):
        assert_equal(read_cards(folder, SIZE), plain)
    assert caches(folder) == []


@pytest.mark.parametrize("folder", ["metadata"], indirect=True)
@pytest.mark.parametrize("elsewhere", ["outside", "behind a link", "hidden"])
def test_pictures_whose_changes_nobody_would_notice(folder, elsewhere):
    place = {"outside": folder.parent / "far", "behind a link": folder / "link", "hidden": folder / ".far"}[elsewhere]
    picture = save(speckled(70), folder.parent / "far/x.png")
    if elsewhere == "behind a link":
        place.symlink_to(folder.parent / "far")
    elif elsewhere == "hidden":
        picture = save(speckled(70), place / "x.png")
    name = os.path.relpath(place / "x.png", folder)
    with (folder / "metadata.jsonl").open("a") as rows:
        rows.write(f'{{"file_name": "{name}", "mask_file_name": "masks/SMALL/000000.png", "label": "SMALL"}}\n')
    for seed in (70, 71):
        save(speckled(seed), picture)
        with pytest.warns(UserWarning, match="missing or lie elsewhere: 1"):
            cards = read_cards(folder, SIZE)
        assert np.array_equal(cards.pixels[cards.names.index(name), :3].permute(1, 2, 0), speckled(seed))


# Killed and at once


def killed_at(step, folder):
    """Prepare the cards of a folder, and die: as the second part of the pixels is written, or before the listing is."""
    cache.CACHED_FROM = 4

    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    if step == "pixels":
        write_parts = cache.read_into

        def read_into(write, *others):
            def write_and_die(pixels):
                write(pixels[:1])
                die()

            return write_parts(write_and_die, *others)

        cache.read_into = read_into
    elif step == "listing":
        cache.asdict = die
    else:
        Path.rename = die
    read_cards(folder, SIZE)


@pytest.mark.skipif(os.name == "nt", reason="no fork and no SIGKILL")
@pytest.mark.parametrize("step", ["pixels", "listing", "rename"])
def test_a_killed_preparation_leaves_nothing_that_is_believed(folder, step):
    process = multiprocessing.get_context("fork").Process(target=killed_at, args=(step, folder))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert caches(folder) == [".preparing"]
    with uncached():
        plain = read_cards(folder, SIZE)
    assert_equal(read_cards(folder, SIZE), plain)
    assert len(caches(folder)) == 1
    assert_equal(read_cards(folder, SIZE), plain)


def prepare_at_once(folder, barrier, results):
    cache.CACHED_FROM = 4
    prepared, prepare = [], cache._prepare
    cache._prepare = lambda *arguments: prepared.append(1) or prepare(*arguments)
    barrier.wait()
    fingerprint = read_cards(folder, SIZE).fingerprint
    results.put((fingerprint, len(prepared)))


@pytest.mark.skipif(os.name == "nt", reason="no fork")
def test_processes_that_start_at_once_prepare_once(folder):
    with uncached():
        plain = read_cards(folder, SIZE)
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(3), context.SimpleQueue()
    processes = [context.Process(target=prepare_at_once, args=(folder, barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    answers = [results.get() for _ in processes]
    for process in processes:
        process.join()
    assert sorted(answers) == [(plain.fingerprint, count) for count in (0, 0, 1)]
    assert len(caches(folder)) == 1


# Nothing that others stumble over


def test_nobody_takes_the_cache_for_cards(folder, tmp_path):
    def seen():
        opened = datasets.load_dataset("imagefolder", data_dir=str(folder), cache_dir=str(tmp_path / "hf"))
        pictures = {split: [np.asarray(row["image"]).tolist() for row in rows] for split, rows in opened.items()}
        return find_cards(folder), check_folder(folder), opened.column_names, pictures

    before = seen()
    read_cards(folder, SIZE)
    shutil.rmtree(tmp_path / "hf")
    assert len(caches(folder)) == 1
    assert seen() == before
    assert (folder / cache.CACHE_FOLDER / ".gitignore").read_text() == "*\n"
