"""Experiments of many trainings, compared: the trial of training data, and sweeps over settings.

Imports every lower wing. Start with `trial/run.py` or `sweeps/run.py`.
"""
