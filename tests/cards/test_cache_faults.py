"""Prepared cards that are damaged, have no place, are killed in the making, or are made by several at once."""

import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from cached import SIZE, assert_equal, caches, uncached
from pictures import save, speckled

from cardsynth.cards import cache
from cardsynth.cards.dataset import read_cards

pytestmark = [pytest.mark.usefixtures("cached_from_four"), pytest.mark.filterwarnings("error")]


@pytest.mark.parametrize("damage", ["pixels cut off", "listing cut off", "no pixels", "another listing"])
def test_a_damaged_cache_is_not_believed(masked, damage):
    plain = read_cards(masked, SIZE)
    (name,) = caches(masked)
    pixels, listing = (masked / cache.CACHE_FOLDER / name / file for file in (cache.PIXELS, cache.LISTING))
    if damage == "pixels cut off":
        pixels.write_bytes(pixels.read_bytes()[:-1])
    elif damage == "no pixels":
        pixels.unlink()
    else:
        listing.write_text(listing.read_text()[:-5] if damage == "listing cut off" else "[1, 2]")
    assert_equal(read_cards(masked, SIZE), plain)
    assert caches(masked) == [name]


# Where no cache can be kept


def test_a_folder_that_cannot_be_written(masked):
    with uncached():
        plain = read_cards(masked, SIZE)
    (masked / cache.CACHE_FOLDER).write_text("in the way")
    with pytest.warns(UserWarning, match="keeps no prepared cards .*File exists.* read into memory"):
        assert_equal(read_cards(masked, SIZE), plain)


def test_a_full_disk(masked, monkeypatch):
    with uncached():
        plain = read_cards(masked, SIZE)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert_equal(read_cards(masked, SIZE), plain)
    monkeypatch.undo()
    monkeypatch.setattr(cache, "CACHED_FROM", 4)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.warns(UserWarning, match=r"they take 0\.0 GB, and 0\.0 GB are free"):
        assert_equal(read_cards(masked, SIZE), plain)
    assert caches(masked) == []


@pytest.mark.parametrize("masked", ["metadata"], indirect=True)
@pytest.mark.parametrize("elsewhere", ["outside", "behind a link", "hidden"])
def test_pictures_whose_changes_nobody_would_notice(masked, elsewhere):
    place = {"outside": masked.parent / "far", "behind a link": masked / "link", "hidden": masked / ".far"}[elsewhere]
    picture = save(speckled(70), masked.parent / "far/x.png")
    if elsewhere == "behind a link":
        place.symlink_to(masked.parent / "far")
    elif elsewhere == "hidden":
        picture = save(speckled(70), place / "x.png")
    name = os.path.relpath(place / "x.png", masked)
    with (masked / "metadata.jsonl").open("a") as rows:
        rows.write(f'{{"file_name": "{name}", "mask_file_name": "masks/SMALL/000000.png", "label": "SMALL"}}\n')
    for seed in (70, 71):
        save(speckled(seed), picture)
        with pytest.warns(UserWarning, match="missing or lie elsewhere: 1"):
            cards = read_cards(masked, SIZE)
        assert np.array_equal(cards.pixels[cards.names.index(name), :3].permute(1, 2, 0), speckled(seed))


# Killed and at once


def killed_at(step, masked):
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
    read_cards(masked, SIZE)


@pytest.mark.skipif(os.name == "nt", reason="no fork and no SIGKILL")
@pytest.mark.parametrize("step", ["pixels", "listing", "rename"])
def test_a_killed_preparation_leaves_nothing_that_is_believed(masked, step):
    process = multiprocessing.get_context("fork").Process(target=killed_at, args=(step, masked))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert caches(masked) == [".preparing"]
    with uncached():
        plain = read_cards(masked, SIZE)
    assert_equal(read_cards(masked, SIZE), plain)
    assert len(caches(masked)) == 1
    assert_equal(read_cards(masked, SIZE), plain)


def prepare_at_once(masked, barrier, results):
    cache.CACHED_FROM = 4
    prepared, prepare = [], cache._prepare
    cache._prepare = lambda *arguments: prepared.append(1) or prepare(*arguments)
    barrier.wait()
    fingerprint = read_cards(masked, SIZE).fingerprint
    results.put((fingerprint, len(prepared)))


@pytest.mark.skipif(os.name == "nt", reason="no fork")
def test_processes_that_start_at_once_prepare_once(masked):
    with uncached():
        plain = read_cards(masked, SIZE)
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(3), context.SimpleQueue()
    processes = [context.Process(target=prepare_at_once, args=(masked, barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    answers = [results.get() for _ in processes]
    assert sorted(answers) == [(plain.fingerprint, count) for count in (0, 0, 1)]
    assert len(caches(masked)) == 1
