"""Images and times that are given to a stream."""

import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import Align
from gffusion.models.gffusion.image_sizes import check_same_size

from .jobs import is_number

_MAX_SECONDS = 1e15
_ALIGN_STREAM = (
    'Pass `read_options`: ReadOptions(align=Rig.load("rig.json")) of a rig that `gffusion align` saved, or '
    'ReadOptions(align="resize") if both cameras have the same field of view'
)


def check_stream_sizes(visible: NDArray[Any], infrared: NDArray[Any], align: Align) -> None:
    """Raise ValueError if the images of a pair differ in size, unless they are aligned."""
    if align == "none":
        check_same_size(
            {"the visible image": visible.shape[:2], "the infrared image": infrared.shape[:2]}, _ALIGN_STREAM
        )


def check_time(time: float | None, default: float) -> float:
    """Return the time of a frame in seconds, by default `default`, or raise ValueError if it is no finite number."""
    if time is not None and not (is_number(time) and abs(time) < _MAX_SECONDS):
        raise ValueError(f"`time` must be a finite number of seconds, got {time!r:.40}")
    return default if time is None else time


def check_image(name: str, image: Any) -> None:
    """Raise ValueError unless an image is an array (H, W), (H, W, 1) or (H, W, 3) of numbers, not empty and without a mask."""
    is_image = isinstance(image, np.ndarray) and (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3)))
    if not is_image or not image.size or image.dtype.kind not in "iuf":
        details = f" of {image.dtype} and shape {tuple(image.shape)}" if hasattr(image, "shape") else ""
        raise ValueError(
            f"`{name}` must be an array (H, W) or (H, W, 3) of integers or floating-point values, got "
            f"{type(image).__name__}{details}"
        )
    if np.ma.is_masked(image):
        advice = (
            "floating-point values with NaN where it is masked" if name == "infrared" else "its values, `image.data`"
        )
        raise ValueError(f"`{name}` is a masked array, whose mask most functions ignore: give {advice}")


@dataclass(frozen=True)
class Pushed:
    """A pair that was pushed; `arrived` is on the clock of `time.monotonic`, and `dropped` counts those since the last result."""

    visible: NDArray[Any]
    infrared: NDArray[Any]
    time: float
    arrived: float
    infrared_age: float = 0.0
    dropped: int = 0


class Inbox:
    """The pair that waits for the thread, which must not hold the stream itself, so that an unused stream ends."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.waiting: Pushed | None = None
        self.dropped = 0  # since the last result
        self.is_closed = False

    def take(self) -> Pushed | None:
        """Wait for a pair; return `None` when the stream is closed and no pair waits."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting is not None or self.is_closed)
            pushed, self.waiting = self.waiting, None
            if pushed is None:
                return None
            dropped, self.dropped = self.dropped, 0
            return replace(pushed, dropped=dropped)

    def close(self) -> None:
        """Let the thread end after the pair that waits."""
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()
