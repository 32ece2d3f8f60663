"""Pushes runs and card folders to the Hugging Face Hub, pulls runs, and writes model cards and data set cards.

Imports `evaluation`, `core`, `cards` and `util`. Start with `push_pull.py`.
"""
