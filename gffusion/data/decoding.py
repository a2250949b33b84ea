"""Decode image files, and the metadata needed to interpret their values."""

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from gffusion.cameras.png_chunks import PNG_SIGNATURE, strip_png
from gffusion.utils.memory import describe_memory_error
from gffusion.utils.regular_files import check_regular

from .bounds import check_pixels, check_ratio
from .completeness import (
    MAX_INFLATED,
    IncompleteError,
    check_jpeg,
    check_length,
    check_png,
    check_png_data,
    check_png_parts,
    check_tiff,
    has_jpeg_end,
    read_late_orientation,
)
from .decoded_image import UPRIGHT, DecodedImage, DecodeOptions, ImageReadError
from .other_files import is_video, recognize_unread
from .tiff_pages import GDAL_NODATA, check_single_frame, decode_misread_tiff, decode_tiff, parse_no_data, read_mask

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
_PNG_HEADER = 33  # bytes of the signature and the first part, which has the size
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Pillow's modes of PNG files whose stored values imagecodecs returns unchanged.
_PLAIN_PNG_MODES = ("L", "LA", "RGB", "RGBA", "I;16")
_entrance = threading.Lock()  # taken before decoding, and kept by a thread that fills a truncated image
_changed = threading.Condition()
_decoding = 0  # number of threads that decode
_Settings: TypeAlias = tuple[bool, int | None, int]
_previous: _Settings = (False, None, 0)  # Pillow's settings before them


def decode_image(content: bytes, name: str, options: DecodeOptions = DecodeOptions()) -> DecodedImage:
    """Decode an image file, which messages call by its name, such as "image visible.png".

    Raises:
        ImageReadError: If the file is not a complete image, is too large, or has several frames that are not two images
            of a TIFF file.
    """
    try:
        try:
            with _pillow_settings():
                return _decode(content, options)
        except IncompleteError:
            if options.truncated == "refuse":
                raise
            with _pillow_settings(is_filling=True):
                return _decode(content, options, is_filling=True)
    except IncompleteError as error:
        hint = (
            'truncated="fill" (--truncated fill) reads what there is'
            if options.truncated == "refuse"
            else "it cannot be filled"
        )
        raise ImageReadError(f"cannot read the {name}: the file is truncated, {error}; {hint}") from error
    # On damaged files, decoders raise almost anything: SyntaxError, struct.error, zlib.error, IndexError, ...
    except Exception as error:
        raise ImageReadError(f"cannot read the {name}: {_describe_cause(error, content, name)}") from error


def check_end(content: bytes, name: str, options: DecodeOptions) -> None:
    """Raise ImageReadError if an image file ends early. It is decoded only if its end or its structure looks wrong."""
    try:
        with open_header(BytesIO(content)) as image:
            check_pixels(*image.size, options.max_pixels)
            _check_complete(content, image, decodes=False)
    except Exception:  # decoding raises the documented error
        decode_image(content, name, options)


@contextlib.contextmanager
def _pillow_settings(is_filling: bool = False) -> Iterator[None]:
    """Use settings of Pillow that other libraries can change for the whole process, and replace its limit by ours.

    Several threads can do so at once, but none beside one that fills a truncated image: threads that come later wait for it.
    One thread must not do so twice at a time.
    """
    global _decoding, _previous
    with contextlib.ExitStack() as entrance:
        entrance.enter_context(_entrance)
        with _changed:
            if is_filling:
                _changed.wait_for(lambda: _decoding == 0)
            if _decoding == 0:
                _previous = _set_pillow((is_filling, None, MAX_INFLATED))
            _decoding += 1
        if not is_filling:
            entrance.close()
        try:
            yield
        finally:
            with _changed:
                _decoding -= 1
                if _decoding == 0:
                    _set_pillow(_previous)
                    _changed.notify_all()


def _set_pillow(settings: _Settings) -> _Settings:
    """Change Pillow's settings, and return the former ones."""
    former = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK = settings
    return former


def _forget_other_threads() -> None:
    """Restore Pillow's settings in a forked process, in which the threads that decoded do not exist."""
    global _entrance, _changed, _decoding
    if _decoding:
        _set_pillow(_previous)
    _entrance, _changed, _decoding = threading.Lock(), threading.Condition(), 0


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_other_threads)


