"""Reads image files into arrays and writes arrays into image files."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
    "BMP": {},
}
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# Rows from the top and columns from the left, as the TIFF tag Orientation (EXIF 2.32, section 4.6.4) numbers the cases.
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
"""Suffixes of the files that are read and written, in lower case."""


class ImageReadError(OSError):
    """A file exists but is no image that can be read whole."""


def read_image(path: str | os.PathLike[str] | BytesIO) -> NDArray[Any]:
    """Reads one image, upright.

    The EXIF orientation is applied and alpha is dropped. Palette and CMYK images become RGB, 1-bit images 0 and 255.
    Files with several frames are refused; only of a multi-picture JPEG (MPO), as cameras write it, the first is read.

    PNG files of 16-bit RGB, or 16-bit grey with alpha, lose their lower 8 bits and come back as uint8 RGB: Pillow keeps
    the upper byte of each value. Store 16-bit colour as TIFF.

    Args:
        path: A PNG, JPEG, TIFF, WebP or BMP file, or its content. The content decides, not the suffix.

    Returns:
        (H, W) grey or (H, W, 3) RGB. uint8 in [0, 255]; uint16 in [0, 65535] from 16-bit grey and 16-bit RGB TIFF;
        float32, unscaled, from float TIFF.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If the path is a folder.
        ImageReadError: If the file cannot be decoded to its last row, is larger than Pillow's decompression bomb limit,
            or holds several frames or values that none of the three dtypes can hold.
    """
    return _decode_whole(path, "image", _pixels) if isinstance(path, BytesIO) else _read(Path(path), _pixels)


def read_rgbt(path: str | os.PathLike[str]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Reads a pair stored in one file of four channels: red, green, blue and thermal, as in MFNet (Ha et al., IROS 2017).

    Args:
        path: An RGBA image, 8 bits a channel.

    Returns:
        The visible image (H, W, 3) and the infrared image (H, W).

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If the path is a folder.
        ImageReadError: As for `read_image`, and if the file has not four channels.
    """
    stacked = _read(Path(path), lambda image: np.array(image) if image.mode == "RGBA" else _pixels(image))
    if stacked.shape[2:] != (4,):
        raise ImageReadError(
            f"cannot read a pair from {path}: it has {stacked.shape[2] if stacked.ndim == 3 else 1} channels; four are "
            "needed, red, green, blue and thermal"
        )
    return stacked[..., :3], stacked[..., 3]


def read_size(path: str | os.PathLike[str] | BytesIO) -> tuple[int, int]:
    """Reads height and width of an image, upright, from its header alone where Pillow knows the file.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If the path is a folder.
        ImageReadError: If the file is no image.
    """
    try:
        with Image.open(path, formats=tuple(dict.fromkeys(_FORMATS.values()))) as image:
            width, height = image.size
            if isinstance(
                image, TiffImagePlugin.TiffImageFile
            ):  # of which newer versions of Pillow turn the size alone
                width, height = (image.tag_v2[tag] for tag in (TiffImagePlugin.IMAGEWIDTH, TiffImagePlugin.IMAGELENGTH))
            # Not image.getexif(): of a PNG that decodes every pixel.
            is_lying = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1) >= 5
            return (width, height) if is_lying else (height, width)
    except Exception:  # whatever is wrong with the file, read_image copes with it or says it
        height, width = read_image(path).shape[:2]
        return height, width


def read_labels(path: str | os.PathLike[str] | BytesIO) -> NDArray[Any]:
    """Reads a map of class indices.

    The stored numbers are returned: of a palette image its indices, of a 1-bit image 0 and 1.

    Args:
        path: A grey or palette PNG, TIFF or BMP file, or its content.

    Returns:
        (H, W) uint8 or uint16.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If the path is a folder.
        ImageReadError: As for `read_image`, and if the file holds colours or floats, or is a JPEG, whose losses would
            change classes.
    """
    if isinstance(path, BytesIO):
        labels, name = _decode_whole(path, "label map", _class_indices), "a file"
    else:
        labels, name = _read(Path(path), _class_indices), str(path)
    if labels.ndim != 2 or labels.dtype.kind != "u":
        kind = "colours" if labels.ndim == 3 else f"{labels.dtype} values"
        raise ImageReadError(
            f"cannot read labels from {name}: it holds {kind}; store one class index a pixel, 8 or 16 bits"
        )
    return labels


