"""Read image files into arrays, and write arrays to image files."""

import contextlib
import os
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from gffusion.utils.atomic import replace_file
from gffusion.utils.notes import name_first
from gffusion.utils.regular_files import read_regular

from .bounds import DEFAULT_MAX_PIXELS, max_image_bytes
from .decoded_image import DecodedImage, DecodeOptions, ImageReadError, Truncated, to_supported
from .decoding import decode_image, open_header, read_late_info
from .metadata import EXIF_HEADER, ImageMetadata, MetadataParts, choose_parts
from .png_writing import encode_png
from .tiff_pages import PAGE_NAME, THERMAL_PAGE
from .tiff_tags import Directory, Tag, add_tags

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
}
_GEOREFERENCE_TYPES = (2, 3, 12)  # of the tags of GeoTIFF: ASCII, SHORT and DOUBLE
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}

IMAGE_SUFFIXES: tuple[str, ...] = tuple(_FORMATS)
"""Suffixes of the supported image files, in lower case."""


def read_image(
    path: str | os.PathLike[str] | BytesIO, max_pixels: int = DEFAULT_MAX_PIXELS, truncated: Truncated = "refuse"
) -> NDArray[Any]:
    """Read an image, upright.

    The EXIF orientation is applied and alpha is dropped. Palette and CMYK images become RGB, and 1-bit images become 0
    and 255. Files with several frames are rejected, except the multi-image JPEG (MPO) of cameras, whose first image is
    read.

    Integers that do not fit 16 bits without a sign become float32, unscaled.

    Args:
        path: A PNG, JPEG, TIFF, WebP or BMP file, or its content. The format is detected from the content.
        max_pixels: Largest number of pixels.
        truncated: Whether files that end early are refused, or their missing part is filled (`"fill"`).

    Returns:
        (H, W) gray or (H, W, 3) RGB: uint8 in [0, 255]; uint16 in [0, 65535] from 16-bit images, and from wider
        integers that fit; float32, unscaled, from float TIFF and signed or wider integers.

    Raises:
        FileNotFoundError, IsADirectoryError: If there is no file at the path.
        OSError: If it is a pipe or a device.
        ImageReadError: If the file is not a complete image, has too many pixels, or has several frames.
        ValueError: If `path` is neither a path nor a `BytesIO`.

    Examples:
        >>> content = BytesIO()
        >>> Image.new("L", (3, 1), 7).save(content, "PNG")
        >>> read_image(content)
        array([[7, 7, 7]], dtype=uint8)
    """
    return to_supported(read_decoded(path, DecodeOptions(max_pixels, truncated)).image)


def read_decoded(
    path: str | os.PathLike[str] | BytesIO, options: DecodeOptions = DecodeOptions(), kind: str = "image"
) -> DecodedImage:
    """Read a file that holds one image, or its content, as stored, with what [`read_image`] leaves out.

    Raises:
        OSError: As for [`read_image`].
    """
    if not isinstance(path, str | os.PathLike | BytesIO):
        raise ValueError(
            f"the {kind} must be a path, or the content of a file as io.BytesIO(content), got a {type(path).__name__}"
        )
    name = kind if isinstance(path, BytesIO) else f"{kind} {path}"
    content = path.getvalue() if isinstance(path, BytesIO) else read_bytes(path, options.max_pixels)
    decoded = decode_image(content, name, options)
    if decoded.second is not None:
        raise ImageReadError(f"cannot read the {name}: it has 2 frames; save one of them as a separate file")
    return decoded


def read_size(
    path: str | os.PathLike[str] | BytesIO, max_pixels: int = DEFAULT_MAX_PIXELS, truncated: Truncated = "refuse"
) -> tuple[int, int]:
    """Read the height and width of an image, upright, from its header where Pillow supports the format.

    Args:
        path: As for [`read_image`].
        max_pixels: Largest number of pixels of an image that must be decoded.
        truncated: As for [`read_image`], for an image that must be decoded.

    Raises:
        OSError: As for [`read_image`].

    Examples:
        >>> content = BytesIO()
        >>> Image.new("L", (640, 480)).save(content, "PNG")
        >>> read_size(content)
        (480, 640)
    """
    try:
        with open_header(path) as image:
            width, height = image.size
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                # Newer versions of Pillow report the upright size of TIFF files.
                width, height = (image.tag_v2[tag] for tag in (TiffImagePlugin.IMAGEWIDTH, TiffImagePlugin.IMAGELENGTH))
            image.info |= read_late_info(image)
            # image.getexif() would decode every pixel of a PNG.
            is_transposed = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1) in range(5, 9)
            return (width, height) if is_transposed else (height, width)
    except Exception:  # read_image reads the file or raises the documented error
        return read_image(path, max_pixels, truncated).shape[:2]


