"""Find image files that end early or are damaged, and that decoders would fill in silently."""

import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple

from gffusion.cameras.jpeg_segments import END, SCAN, iterate_segments
from gffusion.cameras.png_chunks import PNG_SIGNATURE, iterate_png_chunks

_MAX_PARTS = 1 << 16  # of a PNG file; those of cameras have a few thousand
_MAX_SCANS = 100  # of a JPEG file, each of which takes the time of a whole image; progressive ones have about ten
_MAX_STRIP_SCANS = 1 << 16  # of all strips or tiles of a TIFF file
MAX_INFLATED = 1 << 24
"""Largest size of a compressed part with metadata of a PNG file."""
_MAX_RATIO = 8  # of the decompressed size of all these parts to the size of the file; one part is allowed in any file
_INFLATED_PIECE = 1 << 16
_COMPRESSED = (b"iCCP", b"zTXt", b"iTXt")
_FRAMES = {0xC0: False, 0xC1: False, 0xC2: True, 0xC9: False, 0xCA: True}  # marker -> whether it is progressive
# What TurboJPEG cannot decode, but other decoders can. After all other messages of libjpeg, some invent the rest of the image.
_JPEG_UNSUPPORTED = (
    "Unsupported color",
    "Unsupported subsampling",
    "Unsupported JPEG data precision",
    "Unsupported JPEG process: SOF type 0xc3",  # lossless
    "Could not determine",
    "Requested feature",
    "Sorry",
)
_UNCOMPRESSED, _JPEG_IN_TIFF = 1, 7
_LEFT_OUT = (0, 0)  # offset and size of a strip or tile without values
# Texts of a PNG file in which Pillow looks for the orientation.
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_ORIENTATION_KEYWORDS = (b"Raw profile type exif\0", b"Raw profile type APP1\0", b"XML:com.adobe.xmp\0")
_KEYWORD_LENGTH = 80


class IncompleteError(ValueError):
    """The image data end early; what there is can be decoded."""


def check_png_parts(file: IO[bytes], is_header: bool = False) -> None:
    """Raise ValueError if a PNG file, or with `is_header` what is before its pixels, has too many parts or too large metadata."""
    allowed = max(MAX_INFLATED, _MAX_RATIO * file.seek(0, os.SEEK_END))
    inflated = 0
    for kind, size in _iterate_parts(file):
        if is_header and kind == b"IDAT":
            return
        found = _measure_inflated(kind, file.read(min(size, MAX_INFLATED)) if kind in _COMPRESSED else b"")
        inflated += found
        if found > MAX_INFLATED or inflated > allowed:
            raise ValueError(
                f"its compressed metadata, such as color profiles, have more than {MAX_INFLATED} bytes in one part, or "
                f"{allowed} in all: save the image again without metadata, as image editors can"
            )


