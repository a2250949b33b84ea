"""Recognize frozen infrared frames, such as during the calibration of a camera."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Videos and cameras of a low rate repeat frames for less time.
_SECONDS, _FRAMES = 0.5, 3


class _Moment(NamedTuple):
    time: float
    visible: NDArray[Any]
    infrared: NDArray[Any]


class FrozenFrames:
    """Compare every infrared frame with the one before it, while the visible images change.

    Example:
        >>> frozen, infrared = FrozenFrames(), np.zeros((4, 6), np.uint8)
        >>> [len(frozen.add(0.25 * index, np.full((4, 6), index), infrared)) for index in range(4)]
        [0, 0, 1, 0]
    """

    def __init__(self) -> None:
        self._first: _Moment | None = None  # of identical infrared frames
        self._frames, self._is_told = 0, False

    def add(self, time: float, visible: NDArray[Any], infrared: NDArray[Any]) -> tuple[str, ...]:
        """Return a note if infrared frames have been identical for at least half a second, once for each such time.

        Args:
            time: Time in seconds.
            visible: The visible image of this time.
            infrared: The infrared frame after the one before, not that one again.
        """
        first = self._first
        if first is None or not np.array_equal(infrared, first.infrared):
            self._first, self._frames, self._is_told = _Moment(time, visible, infrared), 1, False
            return ()
        self._frames += 1
        is_long = self._frames >= _FRAMES and time - first.time >= _SECONDS
        if self._is_told or not is_long or np.array_equal(visible, first.visible):
            return ()
        self._is_told = True
        return (
            f"the infrared frames are identical since {first.time:.3f} s, but the visible ones are not: frozen, such as during "
            "a calibration",
        )
