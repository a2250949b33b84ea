"""Percentiles of the values of many images in constant memory."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.infrared_options import Limits
from gffusion.models.gffusion.infrared_values import PERCENTILES, Mask, measured_counts

_BINS = 1 << 16
_MAX_INDEX = 1 << 62  # of a bin, which is counted in 64 bits


class RangeHistogram:
    """Histogram of the values of infrared images, whose bins double in width whenever a value does not fit.

    Percentiles of integers within a range of 65536 are exact. Those of other values are exact to 1/32768 of the range
    of all values.

    Examples:
        >>> histogram = RangeHistogram()
        >>> for level in (10, 20):
        ...     histogram.add(np.full((4, 6), level, np.uint16))
        >>> histogram.limits
        (10.0, 20.0)
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self._first = 0  # bin i contains the values from (first + i) * width to (first + i + 1) * width
        self._width = 1.0
        self._is_exact = True
        self._smallest, self._largest = math.inf, -math.inf

    def add(self, array: NDArray[Any], missing: Mask | None = None) -> None:
        """Count the pixels of an image (H, W) or (H, W, 3) that are not missing; color as luma.

        Raises:
            ValueError: If values are not finite, or all pixels are missing.
        """
        values = measured_counts(array, missing)
        smallest, largest = float(values.min()), float(values.max())
        self._smallest, self._largest = min(self._smallest, smallest), max(self._largest, largest)
        if self._is_exact and not np.array_equal(values, np.rint(values)):
            self._make_finer(smallest, largest)
        self._widen(smallest, largest)
        bins = np.floor(values / self._width).astype(np.int64) - self._first
        self._counts += np.bincount(bins, minlength=_BINS)

    @property
    def limits(self) -> Limits:
        """The 0.1st and 99.9th percentile of all values.

        Raises:
            ValueError: If no image was added.
        """
        total = int(self._counts.sum())
        if not total:
            raise ValueError("No infrared image was measured.")
        cumulative = self._counts.cumsum()
        # Outer borders of bins, so that a value which most pixels share is not outside.
        borders = (0, 0) if self._is_exact and self._width == 1 else (0, 1)
        low, high = (
            self._interpolate(cumulative, percentile / 100 * (total - 1), border)
            for percentile, border in zip(PERCENTILES, borders, strict=True)
        )
        return max(low, self._smallest), min(high, self._largest)

    def _make_finer(self, low: float, high: float) -> None:
        """Choose the width of the bins for values that are not integers; integers so far are kept."""
        self._is_exact = False
        occupied = np.flatnonzero(self._counts)
        values, counts = (self._first + occupied) * self._width, self._counts[occupied]
        smallest = 2.0 ** math.floor(math.log2(max(abs(self._smallest), abs(self._largest), 1e-30))) / 2**40
        self._width = max(2.0 ** math.ceil(math.log2(max(high - low, 1e-300))) / (_BINS // 2), smallest)
        self._counts = np.zeros(_BINS, np.int64)
        if len(values):
            self._first = math.floor(float(values[0]) / self._width)
            self._widen(float(values[0]), float(values[-1]))
            np.add.at(self._counts, np.floor(values / self._width).astype(np.int64) - self._first, counts)

    def _widen(self, low: float, high: float) -> None:
        """Merge neighboring bins until the values fit, and move the bins to where they start."""
        occupied = np.flatnonzero(self._counts)
        bins = occupied + self._first
        first, last = math.floor(low / self._width), math.floor(high / self._width)
        if len(bins):
            first, last = min(first, int(bins[0])), max(last, int(bins[-1]))
        while last - first >= _BINS or max(abs(first), abs(last)) >= _MAX_INDEX:
            self._width *= 2
            first, last, bins = first // 2, last // 2, bins // 2
        counts = np.zeros(_BINS, np.int64)
        np.add.at(counts, bins - first, self._counts[occupied])
        self._counts, self._first = counts, first

    def _interpolate(self, cumulative: NDArray[np.int64], rank: float, border: int) -> float:
        """Return the lower (0) or upper (1) border of the bin at a rank, linear between ranks, as `np.percentile` does."""
        below = math.floor(rank)
        bins = np.searchsorted(cumulative, [below, min(below + 1, int(cumulative[-1]) - 1)], side="right")
        values = (self._first + bins + border) * self._width
        return float(values[0] + (rank - below) * (values[1] - values[0]))
