"""Runs the benchmarks that need no GPU one after another, in under 20 minutes on two cores: `make bench`.

Their figures go to `runs/bench/`, to compare with those committed in `benchmarks/results/`. Run by themselves are
`time_to_quality.py`, which takes three quarters of an hour, `gpu.py`, which needs a GPU, and `scans.py` and `masks.py`,
which measure how right, not how fast.
"""

import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent
BENCHMARKS = {
    "render_speed": [],
    "prepare_speed": ["--count", "20000"],
    "memory": [],
    "train_speed": [],
    "sample_speed": ["--quick"],
}


def main() -> int:
    """Run them all; the exit code counts those that failed."""
    out = Path("runs/bench")
    out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name, options in BENCHMARKS.items():
        print(f"\n{name}", flush=True)
        begun = time.perf_counter()
        command = [sys.executable, str(FOLDER / f"{name}.py"), *options, "--json", str(out / f"{name}.json")]
        failed += subprocess.run(command).returncode != 0
        print(f"{name} took {time.perf_counter() - begun:.0f} s", flush=True)
    print(f"\nFigures are in {out}; {failed} of {len(BENCHMARKS)} failed.")
    return failed


if __name__ == "__main__":
    sys.exit(main())
