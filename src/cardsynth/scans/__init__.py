"""Finds cards on scanned or photographed pages, straightens them and writes them as a card folder.

Imports `util`, `cards`, `core` and `render`. Start with `find.py`.
"""
