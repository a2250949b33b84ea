"""Recognize 16-bit words that were stored in the wrong byte order."""

import numpy as np
from numpy.typing import NDArray

# The wrong order turns every step of the low byte into one of the high byte. Measured on rendered and real infrared images,
# the mean step is then 5 to 50 times larger.
_ROUGHER = 3.0


def is_byte_swapped(values: NDArray[np.uint16]) -> bool:
    """Return whether an image is one with its bytes swapped: `values.byteswap()` is then the measured image.

    FLIR cameras store little-endian words in PNG files, whose words are big-endian.

    Args:
        values: (H, W) as decoded.

    Example:
        >>> counts = 12000 + 3 * np.arange(4000, dtype=np.uint16).reshape(40, 100)
        >>> is_byte_swapped(counts), is_byte_swapped(counts.byteswap())
        (False, True)
    """
    stored, swapped = measure_roughness(values), measure_roughness(values.byteswap())
    if swapped * _ROUGHER < stored:
        return True
    # A narrow range of counts: the bytes that should differ from pixel to pixel are the high ones, and the low ones, which
    # are rarely 0 in counts, are nearly constant. Images of 8 bits that were shifted to 16 have a low byte of 0.
    low, high = np.unique(values & 0xFF), np.unique(values >> 8)
    return bool(low.any() and 4 * len(low) <= len(high) and swapped <= stored)


def measure_roughness(values: NDArray[np.uint16]) -> float:
    """Return the mean absolute difference of neighbors, relative to the range of the values; 0 for a constant image."""
    wide = values.astype(np.int32)
    steps = [np.abs(np.diff(wide, axis=axis)) for axis in (0, 1)]
    count = sum(step.size for step in steps)
    spread = int(np.ptp(wide)) if wide.size else 0
    return float(sum(int(step.sum()) for step in steps)) / (count * spread) if count and spread else 0.0
