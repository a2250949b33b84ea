"""Encode PNG files (PNG specification, third edition, sections 5, 9 and 11)."""

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from gffusion.cameras.png_chunks import PNG_SIGNATURE

from .metadata import XMP_KEYWORD

_GRAY, _COLOR = 0, 2  # color types
_UP = 2  # filter: a row is stored as its difference from the row above
_BLOCK = 1 << 18  # bytes of rows that are filtered at once, in the cache
_MAX_CHUNK = 1 << 20  # bytes; some versions of libpng warn about longer ones


def encode_png(
    image: NDArray[Any],
    exif: bytes | None = None,
    xmp: bytes | None = None,
    icc: bytes | None = None,
    color_chunks: Sequence[tuple[bytes, bytes]] = (),
) -> bytes:
    """Encode an image and its metadata, several times as fast as libpng.

    Files of most photographs are somewhat larger than those of libpng (`benchmarks/png.py`), and of smooth images smaller.
    Other threads run meanwhile.

    Args:
        image: (H, W) or (H, W, 3), uint8 or uint16, not empty.
        exif: EXIF without its header.
        xmp: XMP as UTF-8.
        icc: Color profile.
        color_chunks: Types and data of chunks that say what the colors mean, such as `gAMA`.

    Examples:
        >>> encode_png(np.zeros((2, 3), np.uint8)).startswith(PNG_SIGNATURE)
        True
    """
    height, width = image.shape[:2]
    color = _COLOR if image.ndim == 3 else _GRAY
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * image.itemsize, color, 0, 0, 0))]
    chunks += color_chunks
    chunks += [(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc, 9))] if icc is not None else []
    chunks += [(b"eXIf", exif)] if exif is not None else []
    chunks += [(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp)] if xmp is not None else []
    stream = isal_zlib.compressobj(1)
    pixels = b"".join([*(stream.compress(rows) for rows in _filter_rows(image)), stream.flush()])
    chunks += [(b"IDAT", pixels[start : start + _MAX_CHUNK]) for start in range(0, len(pixels), _MAX_CHUNK)]
    parts = [PNG_SIGNATURE]
    for kind, data in [*chunks, (b"IEND", b"")]:
        checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)]
    return b"".join(parts)


def _filter_rows(image: NDArray[Any]) -> Iterator[NDArray[np.uint8]]:
    """Yield blocks of filtered rows, (rows, 1 + bytes of a row)."""
    rows = image.reshape(len(image), -1)
    count = max(1, _BLOCK // (rows.shape[1] * rows.itemsize))
    above: Any = 0
    for top in range(0, len(rows), count):
        block = rows[top : top + count]
        stored = np.ascontiguousarray(block, block.dtype.newbyteorder(">")).view(np.uint8)
        filtered = np.full((len(stored), 1 + stored.shape[1]), _UP, np.uint8)
        filtered[0, 1:] = stored[0] - above
        np.subtract(stored[1:], stored[:-1], out=filtered[1:, 1:])
        above = stored[-1]
        yield filtered
