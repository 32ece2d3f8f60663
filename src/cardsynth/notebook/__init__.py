"""Widgets for notebooks: the generation panel and the training progress view.

Imports every lower wing. Start with `panel.py`.
"""
