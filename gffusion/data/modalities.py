"""Files that hold a visible and an infrared image: radiometric JPEG, four-channel images and TIFF of two pages."""

from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from gffusion.cameras import InfraredFrame, Rig
from gffusion.cameras.radiometric import decode_radiometric, inspect_radiometric, restore_colors
from gffusion.cameras.radiometric_image import RadiometricImage
from gffusion.utils.regular_files import check_regular, read_regular

from .bounds import DEFAULT_MAX_PIXELS, check_pixels, max_image_bytes
from .decoded_image import (
    DEFAULT_OPTIONS,
    UPRIGHT,
    DecodedImage,
    DecodeOptions,
    ImageReadError,
    is_opacity,
    name_image,
    to_supported,
)
from .decoding import decode_image, open_header
from .tiff_pages import count_frames

# Modes of Pillow without a further channel.
_PLAIN_MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "F", "I", "I;16", "I;16B")

_JPEG_SIGNATURE = b"\xff\xd8\xff"
_SIGNATURES = (b"\x89PNG", _JPEG_SIGNATURE)  # of embedded images that are no camera-specific data


class Modalities(NamedTuple):
    """Content of a file that holds an infrared image, and mostly a visible one.

    Attributes:
        kind: Kind of the file, for messages.
        infrared: The infrared image.
        visible: (H, W) or (H, W, 3); None if the file has no visible image.
        is_radiometric: Whether the file is a radiometric JPEG.
    """

    kind: str
    infrared: InfraredFrame
    visible: NDArray[Any] | None
    is_radiometric: bool = False


def split_modalities(content: bytes, path: str, options: DecodeOptions = DEFAULT_OPTIONS) -> Modalities | DecodedImage:
    """Decode a file, and split it if it holds both modalities or a radiometric image.

    Args:
        content: Content of the file.
        path: Path for messages.
        options: See [`DecodeOptions`].

    Returns:
        The modalities, or the single image of an ordinary file.

    Raises:
        ImageReadError: If the file is damaged or not supported, or has too many pixels.
    """
    try:
        radiometric = decode_radiometric(content)
        if radiometric is not None:
            check_pixels(radiometric.values.shape[1], radiometric.values.shape[0], options.max_pixels)
    except ValueError as error:
        raise ImageReadError(f"cannot read the {name_image(path)}: {error}") from error
    if radiometric is not None:
        return _split_radiometric(radiometric, path, options)
    decoded = decode_image(content, name_image(path), options)
    if decoded.second is not None:
        return _split_pages(decoded, decoded.second, path)
    extra = decoded.extra_channel
    if extra is None or is_opacity(extra):
        return decoded
    frame = InfraredFrame(
        to_supported(extra), no_data=decoded.no_data, notes=(*decoded.notes, "the extra channel is the infrared image")
    )
    return Modalities(
        "an image whose last channel is an infrared image, not opacity", frame, to_supported(decoded.image)
    )


def has_one_image(content: bytes) -> bool:
    """Return whether the header of a file rules out that it holds two images or is radiometric."""
    try:
        if content.startswith(_JPEG_SIGNATURE):
            return inspect_radiometric(content) is None
    except ValueError:  # decoding the file raises the documented error
        return False
    return not _may_have_second(BytesIO(content))


def may_lack_values(content: bytes) -> bool:
    """Return whether the values of a file with one image can mark missing pixels: those of more than 8 bits."""
    try:
        with open_header(BytesIO(content)) as image:
            return image.mode[0] in "FI"
    except Exception:  # decoding the file raises the documented error
        return True


def is_jpeg(path: Path) -> bool:
    """Return whether a file begins as a JPEG does.

    Raises:
        OSError: If the file cannot be read.
    """
    check_regular(path)
    with open(path, "rb") as file:
        return file.read(len(_JPEG_SIGNATURE)) == _JPEG_SIGNATURE


def can_hold_both(path: Path, max_pixels: int = DEFAULT_MAX_PIXELS) -> bool | None:
    """Return whether a file of at most `max_pixels` holds two images, from its header; None if it must be decoded to know."""
    try:
        if is_jpeg(path):
            kind = inspect_radiometric(read_regular(path, max_image_bytes(max_pixels)))
            return kind is not None and kind.has_visible
    except (OSError, ValueError):  # decoding the file raises the documented error
        return None
    return None if _may_have_second(path) else False


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


def _split_radiometric(image: RadiometricImage, path: str, options: DecodeOptions) -> Modalities:
    turn = UPRIGHT[image.orientation]
    rig, visible = None, None
    notes: tuple[str, ...] = ()
    if image.visible is not None and image.visible.startswith(_SIGNATURES):
        decoded = decode_image(image.visible, f"visible image in {path}", options)
        notes = decoded.notes
        if image.position is not None:
            rig = _turn_rig(Rig.from_flir(*image.position, visible_size=decoded.image.shape[:2]), image.orientation)
        is_coded = decoded.format == "PNG" and decoded.image.ndim == 3 and decoded.image.dtype == np.uint8
        visible = turn(restore_colors(decoded.image) if is_coded else to_supported(decoded.image))
    kind = "degrees Celsius" if image.is_celsius else "counts"
    frame = InfraredFrame(
        np.ascontiguousarray(turn(image.values)),
        rig=rig,
        temperature=image.temperature,
        is_raw=True,
        notes=(
            *notes,
            f"{kind} of {image.camera} instead of its screen image; without --infrared-range, from their 0.1st to 99.9th "
            "percentile",
        ),
    )
    return Modalities(f"a radiometric JPEG of {image.camera}", frame, visible, is_radiometric=True)


def _split_pages(first: DecodedImage, second: DecodedImage, path: str) -> Modalities:
    pages = [first, second]
    depths = [page.image.ndim * 1000 - page.image.dtype.itemsize for page in pages]
    if depths[0] == depths[1] or all(page.image.ndim == 3 for page in pages):
        kinds = " and ".join(f"{'color' if p.image.ndim == 3 else 'gray'} {p.image.dtype}" for p in pages)
        raise ImageReadError(
            f"cannot read a pair from {path}: it has 2 frames, {kinds}, so that the infrared image cannot be recognized; "
            "save them as separate files"
        )
    visible, infrared = pages if depths[0] > depths[1] else reversed(pages)
    frame = InfraredFrame(
        to_supported(infrared.image),
        no_data=infrared.no_data,
        notes=(*first.notes, *second.notes, f"page {pages.index(infrared) + 1} of the file is the infrared image"),
    )
    return Modalities("a TIFF of a visible and an infrared page", frame, to_supported(visible.image))


def _turn_rig(rig: Rig, orientation: int) -> Rig:
    """Return the rig of images that were turned upright; relative coordinates run from 0 to 1."""
    corners = np.array([[[0, 0], [1, 0]], [[0, 1], [1, 1]]], np.float64)  # x and y by row and column
    turned = UPRIGHT[orientation](corners)  # where the corners of the stored image are now
    origin, right, down = turned[0, 0], turned[0, 1], turned[1, 0]
    back = np.array([[*(right - origin), 0], [*(down - origin), 0], [*origin, 1]]).T  # upright -> stored
    size = rig.visible_size if rig.visible_size is None or orientation < 5 else rig.visible_size[::-1]
    return Rig(np.linalg.inv(back) @ rig.matrix @ back, size, None, rig.origin)
