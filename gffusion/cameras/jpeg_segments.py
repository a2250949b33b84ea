"""Segments of a JPEG file, in which cameras store radiometric data (ITU-T T.81, annex B)."""

from typing import NamedTuple

_START, _SCAN, _END, _FIRST_RESTART, _LAST_RESTART = 0xD8, 0xDA, 0xD9, 0xD0, 0xD7


class Segment(NamedTuple):
    """Segment of a JPEG file.

    Attributes:
        marker: Second byte of the marker: 0xE1 for APP1, 0xC0 to 0xCF for the start of a frame.
        payload: Content, without marker and length.
    """

    marker: int
    payload: bytes


def read_segments(content: bytes) -> list[Segment]:
    """Return the segments before the image data; an empty list if the content is not a JPEG file.

    Example:
        >>> read_segments(bytes.fromhex("ffd8 ffe1 0004 4142 ffd9"))
        [Segment(marker=225, payload=b'AB')]
    """
    segments, position = [], 2
    while content[:2] == b"\xff\xd8" and content[position : position + 1] == b"\xff":
        marker = content[position + 1 : position + 2]
        if marker == b"\xff":  # fill byte
            position += 1
            continue
        length = int.from_bytes(content[position + 2 : position + 4], "big")
        if not marker or marker[0] in (_SCAN, _END) or length < 2 or position + 2 + length > len(content):
            break
        segments.append(Segment(marker[0], content[position + 4 : position + 2 + length]))
        position += 2 + length
    return segments


def join_payloads(segments: list[Segment], marker: int) -> bytes:
    """Return the payloads of all segments with a marker, in the order of the file."""
    return b"".join(segment.payload for segment in segments if segment.marker == marker)


def read_trailer(content: bytes) -> bytes:
    """Return the bytes after the end of the image, where some cameras append data.

    Example:
        >>> read_trailer(bytes.fromhex("ffd8 ffda 0002 11ff00 22 ffd9") + b"more")
        b'more'
    """
    position = 2
    while content[:2] == b"\xff\xd8" and 0 <= position < len(content) - 1:
        marker = content[position + 1]
        if content[position] != 0xFF or marker in (0x00, 0xFF) or _FIRST_RESTART <= marker <= _LAST_RESTART:
            position = content.find(b"\xff", position + 1)  # image data
        elif marker == _END:
            return content[position + 2 :]
        else:
            position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return b""
