"""Join encoded segments and copied audio into one file."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gffusion.utils.atomic import replacing

from .formats import OUTPUT_FORMATS, OutputFormat
from .opening import import_av, open_media, read_metadata
from .reading import VideoFile
from .segments import explain_write_error
from .timing import to_fraction

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

_Packets = Iterator[tuple[Fraction, Any]]

# By number of channels, those that FFmpeg takes by default.
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_WITHOUT_NEGATIVE_TIMES = ("matroska", "webm")  # which would shift all streams


def check_audio(visible: VideoFile, path: Path, output: OutputFormat) -> None:
    """Check, before anything is fused, that a container can hold the audio of the visible video.

    Raises:
        ValueError: If it cannot.
    """
    lost = _find_lost_audio(visible.path, output.container)
    if lost is None:
        return
    others = [
        suffix
        for suffix in (".mp4", ".mkv", ".mov", ".webm")
        if _find_lost_audio(visible.path, OUTPUT_FORMATS[suffix].container) is None
    ]
    advice = f"write {', '.join(others)}" if others else "convert it first (ffmpeg -c:v copy -c:a aac)"
    raise ValueError(
        f"{path.suffix} files cannot hold the audio of {visible.path} ({lost}), which is copied: {advice}, or leave the audio "
        "out with keep_audio=False (--no-audio)"
    )


def _find_lost_audio(path: Path, container_format: str) -> str | None:
    """Return the codec of the first stream of audio that a container cannot hold."""
    av = import_av()
    with open_media(path) as container:
        count = len(container.streams.audio)
    for index in range(count):
        with open_media(path) as container:
            stream = container.streams.audio[index]
            try:
                with av.open(BytesIO(), "w", format=container_format) as trial:
                    target = _add_audio(trial, stream)
                    trial.start_encoding()
                    for packet in islice(_read_stamped(container, [stream]), 1):
                        packet.stream = target
                        trial.mux(packet)
            except (av.error.FFmpegError, ValueError):
                return stream.codec_context.name if stream.codec_context else "unknown"
    return None


def _add_audio(target: "OutputContainer", stream: "AudioStream") -> "AudioStream":
    """Add a stream for the packets of another one; places of speakers that a file does not name are the usual ones."""
    copy = target.add_stream_from_template(stream)
    if copy.codec_context.channels in _LAYOUTS and "channels" in copy.codec_context.layout.name:
        copy.codec_context.layout = _LAYOUTS[copy.codec_context.channels]
    return copy


def join_segments(
    path: Path,
    output: OutputFormat,
    segments: Sequence[Path],
    last_duration: Fraction,
    visible: VideoFile | None,
    metadata: dict[str, str] | None,
    is_cut: tuple[bool, bool],
) -> None:
    """Write a video from segments without encoding again, with the audio of the visible video.

    An old file is replaced only after the new one is complete. The segments are in order, and `last_duration` is that of the last
    frame in seconds. The audio is cut at the start and at the end if visible frames were left out there (`is_cut`).

    Raises:
        OSError: If the file cannot be written.
    """
    av = import_av()
    options = dict(output.container_options)
    if "movflags" in options:  # by default, .mp4 and .mov round the start to milliseconds
        with open_media(segments[0]) as first:
            options["movie_timescale"] = str(to_fraction(first.streams.video[0].time_base, 1).denominator)
    try:
        with (
            replacing(path) as temporary,
            av.open(str(temporary.absolute()), "w", format=output.container, options=options) as target,
        ):
            target.metadata.update(metadata or {})
            _copy(target, segments, last_duration, visible, is_cut)
    except av.error.FFmpegError as error:
        raise explain_write_error(error, path) from error


def _copy(
    target: "OutputContainer",
    segments: Sequence[Path],
    last_duration: Fraction,
    visible: VideoFile | None,
    is_cut: tuple[bool, bool],
) -> None:
    with open_media(segments[0]) as first:
        start = next(packet.pts * packet.time_base for packet in first.demux(video=0) if packet.pts is not None)
        video = target.add_stream_from_template(first.streams.video[0])
    with open_media(segments[-1]) as last:
        times = (packet.pts * packet.time_base for packet in last.demux(video=0) if packet.pts is not None)
        end = max(times) + last_duration
    sources: list[_Packets] = [_read_segments(segments, video, last_duration)]
    if visible is None:
        _mux(target, sources)
        return
    with open_media(visible.path) as container:
        copies = {stream.index: _add_audio(target, stream) for stream in container.streams.audio}
        for stream in container.streams.audio:
            copies[stream.index].metadata.update(read_metadata(stream))
        if copies:
            span = (start if is_cut[0] else None, end if is_cut[1] else None)
            earliest = Fraction(0) if target.format.name in _WITHOUT_NEGATIVE_TIMES else None
            sources.append(_read_audio(container, copies, visible.shift, span, earliest))
        _mux(target, sources)


def _mux(target: "OutputContainer", sources: Iterable[_Packets]) -> None:
    for _, packet in heapq.merge(*sources, key=lambda item: item[0]):
        target.mux(packet)


def _read_segments(segments: Sequence[Path], target: "Stream", last_duration: Fraction) -> _Packets:
    """Yield the packets of all segments, each with the time until the next one as duration."""
    waiting = None
    for packet in _read_packets(segments):
        if waiting is not None:
            waiting.duration = packet.pts - waiting.pts
            yield _label(waiting, target)
        waiting = packet
    if waiting is not None:
        waiting.duration = round(last_duration / waiting.time_base)
        yield _label(waiting, target)


def _read_packets(segments: Sequence[Path]) -> Iterator[Any]:
    for path in segments:
        with open_media(path) as container:
            for packet in container.demux(video=0):
                if packet.pts is not None:
                    packet.dts = packet.pts  # FFmpeg leaves it out of few frames; there are no B-frames
                    yield packet


def _read_audio(
    container: "InputContainer",
    copies: dict[int, Any],
    shift: Fraction,
    span: tuple[Fraction | None, Fraction | None],
    earliest: Fraction | None,
) -> _Packets:
    """Yield the packets that start within `span` and end after `earliest`."""
    start, end = span
    for packet in _read_stamped(container, list(container.streams.audio)):
        ticks = round(shift / packet.time_base)
        packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
        time = packet.pts * packet.time_base
        if earliest is not None and time + (packet.duration or 0) * packet.time_base <= earliest:
            continue
        if (start is None or time >= start) and (end is None or time < end):
            yield _label(packet, copies[packet.stream_index])


def _read_stamped(container: "InputContainer", streams: "list[AudioStream]") -> Iterator[Any]:
    for packet in container.demux(streams):
        if packet.pts is not None and packet.dts is not None and packet.time_base:
            yield packet


def _label(packet: Any, target: "Stream") -> tuple[Fraction, Any]:
    time = packet.dts * packet.time_base
    packet.stream = target
    return time, packet
