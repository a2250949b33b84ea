"""Random transforms of a visible/infrared(/labels/boxes) sample: one geometry for all of it, and what cameras do to one image.

Each takes a sample and the NumPy generator that it draws from; `FusionDataset` hands over one that depends on its seed,
the epoch and the index alone, so that results do not depend on the number of workers.
"""

from .base import Compose, Sample, Transform
from .degradation import Glare, Misalignment, Night
from .geometry import MINIMUM_BOX_SHARE, RandomCrop, RandomFlip, Resize
from .photometry import ThermalGain, VisiblePhotometric

__all__ = [
    "MINIMUM_BOX_SHARE",
    "Compose",
    "Glare",
    "Misalignment",
    "Night",
    "RandomCrop",
    "RandomFlip",
    "Resize",
    "Sample",
    "ThermalGain",
    "Transform",
    "VisiblePhotometric",
]
