"""Metadata of an image file: EXIF, GPS, XMP, color profile and georeference, and what of it a format can hold."""

import io
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

from gffusion.cameras.png_chunks import PNG_SIGNATURE, iterate_png_chunks
from gffusion.utils.xml_text import parse_xml

from .decoding import open_header, read_late_info
from .tiff_pages import GDAL_METADATA, MAX_XML
from .tiff_tags import EXIF, GPS, LONG, SHORT, Directory, Field, Tag, TiffReader, write_directory

EXIF_HEADER = b"Exif\0\0"
XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
XMP_KEYWORD = b"XML:com.adobe.xmp"
_XMP_TAG, _ICC_TAG = 700, 34675
_ORIENTATION, _WIDTH, _HEIGHT, _PIXEL_WIDTH, _PIXEL_HEIGHT = 274, 256, 257, 40962, 40963
_DESCRIPTION, _MAKER_NOTE = 270, 37500
_THUMBNAIL_POSITION, _THUMBNAIL_LENGTH = 513, 514
PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, _RPC = 33550, 33922, 34264, 50844
GEO_KEYS, GEO_NUMBERS, GEO_TEXTS = 34735, 34736, 34737
# GeoTIFF 1.1 and GDAL. Not GDAL_NODATA: fusion changes the values of these pixels.
_GEOREFERENCE = (PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, GEO_KEYS, GEO_NUMBERS, GEO_TEXTS, GDAL_METADATA, _RPC)
# Tags of TIFF files that describe the image and not how it is stored; 33723 is IPTC, 40091 to 40095 are Windows' names.
_DESCRIPTIVE = {
    *(269, _DESCRIPTION, 271, 272, 282, 283, 285, 296, 305, 306, 315, 316),
    *(33432, 33723, EXIF, GPS, 50708, 50735, 50827),
    *range(40091, 40096),
}
# Chunks of PNG files that say what the colors mean, and their length.
_COLOR_CHUNKS = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
_MAX_SEGMENT = 65533  # bytes in a segment of a JPEG file
# Descriptions that programs write to interpret the pages of their own files.
_STRUCTURAL_DESCRIPTION = re.compile(rb"\s*(ImageJ=|SCIFIO=|<\?xml|<OME|\{\"shape)")


