"""Draws vintage card backs with surface damage and exact masks, from seeds.

Imports `util` and `cards` only. Start with `draw.py`; `printing.py` draws the clean card and
`damage/` what happens to it.
"""
