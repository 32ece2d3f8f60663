"""Writes card folders in the formats of detection tools: COCO, YOLO, Pascal VOC, masks, Parquet.

Imports `util`, `cards`, `core` and `render`. Start with `export.py`.
"""
