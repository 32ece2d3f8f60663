"""Sweeps: the same training under many settings, with tables, figures and intervals.

Imports what `studies` may import. Start with `file.py`, then `run.py`.
"""
