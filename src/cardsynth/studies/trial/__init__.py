"""The trial: does synthetic damage help a damage finder on real cards?

Imports what `studies` may import. Start with `run.py`, then `arms.py`.
"""
