"""Order the frames of a file by their time stamps, and let the time go on where its clock starts anew."""

from fractions import Fraction
from typing import Any, NamedTuple

# Frames in a row of which none is later than the one before, and how many times as many as the frames before them, from which
# on a file is refused. A clock that is set back gives one such frame, one that stands still for a while fewer.
_MAX_REPEATS, _REPEATS_PER_FRAME = 1000, 100
_SURE = 3  # ordered frames after a step back, which is not that of single damaged frames
# A clock starts anew about where it started before. A smaller step back is that of files that overlap, whose clock goes on.
_START, _SHARE = Fraction(1), Fraction(1, 2)  # seconds after the start; of the time since then
_LARGE = 10  # seconds that no files overlap; FFmpeg takes it as another clock, too


class TimedFrame(NamedTuple):
    """Decoded frame with its time and duration in seconds; the duration is 0 if the file has none.

    The frame is one of PyAV, or the [`StoredFrame`][gffusion.video.folders.StoredFrame] of an image file.
    """

    frame: Any
    time: Fraction
    duration: Fraction


class TimeStamps:
    """Times of the frames of a file, which always increase. Holds up to three frames.

    Args:
        period: Seconds from frame to frame, where the file does not tell.

    Attributes:
        left_out: Number of frames that were left out, because their time stamps do not increase.
        restarts: How often the clock started anew. The time goes on with the next frame then.
        first_restart: Time of the first frame after the first of these, and the seconds by which the clock went back.
        last: Time of the last frame; `None` before the first one.
        end: Time of the end of the last frame.
        duration: Its duration, 0 if the file has none.
        longest: The longest step from frame to frame.
    """

    def __init__(self, period: Fraction) -> None:
        self.left_out, self.restarts = 0, 0
        self.first_restart = Fraction(0), Fraction(0)
        self.last: Fraction | None = None
        self.end = self.duration = self.longest = Fraction(0)
        self._period, self._held = period, list[TimedFrame]()
        # On the clock of the file: of the first and the last frame of a part, and of the one before, which may be left out.
        self._first = self._latest = self._previous = Fraction(0)
        self._jump: Fraction | None = None  # of the frame before the last large step forward
        self._used, self.repeats = 0, 0

    @property
    def next(self) -> Fraction:
        """Time, on the clock of the file, of a frame without a time stamp after others."""
        return self._latest + self._period

    @property
    def stands_still(self) -> bool:
        """Whether the file is refused, because too many frames in a row are not later than the one before."""
        return self.repeats > max(_MAX_REPEATS, _REPEATS_PER_FRAME * self._used)

    def add(self, item: TimedFrame) -> list[TimedFrame]:
        """Return the frames that are next after a frame was read, with increasing times."""
        if self.last is None or item.time > self._latest:
            self._held = []
            return [self._use(item, self.last is None)]
        self.left_out += 1
        goes_back, self._previous = item.time <= self._previous, item.time
        self.repeats = self.repeats + 1 if goes_back else 0
        if self._held and item.time > self._held[-1].time:
            self._held.append(item)
        else:
            self._held = [item] if goes_back and self._is_start(item.time) else []
        return self._start_anew() if len(self._held) == _SURE else []

    def _is_start(self, time: Fraction) -> bool:
        if self._jump is not None and 0 < time - self._jump < _LARGE:  # frames with wrong, late times are over
            return False
        back = self._latest - time
        return back >= _LARGE or (time <= self._first + _START and back >= _SHARE * (self._latest - self._first) > 0)

    def _start_anew(self) -> list[TimedFrame]:
        held, self._held = self._held, []
        if not self.restarts:
            self.first_restart = self.end, self._latest - held[0].time
        self.restarts, self.left_out = self.restarts + 1, self.left_out - len(held)
        return [self._use(item, index == 0) for index, item in enumerate(held)]

    def _use(self, item: TimedFrame, is_first: bool) -> TimedFrame:
        """Return a frame with its time, which goes on after the last frame if the clock starts."""
        if self.last is None:
            time = item.time
        else:
            time = self.end if is_first else self.last + item.time - self._latest
            self.longest = max(self.longest, time - self.last)
        if is_first:
            self._first, self._jump = item.time, None
        elif item.time - self._latest >= _LARGE:
            self._jump = self._latest
        self._latest = self._previous = item.time
        self.repeats, self._used = 0, self._used + 1
        self.last, self.duration = time, item.duration
        self.end = time + (item.duration or self._period)
        return item._replace(time=time)