@dataclass(frozen=True)
class ImageMetadata:
    """Metadata of an image file.

    Attributes:
        exif: EXIF data as stored in JPEG, PNG and WebP, from its byte order mark; thumbnails included.
        tags: The same tags, or those of a TIFF file.
        xmp: XMP packet.
        icc: ICC color profile.
        georeference: GeoTIFF tags.
        orientation: EXIF orientation of the stored pixels.
        color_chunks: Chunks of a PNG file that say what its colors mean, such as `gAMA`.
    """

    exif: bytes | None = None
    tags: Directory | None = None
    xmp: bytes | None = None
    icc: bytes | None = None
    georeference: Directory | None = None
    orientation: int = 1
    color_chunks: tuple[tuple[bytes, bytes], ...] = ()

    def __bool__(self) -> bool:
        return any((self.exif, self.tags, self.xmp, self.icc, self.georeference, self.color_chunks))

    def move(
        self, infrared: "ImageMetadata | None" = None, window: tuple[int, int, int, int] | None = None
    ) -> tuple["ImageMetadata", tuple[str, ...]]:
        """Return the metadata for an upright image in another frame, and notes.

        Args:
            infrared: Metadata of the infrared file if the image has its frame: the georeference is then taken from it.
            window: Top, left, height and width of the part that is kept.
        """
        source = self if infrared is None else infrared
        moved, without = replace(self, georeference=source.georeference), replace(self, georeference=None)
        if not source.georeference:
            notes = ("georeference left out: it does not fit the frame of the infrared image",)
            return without, notes if self.georeference else ()
        if source.orientation != 1:
            return without, ("georeference left out: it does not fit the frame of the upright image",)
        try:
            return (moved if window is None else moved._crop(*window[:2])), ()
        except ValueError:
            return without, ("georeference left out: its tags are damaged",)

    def _crop(self, top: int, left: int) -> "ImageMetadata":
        moved = dict(self.georeference or {})
        if isinstance(tag := moved.get(TIE_POINTS), Tag):
            points = np.frombuffer(tag.data, "<f8").reshape(-1, 6) - (left, top, 0, 0, 0, 0)
            moved[TIE_POINTS] = tag._replace(data=points.astype("<f8").tobytes())
        if isinstance(tag := moved.get(TRANSFORMATION), Tag):
            matrix = np.frombuffer(tag.data, "<f8").reshape(4, 4).copy()
            matrix[:, 3] += matrix[:, 0] * left + matrix[:, 1] * top
            moved[TRANSFORMATION] = tag._replace(data=matrix.astype("<f8").tobytes())
        if isinstance(tag := moved.get(_RPC), Tag):
            coefficients = np.frombuffer(tag.data, "<f8").copy()
            coefficients[2:4] -= top, left  # offsets of lines and samples
            moved[_RPC] = tag._replace(data=coefficients.astype("<f8").tobytes())
        return replace(self, georeference=moved)

    def write_exif(self, size: tuple[int, int]) -> bytes | None:
        """Return EXIF data for an upright image of this height and width, without thumbnail."""
        if self.exif is not None:
            return _patch(self.exif, size)
        header = b"II*\0\x08\0\0\0"  # with the position of the directory, 8
        return header + write_directory(_set_sizes(self.tags, size), 8) if self.tags else None

    def write_tags(self, size: tuple[int, int]) -> Directory:
        """Return the tags for an upright TIFF file of this height and width."""
        tags = {number: tag for number, tag in _set_sizes(self.tags or {}, size).items() if number in _DESCRIPTIVE}
        if isinstance(exif := tags.get(EXIF), dict):  # positions in maker notes count from the start of the EXIF data
            tags[EXIF] = {number: tag for number, tag in exif.items() if number != _MAKER_NOTE}
        return tags | (self.georeference or {})

    @property
    def has_maker_note(self) -> bool:
        """Whether the EXIF data has notes in a format of the maker of the camera."""
        return self.exif is not None and isinstance(exif := (self.tags or {}).get(EXIF), dict) and _MAKER_NOTE in exif

    def write_xmp(self, size: tuple[int, int]) -> bytes | None:
        """Return the XMP packet for an upright image of this height and width, without thumbnails."""
        if self.xmp is None:
            return None
        xmp = self.xmp
        for prefix in (b"xmp", b"xap"):
            xmp = _cut(xmp, b"<" + prefix + b":Thumbnails>", b"</" + prefix + b":Thumbnails>")
        for name, value in (
            (b"tiff:Orientation", 1), (b"tiff:ImageLength", size[0]), (b"tiff:ImageWidth", size[1]),
            (b"exif:PixelYDimension", size[0]), (b"exif:PixelXDimension", size[1]),
        ):  # fmt: skip
            number = str(value).encode()
            xmp = re.sub(rb"(\b" + name + rb"\s*=\s*[\"'])\s*\d+\s*", rb"\g<1>" + number, xmp)
            xmp = re.sub(rb"(<" + name + rb">)\s*\d+\s*", rb"\g<1>" + number, xmp)
        return xmp


def _cut(text: bytes, start: bytes, end: bytes) -> bytes:
    """Return a text without what is between start and end, also several times, and without these."""
    kept, position = [], 0
    while (opened := text.find(start, position)) >= 0 and (closed := text.find(end, opened)) >= 0:
        kept.append(text[position:opened])
        position = closed + len(end)
    return b"".join((*kept, text[position:]))


def read_metadata(content: bytes) -> ImageMetadata:
    """Read the metadata of an image file; damaged parts are left out.

    Args:
        content: Content of a JPEG, PNG, WebP, TIFF or BMP file.

    Examples:
        >>> bool(read_metadata(b"BM"))
        False
    """
    if content[:2] in (b"II", b"MM"):
        return _read_tiff(content)
    try:
        with open_header(io.BytesIO(content)) as image:
            info = image.info | read_late_info(image)
    except Exception:  # of any kind, for damaged files
        return ImageMetadata()
    exif = info.get("exif") or _read_raw_profile(info)
    while exif.startswith(EXIF_HEADER):  # Pillow adds one to that of some PNG files
        exif = exif.removeprefix(EXIF_HEADER)
    tags: Directory = {}
    try:
        reader = TiffReader(exif)
        tags = reader.read(reader.start)
    except ValueError:  # there is none, or it is damaged
        exif = None
    xmp, icc = info.get("xmp") or None, info.get("icc_profile") or b""
    if len(icc) < max(128, int.from_bytes(icc[:4], "big")):  # Pillow also returns a part of a damaged profile
        icc = None
    return ImageMetadata(exif, tags or None, xmp, icc, None, _read_orientation(tags), _read_color_chunks(content))


