"""The models that diffusion is compared with: a DCGAN and a VAE, trained by the same trainer.

Imports every lower wing. Start with `config.py`, then `gan.py` and `vae.py`.
"""
