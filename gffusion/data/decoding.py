"""Decode image files with everything that decides how their values are to be read."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

THERMAL_PAGE = "thermal"
"""Name of the TIFF page in which `--keep-thermal` stores the infrared values."""

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_GDAL_NODATA, PAGE_NAME = 42113, 285
_REDUCED, _MASK = 1, 4  # bits of the tag NewSubfileType
# Transformations that turn an image upright, by Orientation tag (EXIF 2.32, section 4.6.4).
UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: np.rot90,
}
# Share of transparent and opaque pixels above which a fourth channel is opacity: soft edges and shadows are small.
_OPACITY_SHARE = 0.5
_decoding = threading.Lock()


class ImageReadError(OSError):
    """The file exists, but is not an image that can be read completely."""


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """Image file as stored, upright.

    Attributes:
        pixels: (H, W) or (H, W, C) with 2 (gray), 3 or 4 channels, in the type of the file.
        format: "PNG", "JPEG", "TIFF", "WEBP" or "BMP".
        indices: (H, W) uint8, indices into `palette`; `pixels` are then its colors.
        palette: (N, 3) uint8.
        no_data: Value that marks pixels without measurement, from the tag GDAL_NODATA.
        transparent: (H, W), True where the color of a palette is fully transparent; `None` if no color is.
        second: Second page of a TIFF file with two images.
    """

    pixels: NDArray[Any]
    format: str = ""
    indices: NDArray[np.uint8] | None = None
    palette: NDArray[np.uint8] | None = None
    no_data: float | None = None
    second: "DecodedImage | None" = None
    transparent: NDArray[np.bool_] | None = None

    @property
    def extra_channel(self) -> NDArray[Any] | None:
        """The channel after gray or red, green and blue, (H, W)."""
        return self.pixels[..., -1] if self.pixels.ndim == 3 and self.pixels.shape[-1] in (2, 4) else None

    @property
    def image(self) -> NDArray[Any]:
        """(H, W) gray or (H, W, 3) RGB."""
        if self.extra_channel is None:
            return self.pixels
        return self.pixels[..., 0] if self.pixels.shape[-1] == 2 else self.pixels[..., :3]


def is_opacity(channel: NDArray[Any]) -> bool:
    """Return whether a fourth channel is opacity: constant, of a few levels, or mostly fully transparent or opaque.

    Example:
        >>> is_opacity(np.full((4, 6), 255, np.uint8)), is_opacity(np.arange(24, dtype=np.uint8).reshape(4, 6))
        (True, False)
    """
    opaque = np.iinfo(channel.dtype).max if channel.dtype.kind in "iu" else 1
    extremes = (channel == 0) | (channel == opaque)
    return bool(extremes.mean() >= _OPACITY_SHARE or len(np.unique(channel)) <= 3)


def decode_image(content: bytes, name: str) -> DecodedImage:
    """Decode an image file.

    Args:
        content: Content of the file.
        name: Name for messages, such as "image visible.png".

    Raises:
        ImageReadError: If the file is not a complete image, exceeds Pillow's decompression bomb limit, or has several
            frames that are not two images of a TIFF file.
    """
    with _decoding:
        # Other libraries set this flag of the process, with which Pillow fills missing parts of an image with gray.
        previous, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
        try:
            return _decode(content)
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


def _decode(content: bytes) -> DecodedImage:
    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        if content[:4] not in _TIFF_SIGNATURES:
            raise
        return _decode_tiff(content)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if (decoded := _decode_misread_tiff(content, image)) is not None:
            return decoded
    elif image.format != "MPO":
        _check_single_frame(getattr(image, "n_frames", 1))
    has_deep_color = image.format == "PNG" and image.mode != "I;16" and str(image.tile[0][3]).endswith(";16B")
    no_data = _parse_no_data(image.tag_v2.get(_GDAL_NODATA)) if hasattr(image, "tag_v2") else None
    image.load()
    if has_deep_color:  # Pillow keeps only the upper byte of each value
        return DecodedImage(_decode_deep_png(content, image), "PNG")
    ImageOps.exif_transpose(image, in_place=True)
    stored = "JPEG" if image.format == "MPO" else str(image.format)
    if image.mode == "P":
        palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        colors, opacity = np.split(np.array(image.convert("RGBA")), [3], axis=-1)
        hidden = opacity[..., 0] == 0
        transparent = hidden if hidden.any() and not hidden.all() else None
        return DecodedImage(colors, stored, np.array(image), palette, no_data, transparent=transparent)
    if image.mode == "1":
        palette = np.array([[0] * 3, [255] * 3], np.uint8)
        return DecodedImage(np.array(image.convert("L")), stored, np.array(image, np.uint8), palette, no_data)
    return DecodedImage(_to_pixels(image), stored, no_data=no_data)


def _decode_misread_tiff(content: bytes, image: TiffImagePlugin.TiffImageFile) -> DecodedImage | None:
    """Decode a TIFF file with several pages, or of which Pillow would change the values; None for others."""
    if count_frames(image) > 1 or _is_misread_by_pillow(image):
        return _decode_tiff(content)
    if 1 in image.tag_v2.get(TiffImagePlugin.EXTRASAMPLES, ()):  # Pillow divides the colors by this channel
        stored = _decode_tiff(content)
        if stored.extra_channel is not None and not is_opacity(stored.extra_channel):
            return stored
    return None


def count_frames(image: Image.Image) -> int:
    """Return the number of images in a file; 2 if Pillow cannot read the tags of the second one."""
    try:
        return getattr(image, "n_frames", 1)
    except (SyntaxError, OSError, ValueError):
        return 2


def _is_misread_by_pillow(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Return whether Pillow would change the values of a TIFF file.

    It reduces deep color to 8 bits, inverts white is zero, and reads signed 8 and unsigned 32 bits with the wrong sign.
    """
    tags = image.tag_v2
    bits: int = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    white_is_zero: bool = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    is_deep_color = bits > 8 and (white_is_zero or tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) > 1)
    formats = set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)))
    has_more_samples = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) > 3 and not {1, 2} & set(
        tags.get(TiffImagePlugin.EXTRASAMPLES, (1,))
    )
    is_integer = is_deep_color or 2 in formats or (bits == 32 and 3 not in formats)
    return is_integer or (has_more_samples and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) in (1, 2))