@contextlib.contextmanager
def open_header(file: str | os.PathLike[str] | BytesIO) -> Iterator[ImageFile.ImageFile]:
    """Open an image file or its content with Pillow, to read its header.

    Raises:
        OSError: If it is no regular file.
        Exception: Any other one if the file is damaged.
    """
    if not isinstance(file, BytesIO):
        check_regular(file)
    with contextlib.nullcontext(file) if isinstance(file, BytesIO) else open(file, "rb") as opened:
        opened.seek(0)
        if opened.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE:
            check_png_parts(opened, is_header=True)
        with _pillow_settings(), Image.open(opened, formats=FORMATS) as image:
            yield image


def read_late_info(image: ImageFile.ImageFile) -> dict[str | tuple[int, int], Any]:
    """Return what Pillow finds about the orientation after the pixels of an opened PNG file, without decoding these.

    Raises:
        Exception: Any one if the file is damaged.
    """
    if image.format != "PNG" or image.fp is None or not (late := read_late_orientation(image.fp)):
        return {}
    image.fp.seek(0)
    file = BytesIO(image.fp.read(_PNG_HEADER) + late + _PNG_END)
    check_png_parts(file)
    with Image.open(file, formats=("PNG",)) as parts:
        return parts.info


def _describe_cause(error: Exception, content: bytes, name: str) -> str:
    """Return the error of a decoder in one line."""
    if isinstance(error, UnidentifiedImageError):
        if not content:
            return "the file is empty (0 bytes)"
        if kind := recognize_unread(content):
            return f"its format, {kind}, is not read: convert it to PNG or JPEG, or to TIFF if its values are measured"
        if is_video(Path(name)):
            return "it is named as a video, and images are needed here, such as frames that were extracted from it"
        return "it is not a PNG, JPEG, TIFF, WebP or BMP file, or its header is damaged"
    if (message := describe_memory_error(error, " for this image")) is not None:
        return message
    message = " ".join(str(error).split())
    if isinstance(error, OSError | ValueError | SyntaxError | Image.DecompressionBombError) and message:
        return message
    return f"it is damaged or not supported ({type(error).__name__}: {message})"


def _decode(content: bytes, options: DecodeOptions, is_filling: bool = False) -> DecodedImage:
    if content.startswith(PNG_SIGNATURE):
        check_png_parts(BytesIO(content))
    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        if content[:4] not in _TIFF_SIGNATURES:
            raise
        return decode_tiff(content, options)
    kind, mask = "JPEG" if image.format == "MPO" else str(image.format), None
    # Of PNG files, it is in the header; label maps of few classes have 1, 2 or 4 bits.
    depth = content[24] if kind == "PNG" and content[12:16] == b"IHDR" else 8
    check_ratio(kind, *image.size, depth * len(image.getbands()), len(content))
    check_pixels(*image.size, options.max_pixels)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if (decoded := decode_misread_tiff(content, image, options)) is not None:
            return decoded
        mask = read_mask(content, image, options)
    elif image.format != "MPO":
        check_single_frame(getattr(image, "n_frames", 1))
    try:
        _check_complete(content, image)
        decoded = _decode_pixels(content, image, kind)
        return decoded if mask is None else replace(decoded, transparent=mask)
    except IncompleteError:
        if not is_filling or image.format == "WEBP":
            raise
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            return decode_tiff(content, options)
        return replace(_decode_pixels(content, image, kind, is_complete=False), is_filled=True)


