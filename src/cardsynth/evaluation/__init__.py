"""Measures generated cards: distance to real ones, variety, copies, classes and masks, with confidence intervals.

Imports `util`, `cards`, `core` and `render`. Start with `evaluate.py`, then `metrics.py`.
"""
