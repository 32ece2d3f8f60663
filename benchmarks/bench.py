"""Runs the benchmarks that need no GPU one after another, in under 20 minutes on two cores: `make bench`.

Figures go to `runs/bench/`, to compare with those committed in `benchmarks/results/`; `sample_speed` takes the model of
`make demo`. Run by themselves are `time_to_quality.py`, `sample_speed.py` with its judging of quality and `cardsynth
sweep sweeps/equal_time.json`, which take most of an hour each, `gpu.py`, which needs a GPU, and `scans.py`, `masks.py`,
`planted_faults.py` and `doctor.py`, which measure how right, not how fast.
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
    "train_speed": ["--rounds", "2", "--steps", "12"],
    "evaluate_speed": [],
    "sample_speed": ["unipc,5", "unipc,10", "unipc,10,2,bf16,0.2,0.8", "ddpm,40", "--cards", "0", "--repeats", "1"],
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