def _check_complete(content: bytes, image: ImageFile.ImageFile, decodes: bool = True) -> None:
    """Check that the data of a file with one image are complete; if it `decodes` nothing, only that they have an end."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        check_tiff(content, dict(image.tag_v2))
    elif image.format in ("JPEG", "MPO"):
        if decodes or not has_jpeg_end(content):
            check_jpeg(content)
    elif image.format == "PNG":
        check_png(content)
    else:
        check_length(str(image.format), content)


def _is_plain_png(content: bytes, image: ImageFile.ImageFile) -> bool:
    """Return whether imagecodecs decodes a PNG file as stored, and its orientation is known without decoding it."""
    if image.mode != "I;16" and str(image.tile[0][3]).endswith(";16B"):
        return True  # 16-bit colors, of which Pillow keeps only the upper bytes
    is_changed = "transparency" in image.info or image.info.get("interlace")
    is_stored = image.mode in _PLAIN_PNG_MODES and _count_levels(image) is None
    return is_stored and not is_changed and not read_late_orientation(BytesIO(content))


def _decode_pixels(content: bytes, image: ImageFile.ImageFile, kind: str, is_complete: bool = True) -> DecodedImage:
    if kind == "PNG" and is_complete:
        if _is_plain_png(content, image):
            return DecodedImage(_decode_plain_png(content, image), kind)
        check_png_data(content, image.size)  # Pillow fills data that end early
    no_data = parse_no_data(image.tag_v2.get(GDAL_NODATA)) if hasattr(image, "tag_v2") else None
    levels = _count_levels(image)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode == "P":
        return replace(decode_palette(image), format=kind, no_data=no_data)
    step = 1 if levels is None else 255 // (levels - 1)
    pixels = _to_pixels(image)
    transparent = find_transparent_value(pixels, image, step)
    decoded = DecodedImage(pixels, kind, no_data=no_data, transparent=transparent)
    if image.mode == "1":
        return replace(decoded, indices=np.array(image, np.uint8), palette=np.array([[0] * 3, [255] * 3], np.uint8))
    if levels is not None:
        palette = np.repeat(np.arange(levels, dtype=np.uint8)[:, None] * step, 3, axis=1)
        return replace(decoded, indices=pixels // step, palette=palette)
    return decoded


def decode_palette(image: Image.Image) -> DecodedImage:
    """Return an upright palette image of Pillow: its colors, its indices, and where its colors are transparent."""
    palette = np.asarray(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    colors, opacity = np.split(np.array(image.convert("RGBA")), [3], axis=-1)
    transparent = keep_partial(opacity[..., 0] == 0)
    return DecodedImage(colors, indices=np.array(image), palette=palette, transparent=transparent)


def find_transparent_value(pixels: NDArray[Any], image: Image.Image, step: int = 1) -> NDArray[np.bool_] | None:
    """Return where gray or color pixels have the transparent value of an image of Pillow, such as of the chunk tRNS of PNG.

    It is `None` if they have it nowhere or everywhere. Pillow spreads gray values of few bits by the factor `step`.
    """
    value = image.info.get("transparency")
    kind = tuple if image.mode == "RGB" else int
    if image.mode not in ("1", "L", "RGB", "I;16", "I") or not isinstance(value, kind):
        return None
    is_equal = pixels == np.asarray(value) * step
    return keep_partial(is_equal.all(axis=-1) if pixels.ndim == 3 else is_equal)


def keep_partial(mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Return a mask, or None if it marks no pixel or all."""
    return mask if mask.any() and not mask.all() else None


def _count_levels(image: Image.Image) -> int | None:
    """Return the number of grays that 2 or 4 bits per pixel can hold, which Pillow spreads over 0 to 255; else `None`."""
    if image.mode != "L" or not image.tile:  # type: ignore[attr-defined]
        return None
    arguments = image.tile[0][3]  # type: ignore[attr-defined]
    layout = arguments if isinstance(arguments, str) else arguments[0] if arguments else ""
    return {"L;2": 4, "L;4": 16}.get(str(layout))


def _to_pixels(image: Image.Image) -> NDArray[Any]:
    if image.mode in ("F", "RGBA", "LA", "RGB", "L", "I"):
        return np.array(image)
    if image.mode.startswith("I;16"):
        return np.array(image, np.uint16)
    return np.array(image.convert("L" if image.mode in ("1", "La") else "RGB"))


def _decode_plain_png(content: bytes, image: Image.Image) -> NDArray[Any]:
    """Decode a PNG file as stored, and turn it upright."""
    import imagecodecs  # here to save start-up time

    try:
        pixels: NDArray[Any] = imagecodecs.png_decode(strip_png(content))
    except imagecodecs.PngError as error:
        if "Not enough" in str(error):
            raise IncompleteError("its compressed data end early") from error
        raise ValueError(f"it is damaged: {error}") from error
    # image.getexif() would decode every pixel.
    orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    return UPRIGHT.get(orientation, UPRIGHT[1]).apply(pixels)