def _to_pixels(image: Image.Image) -> NDArray[Any]:
    if image.mode in ("F", "RGBA", "LA", "RGB", "L"):
        return np.array(image)
    if image.mode.startswith("I"):
        pixels: NDArray[Any] = np.array(image)
        return pixels if image.mode == "I" else pixels.astype(np.uint16)
    return np.array(image.convert("L" if image.mode == "La" else "RGB"))


def _decode_deep_png(content: bytes, image: Image.Image) -> NDArray[Any]:
    import imagecodecs  # here to save start-up time: few files need it

    pixels: NDArray[Any] = imagecodecs.png_decode(content)
    return UPRIGHT[image.getexif().get(0x0112, 1)](pixels)


def _parse_no_data(text: Any) -> float | None:
    try:
        return None if text is None else float(str(text).strip("\0 "))
    except ValueError:
        return None


def _check_single_frame(frames: int) -> None:
    if frames > 1:
        raise ValueError(f"it has {frames} frames; save one of them as a separate file")


def _decode_tiff(content: bytes) -> DecodedImage:
    """Decode TIFF files that Pillow misreads or rejects, such as 16-bit and float RGB, and those with several pages."""
    import tifffile  # here to save start-up time: few files need it

    with tifffile.TiffFile(BytesIO(content)) as tiff:
        pages = [page.aspage() for page in tiff.pages]
        kept = [page for page in pages if not page.tags.valueof("NewSubfileType", 0) & (_REDUCED | _MASK)]
        images = [page for page in kept if page.tags.valueof(PAGE_NAME, "") != THERMAL_PAGE] or kept
        if len(images) > 2:
            _check_single_frame(len(images))
        decoded = [_decode_page(page) for page in images]
    first, *others = decoded
    if not others:
        return first
    return DecodedImage(first.pixels, "TIFF", no_data=first.no_data, second=others[0])


def _decode_page(page: Any) -> DecodedImage:
    import tifffile

    pixels = page.imagelength * page.imagewidth
    if pixels > 2 * (Image.MAX_IMAGE_PIXELS or float("inf")):  # the limit of Pillow
        raise Image.DecompressionBombError(f"{pixels} pixels could be a decompression bomb")
    if page.photometric not in (tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK):
        name = getattr(page.photometric, "name", page.photometric)
        raise ValueError(f"colors of the kind {name} are not supported in this TIFF; save it as gray or RGB")
    image = page.asarray()
    if page.axes not in ("YX", "YXS", "SYX") or image.size == 0:
        raise ValueError(f"a TIFF with axes {page.axes} and shape {image.shape} is not supported or damaged")
    if page.axes == "SYX":  # planar
        image = np.moveaxis(image, 0, -1)
    if image.ndim == 3 and image.shape[-1] > 4:
        raise ValueError(f"a TIFF with {image.shape[-1]} channels is not supported; save the infrared image separately")
    if image.dtype.kind not in "fiu":
        raise ValueError(f"a TIFF of {image.dtype} samples is not supported, or its tags are damaged")
    image = UPRIGHT[page.tags.valueof("Orientation", 1)](image)
    no_data = _parse_no_data(page.tags.valueof(_GDAL_NODATA, None))
    return DecodedImage(image.astype(image.dtype.newbyteorder("=")), "TIFF", no_data=no_data)


def to_supported(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return values as uint8, uint16 or float32.

    8- and 16-bit signed integers and 16- and 64-bit floats become float32; wider integers become uint16 if all are in
    [0, 65535], else float32.

    Example:
        >>> to_supported(np.array([[-200, 147]], np.int16)).dtype, to_supported(np.array([[0, 65535]], np.int32)).dtype
        (dtype('float32'), dtype('uint16'))
    """
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    is_wide = pixels.dtype.kind in "iu" and pixels.dtype.itemsize >= 4
    if is_wide and pixels.size and pixels.min() >= 0 and pixels.max() <= np.iinfo(np.uint16).max:
        return pixels.astype(np.uint16)
    return pixels.astype(np.float32)
