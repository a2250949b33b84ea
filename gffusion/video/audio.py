"""Copy the audio of a video in time with its frames."""

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from .opening import open_media, read_metadata, read_packets
from .reading import VideoFile
from .timing import to_fraction

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer

# By number of channels, those that FFmpeg takes by default.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_MATROSKA = ("matroska", "webm")  # with times before zero, all streams would be shifted
_RESTART = Fraction(1, 10)  # seconds; as in FFmpeg, a clock that goes back by more has restarted


def add_audio(target: "OutputContainer", stream: "AudioStream") -> "AudioStream":
    """Add a stream for the packets of another one; places of speakers that a file does not name are the usual ones."""
    copy = target.add_stream_from_template(stream)
    if copy.codec_context.channels in _LAYOUTS and "channels" in copy.codec_context.layout.name:
        copy.codec_context.layout = _LAYOUTS[copy.codec_context.channels]
    return copy


def read_stamped(container: "InputContainer", streams: "Sequence[AudioStream]") -> Iterator[Any]:
    """Yield the packets that have time stamps."""
    for packet in read_packets(container, *streams) if streams else ():  # without streams, all are read
        if packet.pts is not None and packet.dts is not None and packet.time_base:
            yield packet


class AudioCopy:
    """Copies, in another file, of all audio of a video.

    Attributes:
        lost: For each packet whose time is unknown, the time of the last one that was written before.
    """

    def __init__(self, container: "InputContainer", target: "OutputContainer", visible: VideoFile) -> None:
        self.lost: list[Fraction] = []
        self._container, self._visible = container, visible
        self._is_matroska = target.format.name in _MATROSKA
        self._copies = {stream.index: add_audio(target, stream) for stream in container.streams.audio}
        for stream in container.streams.audio:
            self._copies[stream.index].metadata.update(read_metadata(stream))
        # By stream: the time of the last packet, how often the clock restarted, and the last time stamp that was written.
        self._times: dict[int, Fraction] = {}
        self._restarts: Counter[int] = Counter()
        self._written: dict[int, int] = {}
        self._clock: _Clock | None = None

    def describe_lost(self) -> list[str]:
        """Return a note if packets were left out because their time is unknown."""
        if not self.lost:
            return []
        return [
            f"left out {len(self.lost)} packets of the audio of {self._visible.path}, whose time stamps go back after "
            f"{float(self.lost[0]):.3f} s"
        ]

    def read(self, start: Fraction | None, end: Fraction | None) -> Iterator[tuple[Fraction, Any]]:
        """Yield the packets that start from `start` on and before `end`, with their times.

        The header of the other file must have been written, which sets the units of its time stamps.
        """
        for packet in read_stamped(self._container, list(self._container.streams.audio)):
            index, copy = packet.stream_index, self._copies[packet.stream_index]
            tick = to_fraction(copy.time_base)
            time = self._find_time(index, packet.pts * to_fraction(packet.time_base) - self._visible.shift)
            stamp = None if time is None else self._find_stamp(index, time, tick)
            if time is None or stamp is None:
                self.lost.append(self._written.get(index, 0) * tick)
                continue
            if (start is not None and time < start) or (end is not None and time >= end):
                continue
            if self._is_matroska and stamp < -round(self._find_delay(packet.stream) / tick):
                continue
            packet.duration = round((packet.duration or 0) * to_fraction(packet.time_base) / tick)
            packet.pts = packet.dts = self._written[index] = stamp
            packet.time_base, packet.stream = tick, copy
            yield stamp * tick, packet

    def _find_time(self, index: int, time: Fraction) -> Fraction | None:
        """Return the time of a packet on a clock that does not restart, `None` if it is unknown."""
        if time < self._times.get(index, time) - _RESTART:
            self._restarts[index] += 1
        self._times[index] = time
        count = self._restarts[index]
        if not count:
            return time
        if self._clock is None:
            self._clock = _read_clock(self._visible)
        offsets, restarts = self._clock
        if offsets and restarts[index] != len(offsets):
            return None
        return time + (offsets[count - 1] if offsets else 0)

    def _find_stamp(self, index: int, time: Fraction, tick: Fraction) -> int | None:
        """Return a time stamp that a file can hold after the last one, `None` if the time is much earlier."""
        stamp = round(time / tick)
        if index not in self._written:
            return stamp
        least = self._written[index] + (0 if self._is_matroska else 1)
        return max(stamp, least) if (least - stamp) * tick <= _RESTART else None

    @staticmethod
    def _find_delay(stream: "AudioStream") -> Fraction:
        """Return by how much the first packet of a codec such as Opus may start before zero."""
        return Fraction(int(stream.codec_context.delay), stream.codec_context.sample_rate or 1)


class _Clock(NamedTuple):
    """What is added to times of frames after each restart of the clock of a file, and how often it restarts in each stream of audio."""

    offsets: Sequence[Fraction]
    restarts: Counter[int]


def _read_clock(visible: VideoFile) -> _Clock:
    """Find where the clock of a file restarts; there, the frames continue after the last one, as in players."""
    offsets: list[Fraction] = []
    restarts: Counter[int] = Counter()
    end, offset, times = Fraction(0), Fraction(0), dict[int, Fraction]()
    with open_media(visible.path) as container:
        video = container.streams.video[0]
        for packet in read_packets(container, video, *container.streams.audio):
            if packet.pts is None:
                continue
            unit, index = to_fraction(packet.time_base), packet.stream_index
            time = (packet.pts if index != video.index or packet.dts is None else packet.dts) * unit
            is_restart = time < times.get(index, time) - _RESTART
            times[index] = time
            if index != video.index:
                restarts[index] += is_restart
                continue
            shown = packet.pts * unit
            if is_restart:
                offset = end - shown
                offsets.append(offset)
            end = max(end, shown + offset + ((packet.duration or 0) * unit or 1 / visible.rate))
    return _Clock(offsets, restarts)
