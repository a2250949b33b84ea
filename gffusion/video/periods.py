"""Find the local period of a video: its rate can change, and a mean rate counts pauses as time between frames."""

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from statistics import median_low
from typing import NamedTuple

from .time_stamps import TimedFrame

_NEIGHBORS = 4  # steps before and after the step to a frame; fewer than half of all can be gaps
_ROUNDING = Fraction(1, 4)  # of a period; coarse time stamps change steps less
_SHORTEST = Fraction(1, 25)  # seconds; some recorders write several frames with nearly the same time


class PacedFrame(NamedTuple):
    """A frame and the local period of its video in seconds, about the time from the frame before to this one."""

    frame: TimedFrame
    period: Fraction


def add_periods(frames: Iterator[TimedFrame], rate: Fraction) -> Iterator[PacedFrame]:
    """Yield ordered frames with the local period. Holds four frames in memory.

    It is the median of nine steps between frames, so that a gap does not count as a period; and exactly that of `rate`
    if they nearly agree. A period below 0.04 s needs a rate that says so: frames can come in bursts.
    """
    held, steps, last = deque[TimedFrame](), deque[Fraction](maxlen=2 * _NEIGHBORS + 1), None
    for frame in frames:
        if last is not None:
            steps.append(frame.time - last)
        last = frame.time
        held.append(frame)
        if len(held) > _NEIGHBORS:
            yield PacedFrame(held.popleft(), _find_period(steps, 1 / rate))
    while held:
        yield PacedFrame(held.popleft(), _find_period(steps, 1 / rate))


def _find_period(steps: Sequence[Fraction], mean: Fraction) -> Fraction:
    usual = median_low(steps) if steps else mean
    return mean if abs(usual - mean) <= _ROUNDING * mean else max(usual, min(mean, _SHORTEST))
