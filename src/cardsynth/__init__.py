"""cardsynth: synthetic trading cards with surface damage, labelled down to the pixel."""

import os

# Idle OpenMP threads that sleep instead of spinning: on a machine that does other work too, spinning made training
# thirty times slower. Read when torch is first imported; a value that is set already stays.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
