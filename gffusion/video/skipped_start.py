"""Count the frames that decoders skip, without an error, before the first key frame."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream


_SKIPPING = ("h264", "hevc", "mpeg1video", "mpeg2video")  # decoders; others decode such packets, or give an error


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
