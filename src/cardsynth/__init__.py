"""cardsynth: synthetic trading cards with surface damage, labelled down to the pixel."""

import os

# How long an idle OpenMP thread of PyTorch spins before it sleeps (libgomp, so Linux; read when torch is imported).
# Unset, training is up to fifteen times slower while something else runs on the machine; no spinning costs 1.7 times.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")
