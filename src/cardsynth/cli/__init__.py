"""The `cardsynth` command: parses options and calls the functions of the wings.

Imports every wing. Start with `main.py`.
"""