def _iterate_parts(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield the kinds of the parts of a PNG file, and the sizes of their data, at which the file then stands."""
    position = len(PNG_SIGNATURE)
    for _ in range(_MAX_PARTS + 1):
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        size = int.from_bytes(head[:4], "big")
        yield head[4:], size
        position += 12 + size  # with the checksum
    raise ValueError(f"it has more than {_MAX_PARTS} parts")


def _measure_inflated(kind: bytes, data: bytes) -> int:
    """Return the decompressed size of a part with metadata, up to a little more than is allowed."""
    rest = data.partition(b"\0")[2]  # after the name
    text = rest[1:]  # after the method
    if kind == b"iTXt":  # after a flag, the method, a language and a translated name
        text = rest[2:].split(b"\0", 2)[-1] if rest[:1] == b"\1" else b""
    decoder, found = zlib.decompressobj(), 0
    try:
        while text and found <= MAX_INFLATED:
            found += len(decoder.decompress(text, _INFLATED_PIECE))
            text = decoder.unconsumed_tail
    except zlib.error:
        found += _INFLATED_PIECE
    return found


def check_png(content: bytes) -> None:
    """Check the checksums of a PNG file, and that it has an end.

    Raises:
        IncompleteError: If the file ends early.
        ValueError: If a checksum is wrong.
    """
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 8 + length
        if end + 4 > len(content):
            break
        if zlib.crc32(memoryview(content)[position + 4 : end]) != struct.unpack_from(">I", content, end)[0]:
            raise ValueError(f"the checksum of its part {kind.decode('latin-1')!r} is wrong: the file is damaged")
        if kind == b"IEND":
            return
        position = end + 4
    raise IncompleteError("its last part (IEND) is missing")


def check_png_data(content: bytes, size: tuple[int, int]) -> None:
    """Check that the compressed data of a complete PNG file hold all rows of an image of this width and height.

    Raises:
        IncompleteError: If rows are missing.
        ValueError: If the data are damaged.
    """
    expected, decoder, found = _count_png_bytes(content, *size), zlib.decompressobj(), 0
    try:
        for kind, part in iterate_png_chunks(content):
            while kind == b"IDAT" and part and found < expected:
                found += len(decoder.decompress(part, 1 << 20))
                part = decoder.unconsumed_tail
    except zlib.error as error:
        raise ValueError(f"its compressed data are damaged: {error}") from error
    if found < expected:
        raise IncompleteError(f"its compressed data end after {found} of {expected} bytes")


def _count_png_bytes(content: bytes, width: int, height: int) -> int:
    """Return the bytes of all rows of a PNG image, with those of their filters (PNG specification, section 8).

    Examples:
        >>> _count_png_bytes(bytes([*range(24), 8, 0, 0, 0, 0]), 5, 2), _count_png_bytes(bytes([*range(24), 8, 0, 0, 0, 1]), 8, 8)
        (12, 79)
    """
    bits = content[24] * {2: 3, 4: 2, 6: 4}.get(content[25], 1)  # of a pixel, by the type of its colors
    # Offsets and steps of the columns and rows of the seven passes of Adam7.
    adam7 = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
    sizes = [(len(range(x, width, dx)), len(range(y, height, dy))) for x, dx, y, dy in adam7]
    passes = sizes if content[28] else [(width, height)]
    return sum(rows * (1 + math.ceil(columns * bits / 8)) for columns, rows in passes if columns)


def read_late_orientation(file: IO[bytes]) -> bytes:
    """Return the parts of a PNG file after its pixels that can hold its orientation; reads only the beginning of the others.

    Raises:
        ValueError: If the file has too many parts, or those with the orientation are too large.
    """
    found: list[bytes] = []
    has_pixels, total = False, 0
    for kind, size in _iterate_parts(file):
        has_pixels = has_pixels or kind == b"IDAT"
        keyword = file.read(min(size, _KEYWORD_LENGTH)) if has_pixels and kind in _TEXTS else b""
        if has_pixels and (kind == b"eXIf" or keyword.startswith(_ORIENTATION_KEYWORDS)):
            total += size
            if total > MAX_INFLATED:
                raise ValueError(f"its metadata have more than {MAX_INFLATED} bytes: remove them")
            found.append(struct.pack(">I4s", size, kind) + keyword + file.read(size + 4 - len(keyword)))
    return b"".join(found)


def check_jpeg(content: bytes, size: tuple[int, int] = (0, 0), largest: tuple[int, int] = (1 << 16, 1 << 16)) -> int:
    """Check that the image data of a JPEG file are complete, and that libjpeg decodes them without a warning; return its scans.

    Its height and width must be at least `size` and at most `largest`.

    Raises:
        IncompleteError: If data or scans are missing.
        ValueError: If they are damaged, larger, or have very many scans.
    """
    import simplejpeg  # here to save start-up time

    if not content.startswith(b"\xff\xd8"):
        raise ValueError("its image data are damaged: they are no JPEG")
    is_complete, scans = _check_scans(content)
    try:
        height, width, colors, *_ = simplejpeg.decode_jpeg_header(content)
        is_larger = height > largest[0] or width > largest[1]
        if not is_larger:  # decoding to an eighth of the size takes half of the time of Pillow
            simplejpeg.decode_jpeg(content, "CMYK" if colors in ("CMYK", "YCCK") else "GRAY", min_factor=8)
    except ValueError as error:
        message = str(error)
        if "remature end" in message:
            raise IncompleteError("its image data end early") from error
        if not message.startswith(_JPEG_UNSUPPORTED):
            raise ValueError(f"its image data are damaged: {message}") from error
        (height, width), is_larger = size, False
    if is_larger:
        raise ValueError(
            f"a part of it holds {width} x {height} pixels, but can have {largest[1]} x {largest[0]} (width x height): if the "
            "file can be trusted, save the image again as PNG"
        )
    if height < size[0] or width < size[1]:
        raise IncompleteError(f"it holds {width} x {height} of {size[1]} x {size[0]} pixels (width x height)")
    if not is_complete:
        raise IncompleteError("scans of the progressive JPEG are missing")
    return scans


def has_jpeg_end(content: bytes) -> bool:
    """Return whether the last scan of a JPEG file has an end. Data that follow the image can hide it."""
    return content.rfind(b"\xff" + bytes([END])) > content.rfind(b"\xff" + bytes([SCAN]))


def _check_scans(content: bytes) -> tuple[bool, int]:
    """Return whether the scans of a JPEG file have all bits of all coefficients (ITU-T T.81, annex G), and their number."""
    missing: dict[int, set[int]] = {}  # component -> coefficients of which bits are missing
    is_progressive, scans = False, 0
    for marker, payload in iterate_segments(content):
        scans += marker == SCAN
        if scans > _MAX_SCANS:
            raise ValueError(f"it has more than {_MAX_SCANS} scans: if it can be trusted, save it again as JPEG or PNG")
        if marker in _FRAMES and len(payload) >= 6 and not missing:
            is_progressive = _FRAMES[marker]
            missing = {payload[6 + 3 * index]: set(range(64)) for index in range((len(payload) - 6) // 3)}
        elif marker == SCAN and payload and len(payload) >= 4 + 2 * payload[0]:
            start, end, bits = payload[-3:]
            for component in payload[1 : 1 + 2 * payload[0] : 2]:
                if not is_progressive or bits & 15 == 0:
                    missing.get(component, set()).difference_update(
                        range(start, end + 1) if is_progressive else range(64)
                    )
    return not any(missing.values()), scans


class _Segments(NamedTuple):
    """Strips or tiles of a page: their positions and sizes in the file, and what they must be by the size of the image.

    These are their number, the rows and columns of one, and the bytes of the smallest one if it is not compressed.
    """

    offsets: Sequence[int]
    counts: Sequence[int]
    expected: int
    size: tuple[int, int]
    smallest: int


def _find_segments(tags: Mapping[int, Any]) -> _Segments:
    width, height = _read_number(tags, 256), _read_number(tags, 257)
    samples, is_planar = _read_number(tags, 277, 1), _read_number(tags, 284, 1) == 2
    bits = max(_read_numbers(tags, 258) or [1]) * (1 if is_planar else samples)
    planes = samples if is_planar else 1
    if 324 in tags:  # tiles
        columns, rows = _read_number(tags, 322), _read_number(tags, 323)
        if min(columns, rows) < 1:
            raise ValueError("its tiles have no size")
        expected, smallest = math.ceil(width / columns) * math.ceil(height / rows), rows * columns * bits // 8
        offsets, counts = _read_numbers(tags, 324), _read_numbers(tags, 325)
    else:
        columns, rows = width, min(_read_number(tags, 278, height), height)
        if rows < 1:
            raise ValueError("its strips have no rows")
        expected = math.ceil(height / rows)
        smallest = (height - (expected - 1) * rows) * math.ceil(width * bits / 8)
        offsets, counts = _read_numbers(tags, 273), _read_numbers(tags, 279)
    if _read_number(tags, 262, 1) == 6:  # YCbCr can be subsampled
        smallest = 0
    return _Segments(offsets, counts, expected * planes, (rows, columns), smallest)


def _read_numbers(tags: Mapping[int, Any], number: int) -> list[int]:
    value = tags.get(number, ())
    return [int(item) for item in (value if isinstance(value, list | tuple) else (value,))]


def _read_number(tags: Mapping[int, Any], number: int, default: int = 0) -> int:
    return (_read_numbers(tags, number) or [default])[0]


def is_sparse(tags: Mapping[int, Any]) -> bool:
    """Return whether a page of a TIFF file leaves out some of its strips or tiles, as GDAL does where no pixel has a value."""
    segments = _find_segments(tags)
    stored = list(zip(segments.offsets, segments.counts, strict=False))
    return _LEFT_OUT in stored and any(count for _, count in stored)


def check_tiff(content: bytes, tags: Mapping[int, Any], allow_sparse: bool = False) -> None:
    """Check that the strips or tiles of a page of a TIFF file are complete, by its tags as Pillow and tifffile read them.

    With `allow_sparse`, those that GDAL leaves out are complete, too; Pillow reads wrong values there.

    Raises:
        IncompleteError: If one is missing or ends early.
        ValueError: If one is damaged, they have very many scans, or a tag has a wrong value.
    """
    segments, compression, tables = _find_segments(tags), _read_number(tags, 259, 1), tags.get(347)
    kept = list(zip(segments.offsets, segments.counts, strict=False))
    if len(segments.offsets) < segments.expected or (segments.counts and len(kept) < segments.expected):
        raise IncompleteError(f"it has {len(kept)} of {segments.expected} strips or tiles")
    scans = 0
    allow_sparse = allow_sparse and is_sparse(tags)
    needed = segments.smallest if compression == _UNCOMPRESSED else 1
    for index, (offset, count) in enumerate(kept[: segments.expected]):
        if allow_sparse and (offset, count) == _LEFT_OUT:
            continue
        if count < needed or offset < 1 or offset + count > len(content):
            raise IncompleteError(f"strip or tile {index + 1} of {segments.expected} ends early")
        if compression == _JPEG_IN_TIFF:
            part = content[offset : offset + count]
            rows = segments.size[0] if index + 1 < segments.expected else 1
            largest = 2 * segments.size[0] + 64, 2 * segments.size[1] + 64  # encoders can pad
            part = tables[:-2] + part[2:] if isinstance(tables, bytes) and tables else part
            scans += check_jpeg(part, (rows, segments.size[1]), largest)
            if scans > _MAX_STRIP_SCANS:
                raise ValueError(
                    f"its strips or tiles have more than {_MAX_STRIP_SCANS} scans: save it again without JPEG"
                )


def check_length(kind: str, content: bytes) -> None:
    """Check that a BMP or WebP file is as long as its header says.

    Raises:
        IncompleteError: If it is shorter.
    """
    declared = 0
    if kind == "WEBP" and len(content) >= 8:
        declared = 8 + struct.unpack_from("<I", content, 4)[0]
    elif kind == "BMP" and len(content) >= 34 and content[14] >= 40:  # older headers have no compression
        start, width, height, bits, compression = (
            struct.unpack_from(code, content, place)[0]
            for code, place in (("<I", 10), ("<i", 18), ("<i", 22), ("<H", 28), ("<I", 30))
        )
        if compression in (0, 3):
            declared = start + abs(height) * (math.ceil(width * bits / 32) * 4)
    if declared > len(content):
        raise IncompleteError(f"it has {len(content)} of {declared} bytes")
