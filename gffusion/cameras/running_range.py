"""Ranges of infrared values that depend on several images: one range for all, or a running range of ordered frames."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.infrared_options import InfraredOptions, Limits
from gffusion.models.gffusion.infrared_values import MOST, Mask, measure_limits, measured_counts, share_outside

from .range_histogram import RangeHistogram

_MANY_TIMES = 8.0  # wider than the limits: objects of so much more contrast are rarer than damaged frames
_FEWEST, _FAR = 3, 3.0  # images; widths or usual distances of ranges

Frame = tuple[NDArray[Any], Mask | None]


class RunningRange:
    """Exponential running range of ordered frames, so that the other objects keep their gray levels when a hot one enters.

    Each frame moves the limits by `1 / frames` of the distance to its own 0.1st and 99.9th percentile. If most of a
    frame is outside the limits, which happens after a cut or a change of the camera's gain, they start anew from that
    frame. Such a frame, and one of a far wider range, can be a single damaged one: if the next frame is nearer to the
    limits before it, they are taken again.

    Args:
        frames: Number of frames, at least 1.
        state: [`RunningRange.state`] after an earlier frame, to go on from there.

    Example:
        >>> import numpy as np
        >>> cold, hot = np.tile(np.arange(100.0), (100, 1)), np.tile(np.arange(100.0), (100, 1))
        >>> hot[:, 90:] = 500
        >>> running = RunningRange(10)
        >>> [round(running.update(frame)[1]) for frame in (cold, hot, hot, cold)]
        [99, 139, 175, 168]
    """

    def __init__(self, frames: float, state: Sequence[Limits] = ()) -> None:
        if frames < 1:
            raise ValueError(f"`frames` must be at least 1, got {frames}.")
        self._frames = frames
        self._limits, self._before = (*state, None, None)[:2]

    @property
    def state(self) -> tuple[Limits, ...]:
        """The limits of the last frame, and those before it if it can be a damaged one; empty before the first frame."""
        return tuple(limits for limits in (self._limits, self._before) if limits is not None)

    def update(self, array: NDArray[Any], missing: Mask | None = None) -> Limits:
        """Return the limits for the next frame, (H, W) or (H, W, 3).

        Raises:
            ValueError: If values are not finite, or all pixels are missing.
        """
        own = measure_limits(array, missing)
        old, before = self._limits, self._before
        if old is None:
            self._limits = own
            return own
        if before is not None and _distance(own, before) < _distance(own, old):
            old = before
        low, high = (limit + (new - limit) / self._frames for limit, new in zip(old, own, strict=True))
        is_cut = share_outside(measured_counts(array, missing), (low, high)) > MOST
        is_wide = own[1] - own[0] > _MANY_TIMES * (old[1] - old[0])
        self._limits = own if is_cut else (low, high)
        self._before = old if is_cut or is_wide else None
        return self._limits


def _distance(first: Limits, second: Limits) -> float:
    return abs(first[0] - second[0]) + abs(first[1] - second[1])


def measure_ranges(frames: Iterable[Frame], options: InfraredOptions, own: list[Limits] | None = None) -> list[Limits]:
    """Return the range of every frame: that of all frames together, or the running range. Holds one frame in memory.

    Args:
        frames: Images (H, W) or (H, W, 3) and their missing pixels, in order.
        options: Options with `infrared_range="folder"` or `smooth_range`.
        own: List to which the limits of every frame alone are added with `"folder"`, for [`find_odd_ranges`].

    Raises:
        ValueError: If values are not finite, or all pixels of an image are missing.

    Example:
        >>> import numpy as np
        >>> frames = [(np.full((4, 6), level, np.uint16), None) for level in (10, 20)]
        >>> measure_ranges(frames, InfraredOptions("folder"))
        [(10.0, 20.0), (10.0, 20.0)]
    """
    if options.smooth_range:
        running = RunningRange(options.smooth_range)
        return [running.update(array, missing) for array, missing in frames]
    histogram, count = RangeHistogram(), 0
    for array, missing in frames:
        histogram.add(array, missing)
        count += 1
        if own is not None:
            own.append(measure_limits(array, missing))
    return [histogram.limits] * count if count else []


def find_odd_ranges(limits: Sequence[Limits]) -> list[int]:
    """Return the indices of images whose range is far from that of most: a damaged one widens the common range of all.

    Example:
        >>> find_odd_ranges([(7000, 8000), (7100, 8200), (6900, 8100), (60, 65000)])
        [3]
    """
    if len(limits) < _FEWEST:
        return []
    ends = np.array(limits)
    usual = np.median(ends, axis=0)
    distances = np.abs(ends - usual).max(axis=1)
    scale = max(float(np.median(np.ptp(ends, axis=1))), float(np.median(distances)))
    return [int(index) for index in np.flatnonzero(distances > _FAR * scale)]


def describe_odd_range(limits: Limits) -> str:
    """Return the warning about an image of [`find_odd_ranges`]."""
    return (
        f"the range of this infrared image, {limits[0]:.7g} to {limits[1]:.7g}, is far from that of most, and widens that of "
        "all: leave the image out if it is damaged"
    )
