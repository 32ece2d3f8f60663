"""Draws vintage card backs with surface damage and exact masks, from seeds; equal seeds give equal bytes.

Imports `util` and `cards` only; colours, words, poses and films are data in TOML files beside the code. Start with
`draw.py`: `printing.py` draws the clean card from a layout (`portraits.py`, `landscapes.py`), and `damage/` damages it.
"""
