"""Card folders (contract 1) and cards in memory: finding, reading, checking and splitting them.

Imports `util` only. Start with `folder.py`, which defines the format, then `dataset.py`.
"""
