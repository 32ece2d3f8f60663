"""Measures the memory of tensors on a CPU."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch.profiler import ProfilerActivity, profile


def peak_bytes(function: Callable[[], object]) -> int:
    """Returns the most bytes that PyTorch allocated on the CPU at a time while a function ran, over those before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    memory = sorted((event for event in events if event.get("name") == "[memory]"), key=lambda event: event["ts"])
    first = memory[0]["args"]
    return max(event["args"]["Total Allocated"] for event in memory) - first["Total Allocated"] + first["Bytes"]
