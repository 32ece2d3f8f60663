"""Pushes runs and card folders to the Hugging Face Hub, pulls them, and writes their model cards.

Imports `evaluation`, `formats`, `core`, `cards` and `util`. Start with `push_pull.py`.
"""
