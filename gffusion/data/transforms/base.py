"""What a sample and a transform are, and how transforms are chained."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Sample: TypeAlias = dict[str, NDArray[Any]]
"""`"visible"` (H, W, 3) and `"infrared"` (H, W, 1), float32 in [0, 1]; in a labelled set `"labels"` (H, W), int64; with boxes
`"boxes"` (N, 4), float32, left, top, right and bottom in pixels, and `"box_classes"` (N,), int64."""

Transform: TypeAlias = Callable[[Sample, np.random.Generator], Sample]
"""Takes a sample and the generator to draw from; returns a new sample and leaves the old one's arrays unchanged.

Its attribute `variants` says how many different results one sample can have at most, `None` for a continuum. A callable
without it counts as one of those."""


class Compose:
    """Applies transforms one after the other.

    Args:
        *transforms: The transforms, first to last.
    """

    def __init__(self, *transforms: Transform) -> None:
        self.transforms = transforms
        counts = [getattr(transform, "variants", None) for transform in transforms]
        finite = [count for count in counts if count is not None]
        self.variants = math.prod(finite) if len(finite) == len(counts) else None

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Passes `sample` through every transform."""
        for transform in self.transforms:
            sample = transform(sample, rng)
        return sample


def check_fractions(**arguments: float) -> None:
    """Raises ValueError, naming the argument, unless each lies in [0, 1]."""
    for name, value in arguments.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie in [0, 1], got {value}")
