"""Surface damage: gum, stains, marks and spots as films over a card, with soft and hard masks.

Imports `util`, `cards` and nothing else of `render`. Start with `stains.py`.
"""
