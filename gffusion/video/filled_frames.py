"""Recognize frames that decoders fill in or skip, without an error, where their data are damaged or cut off."""

import zlib
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))  # bits of a byte in the other order
_FOOTER = 8  # bytes behind a slice of FFV1: 3 of its size, one of its state and 4 of the checksum
_RIGHT = 0xFFFFFFFF  # zlib's checksum of bytes and their checksum, without the first and the last inversion
_SKIPPING = ("h264", "hevc", "mpeg1video", "mpeg2video")  # decoders; others decode such packets, or give an error


def prepare_decoder(codec: "VideoCodecContext") -> dict[str, str]:
    """Let a decoder tell which frames are damaged, and return the options that it needs."""
    if codec.name == "h264":  # one of several threads can return a frame before another one marks it as damaged
        codec.thread_count = 1
    return {"err_detect": "crccheck+explode"} if codec.name == "png" else {}


class FilledFrames:
    """Count frames whose data are damaged, although they were decoded. Not all codecs can tell.

    FFmpeg marks such frames of H.264, MPEG-2, MPEG-4 and ProRes, if the damage cannot be decoded. FFV1 has checksums, which
    FFmpeg only writes to its log; PyAV can wait forever for the log of decoders with several threads.

    Attributes:
        first: Time of the first one.
    """

    def __init__(self) -> None:
        self.first: Fraction | None = None
        self._count, self._wrong = 0, set[int | None]()
        self._has_checksums: bool | None = None  # of FFV1, `None` for other codecs

    @property
    def count(self) -> int:
        """Number of such frames."""
        return 0 if self._has_checksums is False else self._count

    def add_packet(self, packet: "av.Packet[VideoStream]") -> None:
        """Check a packet before it is decoded."""
        if packet.stream.codec_context.name != "ffv1" or not packet.size:
            return
        slices = check_slices(bytes(packet))
        self._has_checksums = bool(self._has_checksums) or any(slices)
        if not all(slices):
            self._wrong.add(packet.dts)

    def add_frame(self, frame: "av.VideoFrame", time: Fraction) -> None:
        """Count a frame if it is damaged."""
        if frame.is_corrupt or frame.dts in self._wrong:
            self._wrong.discard(frame.dts)
            self._count += 1
            self.first = time if self.first is None else self.first


def check_slices(packet: bytes) -> list[bool]:
    """Return whether the checksum of each slice of a packet of FFV1 is right, from the last slice on.

    The first slice that has no plausible size is the last one of the list. If FFV1 was written without checksums, all are wrong.
    """
    found, end = list[bool](), len(packet)
    while end > 0:
        size = _FOOTER + int.from_bytes(packet[end - _FOOTER : end - _FOOTER + 3], "big")
        if end < _FOOTER or size > end:
            return [*found, False]
        found.append(zlib.crc32(packet[end - size : end].translate(_REVERSED), _RIGHT) == _RIGHT)
        end -= size
    return found


class SkippedStart:
    """Count packets before the first key frame that no frame was decoded from, as of recordings that were cut anywhere."""

    def __init__(self) -> None:
        self._stamps = list[int]()
        self._is_over = False

    def add_packet(self, packet: "av.Packet[VideoStream]") -> None:
        """Remember the time of a packet if no key frame came before it."""
        self._is_over |= packet.is_keyframe or packet.stream.codec_context.name not in _SKIPPING
        if not self._is_over and packet.pts is not None and not packet.is_discard:
            self._stamps.append(packet.pts)

    def close(self, first: int | None) -> int:
        """Return how many of these packets are earlier than the first frame, which was just decoded; then 0 for others."""
        count = 0 if first is None else sum(stamp < first for stamp in self._stamps)
        self._stamps, self._is_over = [], True
        return count
