"""cardsynth: synthetic trading cards with surface damage, labelled to the pixel.

The names that notebooks and scripts need, imported on first use; the wings below hold the rest.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
