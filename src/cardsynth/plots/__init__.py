"""Figures and report pages: card grids, training curves, the U-Net and the evaluation report.

Imports `evaluation`, `core`, `cards` and `util`. Start with `cards.py`.
"""
