"""Measures how fast a folder of many cards is prepared, opened again and loaded, and how much memory that takes."""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import torch
from PIL import Image

from cardsynth.cards.dataset import Cards, read_cards
from cardsynth.cards.labels import CLASSES

DRAWN = 100  # different pictures; the folder holds each of them many times
CASES = (("jpeg", (64, 64)), ("png", (64, 64)), ("jpeg", (160, 128)))
BATCHES = 2000
BATCH_SIZE = 16


def write_pictures(folder: Path, count: int, size: tuple[int, int], form: str) -> int:
    """Write `count` pictures of (height, width) into a folder a class; returns their bytes on average."""
    from cardsynth.render.draw import draw_card  # not in the processes whose memory is measured

    encoded = []
    for seed in range(DRAWN):
        card = draw_card(seed, CLASSES[seed % len(CLASSES)], (2 * size[0], 2 * size[1]))
        buffer = io.BytesIO()
        Image.fromarray(card.image).resize(size[::-1]).save(buffer, form, quality=90)
        encoded.append(buffer.getvalue())
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
    for index in range(count):
        drawn = index % DRAWN
        path = folder / CLASSES[drawn % len(CLASSES)] / f"{index:06d}.{form}"
        path.write_bytes(encoded[drawn])
    return sum(map(len, encoded)) // DRAWN


def batches_per_second(cards: Cards, indices: torch.Tensor) -> float:
    """Cards a second, loaded in batches; indices: int64 (batches, batch size)."""
    start = time.perf_counter()
    for batch in indices:
        cards.batch(batch, "cpu")
    return indices.numel() / (time.perf_counter() - start)


def start_and_load(folder: Path, size: tuple[int, int]) -> dict[str, float]:
    """Read the cards of a folder, look at each once in random order, then at random batches."""
    start, start_cpu = time.perf_counter(), time.process_time()
    cards = read_cards(folder, size)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - start_cpu
    random = torch.Generator().manual_seed(0)
    order = torch.randperm(len(cards), generator=random)
    every_card = order[: len(cards) // BATCH_SIZE * BATCH_SIZE].view(-1, BATCH_SIZE)
    return {
        "start_s": seconds,
        "start_cpu_s": cpu_seconds,
        "first_pass_cards_per_s": batches_per_second(cards, every_card),
        "cards_per_s": batches_per_second(cards, torch.randint(len(cards), (BATCHES, BATCH_SIZE), generator=random)),
        "pixels_mb": cards.pixels.nbytes / 1e6,
    }


def in_new_process(folder: Path, size: tuple[int, int]) -> dict[str, float]:
    """What `start_and_load` measures in a process of its own, and the most memory that took.

    memory_mb: proportional set size of the process and its children, five times a second. Pixels that are mapped from
    the cache count once they are looked at, which all of them are.
    """
    command = [sys.executable, __file__, "--start", str(folder), "--size", *map(str, size)]
    process = psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peak = 0
    while process.poll() is None:
        with suppress(psutil.Error):
            peak = max(peak, sum(one.memory_full_info().pss for one in (process, *process.children(recursive=True))))
        time.sleep(0.2)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return json.loads(process.stdout.read()) | {"memory_mb": peak / 1e6}


def measure(folder: Path, form: str, size: tuple[int, int], count: int) -> dict[str, object]:
    """The first start of a folder of `count` pictures of (height, width), which prepares it, and the second."""
    file_bytes = write_pictures(folder, count, size, form)
    first, second = in_new_process(folder, size), in_new_process(folder, size)
    return {
        "form": form,
        "size": f"{size[0]}x{size[1]}",
        "count": count,
        "file_bytes": file_bytes,
        "prepared_per_s": count / first["start_s"],
        "first_start": first,
        "second_start": second,
    }


def measure_all(count: int, where: Path | None) -> Iterator[dict[str, object]]:
    """What `measure` finds for each of the cases; the folders are deleted after the last, which may take minutes."""
    with tempfile.TemporaryDirectory(dir=where) as folder:
        for form, size in CASES:
            yield measure(Path(folder) / f"{form}{size[0]}", form, size, count if size == (64, 64) else count // 5)


def line_of(row: dict[str, object]) -> str:
    """A case as a line of the table, with rates a second and memory in MB."""
    first, second = row["first_start"], row["second_start"]
    return (
        f"{row['count']:>7,} {row['size']:>7} {row['form']:<4}"
        f"{row['prepared_per_s']:>11,.0f}{second['start_s']:>14.2f}{second['first_pass_cards_per_s']:>15,.0f}"
        f"{second['cards_per_s']:>12,.0f}{first['memory_mb']:>9,.0f}{second['memory_mb']:>9,.0f}"
        f"{first['pixels_mb']:>12,.0f}"
    )


def main() -> None:
    """Measure all cases and print the table; write it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="pictures of 64x64 (a fifth of it of larger ones)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--where", type=Path, metavar="FOLDER", help="where to put the pictures; default: the system's")
    parser.add_argument("--start", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.start:
        print(json.dumps(start_and_load(arguments.start, tuple(arguments.size))))
        return
    from cardsynth.util.environment import describe_environment

    result = {**describe_environment(), "results": []}
    print(result["machine"])
    print("          pictures   prepared/s   2nd start s   first pass/s   batches/s   MB 1st   MB 2nd   MB pixels")
    for row in measure_all(arguments.count, arguments.where):
        print(line_of(row), flush=True)
        result["results"].append(row)
        if arguments.json:
            arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