def read_labels(path: str | os.PathLike[str] | BytesIO, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[Any]:
    """Read a map of class indices.

    Stored values are returned unchanged: the indices of palette images, and 0 to 15 of images with 1, 2 or 4 bits.

    Args:
        path: A gray or palette PNG, TIFF or BMP file, or its content.
        max_pixels: Largest number of pixels.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        OSError: As for [`read_image`], and if the file contains colors or floats, is a TIFF with white as zero, or is a JPEG,
            whose lossy compression changes classes.

    Examples:
        >>> content = BytesIO()
        >>> Image.new("L", (3, 1), 7).save(content, "PNG")
        >>> read_labels(content)
        array([[7, 7, 7]], dtype=uint8)
    """
    decoded = read_decoded(path, DecodeOptions(max_pixels), "label map")
    name = "a file" if isinstance(path, BytesIO) else path
    if decoded.format == "JPEG":
        raise ImageReadError(
            f"cannot read labels from {name}: the lossy compression of JPEG changes classes; store labels as PNG"
        )
    if decoded.format == "TIFF" and _is_white_zero(path):
        raise ImageReadError(
            f"cannot read labels from {name}: it stores white as zero (PhotometricInterpretation 0), so decoders invert its values; "
            "save it with black as zero"
        )
    labels = to_supported(decoded.image) if decoded.indices is None else decoded.indices
    if labels.ndim == 3:
        raise ImageReadError(f"cannot read labels from {name}: {_describe_channels(labels)}")
    if labels.dtype.kind != "u":
        raise ImageReadError(
            f"cannot read labels from {name}: it contains {decoded.pixels.dtype} values; store one class index per pixel as "
            "unsigned integer of 8 or 16 bits (in NumPy: labels.astype(np.uint8))"
        )
    return labels


def _describe_channels(image: NDArray[Any]) -> str:
    """Return what a label map with three channels holds, and what to store instead."""
    if (image == image[..., :1]).all():
        return "its three channels are equal; store one of them (in NumPy: image[..., 0]), 8 or 16 bits, as PNG"
    colors = np.unique(image.reshape(-1, 3), axis=0)
    return (
        f"it contains colors ({name_first([*map(tuple, colors[:6].tolist())], 5)}); replace each by the index of its class, and store one index "
        'per pixel, 8 or 16 bits (see "Color masks" in the guide "Data for training")'
    )


def _is_white_zero(path: str | os.PathLike[str] | BytesIO) -> bool:
    with contextlib.suppress(Exception), open_header(path) as image:  # Pillow cannot open every TIFF file
        return getattr(image, "tag_v2", {}).get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    return False


def write_image(
    path: str | os.PathLike[str],
    image: NDArray[Any],
    thermal: NDArray[Any] | None = None,
    metadata: ImageMetadata | None = None,
    replace_special: bool = False,
) -> None:
    """Write an image atomically: an existing file is replaced only after the new content is complete.

    The suffix determines the format. JPEG is written with quality 95 and without chroma subsampling. The other formats
    are lossless, but uint16 images are rounded to 8 bits in JPEG, WebP and BMP. WebP stores gray as RGB. On one
    machine, equal arrays give equal bytes.

    Args:
        path: File to write, with a suffix in `IMAGE_SUFFIXES`. Its folder must exist.
        image: (H, W) gray or (H, W, 3) RGB, as uint8, uint16 or, in TIFF only, float32, of any byte order.
        thermal: Infrared values, stored unchanged in a second page of a TIFF file, which [`read_image`] skips.
        metadata: Metadata to write, as far as the format can hold it. Orientation and sizes in it are corrected.
        replace_special: Whether to replace pipes, devices and the like, which are otherwise refused.

    Raises:
        OSError: If the path is that of a pipe, a device or a dangling link.
        FileNotFoundError: If the folder does not exist.
        ValueError: If the suffix, the shape or the dtype is not supported, the image has masked values, or the format cannot
            store this size.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(Path(folder, "fused.png"), np.zeros((4, 6, 3), np.uint8))
    """
    write_with_metadata(path, image, thermal, metadata, replace_special)


def write_with_metadata(
    path: str | os.PathLike[str],
    image: NDArray[Any],
    thermal: NDArray[Any] | None,
    metadata: ImageMetadata | None,
    replace_special: bool,
) -> tuple[str, ...]:
    """Write an image as [`write_image`] does, and return what of the metadata the format of the file cannot hold."""
    path = Path(path)
    content, lost = _encode_with_metadata(path, image, thermal, metadata or ImageMetadata())
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    replace_file(path, content, replace_special)
    return lost


def encode_image(path: str | os.PathLike[str], image: NDArray[Any]) -> bytes:
    """Return the content of the file that [`write_image`] would write."""
    return _encode_with_metadata(Path(path), image, None, ImageMetadata())[0]


def _encode_with_metadata(
    path: Path, image: NDArray[Any], thermal: NDArray[Any] | None, metadata: ImageMetadata
) -> tuple[bytes, tuple[str, ...]]:
    """Return the content of a file, and what of the metadata its format cannot hold."""
    if np.ma.is_masked(image):
        raise ValueError(f"cannot write {path}: the image is a masked array; write image.filled(value)")
    image = np.asarray(image)
    image = image.astype(image.dtype.newbyteorder("="), copy=False)
    image_format = _FORMATS.get(path.suffix.lower())
    if image_format is None:
        raise ValueError(f"cannot write {path}: the suffix must be one of {', '.join(IMAGE_SUFFIXES)}")
    _check_writable(path, image, image_format)
    if thermal is not None and image_format != "TIFF":
        raise ValueError(f"cannot write thermal values into {path}: only TIFF files have pages")
    try:
        has_color = image.ndim == 3 or image_format == "WEBP"
        parts = choose_parts(image_format, metadata, (image.shape[0], image.shape[1]), has_color)
        return _encode(image, image_format, thermal, parts, metadata.georeference), parts.lost
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:  # of the disk; limits of the format have no number
            raise type(error)(error.errno, f"{error.strerror} in {tempfile.gettempdir()}", str(path)) from error
        height, width = image.shape[:2]
        raise ValueError(
            f"cannot write {path}: {image_format} does not support {width}x{height} pixels: {error}"
        ) from error


def read_bytes(path: str | os.PathLike[str], max_pixels: int = DEFAULT_MAX_PIXELS) -> bytes:
    """Read an image file of at most `max_pixels`.

    Raises:
        FileNotFoundError, IsADirectoryError: If there is no file at the path.
        OSError: If it is a pipe or a device, or too large.
    """
    return read_regular(path, max_image_bytes(max_pixels))


def _check_writable(path: Path, image: NDArray[Any], image_format: str) -> None:
    if image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3)):
        raise ValueError(f"cannot write {path}: the shape must be (H, W) or (H, W, 3) and not empty, got {image.shape}")
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        advice = "; convert it by image.astype(numpy.float32)" if image.dtype.kind == "f" else ""
        raise ValueError(f"cannot write {path}: the dtype must be uint8, uint16 or float32, got {image.dtype}{advice}")
    if image.dtype == np.float32 and image_format != "TIFF":
        raise ValueError(
            f"cannot write {path}: {image_format} does not support float32; write a .tif, or convert values of 0 to 1 by "
            "(255 * image).round().astype(numpy.uint8)"
        )


