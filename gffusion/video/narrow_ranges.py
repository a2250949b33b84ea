"""Recognize infrared frames whose own range is only noise, as behind a closed shutter."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.infrared_values import Mask, measure_limits

_SHARE = 0.03  # of the usual width of a range
_STEP = 4  # rows and columns between pixels that are measured

_NOTE = (
    "the range of the infrared frame is below 3 % of the usual one, as of noise behind a closed shutter, and is stretched to full "
    "contrast: smooth_range=20 (--smooth-range 20) keeps the range of the frames before"
)


class NarrowRanges:
    """Compare the range of infrared frames with the median of some frames of the same video.

    Args:
        frames: Values (H, W) or (H, W, 3) and missing pixels of these frames.

    Examples:
        >>> ramp = np.arange(6400.0).reshape(80, 80)
        >>> narrow = NarrowRanges([(ramp, None)])
        >>> [len(narrow.describe(ramp / divisor, None)) for divisor in (1, 20, 100)]
        [0, 0, 1]
    """

    def __init__(self, frames: Sequence[tuple[NDArray[Any], Mask | None]]) -> None:
        widths = [_measure_width(*frame) for frame in frames]
        self._usual = float(np.median(widths)) if widths else 0.0

    def describe(self, values: NDArray[Any], missing: Mask | None) -> tuple[str, ...]:
        """Return a note on a frame of far less contrast; frames of one value have another note."""
        return (_NOTE,) if 0 < _measure_width(values, missing) < _SHARE * self._usual else ()


def _measure_width(values: NDArray[Any], missing: Mask | None) -> float:
    with suppress(ValueError):  # no pixel is measured
        low, high = measure_limits(values[::_STEP, ::_STEP], None if missing is None else missing[::_STEP, ::_STEP])
        return high - low
    return 0.0
