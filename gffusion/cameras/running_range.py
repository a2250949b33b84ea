"""Ranges of infrared values that depend on several images: one range for all, or a running range of ordered frames."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.infrared_options import InfraredOptions, Limits
from gffusion.models.gffusion.infrared_values import MOST, Mask, measure_limits, measured_counts, share_outside
from gffusion.utils.notes import format_count

from .frozen_images import are_equal
from .range_histogram import RangeHistogram

_MANY_TIMES = 8.0  # wider than the limits: objects of so much more contrast are rarer than damaged frames
_FEWEST, _FAR = 3, 3.0  # images; widths or usual distances of ranges


class Frame(NamedTuple):
    """An infrared image (H, W) or (H, W, 3), its missing pixels, and its recording: each has a running range of its own."""

    values: NDArray[Any]
    missing: Mask | None = None
    recording: Hashable = None


class RunningRange:
    """Exponential running range of ordered frames, so that the other objects keep their gray levels when a hot one enters.

    Each frame moves the limits by `1 / frames` of the distance to its own 0.1st and 99.9th percentile. If most of a
    frame is outside the limits, which happens after a cut or a change of the camera's gain, they start anew from that
    frame. Such a frame, and one of a far wider range, can be a single damaged one: if the next frame is nearer to the
    limits before it, they are taken again. A frame that equals the one before is no new frame: slow cameras, or their
    recorders, repeat frames.

    Args:
        frames: Number of frames, at least 1.
        state: [`RunningRange.state`] after an earlier frame, to go on from there.

    Examples:
        >>> import numpy as np
        >>> cold, hot = np.tile(np.arange(100.0), (100, 1)), np.tile(np.arange(100.0), (100, 1))
        >>> hot[:, 90:] = 500
        >>> running = RunningRange(10)
        >>> [round(running.update(frame)[1]) for frame in (cold, hot, hot, hot + 1, cold)]
        [99, 139, 139, 175, 168]
    """

    def __init__(self, frames: float, state: Sequence[Limits] = ()) -> None:
        if frames < 1:
            raise ValueError(f"`frames` must be at least 1, got {frames}.")
        self._frames = frames
        self._limits, self._before = (*state, None, None)[:2]
        self._last: tuple[NDArray[Any], Mask | None] | None = None

    @property
    def state(self) -> tuple[Limits, ...]:
        """The limits of the last frame, and those before it if it can be a damaged one; empty before the first frame."""
        return tuple(limits for limits in (self._limits, self._before) if limits is not None)

    def update(self, array: NDArray[Any], missing: Mask | None = None) -> Limits:
        """Return the limits for the next frame, (H, W) or (H, W, 3).

        Raises:
            ValueError: If values are not finite, or all pixels are missing.
        """
        if self._limits is not None and self._is_last(array, missing):
            return self._limits
        own = measure_limits(array, missing)
        self.remember(array, missing)
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

    def remember(self, array: NDArray[Any], missing: Mask | None = None) -> None:
        """Take a frame as the one before, to go on after it from a `state`."""
        self._last = array.copy(), missing if missing is None else missing.copy()

    def _is_last(self, array: NDArray[Any], missing: Mask | None) -> bool:
        if self._last is None or not are_equal(array, self._last[0]):
            return False
        last = self._last[1]
        return missing is last if missing is None or last is None else np.array_equal(missing, last)


def _distance(first: Limits, second: Limits) -> float:
    return abs(first[0] - second[0]) + abs(first[1] - second[1])


def measure_ranges(frames: Iterable[tuple[NDArray[Any], Mask | None]], options: InfraredOptions) -> list[Limits]:
    """Return the range for every frame: that of all frames together, or the running range. Holds one frame in memory.

    Args:
        frames: Images (H, W) or (H, W, 3) of one recording and their missing pixels, in order.
        options: Options with `infrared_range="folder"` or `smooth_range`.

    Raises:
        ValueError: If values are not finite, or all pixels of an image are missing.

    Examples:
        >>> import numpy as np
        >>> frames = [(np.full((4, 6), level, np.uint16), None) for level in (10, 20)]
        >>> measure_ranges(frames, InfraredOptions("folder"))
        [(10.0, 20.0), (10.0, 20.0)]
    """
    return measure_with_own_ranges((Frame(*frame) for frame in frames), options)[0]


def measure_with_own_ranges(frames: Iterable[Frame], options: InfraredOptions) -> tuple[list[Limits], list[Limits]]:
    """Return [`measure_ranges`] and, with `"folder"`, the range of every frame alone, for [`find_odd_ranges`]."""
    if options.smooth_range:
        running: defaultdict[Hashable, RunningRange] = defaultdict(partial(RunningRange, options.smooth_range))
        return [running[frame.recording].update(frame.values, frame.missing) for frame in frames], []
    histogram, own = RangeHistogram(), []
    for array, missing, _ in frames:
        histogram.add(array, missing)
        own.append(measure_limits(array, missing))
    return [histogram.limits] * len(own) if own else [], own


def find_odd_ranges(limits: Sequence[Limits]) -> tuple[list[int], str]:
    """Return the indices of images whose range is far from that of the others, and a warning about them.

    They widen the common range of all, and are damaged, or in another unit or gain mode. If the images are two groups far
    apart, they are the smaller one. The warning is empty if there are none.

    Examples:
        >>> find_odd_ranges([(-5, 30), (268, 303), (-4, 29), (269, 301)])[0]
        [1, 3]
        >>> find_odd_ranges([(7000, 8000), (7100, 8200), (6900, 8100), (60, 65000)])
        ([3], 'the range of 1 infrared image, 60 to 65000, is far from that of the other 3, 6900 to 8200, and widens that of all: leave out what is damaged, or in another unit or gain mode, or use infrared_range="percentile" (--infrared-range percentile)')
    """
    odd = _find_odd(limits)
    if not odd:
        return [], ""
    others = np.delete(limits, odd, axis=0)
    ranges = [f"{group[:, 0].min():.7g} to {group[:, 1].max():.7g}" for group in (np.take(limits, odd, axis=0), others)]
    return odd, (
        f"the range of {format_count(len(odd), 'infrared image')}, {ranges[0]}, is far from that of the other "
        f"{len(others)}, {ranges[1]}, and widens that of all: leave out what is damaged, or in another unit or gain mode, or use "
        'infrared_range="percentile" (--infrared-range percentile)'
    )


def _find_odd(limits: Sequence[Limits]) -> list[int]:
    if len(limits) < _FEWEST:
        return []
    ends = np.array(limits)
    usual = np.median(ends, axis=0)
    distances = np.abs(ends - usual).max(axis=1)
    width = float(np.median(np.ptp(ends, axis=1)))
    scale = max(width, float(np.median(distances)))
    odd = np.flatnonzero(distances > _FAR * scale)
    return [int(index) for index in (odd if len(odd) else _find_smaller_group(ends, width))]


def _find_smaller_group(ends: NDArray[Any], width: float) -> NDArray[np.signedinteger[Any]]:
    """Return the indices of the smaller group of ranges, (N, 2), if there is a wide gap, or none."""
    order = np.argsort(ends[:, 0])
    gaps = ends[order[1:], 0] - np.maximum.accumulate(ends[order[:-1], 1])
    first = int(np.argmax(gaps)) + 1  # of the upper group
    if width == 0 or gaps[first - 1] <= _FAR * width:
        return order[:0]
    return np.sort(min(order[first:], order[:first], key=lambda group: (len(group), 0 in group)))
