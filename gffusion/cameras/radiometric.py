"""Recognize and decode the radiometric JPEG files of all supported cameras."""

from dataclasses import replace
from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from . import makers
from .flir import decode_flir, find_flir
from .frames import RadiometricImage
from .jpeg_segments import read_segments, read_trailer

# Makers of thermal cameras whose files append data in unknown layouts. Their JPEG image is a false-color screenshot.
_UNSUPPORTED = ("fluke", "guide", "seek", "testo", "topdon", "uni-t", "autel", "hti", "bosch", "keysight", "xinfrared")
# Smaller trailers are thumbnails or notes.
_MIN_DATA = 2 * 80 * 60

# Edges of Cb and Cr relative to Y: at most 0.5 on all images of M3FD and MSRS; of the larger of green and blue relative
# to red at least 0.9.
_CHROMA_STEPS = 0.65


class RadiometricKind(NamedTuple):
    """What a radiometric JPEG file contains: a visible image besides the infrared one, and degrees instead of counts."""

    has_visible: bool
    is_celsius: bool = False


def inspect_radiometric(content: bytes) -> RadiometricKind | None:
    """Return what a radiometric JPEG file contains, without decompressing its images; None if it has no thermal data.

    Raises:
        ValueError: As for [`decode_radiometric`].
    """
    has_visible = find_flir(read_segments(content))
    if has_visible is not None:
        return RadiometricKind(has_visible)
    image = decode_radiometric(content)  # the other cameras do not compress counts
    return None if image is None else RadiometricKind(image.visible is not None, image.is_celsius)


def decode_radiometric(content: bytes) -> RadiometricImage | None:
    """Decode a radiometric JPEG file; return None if it is not a JPEG with thermal data.

    Supported are FLIR, DJI, InfiRay and cameras with its software, HIKMICRO and Hikvision, Parrot, and DL/T 664.

    Raises:
        ValueError: If the thermal data are incomplete, or those of a camera that is known but not supported.
    """
    segments = read_segments(content)
    if not segments:
        return None
    maker, orientation, size = _read_header(content)
    image = (
        decode_flir(segments)
        or makers.decode_dji(segments, maker, size)
        or makers.decode_infiray(segments, maker)
        or makers.decode_parrot(segments, maker)
        or makers.decode_dlt664(content, maker)
        or makers.decode_hikmicro(read_trailer(content), maker)
    )
    if image is None:
        _refuse_unsupported(maker, content)
        return None
    is_turned = (size[0] > size[1]) == (image.values.shape[0] > image.values.shape[1])  # or stored upright already
    return replace(image, orientation=orientation) if is_turned else image


def restore_colors(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the colors, (H, W, 3), of an embedded PNG image as decoded, which FLIR stores as Y, Cb and Cr.

    Other software stores red, green and blue, which have as many edges as each other, while Cb and Cr have few.
    """
    first, *others = (_sum_steps(image[..., channel]) for channel in range(3))
    if max(others) >= _CHROMA_STEPS * first:
        return image
    return np.asarray(
        Image.merge("YCbCr", [Image.fromarray(np.ascontiguousarray(image[..., i])) for i in range(3)]).convert("RGB")
    )


def _sum_steps(channel: NDArray[np.uint8]) -> int:
    """Return the sum of the absolute differences of neighbors."""
    return sum(int(np.abs(np.diff(channel.astype(np.int16), axis=axis)).sum()) for axis in (0, 1))


def _read_header(content: bytes) -> tuple[str, int, tuple[int, int]]:
    """Return make and model, orientation, and height and width of a JPEG file."""
    try:
        with Image.open(BytesIO(content), formats=("JPEG", "MPO")) as image:
            exif, (width, height) = image.getexif(), image.size
            make, model = (makers.clean_name(exif.get(tag, "")) for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
            orientation = exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged: decoding the image raises the documented error
        return "", 1, (0, 0)
    name = model if model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    return name, orientation if orientation in range(1, 9) else 1, (height, width)


def _refuse_unsupported(maker: str, content: bytes) -> None:
    if maker.lower().startswith(_UNSUPPORTED) and len(read_trailer(content)) >= _MIN_DATA:
        raise ValueError(
            f"it is a radiometric JPEG of {maker}, whose layout is not public: export the counts or temperatures as TIFF with "
            "the software of the camera"
        )
