"""Measures how fast cards are drawn and encoded as PNG files, card folder written, and prints a table."""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy
import PIL

from cardsynth.render.draw import render_cards

COUNTS = {(80, 64): 1000, (160, 128): 1000, (320, 256): 320, (700, 500): 80}


def machine_name() -> str:
    """The processor's model name where the system tells it, else what Python knows of it."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def measure(size: tuple[int, int], count: int, workers: int) -> float:
    """Cards a second for `count` cards of size (height, width); starting the workers is part of the time."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        render_cards(Path(folder) / "cards", count, size, workers=workers)
        return count / (time.perf_counter() - start)


def main() -> None:
    """Measure every size and print the table; write it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual number of cards to draw")
    arguments = parser.parse_args()
    workers = os.cpu_count() or 1
    versions = {"python": platform.python_version(), "numpy": numpy.__version__, "pillow": PIL.__version__}
    result = {"machine": machine_name(), "system": platform.platform(), "workers": workers, "versions": versions}
    rows = []
    for size, usual in COUNTS.items():
        count = max(1, round(usual * arguments.scale))
        rows.append({"size": f"{size[0]}x{size[1]}", "cards": count, "cards_per_s": measure(size, count, workers)})
    print(f"{result['machine']}, {workers} workers, " + ", ".join(f"{name} {text}" for name, text in versions.items()))
    print(f"{'height x width':>14}  {'cards':>6}  {'cards/s':>8}")
    for row in rows:
        print(f"{row['size']:>14}  {row['cards']:>6}  {row['cards_per_s']:>8.1f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({**result, "results": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
