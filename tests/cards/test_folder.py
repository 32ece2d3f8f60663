"""The card folder on disk: every shape that users have is found, and the writer leaves it whole whatever happens."""

import json
import multiprocessing
import os
import signal

import datasets
import pytest
from pictures import png, save, speckled, spot, write_rows

from cardsynth.cards.check import check_folder
from cardsynth.cards.folder import CardError, CardWriter, find_cards, read_metadata
from cardsynth.util.files import write_atomically

FORMS = ("png", "JPG", "jpeg", "webp", "bmp", "tif", "tiff", "gif")


def seen(folder):
    """File name, label and mask of each card, relative to the folder."""
    return [
        (card.name, card.label, card.mask and card.mask.relative_to(folder).as_posix()) for card in find_cards(folder)
    ]


def card_row(name: str, **others) -> dict:
    return {"file_name": name, "mask_file_name": f"masks/{name}", **others}


def test_metadata_jsonl(tmp_path):
    row = {"file_name": "b.png", "mask_file_name": "m/b.png", "label": "SMALL", "text": "a card", "seed": 3}
    write_rows(tmp_path, row, {"file_name": "a.png", "label": 4})
    first, second = find_cards(tmp_path)
    assert (first.name, first.image, first.mask, first.label, first.text) == (
        *("a.png", tmp_path / "a.png", None, "4", None),
    )
    assert (second.mask, second.label, second.text) == (tmp_path / "m/b.png", "SMALL", "a card")
    assert second.row == row


def test_metadata_csv_with_captions(tmp_path):
    lines = '\ufefffile_name,text,label\r\nb.png,"red, with a star",\r\na.png,"two\nlines",SMALL\r\n'
    (tmp_path / "metadata.csv").write_text(lines, newline="", encoding="utf-8")
    first, second = find_cards(tmp_path)
    assert (first.name, first.label, first.text) == ("a.png", "SMALL", "two\nlines")
    assert (second.name, second.label, second.text) == ("b.png", None, "red, with a star")


def test_class_folders(tmp_path):
    for seed, name in enumerate(("WHITE_MARKS/1.png", "FULL_CARD/b c.png", "FULL_CARD/a.png")):
        save(speckled(seed), tmp_path / name)
        save(speckled(seed), tmp_path / "ALL_GUM_STAIN_CARDS" / name.rpartition("/")[2])
    assert seen(tmp_path) == [
        ("FULL_CARD/a.png", "FULL_CARD", None),
        ("FULL_CARD/b c.png", "FULL_CARD", None),
        ("WHITE_MARKS/1.png", "WHITE_MARKS", None),
    ]
    assert seen(tmp_path / "ALL_GUM_STAIN_CARDS") == [(f"{name}.png", None, None) for name in ("1", "a", "b c")]


def test_a_folder_that_holds_all_cards_is_no_class_and_names_that_begin_alike_are(tmp_path):
    for seed, label in enumerate(("Allover", "all", "ALL CARDS", "SMALL")):
        save(speckled(seed), tmp_path / label / "a.png")
    assert [label for _, label, _ in seen(tmp_path)] == ["Allover", "SMALL"]


def test_flat_folder(tmp_path):
    for seed, form in enumerate(FORMS):
        save(speckled(seed), tmp_path / f"{seed}.{form}")
    for other in ("notes.txt", ".0.png.tmp", "._1.png", ".hidden/1.png", "report/grid.png"):
        write_atomically(tmp_path / other, b"")
    assert seen(tmp_path) == [(f"{seed}.{form}", None, None) for seed, form in enumerate(FORMS)]


def test_flat_folder_beside_masks(tmp_path):
    save(speckled(0), tmp_path / "a.v2.jpg")
    save(spot(), tmp_path / "masks/a.v2.png")
    write_atomically(tmp_path / "masks/a.v2.txt", b"")
    assert seen(tmp_path) == [("a.v2.jpg", None, "masks/a.v2.png")]


@pytest.mark.parametrize("images", ["images/", ""])
def test_class_folders_beside_masks(tmp_path, images):
    for seed, name in enumerate(("LIGHT/a", "SMALL/a", "SMALL/b")):
        save(speckled(seed), tmp_path / f"{images}{name}.jpg")
    for name in ("LIGHT/a", "SMALL/b"):
        save(spot(), tmp_path / f"masks/{name}.png")
    assert seen(tmp_path) == [
        (f"{images}LIGHT/a.jpg", "LIGHT", "masks/LIGHT/a.png"),
        (f"{images}SMALL/a.jpg", "SMALL", None),
        (f"{images}SMALL/b.jpg", "SMALL", "masks/SMALL/b.png"),
    ]


