"""Choose the metadata that a format can hold."""

from typing import NamedTuple

from .metadata import EXIF_HEADER, ICC_TAG, XMP_HEADER, XMP_TAG, ImageMetadata
from .tiff_tags import Directory, Tag

_MAX_SEGMENT = 65533  # bytes in a segment of a JPEG file


class MetadataParts(NamedTuple):
    """Metadata in the form in which a format stores it, and what it cannot hold."""

    exif: bytes | None
    xmp: bytes | None
    icc: bytes | None
    tags: Directory
    lost: tuple[str, ...]


def choose_parts(image_format: str, metadata: ImageMetadata, size: tuple[int, int], has_color: bool) -> MetadataParts:
    """Return the metadata that a format can hold.

    Args:
        image_format: `"JPEG"`, `"PNG"`, `"TIFF"`, `"WEBP"` or `"BMP"`.
        metadata: What to write. Orientation and sizes in it are corrected.
        size: Height and width of the image.
        has_color: Whether the file has three channels.
    """
    exif, xmp, icc, lost = metadata.write_exif(size), metadata.write_xmp(size), metadata.icc, []
    if image_format == "BMP":
        parts = {"EXIF": exif, "XMP": xmp, "the color profile": icc, "the georeference": metadata.georeference}
        return MetadataParts(None, None, None, {}, tuple(name for name, part in parts.items() if part))
    if icc is not None and icc[16:20] != (b"RGB " if has_color else b"GRAY"):
        icc, lost = None, ["the color profile, which describes other colors,"]
    if image_format == "TIFF":
        tags = metadata.write_tags(size)
        tags |= {XMP_TAG: Tag(1, len(xmp), xmp)} if xmp is not None else {}
        tags |= {ICC_TAG: Tag(7, len(icc), icc)} if icc is not None else {}
        if metadata.has_maker_note:
            lost.append("the maker's notes in EXIF")
        return MetadataParts(None, None, None, tags, tuple(lost))
    if metadata.georeference:
        lost.append("the georeference")
    if image_format == "JPEG":
        if exif is not None and len(exif) + len(EXIF_HEADER) > _MAX_SEGMENT:
            exif, lost = None, [*lost, "EXIF of more than 64 kB"]
        if xmp is not None and len(xmp) + len(XMP_HEADER) > _MAX_SEGMENT:
            xmp, lost = None, [*lost, "XMP of more than 64 kB"]
    return MetadataParts(exif, xmp, icc, {}, tuple(lost))
