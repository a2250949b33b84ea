"""Join encoded segments and copied audio into one file."""

import heapq
from collections.abc import Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gffusion.utils.atomic import prevents_writing, replacing

from .audio import AudioCopy, add_audio, read_stamped
from .formats import OUTPUT_FORMATS, OutputFormat
from .opening import import_av, open_media
from .reading import VideoFile
from .segments import explain_write_error
from .timing import to_fraction

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.stream import Stream

_Packets = Iterator[tuple[Fraction, Any]]


def check_audio(visible: VideoFile, path: Path, output: OutputFormat) -> None:
    """Raise ValueError, before anything is fused, if a container cannot hold the audio of the visible video."""
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
    for index in range(_count_audio(path)):
        with open_media(path) as container:
            stream = container.streams.audio[index]
            try:
                with av.open(BytesIO(), "w", format=container_format) as trial:
                    target = add_audio(trial, stream)
                    trial.start_encoding()
                    for packet in islice(read_stamped(container, [stream]), 1):
                        packet.stream = target
                        trial.mux(packet)
            except (av.error.FFmpegError, ValueError):
                return stream.codec_context.name if stream.codec_context else "unknown"
    return None


def _count_audio(path: Path) -> int:
    with open_media(path) as container:
        return len(container.streams.audio)


def join_segments(
    path: Path,
    output: OutputFormat,
    segments: Sequence[Path],
    last_duration: Fraction,
    visible: VideoFile | None,
    metadata: dict[str, str] | None,
    is_cut: tuple[bool, bool],
) -> list[str]:
    """Write a video from segments without encoding again, with the audio of the visible video.

    An old file is replaced only after the new one is complete. The segments are in order, and `last_duration` is that of the last
    frame in seconds. The audio is cut at the start and at the end if visible frames were left out there (`is_cut`).
    Returns notes on audio that was left out.

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
            return _copy(target, segments, last_duration, visible, is_cut)
    except av.error.FFmpegError as error:
        failure = explain_write_error(error, path)
        if visible is None or prevents_writing(failure) or not _count_audio(visible.path):
            raise failure from error
        raise OSError(
            f"{failure}. If this is due to the audio of {visible.path}, which is copied, leave it out with keep_audio=False "
            "(--no-audio)"
        ) from error


def _copy(
    target: "OutputContainer",
    segments: Sequence[Path],
    last_duration: Fraction,
    visible: VideoFile | None,
    is_cut: tuple[bool, bool],
) -> list[str]:
    with open_media(segments[0]) as first:
        start = next(packet.pts * packet.time_base for packet in first.demux(video=0) if packet.pts is not None)
        video = target.add_stream_from_template(first.streams.video[0])
    with open_media(segments[-1]) as last:
        times = (packet.pts * packet.time_base for packet in last.demux(video=0) if packet.pts is not None)
        end = max(times) + last_duration
    frames = _read_segments(segments, video, last_duration)
    if visible is None:
        _mux(target, frames)
        return []
    with open_media(visible.path) as container:
        audio = AudioCopy(container, target, visible)
        target.start_encoding()
        _mux(target, frames, audio.read(start if is_cut[0] else None, end if is_cut[1] else None))
    return audio.describe_lost()


def _mux(target: "OutputContainer", *sources: _Packets) -> None:
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


def _label(packet: Any, target: "Stream") -> tuple[Fraction, Any]:
    time = packet.dts * packet.time_base
    packet.stream = target
    return time, packet
