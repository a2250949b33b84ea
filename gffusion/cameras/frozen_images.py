"""Recognize infrared images that repeat that of the pair before, such as during the calibration of a camera."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FROZEN = (
    "the infrared image is that of the pair before, but the visible one is not: the camera was frozen, such as during a "
    "calibration, or is slower. Leave the pair out, unless nothing moved"
)

_Read = Callable[[], NDArray[Any]]


class FrozenImages:
    """Compare the infrared image of each pair with that of the pair before, while the visible images change.

    Examples:
        >>> frozen, infrared = FrozenImages(), np.zeros((4, 6), np.uint8)
        >>> [len(frozen.add(index, infrared, lambda seen=index // 2: np.array(seen))) for index in range(4)]
        [0, 0, 1, 0]
    """

    def __init__(self) -> None:
        self._before: tuple[object, NDArray[Any], _Read] | None = None

    def add(self, source: object, infrared: NDArray[Any], read_visible: _Read) -> tuple[str, ...]:
        """Return a note if the image repeats the one before.

        Args:
            source: The infrared file or row. The same one again, as in a list, is no other image.
            infrared: The infrared image.
            read_visible: Returns the visible image, which is read only if the infrared images are the same.
        """
        before, self._before = self._before, (source, infrared, read_visible)
        if before is None or source == before[0] or not are_equal(infrared, before[1]):
            return ()
        return () if are_equal(read_visible(), before[2]()) else (_FROZEN,)


def are_equal(image: NDArray[Any], other: NDArray[Any]) -> bool:
    """Return whether two images are the same; pixels without a measurement, NaN, equal each other."""
    return np.array_equal(image, other, equal_nan=image.dtype.kind == other.dtype.kind == "f")
