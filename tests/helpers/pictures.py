"""Pictures and card folders made by hand, and what their check finds."""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from cardsynth.cards.check import check_folder
from cardsynth.cards.faults import Problem
from cardsynth.cards.folder import CardWriter


def speckled(seed: int, size: tuple[int, int] = (24, 16)) -> Image.Image:
    """A picture of (height, width) that no other seed has."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


def spot(size: tuple[int, int] = (24, 16)) -> Image.Image:
    """A mask with a damaged spot."""
    mask = Image.new("L", size[::-1])
    ImageDraw.Draw(mask).rectangle((2, 3, 8, 9), fill=255)
    return mask


def save(image: Image.Image, path: Path, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_rows(folder: Path, *rows: dict | str) -> None:
    """Rows of a metadata.jsonl; a text is written as it is."""
    lines = (row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def raw_png(width: int, height: int, bits: int, colour_type: int, data: bytes) -> bytes:
    """A PNG by its header and its unpacked data, such as Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(data)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def deep_png(value: int, size: tuple[int, int] = (24, 16)) -> bytes:
    """A 16-bit RGB PNG of (height, width) that holds `value`, and 0 in its first pixel."""
    pixels = np.full((*size, 3), value, ">u2")
    pixels[0, 0] = 0
    return raw_png(size[1], size[0], 16, 2, b"".join(b"\0" + row.tobytes() for row in pixels))


def make_flat(folder: Path) -> Path:
    """Three good pictures without labels or masks."""
    for seed in range(3):
        save(speckled(seed), folder / f"{seed}.png")
    return folder


def make_labelled(folder: Path) -> Path:
    """Four good cards with masks, labels and metadata, as the package writes them."""
    with CardWriter(folder) as writer:
        for seed, label in enumerate(("SMALL", "LIGHT") * 2):
            name = f"{label}/{seed:06d}.png"
            row = {"file_name": name, "mask_file_name": f"masks/{name}", "label": label}
            writer.add(row, png(speckled(seed)), png(spot()))
    return folder


def rows_of(folder: Path) -> list[str]:
    return (folder / "metadata.jsonl").read_text().splitlines()


def found(folder: Path, *known_labels: str) -> list[tuple[str, str]]:
    """Level and file of each problem that the check reports."""
    return [(problem.level, problem.file) for problem in check_folder(folder, known_labels).problems]


def only(folder: Path, *known_labels: str) -> Problem:
    """The problem of a folder that has one."""
    problems = check_folder(folder, known_labels).problems
    assert len(problems) == 1, problems
    return problems[0]