def test_train_folder(tmp_path):
    save(speckled(0), tmp_path / "train/SMALL/a.png")
    save(speckled(1), tmp_path / "test/SMALL/b.png")
    save(spot(), tmp_path / "train/masks/SMALL/a.png")
    assert seen(tmp_path) == [("SMALL/a.png", "SMALL", "train/masks/SMALL/a.png")]
    write_rows(tmp_path / "train", {"file_name": "SMALL/a.png", "label": "LIGHT"})
    assert seen(tmp_path) == [("SMALL/a.png", "LIGHT", None)]


def test_metadata_beside_a_train_folder_is_read(tmp_path):
    save(speckled(0), tmp_path / "train/a.png")
    write_rows(tmp_path, {"file_name": "train/a.png", "label": "LIGHT"})
    (card,) = find_cards(tmp_path)
    assert (card.image, card.label) == (tmp_path / "train/a.png", "LIGHT")


def test_a_folder_of_card_folders_is_refused(tmp_path):
    """Their masks would be taken for cards, and their names for classes."""
    for name in ("pack two", "pack"):
        with CardWriter(tmp_path / "cards" / name) as writer:
            writer.add({"file_name": f"{name}.png"}, png(speckled(len(name))))
    with pytest.raises(CardError, match=r"holds card folders and is none itself; name one of them, as .*pack$"):
        find_cards(tmp_path / "cards")
    report = check_folder(tmp_path / "cards")
    assert [p.reason for p in report.problems if p.level == "error"] == ["holds card folders and is none itself"]


def test_a_hidden_folder_is_no_card_folder(tmp_path):
    save(speckled(0), tmp_path / "a.png")
    (tmp_path / ".cache").mkdir()
    write_rows(tmp_path / ".cache", {"file_name": "b.png"})
    assert [card.name for card in find_cards(tmp_path)] == ["a.png"]


