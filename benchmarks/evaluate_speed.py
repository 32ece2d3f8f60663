"""Measures how long an evaluation of cards takes, and the memory: 2,000 against 2,000 at 80x64, command and all.

Drawn cards stand for the generated ones. The cache is empty, so the judge is trained; the second run finds it there.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZE = (80, 64)


def main() -> None:
    """Evaluate twice in processes of their own, print seconds and peak memory, and write them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="real cards, and generated ones")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    arguments = parser.parse_args()
    from cardsynth.render.draw import render_cards
    from cardsynth.util.environment import describe_environment

    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, seed in (("real", 0), ("made", 1_000_000)):
            render_cards(folder / name, arguments.count, SIZE, seed, styles=("a",))
        command = [sys.executable, "-m", "cardsynth", "evaluate", "--real", folder / "real"]
        command += ["--generated", folder / "made", "--out", folder / "out"]
        environment = {**os.environ, "CARDSYNTH_CACHE": str(folder / "cache")}
        for name in ("first run", "second run, judge kept"):
            begun = time.perf_counter()
            done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
            rows.append({"run": name, "seconds": round(time.perf_counter() - begun, 1), "peak_gb": round(peak, 2)})
            print(f"{name:<24} {rows[-1]['seconds']:>6.1f} s  {rows[-1]['peak_gb']:.2f} GB", flush=True)
    if arguments.json:
        result = {"count": arguments.count, "size": SIZE, "results": rows}
        arguments.json.write_text(json.dumps({**describe_environment(), **result}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
