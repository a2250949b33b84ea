"""Read the frames of a video with their time stamps."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.data.bounds import DEFAULT_MAX_PIXELS, check_pixels
from gffusion.utils.regular_files import check_regular

from .filled_frames import FilledFrames, SkippedStart, prepare_decoder
from .formats import EXACT_COLORS, HD_HEIGHT, refuse_flir
from .opening import find_playlist, import_av, lacks_index, open_media, read_metadata, read_packets
from .time_stamps import TimedFrame, TimeStamps
from .timing import SPARE_FRAMES, WITHOUT_PTS, find_rate, find_spare, measure_seconds, to_fraction

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Clocks of broadcast streams start anywhere: players count from the start of the file.
_FREE_CLOCKS = ("mpegts", "mpeg")
_DEEP_REORDERING = ("h264", "hevc")  # decoders of other codecs hold back one frame, if any
_DEFAULT, _ATTACHED_PICTURE = 1, 1024  # dispositions; the second one is of cover art
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
# Levels by which channels of a gray video can differ after lossy compression, and share of pixels that can differ more.
_GRAY_SPREAD, _COLORED_SHARE = 16, 0.001
_STEP = 4  # rows and columns between pixels that are tested for color
_BACK = Fraction(1, 10)  # seconds; smaller steps back are those of damaged packets


class VideoFile:
    """A video stream of a file, the default one or else the first, whose frames have at most `max_pixels`. It can be read several times.

    Attributes:
        time_base: Unit of its time stamps in seconds.
        rate: Mean number of frames per second; by the median step of the first time stamps if the file names none or one that is
            much too high, and of AVI files.
        start: Time of the first frame.
        seconds: Duration, 0 if the file has none.
        shift: Time that is subtracted from its time stamps.
        damaged: Number of packets and frames that could not be decoded when the file was last read.
        stamps: Times of the frames then, and those that were left out because of their time stamps.
        filled: Frames that were used then, although their data are damaged.
        found: Seconds from `start` to the end of the last frame, 0 unless the file was read to its end.
        spare: Seconds by which the duration of a complete file can exceed `found`; `None` if it may be that of the sound.
        notes: Note on other streams.
        on_read: Called for every packet that is read; errors that it raises end the reading.

    Raises:
        ImportError: If PyAV is not installed.
        OSError: If the file cannot be read.
        ValueError: If it has no video, or its frames are too large.
    """

    errors: ClassVar[Sequence[str]] = ()  # which folders of frames have

    def __init__(self, path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self.path = path
        self.on_read: Callable[[], None] | None = None
        self.damaged, self.filled, self.found = 0, FilledFrames(), Fraction(0)
        self._max_pixels = max_pixels
        self._delay: int | None = None
        with self._open() as container:
            stream = self._find_stream(container)
            self.notes = self._describe_streams(container, stream)
            self._has_no_pts = container.format.name in WITHOUT_PTS
            self.time_base = to_fraction(stream.time_base, Fraction(1, 1000))
            self.rate = find_rate(container, stream)
            self.stamps = TimeStamps(1 / self.rate)
            self.seconds = measure_seconds(container, stream)
            self.spare = find_spare(container, stream, self.rate)
            self.shift = Fraction(0)
            self._has_free_clock = container.format.name in _FREE_CLOCKS
            self._starts_anew: bool | None = None if self._has_free_clock else False
            if self._has_free_clock and container.start_time is not None:
                self.shift = Fraction(container.start_time, 1_000_000)
            self.start = max(Fraction(0), (stream.start_time or 0) * self.time_base - self.shift)
            self.sample_aspect_ratio = to_fraction(stream.sample_aspect_ratio, 1)
            self.metadata = {
                key: value for key, value in read_metadata(container).items() if key not in _TECHNICAL_METADATA
            }
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

    @property
    def largest_count(self) -> int | None:
        """The largest count of infrared frames of 9 to 15 bits, which are read as uint16; `None` for others."""
        return 2**self.bits - 1 if self.is_gray and 8 < self.bits < 16 else None

    def identify(self) -> tuple[Any, ...]:
        """Return what the frames and their times depend on."""
        state = self.path.stat()
        return str(self.path.resolve()), state.st_size, state.st_mtime_ns

    def read(self, start: Fraction | None = None) -> Iterator[TimedFrame]:
        """Yield the frames in order, from a key frame before `start` if it is given. Holds one frame in memory.

        With `start`, reading ends where too many time stamps in a row do not increase. A file whose clock starts anew is read
        from its start, because no time can be found in it.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If frames have no time stamps.
        """
        if start is not None and self._find_restart():
            start = None
        earlier, step = start, 1
        while earlier is not None and start is not None and earlier > self.start:
            frames = self._read(earlier)
            first = next(frames, None)
            if first is not None and first.time <= start:
                yield first
                yield from frames
                return
            earlier, step = start - step, 4 * step  # files without an index: the next key frame was found
        yield from self._read(None)

    def _read(self, start: Fraction | None) -> Iterator[TimedFrame]:
        if start is not None and self._has_no_pts and self._delay is None:
            next(self._read(None), None)
        self.damaged, self.filled, self.found = 0, FilledFrames(), Fraction(0)
        self.stamps = stamps = TimeStamps(1 / self.rate)
        with self._open() as container:
            stream = self._find_stream(container)
            # With "SLICE", errors are of the packet that is sent.
            stream.thread_type = "SLICE" if self._has_no_pts else "AUTO"
            options = prepare_decoder(stream.codec_context)
            stream.codec_context.options = options | {"max_pixels": str(self._max_pixels)}  # for frames that grow
            if start is not None and not self._seek(container, stream, start):
                return
            for frame in self._decode(container, stream):
                unit = to_fraction(frame.time_base, self.time_base)
                stamp = frame.dts if frame.pts is None and stamps.last is None else frame.pts
                if stamp is not None:
                    time = stamp * unit - self.shift
                elif stamps.last is not None:
                    time = stamps.next
                else:
                    raise ValueError(
                        f"{self.path} has frames without time stamps, as a raw stream of a codec has: give it a frame rate "
                        f"(ffmpeg -r RATE -i {self.path.name} -c:v ffv1 timed.mkv)"
                    )
                duration = Fraction(0) if self._has_no_pts else (frame.duration or 0) * unit
                for item in stamps.add(TimedFrame(frame, time, duration)):
                    self.filled.add_frame(item.frame, item.time)
                    yield item
                if stamps.stands_still:
                    if start is not None:  # how many frames lie before is unknown
                        return
                    raise ValueError(self._describe_repeats())
        self.found = max(Fraction(0), stamps.end - self.start)
        if self.spare is not None and not stamps.duration:  # the last frames may last as long as any other one
            self.spare = max(self.spare, SPARE_FRAMES * stamps.longest)

    def _find_restart(self) -> bool:
        """Return whether the clock starts anew, as in files that `cat` joined; only some formats can be joined so."""
        if self._starts_anew is None:
            self._starts_anew, last = False, None
            with self._open() as container, suppress(import_av().error.FFmpegError):  # reported when the file is read
                for packet in read_packets(container, self._find_stream(container)):
                    if self.on_read is not None:
                        self.on_read()
                    if last is not None and packet.dts is not None and packet.dts < last - _BACK / self.time_base:
                        self._starts_anew = True
                        break
                    last = packet.dts if packet.dts is not None else last
        return self._starts_anew

    def _seek(self, container: "InputContainer", stream: "VideoStream", start: Fraction) -> bool:
        """Return whether a key frame before `start` is read next; some formats cannot tell where one is."""
        try:
            container.seek(max(0, int((start + self.shift) / self.time_base)), stream=stream)
        except (import_av().error.FFmpegError, OverflowError):
            return False
        return True

    def _describe_repeats(self) -> str:
        return (
            f"{self.path} has more than {self.stamps.repeats - 1} frames in a row after {float(self.stamps.last or 0):.3f} s whose time "
            f"stamps do not increase: give it a frame rate (ffmpeg -r RATE -i {self.path.name} -c:v ffv1 timed.mkv)"
        )

    def _decode(self, container: "InputContainer", stream: "VideoStream") -> "Iterator[av.VideoFrame]":
        """Yield the frames, with `pts` from their order where the file stores only the order of decoding."""
        av = import_av()
        first, is_lost, skipped = None, False, SkippedStart()
        try:
            for packet in read_packets(container, stream):
                if self.on_read is not None:
                    self.on_read()
                if first is None or (is_lost and packet.is_keyframe):
                    first, is_lost = packet.dts, not packet.is_keyframe
                self.filled.add_packet(packet)
                skipped.add_packet(packet)
                try:
                    for frame in packet.decode():
                        self.damaged = max(self.damaged, skipped.close(frame.pts))
                        if self._has_no_pts:
                            frame.pts = self._find_pts(frame.dts, first, stream)
                        yield frame  # type: ignore[misc]
                except av.error.EOFError:  # all frames were fetched, see `read_packets`
                    return
                except (av.error.InvalidDataError, av.error.ArgumentError):
                    self.damaged += 1
                    first, is_lost = None if first is None else first + 1, True
                    if not stream.codec_context.is_open:  # no packet can be decoded, and PyAV 19 would crash
                        return
        except av.error.FFmpegError as error:
            raise OSError(f"cannot read the video {self.path}: {error.strerror}") from error

    def _find_pts(self, dts: int | None, first: int | None, stream: "VideoStream") -> int | None:
        """Return when a frame is shown: decoders hold frames back, always by the same time, until their order is known.

        `first` is the packet of the first frame that could be decoded, a key frame if there is one.
        """
        if dts is None or first is None:
            return None
        if self._delay is None:
            codec = stream.codec_context
            is_deep = codec.has_b_frames and codec.name in _DEEP_REORDERING
            step = round(1 / (self.rate * self.time_base))
            self._delay = dts - first if is_deep else step * int(codec.has_b_frames)
        return dts - self._delay

    def _open(self) -> "InputContainer":
        av = import_av()
        if not self.path.exists():
            raise FileNotFoundError(f"{self.path} does not exist")
        refuse_flir(self.path)
        if check_regular(self.path).st_size == 0:
            raise OSError(f"cannot read the video {self.path}: the file is empty (0 bytes)")
        try:
            return open_media(self.path)
        except av.error.FFmpegError as error:
            if playlist := find_playlist(self.path):
                raise ValueError(
                    f"{self.path} is a playlist ({playlist}), not a video: give the video that it names; of several or a stream, "
                    f"make one (ffmpeg -i {self.path.name} -c copy joined.mkv)"
                ) from error
            reason = _CUT_OFF if lacks_index(self.path) else error.strerror
            raise OSError(f"cannot read the video {self.path}: {reason}") from error

    def _find_stream(self, container: "InputContainer") -> "VideoStream":
        if container.format.name.endswith("_pipe") or container.format.name in ("image2", "gif", "apng"):
            raise ValueError(f"{self.path} is a still image or an animation, not a video: name it by its format")
        streams = _list_streams(container)
        if not streams:
            raise ValueError(f"{self.path} has no video stream")
        # Cover art is not always marked as such.
        moving = [stream for stream in streams if stream.frames != 1] or streams
        return next((stream for stream in moving if int(stream.disposition) & _DEFAULT), moving[0])

    def _describe_streams(self, container: "InputContainer", stream: "VideoStream") -> list[str]:
        streams = _list_streams(container)
        others = [str(other.index) for other in streams if other.index != stream.index]
        if not others:
            return []
        return [
            f"{self.path} has {len(streams)} video streams, of which stream {stream.index} is read: copy another one to a file of its "
            f"own if it is meant (ffmpeg -i {self.path.name} -map 0:{others[0]} -c copy other{self.path.suffix})"
        ]


_CUT_OFF = (
    "the recording was cut off, before the index (moov) was written at its end: copy the file again if it is larger at its source; else, "
    "tools such as untrunc can restore it with another recording of the camera"
)
_SKEW = 3e-4  # squared tangent of the largest angle that is ignored, one degree
_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_TECHNICAL_METADATA = ("major_brand", "minor_version", "compatible_brands", "encoder", "rotate")


def _list_streams(container: "InputContainer") -> "list[VideoStream]":
    return [stream for stream in container.streams.video if not int(stream.disposition) & _ATTACHED_PICTURE]


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
    tested = _to_rgb(frame, interpolation=None)[::_STEP, ::_STEP]  # ten times as fast
    spread = tested.max(axis=-1).astype(int) - tested.min(axis=-1)
    is_colored = np.mean(spread > _GRAY_SPREAD) > _COLORED_SHARE
    return _turn(_to_rgb(frame) if is_colored else frame.to_ndarray(format="gray"), frame)


def _to_rgb(frame: "av.VideoFrame", interpolation: int | None = EXACT_COLORS) -> NDArray[np.uint8]:
    is_hd = frame.colorspace == _UNSPECIFIED and not frame.format.is_rgb and frame.height >= HD_HEIGHT
    matrix = "ITU709" if is_hd else None
    return frame.to_ndarray(format="rgb24", src_colorspace=matrix, interpolation=interpolation)  # type: ignore[return-value]


def _turn(array: NDArray[Any], frame: "av.VideoFrame") -> NDArray[Any]:
    """Turn and mirror an image as the display matrix of its frame says; phones write portrait videos so."""
    turn = _read_turn(frame)
    array = array.swapaxes(0, 1) if turn.is_quarter else array
    return np.ascontiguousarray(array[:: turn.down, :: turn.right])


class _Turn(NamedTuple):
    """Whether rows become columns, and then the directions, 1 or -1, in which columns and rows are shown."""

    is_quarter: bool = False
    right: int = 1
    down: int = 1


def find_aspect(sample_aspect_ratio: Fraction, frame: "av.VideoFrame") -> Fraction:
    """Return the width of a pixel of an upright image divided by its height; raise ValueError if the frame is oblique."""
    return 1 / sample_aspect_ratio if _read_turn(frame).is_quarter else sample_aspect_ratio


def _read_turn(frame: "av.VideoFrame") -> _Turn:
    right, down = _read_axes(frame)
    straight, across = abs(right[0] * down[1]), abs(right[1] * down[0])
    if min(straight, across) > _SKEW * max(straight, across) or max(straight, across) == 0:
        raise ValueError(
            f"the display matrix turns the video by {frame.rotation} degrees: only multiples of 90 are read"
        )
    if across > straight:
        return _Turn(True, int(np.sign(down[0])), int(np.sign(right[1])))
    return _Turn(False, int(np.sign(right[0])), int(np.sign(down[1])))


def _read_axes(frame: "av.VideoFrame") -> NDArray[np.float64]:
    """Return where the axes of the rows and of the columns point to, each as (right, down)."""
    import av
    from av.sidedata.sidedata import SideDataContainer

    if not isinstance(frame, av.VideoFrame):  # a `StoredFrame`, which is upright
        return np.eye(2)
    make_container: Any = SideDataContainer  # has no types for its argument
    try:
        # `frame.side_data` keeps the frame alive until the garbage collector runs: both would refer to each other.
        matrix = make_container(frame).get("DISPLAYMATRIX")
    except ValueError:
        # PyAV reads no matrix beside data that it does not know, such as EXIF, and no angle says "mirrored".
        angle = np.deg2rad(frame.rotation)
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (
        np.eye(2) if matrix is None else np.frombuffer(bytes(matrix), np.int32)[:6].reshape(2, 3)[:, :2].astype(float)
    )
