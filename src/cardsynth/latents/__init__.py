"""Latent space: interpolations, walks, inversions and films for every kind of model.

Imports every lower wing. Start with `latent_model.py`, then `walks.py`.
"""
