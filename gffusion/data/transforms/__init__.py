"""Random transforms of visible/infrared samples: geometry changes all images of a sample, photometry and degradation one.

Each transform takes a sample and a NumPy generator. [`FusionDataset`] passes a generator that depends only on its seed,
the epoch and the index, so that results do not depend on the number of workers.
"""

from .base import Compose, Sample, Transform
from .degradation import Glare, Misalignment, Night, ThermalArtifacts
from .geometry import MIN_BOX_SHARE, RandomCrop, RandomFlip, Resize
from .photometry import ThermalGain, VisiblePhotometric

__all__ = [
    "MIN_BOX_SHARE",
    "Compose",
    "Glare",
    "Misalignment",
    "Night",
    "RandomCrop",
    "RandomFlip",
    "Resize",
    "Sample",
    "ThermalArtifacts",
    "ThermalGain",
    "Transform",
    "VisiblePhotometric",
]
