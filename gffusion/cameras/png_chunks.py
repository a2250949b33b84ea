"""Chunks of a PNG file, in which FLIR stores counts (PNG specification, section 5)."""

import struct
from collections.abc import Iterator

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def iterate_png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the types and the data of the chunks of a PNG file; those of the last one can end early."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        yield kind, content[position + 8 : position + 8 + length]
        position += 12 + length


def strip_png(content: bytes) -> bytes:
    """Return a complete PNG file without metadata, which libpng would inflate and print warnings about."""
    parts, position = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    for kind, data in iterate_png_chunks(content):
        if kind in (b"IHDR", b"PLTE", b"IDAT", b"tRNS", b"IEND"):
            parts.append(content[position : position + 12 + len(data)])
        position += 12 + len(data)
    return b"".join(parts)