def _read_orientation(tags: Directory) -> int:
    tag = tags.get(_ORIENTATION)
    value = tag.data[0] if isinstance(tag, Tag) and tag.data else 1
    return value if 1 <= value <= 8 else 1


def _read_raw_profile(info: Mapping[Any, Any]) -> bytes:
    """Return EXIF data as ImageMagick stores them in a text of a PNG file: a name, a length and hexadecimal digits."""
    text = info.get("Raw profile type exif") or info.get("Raw profile type APP1") or ""
    with suppress(ValueError):  # other characters
        return bytes.fromhex("".join(text.split("\n")[3:]))
    return b""


def _read_color_chunks(content: bytes) -> tuple[tuple[bytes, bytes], ...]:
    if not content.startswith(PNG_SIGNATURE):
        return ()
    chunks = takewhile(lambda chunk: chunk[0] != b"IDAT", iterate_png_chunks(content))
    found = {kind: data for kind, data in chunks if len(data) == _COLOR_CHUNKS.get(kind)}
    return tuple((kind, data) for kind, data in found.items() if (kind, data) != (b"gAMA", bytes(4)))


def _read_tiff(content: bytes) -> ImageMetadata:
    try:
        reader = TiffReader(content)
        stored = reader.read(reader.start)
    except ValueError:
        return ImageMetadata()
    tags = {number: tag for number, tag in stored.items() if number in _DESCRIPTIVE}
    if isinstance(tag := tags.get(_DESCRIPTION), Tag) and _STRUCTURAL_DESCRIPTION.match(tag.data):
        del tags[_DESCRIPTION]
    if isinstance(tag := tags.get(305), Tag) and tag.data.startswith(b"tifffile.py"):
        tags = {number: tag for number, tag in tags.items() if number not in (282, 283, 296, 305)}  # its placeholders
    georeference = {number: stored[number] for number in _GEOREFERENCE if number in stored}
    tag = georeference.pop(GDAL_METADATA, None)
    if isinstance(tag, Tag) and (kept := _drop_statistics(tag)) is not None:
        georeference[GDAL_METADATA] = kept
    xmp, icc = (tag.data if isinstance(tag := stored.get(number), Tag) else None for number in (_XMP_TAG, _ICC_TAG))
    return ImageMetadata(None, tags or None, xmp, icc, georeference or None, _read_orientation(stored))


def _drop_statistics(tag: Tag) -> Tag | None:
    """Return GDAL's metadata without what describes the values of a band; None if nothing is left, or it is damaged or large."""
    if len(tag.data) > MAX_XML:
        return None
    try:
        root = parse_xml(tag.data.rstrip(b"\0"))
        root[:] = [
            item for item in root if item.get("sample") is None and not item.get("name", "").startswith("STATISTICS")
        ]
        data = ElementTree.tostring(root) + b"\0"
    except (ValueError, RecursionError):  # damaged, or nested too deep
        return None
    return Tag(2, len(data), data) if len(root) else None


def _set_sizes(tags: Directory, size: tuple[int, int]) -> Directory:
    """Return tags of an upright image of this height and width."""
    changed = {number: tag for number, tag in tags.items() if number not in (_WIDTH, _HEIGHT)}
    if _ORIENTATION in changed:
        changed[_ORIENTATION] = Tag(SHORT, 1, struct.pack("<H", 1))
    if isinstance(exif := changed.get(EXIF), dict):
        sizes = {_PIXEL_WIDTH: size[1], _PIXEL_HEIGHT: size[0]}
        changed[EXIF] = exif | {
            number: Tag(LONG, 1, struct.pack("<I", value)) for number, value in sizes.items() if number in exif
        }
    return changed


