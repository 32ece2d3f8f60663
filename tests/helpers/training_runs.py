"""Trainings in processes of their own, which tests kill, and their weights."""

import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from cardsynth.core.runs import read_log

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def weights(run):
    return load_file(run / WEIGHTS)


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


TRAIN = """
import sys
from cardsynth.__main__ import main
sys.argv = ["cardsynth", "train", "--preset", "smoke", "--max-train-steps", "60", *sys.argv[1:]]
main()
"""


def start(card_folder, run, *arguments):
    command = [sys.executable, "-c", TRAIN, "--data", str(card_folder), "--out", str(run), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_step(run, step, process):
    deadline = time.time() + 600
    while time.time() < deadline and process.poll() is None:
        if len(read_log(run)) >= step:
            return
        time.sleep(0.01)
    pytest.fail(f"step {step} did not come: {process.communicate()[0]}")


def raw_weights(checkpoint):
    """The net's weights that a checkpoint goes on from, not averaged."""
    state = load_file(checkpoint / "state.safetensors")
    return {name.removeprefix("unet."): value for name, value in state.items() if name.startswith("unet.")}
