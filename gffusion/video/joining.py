"""Join encoded segments and copied audio into one file."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gffusion.data.atomic import replacing

from .formats import OutputFormat
from .reading import VideoFile, import_av

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

_Packets = Iterator[tuple[Fraction, Any]]


def check_audio(visible: VideoFile, path: Path, output: OutputFormat) -> None:
    """Check, before anything is fused, that a container can hold the audio of the visible video.

    Raises:
        ValueError: If it cannot.
    """
    av = import_av()
    with av.open(str(visible.path)) as container:
        for stream in container.streams.audio:
            try:
                with av.open(BytesIO(), "w", format=output.container) as trial:
                    trial.add_stream_from_template(stream)
                    trial.start_encoding()
            except (av.error.FFmpegError, ValueError) as error:
                raise ValueError(
                    f"{path.suffix} files cannot hold the audio of {visible.path} ({stream.codec_context.name if stream.codec_context else 'unknown'}), which is "
                    "copied: write .mkv or .mov"
                ) from error


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

    An old file is replaced only after the new one is complete.

    Args:
        path: File to write.
        output: Its format.
        segments: Files of the segments, in order.
        last_duration: Duration of the last frame in seconds.
        visible: The video whose audio is copied.
        metadata: Title, date and the like.
        is_cut: Whether visible frames were left out at the start and at the end; the audio is cut there, too.

    Raises:
        OSError: If the file cannot be written.
    """
    av = import_av()
    options = dict(output.container_options)
    if "movflags" in options:  # by default, .mp4 and .mov round the start to milliseconds
        with av.open(str(segments[0])) as first:
            options["movie_timescale"] = str(first.streams.video[0].time_base.denominator)
    try:
        with (
            replacing(path) as temporary,
            av.open(str(temporary), "w", format=output.container, options=options) as target,
        ):
            target.metadata.update(metadata or {})
            _copy(target, segments, last_duration, visible, is_cut)
    except av.error.FFmpegError as error:
        raise OSError(f"cannot write {path}: {error.strerror}") from error


def _copy(
    target: "OutputContainer",
    segments: Sequence[Path],
    last_duration: Fraction,
    visible: VideoFile | None,
    is_cut: tuple[bool, bool],
) -> None:
    av = import_av()
    with av.open(str(segments[0])) as first:
        start = next(packet.pts * packet.time_base for packet in first.demux(video=0) if packet.pts is not None)
    with av.open(str(segments[-1])) as last:
        times = (packet.pts * packet.time_base for packet in last.demux(video=0) if packet.pts is not None)
        end = max(times) + last_duration
    with av.open(str(segments[0])) as first:
        video = target.add_stream_from_template(first.streams.video[0])
    sources: list[_Packets] = [_read_segments(segments, video, last_duration)]
    if visible is None:
        _mux(target, sources)
        return
    with av.open(str(visible.path)) as container:
        copies = {stream.index: target.add_stream_from_template(stream) for stream in container.streams.audio}
        for stream in container.streams.audio:
            copies[stream.index].metadata.update(stream.metadata)
        if copies:
            span = (start if is_cut[0] else None, end if is_cut[1] else None)
            sources.append(_read_audio(container, copies, visible.shift, span))
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
    av = import_av()
    for path in segments:
        with av.open(str(path)) as container:
            yield from (packet for packet in container.demux(video=0) if packet.pts is not None)


def _read_audio(
    container: "InputContainer",
    copies: dict[int, Any],
    shift: Fraction,
    span: tuple[Fraction | None, Fraction | None],
) -> _Packets:
    start, end = span
    for packet in container.demux(list(container.streams.audio)):
        if packet.pts is None or packet.dts is None or packet.time_base is None:
            continue
        ticks = round(shift / packet.time_base)
        packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
        time = packet.pts * packet.time_base
        if (start is None or time >= start) and (end is None or time < end):
            yield _label(packet, copies[packet.stream_index])


def _label(packet: Any, target: "Stream") -> tuple[Fraction, Any]:
    time = packet.dts * packet.time_base
    packet.stream = target
    return time, packet
