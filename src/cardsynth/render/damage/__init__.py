"""Surface damage: gum, stains, marks and spots, laid on a card as films with soft and hard masks.

It imports `util`, `cards` and nothing else of `render`. Start with `stains.py`: one function per kind of damage, in
`gum.py`, `spots.py` and `marks.py`, returns the films and their thickness at each pixel.
"""
