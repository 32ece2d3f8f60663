"""The damage finder: a segmentation model trained on labelled cards, and its detection figures.

Imports every lower wing. Start with `net.py`, then `train.py` and `find.py`.
"""
