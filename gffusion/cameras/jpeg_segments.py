"""Segments of a JPEG file, in which cameras store radiometric data (ITU-T T.81, annex B)."""

import re
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import NamedTuple

SCAN, END = 0xDA, 0xD9
_MAX_SEGMENTS = 1 << 16  # those of thermal cameras have some hundred
# A marker with a payload; FF 00 is a byte of image data, FF 01 has no meaning, and FF D0 to FF D7 restart the decoder.
_MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")


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

    Raises:
        ValueError: If there are implausibly many.

    Examples:
        >>> read_segments(bytes.fromhex("ffd8 ffe1 0004 4142 ffd9"))
        [Segment(marker=225, payload=b'AB')]
    """
    found = takewhile(lambda segment: segment.marker not in (SCAN, END), iterate_segments(content))
    segments = list(islice(found, _MAX_SEGMENTS + 1))
    if len(segments) > _MAX_SEGMENTS:
        raise ValueError(f"it has more than {_MAX_SEGMENTS} segments")
    return segments


def iterate_segments(content: bytes) -> Iterator[Segment]:
    """Yield the complete segments of the first image of a JPEG file, also between scans; the payload of `END` is all that follows."""
    position = 2
    while content[:2] == b"\xff\xd8" and (found := _MARKER.search(content, position)) is not None:
        marker, position = found[0][1], found.end()
        if marker == END:
            yield Segment(END, content[position:])
            return
        length = int.from_bytes(content[position : position + 2], "big")
        if position + length > len(content):
            return
        yield Segment(marker, content[position + 2 : position + length])
        position += max(length, 2)


def read_trailer(content: bytes) -> bytes:
    """Return the bytes after the end of the image, where some cameras append data.

    Examples:
        >>> read_trailer(bytes.fromhex("ffd8 ffda 0002 11ff00 22 ffd9") + b"more")
        b'more'
    """
    return next((segment.payload for segment in iterate_segments(content) if segment.marker == END), b"")
