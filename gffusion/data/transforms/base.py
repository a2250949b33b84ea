"""Types of samples and transforms, and their composition."""

import inspect
import math
from collections.abc import Callable, Iterable
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
unlimited. `FusionTrainer` evaluates without transforms that have the attribute, unless it is 1."""


class Compose:
    """Apply transforms in order.

    Args:
        transforms: The transforms.

    Examples:
        >>> from gffusion.data.transforms import RandomCrop, RandomFlip
        >>> sample = {"visible": np.zeros((4, 6, 3), np.float32), "infrared": np.zeros((4, 6, 1), np.float32)}
        >>> Compose([RandomCrop(2), RandomFlip()])(sample, np.random.default_rng(0))["visible"].shape
        (2, 2, 3)
    """

    def __init__(self, transforms: Iterable[Transform]) -> None:
        self.transforms = tuple(transforms)
        counts: list[Any] = [getattr(transform, "variants", None) for transform in self.transforms]
        self.variants = None if None in counts else math.prod(counts)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Apply every transform to `sample`.

        Raises:
            ValueError: If a transform does not take a sample and a generator, or does not return a sample.
        """
        for transform in self.transforms:
            sample = apply_transform(transform, sample, rng)
        return sample


def apply_transform(transform: Transform, sample: Sample, rng: np.random.Generator) -> Sample:
    """Return what a transform makes of a sample; raise ValueError as [`Compose`].

    Examples:
        >>> def forget(sample, rng):
        ...     sample["infrared"] = 1 - sample["infrared"]
        >>> apply_transform(forget, {"infrared": np.zeros((4, 6, 1))}, np.random.default_rng(0))
        Traceback (most recent call last):
            ...
        ValueError: The transform forget must be a function (sample, rng) -> sample, but returns a NoneType. ...
    """
    name = getattr(transform, "__qualname__", type(transform).__qualname__)
    contract = f"The transform {name} must be a function (sample, rng) -> sample"
    try:
        result = transform(sample, rng)
    except TypeError as error:
        if _takes(transform, sample, rng):
            raise
        raise ValueError(f"{contract}, rng a NumPy generator, but does not take both: {error}.") from error
    if not isinstance(result, dict):
        raise ValueError(f"{contract}, but returns a {type(result).__name__}. Return the changed sample.")
    for key in ("visible", "infrared"):
        value = result.get(key)
        if not isinstance(value, np.ndarray) or value.ndim != 3:
            got = f"a {type(value).__name__} {getattr(value, 'shape', '')}".rstrip()
            raise ValueError(f"{contract}, but returns no NumPy array (H, W, channels) as {key!r}, got {got}.")
    return result


def _takes(transform: Transform, *values: Any) -> bool:
    """Return whether a transform takes so many values, as far as its signature is known."""
    try:
        inspect.signature(transform).bind(*values)
    except TypeError:
        return False
    except ValueError:  # compiled functions have none
        return True
    return True


def describe_transform(transform: Transform | None) -> str:
    """Return the name of a transform with its options, to compare transforms of two runs.

    Examples:
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
