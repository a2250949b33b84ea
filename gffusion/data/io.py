"""Read image files into arrays, and write arrays to image files."""

import os
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from .atomic import replace_file

_FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
    ".bmp": "BMP",
}
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Transformations that turn an image upright, by Orientation tag (EXIF 2.32, section 4.6.4).
_UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}
_decoding = threading.Lock()

IMAGE_SUFFIXES: tuple[str, ...] = tuple(_FORMATS)
"""Suffixes of the supported image files, in lower case."""


class ImageReadError(OSError):
    """The file exists, but is not an image that can be read completely."""


def read_image(path: str | os.PathLike[str] | BytesIO) -> NDArray[Any]:
    """Read an image, upright.

    The EXIF orientation is applied and alpha is dropped. Palette and CMYK images become RGB, and 1-bit images become 0 and
    255. Files with several frames are rejected, except the multi-image JPEG (MPO) of cameras, whose first image is read.

    16-bit RGB and 16-bit gray PNG with alpha become uint8 RGB, because Pillow keeps only the upper byte of each value. Store
    16-bit color as TIFF.

    Args:
        path: A PNG, JPEG, TIFF, WebP or BMP file, or its content. The format is detected from the content.

    Returns:
        (H, W) gray or (H, W, 3) RGB: uint8 in [0, 255]; uint16 in [0, 65535] from 16-bit gray images and 16-bit RGB TIFF;
        float32, unscaled, from float TIFF.

    Raises:
        FileNotFoundError, IsADirectoryError: If there is no file at the path.
        ImageReadError: If the file is not a complete image, exceeds Pillow's decompression bomb limit, or has several
            frames or values that do not fit the three dtypes.

    Example:
        >>> content = BytesIO()
        >>> Image.new("L", (3, 1), 7).save(content, "PNG")
        >>> read_image(content)
        array([[7, 7, 7]], dtype=uint8)
    """
    return _read(path, "image", _to_pixels)


