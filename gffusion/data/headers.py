"""What the header of an image file says about its images, without decoding them."""

from io import BytesIO
from pathlib import Path

from PIL import TiffImagePlugin

from gffusion.cameras.radiometric import inspect_radiometric
from gffusion.utils.regular_files import check_regular

from .decoding import open_header
from .io import read_bytes
from .tiff_pages import GDAL_NODATA, count_frames, has_mask

JPEG_SIGNATURE = b"\xff\xd8\xff"

# Modes of Pillow without a further channel.
_PLAIN_MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "F", "I", "I;16", "I;16B")


def header_shows_one(content: bytes) -> bool:
    """Return whether the header of a file rules out that it holds two images or is radiometric."""
    try:
        if content.startswith(JPEG_SIGNATURE):
            return inspect_radiometric(content) is None
    except ValueError:  # decoding the file raises the documented error
        return False
    return not _may_have_second(BytesIO(content))


def header_shows_both(path: Path, max_pixels: int) -> bool | None:
    """Return whether a file of at most `max_pixels` holds two images, from its header; None if it must be decoded to know."""
    try:
        if is_jpeg(path):
            kind = inspect_radiometric(read_bytes(path, max_pixels))
            return kind is not None and kind.has_visible
    except (OSError, ValueError):  # decoding the file raises the documented error
        return None
    return None if _may_have_second(path) else False


def may_lack_values(content: bytes) -> bool:
    """Return whether pixels of a file with one image can be missing: those of gray images of more than 8 bits, and by a tag or a mask."""
    try:
        with open_header(BytesIO(content)) as image:
            if isinstance(image, TiffImagePlugin.TiffImageFile) and (GDAL_NODATA in image.tag_v2 or has_mask(image)):
                return True
            return image.mode[0] in "FI"
    except Exception:  # decoding the file raises the documented error
        return True


def is_jpeg(path: Path) -> bool:
    """Return whether a file begins as a JPEG does."""
    check_regular(path)
    with open(path, "rb") as file:
        return file.read(len(JPEG_SIGNATURE)) == JPEG_SIGNATURE


def _may_have_second(file: Path | BytesIO) -> bool:
    """Return whether the header of a file that is no JPEG has a further channel or page, or is damaged."""
    try:
        with open_header(file) as image:
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                samples = image.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
                return samples not in (1, 3) or count_frames(image) > 1
            return image.mode not in _PLAIN_MODES
    # On damaged files, decoders raise almost anything. Decoding the file raises the documented error.
    except Exception:
        return True