def write_image(path: str | os.PathLike[str], image: NDArray[Any]) -> None:
    """Writes one image whole or not at all: a file of that name is replaced in one step, only once all is written.

    The suffix decides the format. JPEG has quality 95 without chroma subsampling, all others lose nothing, except:
    uint16 images are rounded to 8 bits in JPEG, WebP and BMP, and uint16 RGB in PNG too. WebP stores grey as RGB. The
    same array gives the same bytes.

    Args:
        path: File to write, with a suffix of `IMAGE_SUFFIXES`. Its folder must exist.
        image: (H, W) grey or (H, W, 3) RGB, as uint8, uint16 or, in TIFF only, float32.

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If the suffix, the shape or the dtype is not one of those, or the format cannot hold this size.
    """
    path = Path(path)
    image = np.asarray(image)
    image_format = _FORMATS.get(path.suffix.lower())
    if image_format is None:
        raise ValueError(f"cannot write {path}: the suffix must be one of {', '.join(IMAGE_SUFFIXES)}")
    _check_writable(path, image, image_format)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist; create it first")
    try:
        content = _encode_tiff(image) if image_format == "TIFF" else _encode(image, image_format)
    except (OSError, ValueError) as error:  # in memory, so that the only causes are limits of the format
        height, width = image.shape[:2]
        raise ValueError(f"cannot write {path}: {image_format} refuses {width}x{height} pixels: {error}") from error
    replace_file(path, content)


def _read(path: Path, convert: Callable[[Image.Image], NDArray[Any]]) -> NDArray[Any]:
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; an image file is needed")
    with path.open("rb") as file:
        return _decode_whole(file, f"image {path}", convert)


def _decode_whole(file: IO[bytes], name: str, convert: Callable[[Image.Image], NDArray[Any]]) -> NDArray[Any]:
    try:
        with _truncation_refused():
            return _decode(file, convert)
    # Damaged files make decoders raise almost anything: SyntaxError, struct.error, zlib.error, IndexError, ...
    except Exception as error:
        raise ImageReadError(f"cannot read the {name}: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    """Puts in one line what a decoder raised."""
    if isinstance(error, UnidentifiedImageError):
        return "it is no PNG, JPEG, TIFF, WebP or BMP file, or its beginning is damaged"
    message = " ".join(str(error).split())
    if isinstance(error, OSError | ValueError | SyntaxError | Image.DecompressionBombError) and message:
        return message
    return f"it is damaged, or of a kind that is not supported ({type(error).__name__}: {message})"


@contextmanager
def _truncation_refused() -> Iterator[None]:
    """Overrides the process-wide leave, which other libraries give, to fill what a cut-off file lacks with grey."""
    with _decoding:
        given = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = given


def _decode(file: IO[bytes], convert: Callable[[Image.Image], NDArray[Any]]) -> NDArray[Any]:
    try:
        image = Image.open(file, formats=tuple(dict.fromkeys(_FORMATS.values())))
    except UnidentifiedImageError:
        file.seek(0)
        if file.read(4) not in _TIFF_SIGNATURES:
            raise
        return _decode_tiff(file)
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        raise _several_frames(frames)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and _is_misread_by_pillow(image):
        return _decode_tiff(file)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return convert(image)


def _is_misread_by_pillow(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Tells the deep TIFF files that Pillow cuts to 8 bits (colour) or shows as a negative (white is zero)."""
    tags = image.tag_v2
    is_deep: bool = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8
    white_is_zero: bool = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    return is_deep and (white_is_zero or tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) > 1)