def read_rgbt(path: str | os.PathLike[str]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read a pair from one four-channel file (red, green, blue, thermal), as in MFNet (Ha et al., IROS 2017).

    Args:
        path: An RGBA image with 8 bits per channel.

    Returns:
        The visible image (H, W, 3) and the infrared image (H, W).

    Raises:
        OSError: As for [`read_image`], and if the file does not have four channels.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGBA", (6, 4)).save(f"{folder}/rgbt.png")
        ...     [image.shape for image in read_rgbt(f"{folder}/rgbt.png")]
        [(4, 6, 3), (4, 6)]
    """
    stacked = _read(path, "image", lambda image: np.array(image) if image.mode == "RGBA" else _to_pixels(image))
    if stacked.shape[2:] != (4,):
        raise ImageReadError(
            f"cannot read a pair from {path}: it has {stacked.shape[2] if stacked.ndim == 3 else 1} channels, not four "
            "(red, green, blue and thermal)"
        )
    return stacked[..., :3], stacked[..., 3]


def read_size(path: str | os.PathLike[str] | BytesIO) -> tuple[int, int]:
    """Read the height and width of an image, upright, from its header where Pillow supports the format.

    Raises:
        OSError: As for [`read_image`].

    Example:
        >>> content = BytesIO()
        >>> Image.new("L", (640, 480)).save(content, "PNG")
        >>> read_size(content)
        (480, 640)
    """
    try:
        with Image.open(path, formats=tuple(dict.fromkeys(_FORMATS.values()))) as image:
            width, height = image.size
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                # Newer versions of Pillow report the upright size of TIFF files.
                width, height = (image.tag_v2[tag] for tag in (TiffImagePlugin.IMAGEWIDTH, TiffImagePlugin.IMAGELENGTH))
            # image.getexif() would decode every pixel of a PNG.
            is_transposed = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1) >= 5
            return (width, height) if is_transposed else (height, width)
    except Exception:  # read_image reads the file or raises the documented error
        return read_image(path).shape[:2]


def read_labels(path: str | os.PathLike[str] | BytesIO) -> NDArray[Any]:
    """Read a map of class indices.

    Stored values are returned unchanged: the indices of palette images, 0 and 1 of 1-bit images.

    Args:
        path: A gray or palette PNG, TIFF or BMP file, or its content.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        OSError: As for [`read_image`], and if the file contains colors or floats, or is a JPEG, whose lossy compression
            changes classes.

    Example:
        >>> content = BytesIO()
        >>> Image.new("L", (3, 1), 7).save(content, "PNG")
        >>> read_labels(content)
        array([[7, 7, 7]], dtype=uint8)
    """
    labels = _read(path, "label map", _to_class_indices)
    if labels.ndim != 2 or labels.dtype.kind != "u":
        name = "a file" if isinstance(path, BytesIO) else path
        kind = "colors" if labels.ndim == 3 else f"{labels.dtype} values"
        raise ImageReadError(
            f"cannot read labels from {name}: it contains {kind}; store one class index per pixel, 8 or 16 bits"
        )
    return labels


def write_image(path: str | os.PathLike[str], image: NDArray[Any]) -> None:
    """Write an image atomically: an existing file is replaced only after the new content is complete.

    The suffix determines the format. JPEG is written with quality 95 and without chroma subsampling. The other formats are
    lossless, but uint16 images are rounded to 8 bits in JPEG, WebP and BMP, and uint16 RGB also in PNG. WebP stores gray as
    RGB. Equal arrays give equal bytes.

    Args:
        path: File to write, with a suffix in `IMAGE_SUFFIXES`. Its folder must exist.
        image: (H, W) gray or (H, W, 3) RGB, as uint8, uint16 or, in TIFF only, float32.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If the suffix, the shape or the dtype is not supported, or the format cannot store this size.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(Path(folder, "fused.png"), np.zeros((4, 6, 3), np.uint8))
    """
    path, image = Path(path), np.asarray(image)
    image_format = _FORMATS.get(path.suffix.lower())
    if image_format is None:
        raise ValueError(f"cannot write {path}: the suffix must be one of {', '.join(IMAGE_SUFFIXES)}")
    _check_writable(path, image, image_format)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    try:
        content = _encode(image, image_format)
    except (OSError, ValueError) as error:  # in memory, only limits of the format can cause these
        height, width = image.shape[:2]
        raise ValueError(
            f"cannot write {path}: {image_format} does not support {width}x{height} pixels: {error}"
        ) from error
    replace_file(path, content)


def _read(
    path: str | os.PathLike[str] | BytesIO, kind: str, convert: Callable[[Image.Image], NDArray[Any]]
) -> NDArray[Any]:
    if isinstance(path, BytesIO):
        return _decode_completely(path, kind, convert)
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder; pass an image file")
    with open(path, "rb") as file:
        return _decode_completely(file, f"image {path}", convert)


def _decode_completely(file: IO[bytes], name: str, convert: Callable[[Image.Image], NDArray[Any]]) -> NDArray[Any]:
    with _decoding:
        # Other libraries set this flag of the process, with which Pillow fills missing parts of an image with gray.
        previous, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        try:
            return _decode(file, convert)
        # On damaged files, decoders raise almost anything: SyntaxError, struct.error, zlib.error, IndexError, ...
        except Exception as error:
            raise ImageReadError(f"cannot read the {name}: {_describe_cause(error)}") from error
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = previous


def _describe_cause(error: Exception) -> str:
    """Return the error of a decoder in one line."""
    if isinstance(error, UnidentifiedImageError):
        return "it is not a PNG, JPEG, TIFF, WebP or BMP file, or its header is damaged"
    message = " ".join(str(error).split())
    if isinstance(error, OSError | ValueError | SyntaxError | Image.DecompressionBombError) and message:
        return message
    return f"it is damaged or not supported ({type(error).__name__}: {message})"


def _decode(file: IO[bytes], convert: Callable[[Image.Image], NDArray[Any]]) -> NDArray[Any]:
    try:
        image = Image.open(file, formats=tuple(dict.fromkeys(_FORMATS.values())))
    except UnidentifiedImageError:
        file.seek(0)
        if file.read(4) not in _TIFF_SIGNATURES:
            raise
        return _decode_tiff(file)
    if image.format != "MPO":
        _check_single_frame(getattr(image, "n_frames", 1))
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_misread_by_pillow(image):
        return _decode_tiff(file)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return convert(image)


def _is_misread_by_pillow(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Return whether Pillow would reduce a TIFF file to 8 bits (deep color) or invert it (white is zero)."""
    tags = image.tag_v2
    is_deep: bool = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8
    white_is_zero: bool = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    return is_deep and (white_is_zero or tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) > 1)


