"""Text to card: captions, a LoRA fine-tune of Stable Diffusion, generation from prompts and CLIP scores.

Imports every lower wing. Start with `captions.py`, then `train.py` and `draw.py`.
"""
