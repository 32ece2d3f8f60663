"""Files, processes, devices and tables: what every wing needs and none owns.

Imports libraries only. Start with `files.py`, then `device.py`.
"""
