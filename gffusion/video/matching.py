"""Match the frames of two videos by their time stamps."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from statistics import median_low
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import InfraredFrame
from gffusion.utils.notes import format_count

from .folders import FrameSource, decode_infrared_frame, decode_visible_frame, name_frame
from .time_stamps import TimedFrame

_PROBES = 10
_NEIGHBORS = 4  # steps before and after the step to a frame; fewer than half of all can be gaps
_ROUNDING = Fraction(1, 4)  # of a period; coarse time stamps change steps less
_SHORTEST = Fraction(1, 25)  # seconds; some recorders write several frames with nearly the same time
_MISSING_SHARE = Fraction(1, 50)  # of a duration; less is no reason to warn


class PacedFrame(NamedTuple):
    """A frame and the local period of its video in seconds, about the time from the frame before to this one."""

    frame: TimedFrame
    period: Fraction


class FramePair(NamedTuple):
    """A visible frame and the infrared frame that is nearest in time; the times are those of the visible frame."""

    visible: TimedFrame
    infrared: TimedFrame

    @property
    def time(self) -> Fraction:
        """Time of the visible frame in seconds."""
        return self.visible.time

    def decode(self) -> tuple[NDArray[np.uint8], InfraredFrame]:
        """Return the visible and the infrared image."""
        return decode_visible_frame(self.visible.frame), decode_infrared_frame(self.infrared.frame)

    def name(self, videos: tuple[str, str]) -> tuple[str, str]:
        """Return the files of frames of folders, or else the names of their videos."""
        return name_frame(self.visible.frame, videos[0]), name_frame(self.infrared.frame, videos[1])


@dataclass
class MatchCounts:
    """What was left out while matching.

    Attributes:
        before: Visible frames before the infrared video starts.
        after: Whether visible frames follow after the infrared video ends.
        infrared_after: Whether infrared frames follow after the visible video ends.
        gaps: Visible frames in gaps of the infrared video.
        matched: Pairs.
        first_gap: Time of the first visible frame in a gap.
        limit: Distance in seconds to an infrared frame that was allowed there.
    """

    before: int = 0
    after: bool = False
    infrared_after: bool = False
    gaps: int = 0
    matched: int = 0
    first_gap: Fraction | None = None
    limit: Fraction = Fraction(0)


@dataclass
class VideoPair:
    """Two videos of one scene, each a file or a folder of frames.

    The infrared frame of a visible frame is the one nearest in time, at most one period of the slower video away: its
    usual step from frame to frame at this time ([`add_periods`]). Visible frames without one are left out.

    Attributes:
        offset: Seconds that are added to the times of the infrared video.
        counts: What was left out when the pair was last read.
    """

    visible: FrameSource
    infrared: FrameSource
    offset: Fraction = Fraction(0)
    counts: MatchCounts = field(default_factory=MatchCounts)

    def __post_init__(self) -> None:
        self._identified = self._identify()

    def has_changed(self) -> bool:
        """Return whether a file was written or replaced since the pair was created."""
        return self._identify() != self._identified

    def _identify(self) -> list[tuple[Any, ...] | None]:
        found: list[tuple[Any, ...] | None] = []
        for source in (self.visible, self.infrared):
            try:
                found.append(source.identify())
            except OSError:  # removed while it is read
                found.append(None)
        return found

    def read(self) -> Iterator[FramePair]:
        """Yield the pairs in order. Holds a few frames in memory.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If frames have no time stamps, or no frames are at the same time.
        """
        self.counts = MatchCounts()
        yield from _match(self._read_visible(), self._read_infrared(), self.counts)
        if not self.counts.matched:
            raise ValueError(self._describe_no_overlap())

    def probe(self) -> list[FramePair]:
        """Return up to ten pairs, evenly spaced over the time of both videos; fewer if parts cannot be matched."""
        ends = [end for end in (self.visible.end, self.infrared.end and self.infrared.end + self.offset) if end]
        start = next((pair.time for pair in self.read()), Fraction(0))
        earlier = 2 * max(1 / self.visible.rate, 1 / self.infrared.rate) + self.offset
        pairs: dict[Fraction, FramePair] = {}
        span = max(start, min(ends, default=start)) - start
        for index in range(_PROBES):
            time = start + span * Fraction(2 * index + 1, 2 * _PROBES)  # in the middle of equal parts
            visible = (paced for paced in self._read_visible(time) if paced.frame.time >= time)
            for pair in _match(visible, self._read_infrared(time - earlier), MatchCounts()):
                pairs[pair.time] = pair
                break
        return list(pairs.values()) or [next(self.read())]

    def _read_visible(self, start: Fraction | None = None) -> Iterator[PacedFrame]:
        return add_periods(self.visible.read(start), self.visible.rate)

    def _read_infrared(self, start: Fraction | None = None) -> Iterator[PacedFrame]:
        frames = (frame._replace(time=frame.time + self.offset) for frame in self.infrared.read(start))
        return add_periods(frames, self.infrared.rate)

    def _describe_no_overlap(self) -> str:
        spans = []
        for file, offset in ((self.visible, Fraction(0)), (self.infrared, self.offset)):
            first = next((frame.time for frame in file.read()), None)
            if first is None:
                return f"{file.path} has no frame that can be decoded{_list_errors(file)}"
            spans.append(f"{file.path} starts at {float(first + offset):.3f} s and lasts {float(file.seconds):.3f} s")
        return (
            f"no frames of the two videos are at the same time: {spans[0]}, {spans[1]}; --time-offset SECONDS is added to the "
            "times of the infrared video"
        )


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


def _match(visible: Iterator[PacedFrame], infrared: Iterator[PacedFrame], counts: MatchCounts) -> Iterator[FramePair]:
    nearest, following, end, limit = next(infrared, None), next(infrared, None), Fraction(0), Fraction(0)
    if nearest is None:
        return
    for frame, period in visible:
        while following is not None and abs(following.frame.time - frame.time) < abs(nearest.frame.time - frame.time):
            nearest, following = following, next(infrared, None)
        is_later = frame.time > nearest.frame.time
        limit = max(period, (following if is_later and following is not None else nearest).period)
        if abs(nearest.frame.time - frame.time) <= limit:
            counts.matched += 1
            yield FramePair(frame, nearest.frame)
        elif following is None and is_later:
            counts.after = True
            return
        elif not counts.matched:
            counts.before += 1
        else:
            counts.gaps += 1
            if counts.first_gap is None:
                counts.first_gap, counts.limit = frame.time, limit
        end = frame.time + (frame.duration or limit)
    while following is not None and following.frame.time <= end + limit:
        following = next(infrared, None)
    counts.infrared_after = following is not None


def describe_counts(counts: MatchCounts, pair: VideoPair) -> list[str]:
    """Return notes about visible frames without an infrared frame, and on the files after they were read."""
    notes = []
    if pair.has_changed():
        notes.append(
            "a video was written or replaced while it was read, so that the result can end early or mix two recordings: if it was still "
            "recorded, fuse it again with --overwrite"
        )
    if counts.before:
        notes.append(f"left out {format_count(counts.before, 'visible frame')} before the infrared video starts")
    if counts.first_gap is not None:
        notes.append(
            f"left out {format_count(counts.gaps, 'visible frame')} without an infrared frame within {float(counts.limit):.3f} s, the first "
            f"one at {float(counts.first_gap):.3f} s"
        )
    if counts.after:
        notes.append("stopped at the end of the infrared video, which is shorter")
    elif counts.infrared_after:
        notes.append("stopped at the end of the visible video, which is shorter")
    for file in (pair.visible, pair.infrared):
        if file.damaged:
            notes.append(f"{file.path}: {format_count(file.damaged, 'damaged frame')} left out{_list_errors(file)}")
        notes += _describe_stamps(file)
        if file.filled.count and file.filled.first is not None:
            notes.append(
                f"{file.path}: {format_count(file.filled.count, 'damaged frame')} filled in by the decoder, the first one at "
                f"{float(file.filled.first):.3f} s: it and those after it, up to the next key frame, can show wrong content; copy "
                "the file again if its source is not damaged"
            )
        missing = file.seconds - file.found
        if file.spare is not None and file.found and missing > max(file.spare, _MISSING_SHARE * file.seconds):
            notes.append(
                f"{file.path} has frames for {float(file.found):.2f} s, but says that it lasts {float(file.seconds):.2f} s: it may "
                "be truncated"
            )
    return notes


def _describe_stamps(file: FrameSource) -> list[str]:
    """Return notes on time stamps that do not increase."""
    notes, stamps = [], file.stamps
    if stamps.restarts:
        time, back = stamps.first_restart
        more = f", and {stamps.restarts - 1} times later" if stamps.restarts > 1 else ""
        notes.append(
            f"{file.path}: its clock goes back by {float(back):.3f} s at {float(time):.3f} s{more}, as in files that were joined: the "
            "frames there are taken to follow each other without a pause"
        )
    if stamps.left_out:
        notes.append(
            f"{file.path}: left out {format_count(stamps.left_out, 'frame')} with time stamps that do not increase"
        )
    return notes


def _list_errors(file: FrameSource) -> str:
    """Return why the first damaged files of a folder of frames could not be read."""
    return f": {'; '.join(file.errors)}" if file.errors else ""
