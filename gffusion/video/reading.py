"""Read the frames of a video with their time stamps."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.data.bounds import DEFAULT_MAX_PIXELS, check_pixels, check_regular

from .formats import HD_HEIGHT

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Clocks of broadcast streams start anywhere: players count from the start of the file.
_FREE_CLOCKS = ("mpegts", "mpeg")
# FFmpeg gives the time of their end as their duration.
_END_AS_DURATION = ("matroska,webm", "nut")
_ATTACHED_PICTURE = 1024  # disposition of cover art
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
# Levels by which channels of a gray video can differ after lossy compression, and share of pixels that can differ more.
_GRAY_SPREAD, _COLORED_SHARE = 16, 0.001
_STEP = 4  # rows and columns between pixels that are tested for color


def import_av() -> ModuleType:
    """Return PyAV.

    Raises:
        ImportError: If it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError('videos need PyAV: pip install "gffusion[video]", or pip install av') from error
    return av


class TimedFrame(NamedTuple):
    """Decoded frame with its time and duration in seconds; the duration is 0 if the file has none."""

    frame: "av.VideoFrame"
    time: Fraction
    duration: Fraction


class VideoFile:
    """The first video stream of a file, which can be read several times.

    Args:
        path: The file.
        max_pixels: Largest number of pixels of a frame.

    Attributes:
        path: The file.
        time_base: Unit of its time stamps in seconds.
        rate: Mean number of frames per second.
        start: Time of the first frame.
        seconds: Duration, 0 if the file has none.
        shift: Time that is subtracted from its time stamps.
        damaged: Number of packets and frames that could not be used when the file was last read.
        found: Seconds from the first frame to the end of the last one, 0 unless the file was read to its end.

    Raises:
        ImportError: If PyAV is not installed.
        OSError: If the file cannot be read.
        ValueError: If it has no video, or its frames are too large.
    """

    def __init__(self, path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self.path = path
        self.damaged, self.found = 0, Fraction(0)
        self._max_pixels = max_pixels
        with self._open() as container:
            stream = self._find_stream(container)
            self.time_base = stream.time_base or Fraction(1, 1000)
            self.rate = Fraction(stream.average_rate or stream.guessed_rate or stream.base_rate or 25)
            self.seconds = _measure_seconds(container, stream)
            self.shift = Fraction(0)
            if container.format.name in _FREE_CLOCKS and container.start_time is not None:
                self.shift = Fraction(container.start_time, 1_000_000)
            self.start = max(Fraction(0), (stream.start_time or 0) * self.time_base - self.shift)
            self.sample_aspect_ratio = Fraction(stream.sample_aspect_ratio or 1)
            self.metadata = {key: value for key, value in container.metadata.items() if key not in _TECHNICAL_METADATA}
            codec = stream.codec_context
            if codec is None:
                raise ValueError(f"cannot read the video {path}: its codec is unknown")
            try:
                check_pixels(codec.width, codec.height, max_pixels)
            except ValueError as error:
                raise ValueError(f"cannot read the video {path}: {error}") from error
            self.pixel_format = codec.pix_fmt or ""
            self.bits = max((component.bits for component in codec.format.components), default=8) if codec.format else 8
            self.hdr = _HDR_TRANSFERS.get(int(codec.color_trc or 0))

    @property
    def end(self) -> Fraction:
        """Time of the end of the last frame, 0 if the file has no duration."""
        return self.start + self.seconds if self.seconds else Fraction(0)

    @property
    def is_gray(self) -> bool:
        """Whether the file has one channel."""
        return self.pixel_format.startswith("gray")

    def read(self, start: Fraction | None = None) -> Iterator[TimedFrame]:
        """Yield the frames in order, from the key frame before `start` if it is given. Holds one frame in memory.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If frames have no time stamps.
        """
        self.damaged, self.found = 0, Fraction(0)
        first = last = None
        end = Fraction(0)
        with self._open() as container:
            stream = self._find_stream(container)
            stream.thread_type = "AUTO"
            stream.codec_context.options = {"max_pixels": str(self._max_pixels)}  # for frames that grow
            if start is not None:
                container.seek(max(0, int((start + self.shift) / self.time_base)), stream=stream)
            for frame in self._decode(container, stream):
                if frame.pts is None:
                    raise ValueError(f"{self.path} has frames without time stamps: convert it to .mp4 or .mkv first")
                unit = Fraction(frame.time_base or self.time_base)
                time = frame.pts * unit - self.shift
                if last is not None and time <= last:  # left by damaged packets
                    self.damaged += 1
                    continue
                first, last = time if first is None else first, time
                duration = (frame.duration or 0) * unit
                end = time + duration
                yield TimedFrame(frame, time, duration)
        self.found = Fraction(0) if first is None else end - first

    def _decode(self, container: "InputContainer", stream: "VideoStream") -> "Iterator[av.VideoFrame]":
        av = import_av()
        try:
            for packet in container.demux(stream):
                try:
                    yield from packet.decode()  # type: ignore[misc]
                except (av.error.InvalidDataError, av.error.ArgumentError):
                    self.damaged += 1
        except av.error.FFmpegError as error:
            raise OSError(f"cannot read the video {self.path}: {error.strerror}") from error

    def _open(self) -> "InputContainer":
        av = import_av()
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path} does not exist")
        check_regular(self.path)
        try:
            return av.open(str(self.path))
        except av.error.FFmpegError as error:
            raise OSError(f"cannot read the video {self.path}: {error.strerror}") from error

    def _find_stream(self, container: "InputContainer") -> "VideoStream":
        if container.format.name.endswith("_pipe") or container.format.name in ("image2", "gif", "apng"):
            raise ValueError(f"{self.path} is a still image or an animation, not a video: name it by its format")
        streams = [stream for stream in container.streams.video if not int(stream.disposition) & _ATTACHED_PICTURE]
        if not streams:
            raise ValueError(f"{self.path} has no video stream")
        return streams[0]


