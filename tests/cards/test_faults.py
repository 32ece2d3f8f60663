"""The faults of a single card are found, whatever its bytes, and its pixels are then let go."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from pictures import deep_png, found, only, png, raw_png, save, speckled, spot
from PIL import Image

from cardsynth.cards.check import check_folder
from cardsynth.cards.dataset import read_cards
from cardsynth.cards.folder import CardError

SIZE = (24, 16)


@pytest.mark.parametrize("damage", ["empty", "text", "truncated", "broken header", "truncated tiff"])
def test_undecodable_pictures(flat, damage):
    whole = png(speckled(9))
    path = flat / "bad.png"
    if damage == "truncated tiff":
        path = save(speckled(9), flat / "bad.tif")
        path.write_bytes(path.read_bytes()[:-300])
    else:
        broken = whole[:16] + b"\xff" * 20 + whole[36:]
        content = {"empty": b"", "text": b"hello", "truncated": whole[: len(whole) // 2], "broken header": broken}
        path.write_bytes(content[damage])
    problem = only(flat)
    assert (problem.level, problem.file) == ("error", path.name)
    assert "remove it" in problem.remedy
    with pytest.raises(CardError, match=path.name):
        read_cards(flat, SIZE)


def test_damaged_bytes_never_crash(tmp_path):
    """Two hundred files with bytes turned at random: each is read or reported."""
    generator = np.random.default_rng(0)
    formats = ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP")
    for index in range(200):
        path = save(speckled(index), tmp_path / f"{index}.png", format=formats[index % len(formats)])
        content = bytearray(path.read_bytes())
        for place in generator.integers(0, min(len(content), 200), 6):
            content[place] = generator.integers(256)
        path.write_bytes(content)
    report = check_folder(tmp_path)
    undecoded = {problem.file for problem in report.problems if problem.level == "error"}
    assert report.sizes.total() + len(undecoded) == 200
    assert len(undecoded) > 20


def test_gigantic_pictures_are_not_decoded(flat):
    (flat / "bomb.png").write_bytes(raw_png(20_000, 20_000, 8, 2, b"\0" * 100))
    (flat / "large.png").write_bytes(raw_png(10_000, 10_000, 8, 2, b"\0" * 100))
    tracemalloc.start()
    problems = check_folder(flat).problems
    assert [(problem.level, problem.file) for problem in problems] == [("error", "bomb.png"), ("error", "large.png")]
    assert all("gigantic" in problem.reason for problem in problems)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def test_mask_of_another_size(labelled):
    save(spot((12, 16)), labelled / "masks/SMALL/000000.png")
    problem = only(labelled)
    assert (problem.level, problem.file) == ("error", "masks/SMALL/000000.png")
    assert "12x16" in problem.reason
    assert "24x16" in problem.reason


def test_undecodable_mask(labelled):
    (labelled / "masks/SMALL/000000.png").write_bytes(b"")
    assert found(labelled) == [("error", "masks/SMALL/000000.png")]


def test_mask_with_other_values(labelled):
    save(spot().point(lambda value: 200 if value else 3), labelled / "masks/SMALL/000000.png")
    assert found(labelled) == [("warning", "masks/SMALL/000000.png")]


def test_mask_that_would_read_as_empty(labelled):
    save(spot().point(lambda value: 1 if value else 0), labelled / "masks/SMALL/000000.png")
    problem = only(labelled)
    assert (problem.level, problem.file) == ("error", "masks/SMALL/000000.png")
    assert read_cards(labelled, SIZE).pixels[2, 3].max() == 0


def test_one_colour(flat):
    save(Image.new("RGB", (16, 24), (200, 10, 10)), flat / "red.jpg", quality=95)
    assert found(flat) == [("warning", "red.jpg")]


def frames(path: Path) -> Path:
    first, second = ((speckled(seed).quantize() if path.suffix == ".gif" else speckled(seed)) for seed in (8, 9))
    return save(first, path, save_all=True, append_images=[second])


DEEP_GREY = Image.fromarray(np.arange(384, dtype=np.uint16).reshape(24, 16) * 170)
# A file name, how to write it, and what is reported of it
MODES = {
    "grey 16 bit": ("odd.png", lambda path: save(DEEP_GREY, path), ["16 bits"]),
    "RGB 16 bit": ("odd.png", lambda path: path.write_bytes(deep_png(40_000)), ["16 bits"]),
    "float": ("odd.tif", lambda path: save(speckled(9).convert("F"), path), ["16 bits"]),
    "CMYK": ("odd.jpg", lambda path: save(speckled(9).convert("CMYK"), path), ["CMYK"]),
    "palette": ("odd.png", lambda path: save(speckled(9).quantize(), path), ["palette"]),
    "alpha": ("odd.png", lambda path: save(speckled(9).convert("RGBA"), path), ["laid on white"]),
    "grey and alpha": ("odd.png", lambda path: save(speckled(9).convert("LA"), path), ["laid on white"]),
    "see-through colour": ("odd.png", lambda path: save(speckled(9), path, transparency=(1, 2, 3)), ["laid on white"]),
    "animated": ("odd.gif", frames, ["palette", "2 pictures"]),
    "pages": ("odd.tif", frames, ["2 pictures"]),
    "grey": ("odd.png", lambda path: save(speckled(9).convert("L"), path), []),
    "progressive JPEG": ("odd.jpg", lambda path: save(speckled(9), path, progressive=True), []),
}


@pytest.mark.parametrize("mode", MODES)
def test_what_reading_changes(flat, mode):
    name, make, reasons = MODES[mode]
    make(flat / name)
    problems = check_folder(flat).problems
    assert [(problem.level, problem.file) for problem in problems] == [("warning", name)] * len(reasons)
    assert all(reason in problem.reason for problem, reason in zip(problems, reasons, strict=True))
    assert len(read_cards(flat, SIZE)) == 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_by_exif_is_no_problem(flat, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(speckled(9, SIZE if orientation < 5 else SIZE[::-1]), flat / "turned.jpg", exif=exif)
    assert check_folder(flat).problems == []
    assert check_folder(flat).sizes == {SIZE: 4}


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("links need rights here")


def test_links(flat, tmp_path_factory):
    outside = save(speckled(9), tmp_path_factory.mktemp("outside") / "9.png")
    link(flat / "away.png", outside)
    link(flat / "broken.png", flat / "gone.png")
    link(flat / "loop.png", flat / "loop.png")
    link(flat / "folder", outside.parent)
    problems = check_folder(flat).problems
    assert [(problem.level, problem.file) for problem in problems] == [
        ("error", "away.png"),
        ("error", "broken.png"),
        ("error", "folder"),
        ("error", "loop.png"),
    ]
    assert "outside" in problems[0].reason
    assert "broken link" in problems[1].reason


def test_link_inside_the_folder_is_read(flat):
    (flat / ".store").mkdir()
    save(speckled(9), flat / ".store/9.png")
    link(flat / "9.png", flat / ".store/9.png")
    assert check_folder(flat).problems == []
    assert check_folder(flat).cards == 4


def test_memory_does_not_grow_with_the_count(tmp_path):
    """A picture takes 270 kB once decoded; what is kept of 60 of them stays far below that of ten."""
    for seed in range(60):
        save(speckled(seed, (300, 300)), tmp_path / f"{seed}.bmp")
    check_folder(tmp_path)
    tracemalloc.start()
    report = check_folder(tmp_path)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert report.cards == 60
    assert kept < 500_000
