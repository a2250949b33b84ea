"""Types of samples and transforms, and their composition."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Sample: TypeAlias = dict[str, NDArray[Any]]
"""`"visible"` (H, W, 3) and `"infrared"` (H, W, 1), float32 in [0, 1]; optionally `"missing"` (H, W, 1), float32,
positive where the infrared image has no measurement, `"infrared_target"` (H, W, 1), the clean image if `"infrared"` is
degraded, `"labels"` (H, W), int64, `"boxes"` (N, 4), float32 left, top, right and bottom in pixels, and `"box_classes"` (N,),
int64."""

Transform: TypeAlias = Callable[[Sample, np.random.Generator], Sample]
"""Takes a sample and a generator, and returns a new sample without changing the arrays of the old one.

The attribute `variants` is the maximum number of different results for one sample. None, or a missing attribute, means
unlimited."""


class Compose:
    """Apply transforms in order.

    Args:
        transforms: The transforms.

    Example:
        >>> from gffusion.data.transforms import RandomCrop, RandomFlip
        >>> sample = {"visible": np.zeros((4, 6, 3), np.float32), "infrared": np.zeros((4, 6, 1), np.float32)}
        >>> Compose([RandomCrop(2), RandomFlip()])(sample, np.random.default_rng(0))["visible"].shape
        (2, 2, 3)
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = transforms
        counts: list[Any] = [getattr(transform, "variants", None) for transform in transforms]
        self.variants = None if None in counts else math.prod(counts)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Apply every transform to `sample`."""
        for transform in self.transforms:
            sample = transform(sample, rng)
        return sample


def describe_transform(transform: Transform | None) -> str:
    """Return the name of a transform with its options, to compare transforms of two runs.

    Example:
        >>> from gffusion.data.transforms import RandomFlip, Resize
        >>> describe_transform(Compose([Resize(64), RandomFlip()]))
        'Resize(height=64, width=64), RandomFlip(horizontal=0.5, vertical=0.0, variants=2)'
    """
    if isinstance(transform, Compose):
        return ", ".join(map(describe_transform, transform.transforms))
    name = getattr(transform, "__qualname__", type(transform).__qualname__)
    plain = {key: value for key, value in getattr(transform, "__dict__", {}).items() if _is_plain(value)}
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in plain.items())})"


def _is_plain(value: Any) -> bool:
    """Return whether the text of a value is the same in every process."""
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def check_fractions(**arguments: float) -> None:
    """Raise ValueError, naming the argument, unless all are in [0, 1]."""
    for name, value in arguments.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be in [0, 1], got {value}")