_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_TECHNICAL_METADATA = ("major_brand", "minor_version", "compatible_brands", "encoder", "rotate")


def _measure_seconds(container: "InputContainer", stream: "VideoStream") -> Fraction:
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    seconds = Fraction(container.duration or 0, 1_000_000)
    if container.format.name in _END_AS_DURATION:
        seconds -= Fraction(container.start_time or 0, 1_000_000)
    return max(Fraction(0), seconds)


def to_visible(frame: "av.VideoFrame") -> NDArray[np.uint8]:
    """Return an upright visible image with 8 bits: (H, W) of a gray video, else (H, W, 3).

    Colors of a video that does not name their matrix are those of BT.709 from 720 rows on, and of BT.601 below.
    """
    gray = frame.format.name.startswith("gray")
    return _turn(frame.to_ndarray(format="gray") if gray else _to_rgb(frame), frame)


def to_infrared(frame: "av.VideoFrame") -> NDArray[Any]:
    """Return an upright infrared image: (H, W), or (H, W, 3) if it has colors.

    Gray formats of more than 8 bits keep their counts, uint16. Chroma that only compression left is dropped.
    """
    if frame.format.name.startswith("gray"):
        return _turn(frame.to_ndarray(), frame)
    colors = _to_rgb(frame)
    tested = colors[::_STEP, ::_STEP]
    spread = tested.max(axis=-1).astype(int) - tested.min(axis=-1)
    return _turn(colors if np.mean(spread > _GRAY_SPREAD) > _COLORED_SHARE else frame.to_ndarray(format="gray"), frame)


def _to_rgb(frame: "av.VideoFrame") -> NDArray[np.uint8]:
    is_hd = frame.colorspace == _UNSPECIFIED and not frame.format.is_rgb and frame.height >= HD_HEIGHT
    return frame.to_ndarray(format="rgb24", src_colorspace="ITU709" if is_hd else None)  # type: ignore[return-value]


def _turn(array: NDArray[Any], frame: "av.VideoFrame") -> NDArray[Any]:
    """Turn an image as the display matrix of its frame says; phones write portrait videos so."""
    if frame.rotation % 90:
        raise ValueError(
            f"the display matrix turns the video by {frame.rotation} degrees: only multiples of 90 are read"
        )
    return np.ascontiguousarray(np.rot90(array, frame.rotation // 90))


def choose_times(first: Fraction, last: Fraction, count: int) -> list[Fraction]:
    """Return evenly spaced times in the middle of equal parts of a period.

    Example:
        >>> [float(time) for time in choose_times(Fraction(0), Fraction(4), 2)]
        [1.0, 3.0]
    """
    return [first + (last - first) * Fraction(2 * index + 1, 2 * count) for index in range(count)]
