"""Add metadata to encoded images."""

import struct
import zlib
from typing import NamedTuple

from .metadata import EXIF_HEADER, ICC_HEADER, ICC_TAG, XMP_HEADER, XMP_KEYWORD, XMP_TAG, ImageMetadata
from .tiff_tags import Directory, Tag, add_tags

_MAX_SEGMENT = 65533  # bytes in a segment of a JPEG file
_MAX_PROFILE = _MAX_SEGMENT - len(ICC_HEADER) - 2


class _Parts(NamedTuple):
    """Metadata in the form in which a format stores it, and what it cannot hold."""

    exif: bytes | None
    xmp: bytes | None
    icc: bytes | None
    tags: Directory
    lost: tuple[str, ...]


def embed_metadata(
    content: bytes, image_format: str, metadata: ImageMetadata, size: tuple[int, int], has_color: bool
) -> bytes:
    """Add metadata to an image file without metadata, as far as the format can hold it.

    Args:
        content: The file.
        image_format: `"JPEG"`, `"PNG"`, `"TIFF"`, `"WEBP"` or `"BMP"`.
        metadata: What to add. Orientation and sizes in it are corrected.
        size: Height and width of the image.
        has_color: Whether the file has three channels.
    """
    parts = _choose_parts(image_format, metadata, size, has_color)
    if image_format == "TIFF":
        return add_tags(content, parts.tags) if parts.tags else content
    if parts[:3] == (None, None, None):
        return content
    embed = {"JPEG": _add_to_jpeg, "PNG": _add_to_png, "WEBP": _add_to_webp}[image_format]
    return embed(content, *parts[:3])


def find_lost(image_format: str, metadata: ImageMetadata, size: tuple[int, int], has_color: bool) -> tuple[str, ...]:
    """Return what of the metadata [`embed_metadata`] leaves out."""
    return _choose_parts(image_format, metadata, size, has_color).lost


def _choose_parts(image_format: str, metadata: ImageMetadata, size: tuple[int, int], has_color: bool) -> _Parts:
    exif, xmp, icc, lost = metadata.write_exif(size), metadata.write_xmp(size), metadata.icc, []
    if image_format == "BMP":
        parts = {"EXIF": exif, "XMP": xmp, "the color profile": icc, "the georeference": metadata.georeference}
        return _Parts(None, None, None, {}, tuple(name for name, part in parts.items() if part))
    if icc is not None and icc[16:20] != (b"RGB " if has_color else b"GRAY"):
        icc, lost = None, ["the color profile, which describes other colors,"]
    if image_format == "TIFF":
        tags = metadata.write_tags(size)
        tags |= {XMP_TAG: Tag(1, len(xmp), xmp)} if xmp is not None else {}
        tags |= {ICC_TAG: Tag(7, len(icc), icc)} if icc is not None else {}
        if metadata.has_maker_note:
            lost.append("the maker's notes in EXIF")
        return _Parts(None, None, None, tags, tuple(lost))
    if metadata.georeference:
        lost.append("the georeference")
    if image_format == "JPEG":
        if exif is not None and len(exif) + len(EXIF_HEADER) > _MAX_SEGMENT:
            exif, lost = None, [*lost, "EXIF of more than 64 kB"]
        if xmp is not None and len(xmp) + len(XMP_HEADER) > _MAX_SEGMENT:
            xmp, lost = None, [*lost, "XMP of more than 64 kB"]
    return _Parts(exif, xmp, icc, {}, tuple(lost))


def _add_to_jpeg(content: bytes, exif: bytes | None, xmp: bytes | None, icc: bytes | None) -> bytes:
    payloads = [(0xE1, EXIF_HEADER + exif)] if exif is not None else []
    payloads += [(0xE1, XMP_HEADER + xmp)] if xmp is not None else []
    if icc is not None:
        chunks = [icc[start : start + _MAX_PROFILE] for start in range(0, len(icc), _MAX_PROFILE)]
        payloads += [
            (0xE2, ICC_HEADER + bytes((number, len(chunks))) + chunk) for number, chunk in enumerate(chunks, start=1)
        ]
    segments = b"".join(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in payloads)
    start = 2  # after the start of the image, and the JFIF segment if there is one
    if content[2:4] == b"\xff\xe0":
        start = 4 + int.from_bytes(content[4:6], "big")
    return content[:start] + segments + content[start:]


def _add_to_png(content: bytes, exif: bytes | None, xmp: bytes | None, icc: bytes | None) -> bytes:
    chunks = [(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc, 9))] if icc is not None else []
    chunks += [(b"eXIf", exif)] if exif is not None else []
    chunks += [(b"iTXt", XMP_KEYWORD + b"\0\0\0\0\0" + xmp)] if xmp is not None else []
    added = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    start = 8 + 25  # after the signature and the header
    return content[:start] + added + content[start:]


def _add_to_webp(content: bytes, exif: bytes | None, xmp: bytes | None, icc: bytes | None) -> bytes:
    # Of a lossless image: 14 bits of width - 1, 14 of height - 1, alpha.
    bits = struct.unpack_from("<I", content, 21)[0]
    width, height, has_alpha = bits & 0x3FFF, (bits >> 14) & 0x3FFF, bits >> 28 & 1
    flags = 0x20 * (icc is not None) | 0x10 * has_alpha | 0x08 * (exif is not None) | 0x04 * (xmp is not None)
    extended = struct.pack("<I", flags) + struct.pack("<I", width)[:3] + struct.pack("<I", height)[:3]
    parts = [(b"VP8X", extended), (b"ICCP", icc), (b"", content[12:]), (b"EXIF", exif), (b"XMP ", xmp)]
    body = b"WEBP"
    for kind, data in parts:
        if data is not None:
            body += (kind + struct.pack("<I", len(data)) if kind else b"") + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body
