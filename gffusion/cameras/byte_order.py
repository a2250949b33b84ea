"""Recognize values that were stored in the wrong byte order."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# The wrong order turns every step of the low byte into one of the high byte. Measured on rendered and real infrared
# images, the mean step is then 5 to 50 times larger.
_ROUGHER = 3.0
_TESTED_SIDE = 256  # pixels
# Floating-point values in the wrong order are mostly outside these limits; in the right order, only values of missing pixels are.
_SMALLEST, _LARGEST, _MOST_FILL_VALUES = 1e-30, 1e30, 8
_LARGEST_READ = 1e6


def note_swapped_bytes(image: NDArray[Any], modality: str) -> tuple[str, ...]:
    """Return a note if the middle of an image looks as if its bytes were swapped; all of it would take long.

    Args:
        image: (H, W) or (H, W, 3), of which the middle channel is tested; uint16 or float32, which is also the type of int16
            values after decoding.
        modality: "visible" or "infrared".

    Examples:
        >>> note_swapped_bytes(np.arange(4000, dtype=np.uint16).reshape(40, 100), "infrared")
        ()
    """
    top, left = (max(0, side - _TESTED_SIDE) // 2 for side in image.shape[:2])
    values = image[top : top + _TESTED_SIDE, left : left + _TESTED_SIDE]
    values = values if values.ndim == 2 else values[..., values.shape[-1] // 2]
    if values.dtype == np.float32:
        is_swapped = _is_float_swapped(values)
    else:
        is_swapped = values.dtype == np.uint16 and is_byte_swapped(values)
    if not is_swapped:
        return ()
    return (
        f"the bytes of the {modality} values look swapped, so that they show noise: store them in the other byte order "
        "(in Python array.byteswap()), or give that of raw frames, such as 512x640,>u2 (--raw-frame)",
    )


def _is_float_swapped(values: NDArray[np.float32]) -> bool:
    """Return whether float32 values, or the int16 values that they contain, have their bytes swapped."""
    sizes = np.abs(values)
    odd = np.unique(sizes[((sizes > 0) & (sizes < _SMALLEST)) | (sizes > _LARGEST)])
    if len(odd) > _MOST_FILL_VALUES:
        return not (np.abs(values.byteswap()) > _LARGEST_READ).any()
    with np.errstate(invalid="ignore"):
        words = values.astype(np.int16)
    return np.array_equal(words, values) and is_byte_swapped(words)


def is_byte_swapped(values: NDArray[np.uint16 | np.int16]) -> bool:
    """Return whether an image is one with its bytes swapped: `values.byteswap()` is then the measured image.

    FLIR cameras store little-endian words in PNG files, whose words are big-endian.

    Args:
        values: (H, W) as decoded.

    Examples:
        >>> counts = 12000 + 3 * np.arange(4000, dtype=np.uint16).reshape(40, 100)
        >>> is_byte_swapped(counts), is_byte_swapped(counts.byteswap())
        (False, True)
    """
    swapped = values.byteswap()
    low, high = np.unique(swapped >> 8), np.unique(values >> 8)
    # Few high bytes are those of counts in the right order.
    if len(high) > 4 and measure_roughness(swapped) * _ROUGHER < measure_roughness(values):
        return True
    # A narrow range of counts: their low bytes, stored as high ones, differ from pixel to pixel, and their high bytes
    # are a few consecutive numbers, rarely 0. The low bytes of values that were shifted to the left are 0 or far apart.
    return bool(low.any() and 4 * len(low) <= len(high) and np.ptp(low) < 2 * len(low))


def measure_roughness(values: NDArray[np.uint16 | np.int16]) -> float:
    """Return the mean absolute difference of neighbors, relative to the range of the values; 0 for a constant image."""
    wide = values.astype(np.int32)
    steps = [np.abs(np.diff(wide, axis=axis)) for axis in (0, 1)]
    count = sum(step.size for step in steps)
    spread = int(np.ptp(wide)) if wide.size else 0
    return float(sum(int(step.sum()) for step in steps)) / (count * spread) if count and spread else 0.0