def _pixels(image: Image.Image) -> NDArray[Any]:
    if image.mode == "F":
        return np.array(image)
    if image.mode.startswith("I"):
        return _as_uint16(np.asarray(image))
    return np.array(image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB"))


def _class_indices(image: Image.Image) -> NDArray[Any]:
    if image.format in ("JPEG", "MPO"):
        raise ValueError("JPEG changes values, and with them classes; store labels as PNG")
    return np.array(image, dtype=np.uint8) if image.mode in ("1", "P") else _pixels(image)


def _as_uint16(image: NDArray[Any]) -> NDArray[np.uint16]:
    if image.min() < 0 or image.max() > np.iinfo(np.uint16).max:
        raise ValueError(f"its integers go from {image.min()} to {image.max()}; only 0 to 65535 are read")
    return image.astype(np.uint16)


def _several_frames(frames: int) -> ValueError:
    return ValueError(f"it holds {frames} frames; save the one that is meant as a file of its own")


def _decode_tiff(file: IO[bytes]) -> NDArray[Any]:
    """Reads the TIFF files that Pillow misreads or does not read: 16-bit and float RGB, 16-bit and 64-bit float."""
    import tifffile  # of scikit-image; most sessions never need it

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        if len(tiff.pages) > 1:
            raise _several_frames(len(tiff.pages))
        page = tiff.pages.first
        pixels = page.imagelength * page.imagewidth
        if pixels > 2 * (Image.MAX_IMAGE_PIXELS or float("inf")):  # the limit that Pillow sets for itself
            raise Image.DecompressionBombError(f"{pixels} pixels could be a decompression bomb")
        if page.photometric not in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK):
            raise ValueError(f"photometric interpretation {page.photometric!r} is not supported in such a TIFF")
        image = page.asarray()
        if page.axes not in ("YX", "YXS", "SYX") or image.size == 0:
            raise ValueError(f"TIFF with axes {page.axes} and shape {image.shape} is not supported, or it is damaged")
        if page.axes == "SYX":  # planes stored one after the other
            image = np.moveaxis(image, 0, -1)
        orientation = page.tags.valueof("Orientation", 1)
    if image.ndim == 3:  # anything beyond grey or RGB is alpha
        image = image[..., :3] if image.shape[-1] >= 3 else image[..., 0]
    image = _UPRIGHT[orientation](image)
    if image.dtype.kind != "f" and image.dtype != np.uint16:
        raise ValueError(f"TIFF of {image.dtype} samples is not supported, or its tags are damaged")
    return image.astype(np.uint16 if image.dtype == np.uint16 else np.float32)


def _check_writable(path: Path, image: NDArray[Any], image_format: str) -> None:
    if image.size == 0 or not (image.ndim == 2 or (image.ndim == 3 and image.shape[-1] == 3)):
        raise ValueError(f"cannot write {path}: the shape must be (H, W) or (H, W, 3) and not empty, got {image.shape}")
    if image.dtype not in (np.uint8, np.uint16, np.float32):
        raise ValueError(f"cannot write {path}: the dtype must be uint8, uint16 or float32, got {image.dtype}")
    if image.dtype == np.float32 and image_format != "TIFF":
        raise ValueError(
            f"cannot write {path}: {image_format} holds no float32 values; write a .tif, or convert to uint8 or uint16"
        )


def _encode(image: NDArray[Any], image_format: str) -> bytes:
    if image.dtype == np.uint16 and not (image_format == "PNG" and image.ndim == 2):
        image = _to_8_bits(image)
    content = BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(content, image_format, **_SAVE_OPTIONS[image_format])
    return content.getvalue()


def _encode_tiff(image: NDArray[Any]) -> bytes:
    import tifffile

    content = BytesIO()
    # Without metadata, for tifffile would describe the shape in its own JSON.
    tifffile.imwrite(content, image, photometric="rgb" if image.ndim == 3 else "minisblack", metadata=None)
    return content.getvalue()


def _to_8_bits(image: NDArray[Any]) -> NDArray[np.uint8]:
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 255 * 257
