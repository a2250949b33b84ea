"""Recognize infrared frames that stay the same, such as during the calibration of a camera, or after it stopped."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras.frozen_images import are_equal

# Videos and cameras of a low rate repeat frames for less time.
_SECONDS, _FRAMES = 0.5, 3
_STOPPED_SECONDS = 2.0  # without a new frame
_LONGEST_STEP = 1.0  # seconds from frame to frame; more are not counted, because the clock may have been set


class _Moment(NamedTuple):
    time: float
    visible: NDArray[Any]
    infrared: NDArray[Any]


class FrozenFrames:
    """Compare infrared frames with those before, while the visible images change.

    Examples:
        >>> frozen, infrared = FrozenFrames(), np.zeros((4, 6), np.uint8)
        >>> [len(frozen.add(0.25 * index, np.full((4, 6), index), infrared.copy())) for index in range(4)]
        [0, 0, 1, 1]
    """

    def __init__(self) -> None:
        self._first: _Moment | None = None  # of identical infrared frames
        self._last, self._frames = np.empty(0), 0
        self._time, self._seconds = 0.0, 0.0

    @property
    def since(self) -> float | None:
        """Time of the first of the identical infrared frames, from which on frames are added again to continue a run."""
        return None if self._first is None else self._first.time

    def add(self, time: float, visible: NDArray[Any], infrared: NDArray[Any]) -> tuple[str, ...]:
        """Return a note while infrared frames are identical for half a second or longer.

        Args:
            time: Time in seconds. Steps of more than a second count as one second, because the clock may have been set.
            visible: The visible image of this time.
            infrared: The newest infrared frame. The same array again is no new frame: a slower camera has none yet, but if
                there is none for two seconds, it is noted as well.
        """
        first, is_new = self._first, infrared is not self._last
        self._last = infrared
        step, self._time = min(max(time - self._time, 0.0), _LONGEST_STEP), time
        is_same = first is not None and time >= first.time and (not is_new or are_equal(infrared, first.infrared))
        if first is None or not is_same:
            self._first, self._frames, self._seconds = _Moment(time, visible, infrared), 1, 0.0
            return ()
        self._frames += is_new
        self._seconds += step
        is_long = self._seconds >= _STOPPED_SECONDS or (self._seconds >= _SECONDS and self._frames >= _FRAMES)
        if not is_long or are_equal(visible, first.visible):
            return ()
        return (
            f"the infrared frames are identical since {first.time:.3f} s, but the visible ones are not: frozen, such as during "
            "a calibration, or the camera stopped",
        )
