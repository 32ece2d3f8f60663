"""Paints damage onto clean cards with a trained model, or pastes it from other cards.

Imports `core`, `render`, `cards` and `util`. Start with `paint.py`.
"""
