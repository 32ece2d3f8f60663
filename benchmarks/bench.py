"""Runs the benchmarks that need no GPU one after another, in under 20 minutes on two cores: `make bench`.

Figures go to `runs/bench/`, to compare with those committed in `benchmarks/results/`. `sample_speed` needs the model of
`make demo`. The other scripts are run by themselves: `time_to_quality.py`, `sample_speed.py` with its measures of
quality and `cardsynth sweep sweeps/equal_time.json` take most of an hour each; `gpu.py` needs a GPU; `scans.py`,
`masks.py`, `planted_faults.py` and `doctor.py` measure accuracy, not speed.
"""

import argparse
import ast
import json
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


def measured_by(name: str) -> str:
    """What a benchmark measures: the first line of its docstring."""
    return ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text())).partition("\n")[0]


def main() -> int:
    """Run the named benchmarks, or all; the exit code is the number of those that failed."""
    parser = argparse.ArgumentParser(description="Runs the benchmarks that need no GPU.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; all if none is given"
    )
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; choose from {', '.join(BENCHMARKS)}")
    out = Path("runs/bench")
    out.mkdir(parents=True, exist_ok=True)
    times = out / "seconds.json"
    seconds = json.loads(times.read_text()) if times.exists() else {}
    failed = 0
    for number, name in enumerate(names, 1):
        last = f"took {seconds[name]} s last time" if name in seconds else "not run here before"
        print(f"\n[{number}/{len(names)}] {name} ({last}): {measured_by(name)}", flush=True)
        start = time.perf_counter()
        command = [sys.executable, str(FOLDER / f"{name}.py"), *BENCHMARKS[name], "--json", str(out / f"{name}.json")]
        code = subprocess.run(command).returncode
        elapsed = round(time.perf_counter() - start)
        print(f"{name} {'failed after' if code else 'took'} {elapsed} s", flush=True)
        failed += code != 0
        if not code:
            seconds[name] = elapsed
            times.write_text(json.dumps(seconds, indent=1))
    print(f"\nFigures are in {out}; {failed} of {len(names)} failed.")
    return failed


if __name__ == "__main__":
    sys.exit(main())
