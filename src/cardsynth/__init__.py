"""cardsynth: synthetic trading cards with surface damage, labelled down to the pixel."""

import os

# Idle OpenMP threads of PyTorch that sleep instead of spinning (read when torch is first imported): while other work
# runs on the machine, spinning made training up to thirty times slower. Heavy loops bring their own threads: device.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
