"""Durations and frame rates of video files."""

import re
from contextlib import suppress
from fractions import Fraction
from itertools import islice, pairwise
from statistics import median_high
from typing import TYPE_CHECKING, Any

from .opening import import_av, read_packets

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

WITHOUT_PTS = ("avi",)
"""Formats whose packets are numbered in the order of decoding, not of presentation.

All packets last one unit of the time stamps, which is no duration of a frame: 1/600 s, for example, in a file with 30 frames per second.
"""

SPARE_FRAMES = 3
"""Number of frames by which durations of complete files differ: they are rounded, and formats hold no duration of the last frame."""

_SPARE_SECONDS = Fraction(1)  # the same in seconds
# FFmpeg gives the time of their end as their duration.
_END_AS_DURATION = ("matroska,webm", "nut")
_WITH_COUNT = ("mov,mp4,m4a,3gp,3g2,mj2",)  # whose rate is the number of frames divided by the duration
_MEASURED_FRAMES = 100  # whose times give the rate of a file that names none
# Some files name the unit of their time stamps as their rate, such as 12,800. It is replaced by that of their first frames.
_LARGEST_RATE, _CHECKED_FRAMES = 240, 25
_CLOCK = re.compile(r"([0-9]{1,4}):([0-9]{2}):([0-9]{2}(?:\.[0-9]{1,9})?)")


def to_fraction(value: Any, default: Fraction | int = 0) -> Fraction:
    """Return a time base, rate or aspect ratio of PyAV, `default` if it is unset. From version 19 on, PyAV has a class for them."""
    return Fraction(value.numerator, value.denominator) if value else Fraction(default)


def measure_seconds(container: "InputContainer", stream: "VideoStream") -> Fraction:
    """Return the duration of a video, 0 if the file has none."""
    unit = to_fraction(stream.time_base)
    if stream.duration and unit:
        return stream.duration * unit
    seconds = Fraction(container.duration or 0, 1_000_000)
    if container.format.name in _END_AS_DURATION:
        end = _read_clock(stream)
        seconds = min(seconds, end or seconds) - (stream.start_time or 0) * unit
    return max(Fraction(0), seconds)


def find_spare(container: "InputContainer", stream: "VideoStream", rate: Fraction) -> Fraction | None:
    """Return by how many seconds the duration of a complete file can exceed that of its frames, `None` if by any number."""
    is_alone, is_precise = len(container.streams) == 1, container.format.name in _END_AS_DURATION
    if stream.duration or (is_precise and (is_alone or _read_clock(stream))):
        return SPARE_FRAMES / rate
    return max(SPARE_FRAMES / rate, _SPARE_SECONDS) if is_alone else None


def _read_clock(stream: "VideoStream") -> Fraction:
    """Return the seconds of the tag of a stream, such as 00:01:02.500000000, 0 if it is no time."""
    clock = _CLOCK.fullmatch(stream.metadata.get("DURATION", "").strip("\0 "))
    hours, minutes, seconds = map(Fraction, clock.groups()) if clock else (Fraction(0),) * 3
    return 3600 * hours + 60 * minutes + seconds


def find_rate(container: "InputContainer", stream: "VideoStream") -> Fraction:
    """Return the mean number of frames per second, of some files by their first frames, whose packets are read."""
    has_no_pts = container.format.name in WITHOUT_PTS
    named = Fraction(0) if has_no_pts else to_fraction(stream.average_rate)
    if named and (named <= _LARGEST_RATE or container.format.name in _WITH_COUNT):
        return named
    measured = _measure_rate(container, stream, has_no_pts, _CHECKED_FRAMES if named else _MEASURED_FRAMES)
    return measured or named or to_fraction(stream.guessed_rate, 25)


def _measure_rate(container: "InputContainer", stream: "VideoStream", has_no_pts: bool, count: int) -> Fraction:
    """Return the number of frames per second by the median step of the first time stamps, 0 with one frame."""
    stamps: set[int | None] = set()
    with suppress(import_av().error.FFmpegError):  # of a damaged file, which is reported when it is read
        packets = islice(read_packets(container, stream), count)
        stamps = {packet.dts if has_no_pts or packet.pts is None else packet.pts for packet in packets}
    steps = [after - before for before, after in pairwise(sorted(stamp for stamp in stamps if stamp is not None))]
    return 1 / (median_high(steps) * to_fraction(stream.time_base)) if steps else Fraction(0)