def test_metadata_lines_end_at_line_ends_alone(tmp_path):
    write_rows(tmp_path, {"file_name": "a.png", "text": "one\u2028two\x85three"}, "", {"file_name": "b.png"})
    assert [row["file_name"] for row in read_metadata(tmp_path / "metadata.jsonl")] == ["a.png", "b.png"]


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv"])
@pytest.mark.parametrize("content", [b'file_name,x\n"\xff\xfe', b"a,b\n1,2\n", b"\x00\x00\n\x00", b"[1]\n"])
def test_metadata_that_is_none(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    if name == "metadata.csv" and content == b"[1]\n":
        assert read_metadata(tmp_path / name) == []
    else:
        with pytest.raises(CardError, match=rf"{name}, line \d"):
            find_cards(tmp_path)


def test_what_is_written_is_found(tmp_path):
    row = card_row("SMALL/000001.png", label="SMALL", text="größe", seed=1, objects={"bbox": [[1, 2, 3, 4]]})
    with CardWriter(tmp_path / "new" / "cards") as writer:
        writer.add(row, png(speckled(0)), png(spot()))
        writer.add({"file_name": "000002.png"}, png(speckled(1)))
    second, first = find_cards(tmp_path / "new" / "cards")
    assert first.row == row
    assert first.image.read_bytes() == png(speckled(0))
    assert first.mask.read_bytes() == png(spot())
    assert second.mask is None
    assert "größe" in (tmp_path / "new/cards/metadata.jsonl").read_text(encoding="utf-8")


def test_an_existing_picture_is_refused_and_left_alone(tmp_path):
    with CardWriter(tmp_path) as writer:
        writer.add(card_row("1.png", label="SMALL"), b"picture", b"mask")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for row in (card_row("1.png", label="LIGHT"), {**card_row("2.png"), "mask_file_name": "masks/1.png"}):
        with CardWriter(tmp_path) as writer, pytest.raises(CardError, match=r"1\.png exists already"):
            writer.add(row, b"other", b"other")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_overwriting_replaces_one_row(tmp_path):
    for label in ("SMALL", "LIGHT"):
        with CardWriter(tmp_path, overwrite=True) as writer:
            for seed in range(3):
                if label == "SMALL" or seed == 1:
                    writer.add(card_row(f"{seed}.png", label=label), label.encode(), b"mask")
    assert [(card.name, card.label) for card in find_cards(tmp_path)] == [
        ("0.png", "SMALL"),
        ("1.png", "LIGHT"),
        ("2.png", "SMALL"),
    ]
    assert [(tmp_path / f"{seed}.png").read_bytes() for seed in range(3)] == [b"SMALL", b"LIGHT", b"SMALL"]
    assert len((tmp_path / "metadata.jsonl").read_text().splitlines()) == 3


def test_adding_to_a_folder(tmp_path):
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png", "label": "SMALL"}')  # without a line end
    save(speckled(0), tmp_path / "0.png")
    for seed in (1, 2):
        with CardWriter(tmp_path) as writer:
            writer.add({"file_name": f"{seed}.png", "label": "LIGHT"}, png(speckled(seed)))
    assert seen(tmp_path) == [("0.png", "SMALL", None), ("1.png", "LIGHT", None), ("2.png", "LIGHT", None)]


def test_csv_metadata_is_not_hidden(tmp_path):
    (tmp_path / "metadata.csv").write_text("file_name\na.png\n")
    with pytest.raises(CardError, match=r"metadata\.csv"):
        CardWriter(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.csv"]


def write_and_fail(folder):
    with CardWriter(folder) as writer:
        writer.add(card_row("1.png"), png(speckled(1)), png(spot()))
        raise RuntimeError("the power is gone")


def test_an_exception_midway_leaves_what_is_whole(tmp_path):
    with pytest.raises(RuntimeError, match="power"):
        write_and_fail(tmp_path)
    assert seen(tmp_path) == [("1.png", None, "masks/1.png")]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["1.png", "1.png", "metadata.jsonl"]


@pytest.mark.parametrize("obstacle", ["masks", "row"])
def test_a_card_that_cannot_be_written_leaves_nothing(tmp_path, obstacle):
    row = card_row("1.png")
    if obstacle == "masks":
        (tmp_path / "masks").write_text("a file where a folder should be")
    else:
        row["seed"] = object()
    with CardWriter(tmp_path) as writer, pytest.raises((OSError, TypeError)):
        writer.add(row, b"picture", b"mask")
    assert [path.name for path in tmp_path.iterdir() if path.name != "masks"] == []


def test_nothing_added_leaves_pictures_visible(tmp_path):
    save(speckled(0), tmp_path / "a.png")
    with CardWriter(tmp_path):
        pass
    assert seen(tmp_path) == [("a.png", None, None)]


def write_until_killed(folder):
    with CardWriter(folder) as writer:
        for seed in range(3):
            writer.add(card_row(f"{seed}.png"), b"picture", b"mask")
        os.kill(os.getpid(), signal.SIGKILL)


def write_share(folder, start, barrier):
    with CardWriter(folder) as writer:
        for seed in range(start, 60, 2):
            writer.add({"file_name": f"{seed:06d}.png", "text": "x" * 300}, b"picture")
        barrier.wait()


@pytest.mark.skipif(os.name == "nt", reason="no fork and no SIGKILL")
def test_a_killed_writer_keeps_its_rows(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=write_until_killed, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert len(find_cards(tmp_path)) == 3
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.skipif(os.name == "nt", reason="no fork")
def test_two_processes_write_one_folder(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [context.Process(target=write_share, args=(tmp_path, start, barrier)) for start in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [card.name for card in find_cards(tmp_path)] == [f"{seed:06d}.png" for seed in range(60)]


def test_a_writer_that_rewrites_loses_no_row_of_another(tmp_path):
    with CardWriter(tmp_path) as first:
        first.add({"file_name": "a.png"}, b"picture")
        with CardWriter(tmp_path, overwrite=True) as second:
            for label in ("SMALL", "LIGHT"):
                second.add({"file_name": "b.png", "label": label}, b"picture")
        first.add({"file_name": "c.png"}, b"picture")
    assert seen(tmp_path) == [("a.png", None, None), ("b.png", "LIGHT", None), ("c.png", None, None)]


def test_writing_atomically(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomically(tmp_path / "folder", b"three")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b.txt", "folder"]


@pytest.mark.parametrize("label_folders", [True, False])
def test_plain_datasets_opens_what_is_written(tmp_path, label_folders):
    """A bare imagefolder has image, mask and label, in folders of classes or flat."""
    with CardWriter(tmp_path / "cards") as writer:
        for seed, label in enumerate(("SMALL", "CLEAN", "SMALL")):
            name = f"{label}/{seed:06d}.png" if label_folders else f"{seed:06d}.png"
            boxes = [[2, 3, 7, 7]] if label == "SMALL" else []
            objects = {"bbox": boxes, "categories": [label] * len(boxes)}
            row = card_row(name, label=label, text="a card", seed=seed, objects=objects)
            writer.add(row, png(speckled(seed)), png(spot()))
    opened = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "cards"), cache_dir=str(tmp_path / "cache"), split="train"
    )
    by_seed = {row["seed"]: row for row in opened}
    assert [by_seed[seed]["label"] for seed in range(3)] == ["SMALL", "CLEAN", "SMALL"]
    for seed, row in by_seed.items():
        assert row["image"].tobytes() == speckled(seed).tobytes()
        assert row["mask"].tobytes() == spot().tobytes()
    assert json.loads(json.dumps(by_seed[0]["objects"])) == {"bbox": [[2, 3, 7, 7]], "categories": ["SMALL"]}
