"""Diagnoses a training run from its folder, and estimates memory and time before one starts.

Imports every lower wing. Start with `diagnosis.py`.
"""