def _patch(exif: bytes, size: tuple[int, int]) -> bytes:
    """Return EXIF data with another orientation and size and without thumbnail; all else stays in place.

    Maker notes contain positions in the data, so that it cannot be written anew.
    """
    reader, block = TiffReader(exif), bytearray(exif)
    values = {_ORIENTATION: 1, _WIDTH: size[1], _HEIGHT: size[0], _PIXEL_WIDTH: size[1], _PIXEL_HEIGHT: size[0]}

    def write(field: Field, value: int) -> None:
        if field.kind in (SHORT, LONG) and field.values == 1 and value < 1 << (8 * field.length):
            struct.pack_into(f"{reader.order}{'H' if field.kind == SHORT else 'I'}", block, field.position, value)

    for field in reader.iterate(reader.start):
        if field.number in values:
            write(field, values[field.number])
        elif field.number == EXIF:
            for nested in _iterate_safely(reader, reader.read_number(field)):
                if nested.number in (_PIXEL_WIDTH, _PIXEL_HEIGHT):
                    write(nested, values[nested.number])
    _erase_thumbnail(reader, block)
    return bytes(block)


def _erase_thumbnail(reader: TiffReader, block: bytearray) -> None:
    try:
        pointer, thumbnail = reader.find_next()
    except ValueError:
        return
    struct.pack_into(f"{reader.order}{'Q' if reader.is_big else 'I'}", block, pointer, 0)
    found = (
        {field.number: reader.read_number(field) for field in _iterate_safely(reader, thumbnail)} if thumbnail else {}
    )
    start = found.get(_THUMBNAIL_POSITION, 0)
    end = min(start + found.get(_THUMBNAIL_LENGTH, 0), len(block))
    if start > reader.start:
        block[start:end] = bytes(max(end - start, 0))
        if end == len(block):
            del block[start:]


def _iterate_safely(reader: TiffReader, start: int) -> list[Field]:
    try:
        return list(reader.iterate(start))
    except ValueError:
        return []


class MetadataParts(NamedTuple):
    """Metadata in the form in which a format stores it, and what it cannot hold."""

    exif: bytes | None
    xmp: bytes | None
    icc: bytes | None
    tags: Directory
    color_chunks: tuple[tuple[bytes, bytes], ...]
    lost: tuple[str, ...]


def choose_parts(image_format: str, metadata: ImageMetadata, size: tuple[int, int], has_color: bool) -> MetadataParts:
    """Return the metadata that a format such as "PNG" can hold, for an upright image of this height and width."""
    exif, xmp, icc, lost = metadata.write_exif(size), metadata.write_xmp(size), metadata.icc, []
    if image_format == "BMP":
        parts = {"EXIF": exif, "XMP": xmp, "the color profile": icc, "the georeference": metadata.georeference}
        return MetadataParts(None, None, None, {}, (), tuple(name for name, part in parts.items() if part))
    if icc is not None and icc[16:20] != (b"RGB " if has_color else b"GRAY"):
        icc, lost = None, ["the color profile, which describes other colors,"]
    if image_format == "TIFF":
        tags = metadata.write_tags(size)
        tags |= {_XMP_TAG: Tag(1, len(xmp), xmp)} if xmp is not None else {}
        tags |= {_ICC_TAG: Tag(7, len(icc), icc)} if icc is not None else {}
        if metadata.has_maker_note:
            lost.append("the maker's notes in EXIF")
        return MetadataParts(None, None, None, tags, (), tuple(lost))
    if metadata.georeference:
        lost.append("the georeference")
    if image_format == "JPEG":
        if exif is not None and len(exif) + len(EXIF_HEADER) > _MAX_SEGMENT:
            exif, lost = None, [*lost, "EXIF of more than 64 kB"]
        if xmp is not None and len(xmp) + len(XMP_HEADER) > _MAX_SEGMENT:
            xmp, lost = None, [*lost, "XMP of more than 64 kB"]
    chunks = metadata.color_chunks if image_format == "PNG" and icc is None else ()
    return MetadataParts(exif, xmp, icc, {}, chunks, tuple(lost))