def _to_pixels(image: Image.Image) -> NDArray[Any]:
    if image.mode == "F":
        return np.array(image)
    if image.mode.startswith("I"):
        integers = np.asarray(image)
        if integers.min() < 0 or integers.max() > np.iinfo(np.uint16).max:
            raise ValueError(
                f"its integers range from {integers.min()} to {integers.max()}; only 0 to 65535 are supported"
            )
        return integers.astype(np.uint16)
    return np.array(image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB"))


def _to_class_indices(image: Image.Image) -> NDArray[Any]:
    if image.format in ("JPEG", "MPO"):
        raise ValueError("the lossy compression of JPEG changes classes; store labels as PNG")
    return np.array(image, dtype=np.uint8) if image.mode in ("1", "P") else _to_pixels(image)


def _check_single_frame(frames: int) -> None:
    if frames > 1:
        raise ValueError(f"it has {frames} frames; save one of them as a separate file")


def _decode_tiff(file: IO[bytes]) -> NDArray[Any]:
    """Read the TIFF files that Pillow misreads or rejects: 16-bit and float RGB, 16-bit and 64-bit float."""
    import tifffile  # here to save start-up time: few files need it

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        _check_single_frame(len(tiff.pages))
        page = tiff.pages.first
        pixels = page.imagelength * page.imagewidth
        if pixels > 2 * (Image.MAX_IMAGE_PIXELS or float("inf")):  # the limit of Pillow
            raise Image.DecompressionBombError(f"{pixels} pixels could be a decompression bomb")
        if page.photometric not in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK):
            raise ValueError(f"the photometric interpretation {page.photometric!r} is not supported")
        image = page.asarray()
        if page.axes not in ("YX", "YXS", "SYX") or image.size == 0:
            raise ValueError(f"a TIFF with axes {page.axes} and shape {image.shape} is not supported or damaged")
        if page.axes == "SYX":  # planar
            image = np.moveaxis(image, 0, -1)
        orientation = page.tags.valueof("Orientation", 1)
    if image.ndim == 3:  # further channels are alpha
        image = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
    image = _UPRIGHT[orientation](image)
    if image.dtype.kind != "f" and image.dtype != np.uint16:
        raise ValueError(f"a TIFF of {image.dtype} samples is not supported, or its tags are damaged")
    return image.astype(np.uint16 if image.dtype == np.uint16 else np.float32)


def _check_writable(path: Path, image: NDArray[Any], image_format: str) -> None:
    if image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3)):
        raise ValueError(f"cannot write {path}: the shape must be (H, W) or (H, W, 3) and not empty, got {image.shape}")
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise ValueError(f"cannot write {path}: the dtype must be uint8, uint16 or float32, got {image.dtype}")
    if image.dtype == np.float32 and image_format != "TIFF":
        raise ValueError(
            f"cannot write {path}: {image_format} does not support float32; write a .tif, or convert to uint8 or uint16"
        )


def _encode(image: NDArray[Any], image_format: str) -> bytes:
    content = BytesIO()
    if image_format == "TIFF":
        import tifffile  # here to save start-up time

        # By default, tifffile adds metadata of its own.
        tifffile.imwrite(content, image, photometric="rgb" if image.ndim == 3 else "minisblack", metadata=None)
        return content.getvalue()
    if image.dtype == np.uint16 and not (image_format == "PNG" and image.ndim == 2):
        from gffusion.models.gffusion.image_ops import to_uint8  # here to save start-up time: it imports torch

        image = to_uint8(image)
    Image.fromarray(np.ascontiguousarray(image)).save(content, image_format, **_SAVE_OPTIONS.get(image_format, {}))
    return content.getvalue()
