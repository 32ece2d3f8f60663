"""Settings, `UNet2DModel`, noise schedule, loss, training loop, run folder (contract 2) and sampling.

Imports `util` and `cards` only. Read `config.py`, `model.py`, `diffusion.py`, `learner.py`, `trainer.py`,
`denoise.py`, `sampling.py`, in that order.
"""
