"""Similarity of pictures: LPIPS, SSIM and MSE, people's ratings, and how well they agree.

Imports what `evaluation` may import. Start with `metrics.py`, then `agreement.py`.
"""