def _encode(
    image: NDArray[Any],
    image_format: str,
    thermal: NDArray[Any] | None,
    parts: MetadataParts,
    georeference: Directory | None,
) -> bytes:
    if image_format == "TIFF":
        content = _encode_tiff(image, thermal, georeference)
        return add_tags(content, parts.tags) if parts.tags else content
    if image_format == "PNG":
        return encode_png(image, parts.exif, parts.xmp, parts.icc, parts.color_chunks)
    options = {
        "exif": EXIF_HEADER + parts.exif if parts.exif else b"",
        "xmp": parts.xmp or b"",
        "icc_profile": parts.icc or b"",
    }
    return _encode_with_pillow(image, image_format, _SAVE_OPTIONS.get(image_format, {}) | options)


def _encode_tiff(image: NDArray[Any], thermal: NDArray[Any] | None, georeference: Directory | None) -> bytes:
    import tifffile  # here to save start-up time

    content = BytesIO()
    with tifffile.TiffWriter(content, byteorder="<") as writer:
        # By default, tifffile adds metadata of its own.
        writer.write(image, photometric=_get_photometric(image), metadata=None)
        if thermal is not None:
            tags: list[Any] = [(PAGE_NAME, "s", 0, THERMAL_PAGE, True)]
            for number, tag in (georeference or {}).items():
                if isinstance(tag, Tag) and tag.kind in _GEOREFERENCE_TYPES:
                    tags.append((number, tag.kind, tag.length, tag.data, True))
            writer.write(thermal, photometric=_get_photometric(thermal), metadata=None, extratags=tags)
    return content.getvalue()


def _encode_with_pillow(image: NDArray[Any], image_format: str, options: dict[str, Any]) -> bytes:
    if image.dtype == np.uint16:
        from gffusion.models.gffusion.image_ops import to_uint8  # here to save start-up time: it imports torch

        image = to_uint8(image)
    with tempfile.TemporaryFile() as file:  # Pillow blocks all other threads while it writes to memory
        Image.fromarray(np.ascontiguousarray(image)).save(file, image_format, **options)
        file.seek(0)
        return file.read()


def _get_photometric(image: NDArray[Any]) -> str:
    return "rgb" if image.ndim == 3 else "minisblack"
