"""The environment of a run or a measurement: package versions, git commit and machine."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("cardsynth", "torch", "torchvision", "diffusers", "transformers", "peft", "accelerate", "datasets")
PACKAGES += ("huggingface_hub", "numpy")


def describe_environment() -> dict[str, Any]:
    """Returns versions, git commit and machine, for a manifest or a table of measurements."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:  # an extra that is not installed
            continue
    return {"versions": versions, "git_commit": _git_commit(), "machine": describe_machine()}


def describe_machine() -> str:
    """Names processor or GPUs, number of cores and operating system in one line."""
    import torch

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0] if names else processor
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join([*gpus, processor, f"{os.cpu_count()} cores", platform.system()])


def _git_commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
