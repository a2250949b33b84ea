"""Decode TIFF files that Pillow misreads or rejects, such as 16-bit and float RGB, and those with several pages."""

import contextlib
import itertools
import logging
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from gffusion.utils.xml_text import parse_xml

from .bounds import check_pixels, check_ratio
from .completeness import IncompleteError, check_tiff, is_sparse
from .decoded_image import UPRIGHT, DecodedImage, DecodeOptions

THERMAL_PAGE = "thermal"
"""Name of the TIFF page in which `--keep-thermal` stores the infrared values."""

GDAL_METADATA, GDAL_NODATA, PAGE_NAME = 42112, 42113, 285
MAX_XML = 1 << 20
"""Largest number of bytes of GDAL's metadata that are read: each can become an object."""
_REDUCED, _MASK = 1, 4  # bits of the tag NewSubfileType
_PALETTE, _PHOTOMETRIC_MASK = 3, 4  # of the tag PhotometricInterpretation
_MAX_FRAMES = 64
# Without a handler of the application, Python prints what the libraries log; what matters is in our errors.
for _library in ("tifffile", "PIL"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


def decode_misread_tiff(
    content: bytes, image: TiffImagePlugin.TiffImageFile, options: DecodeOptions
) -> DecodedImage | None:
    """Decode a TIFF file of gray or RGB, of more than 8 bits, or of several pages, or a sparse one; None for others.

    Pillow reduces deep color to 8 bits, inverts white is zero, reads signed 8 and unsigned 32 bits with the wrong sign, and
    drops or mixes further channels; and its libtiff prints to stderr about damaged files.
    """
    tags, is_single = image.tag_v2, count_frames(image) == 1
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    is_plain = bits == 8 and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) in (1, 2)
    if is_single and bits <= 8 and not is_plain and not is_sparse(dict(tags)):
        return None
    decoded = decode_tiff(content, options)
    is_premultiplied = is_plain and is_single and 1 in tags.get(TiffImagePlugin.EXTRASAMPLES, ())
    return None if is_premultiplied and decoded.opacity is not None else decoded  # Pillow divides the colors by opacity


def count_frames(image: TiffImagePlugin.TiffImageFile) -> int:
    """Return the number of images in a file, at most 64, without overviews and masks; 2 if Pillow cannot read the tags of the second one."""
    kinds = _list_kinds(image)
    return len(kinds) if kinds[0] else kinds.count(0)  # without an overview in the place of the image


def has_mask(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Return whether a file has a mask of the size of an image, or Pillow cannot read its tags."""
    return _MASK in _list_kinds(image)


def _list_kinds(image: TiffImagePlugin.TiffImageFile) -> list[int]:
    """Return for each page which bits say that it is an overview or a mask; those of two images and a mask if Pillow cannot read its tags."""
    kinds: list[int] = []
    try:
        with contextlib.suppress(EOFError):  # `n_frames` reads the tags of all pages, of which a file can have millions
            for frame in range(_MAX_FRAMES):
                with contextlib.suppress(SyntaxError):  # Pillow knows no masks
                    image.seek(frame)
                kind = image.tag_v2.get(254, 0)  # NewSubfileType
                kinds.append(kind & (_REDUCED | _MASK) if isinstance(kind, int) else 0)
        return kinds
    except Exception:  # of any kind, for damaged files
        return [0, 0, _MASK]
    finally:
        image.seek(0)


def decode_tiff(content: bytes, options: DecodeOptions) -> DecodedImage:
    """Decode TIFF files that Pillow misreads or rejects, such as 16-bit and float RGB, and those with several pages."""
    pages = _list_pages(content)
    kept = [page for page in pages if not _is_extra(page)] or pages
    images = [page for page in kept if page.tags.valueof(PAGE_NAME, "") != THERMAL_PAGE] or kept
    if len(images) > 2:
        check_single_frame(len(images))
    first, *others = (
        replace(_decode_page(page, content, options), transparent=_decode_mask(page, pages, content, options))
        for page in images
    )
    return replace(first, second=others[0]) if others else first


def read_mask(content: bytes, image: TiffImagePlugin.TiffImageFile, options: DecodeOptions) -> NDArray[np.bool_] | None:
    """Return where the mask of a file with one image, which Pillow reads, marks missing pixels; None if it marks none."""
    if not has_mask(image):
        return None
    pages = _list_pages(content)
    return _decode_mask(pages[0], pages, content, options)


def _list_pages(content: bytes) -> list[Any]:
    import tifffile  # here to save start-up time: few files need it

    return [page.aspage() for page in itertools.islice(tifffile.TiffFile(BytesIO(content)).pages, _MAX_FRAMES + 1)]


def _is_extra(page: Any) -> bool:
    """Return whether a page is an overview or a mask."""
    return bool(page.is_reduced or page.is_mask)


def _decode_mask(page: Any, pages: list[Any], content: bytes, options: DecodeOptions) -> NDArray[np.bool_] | None:
    """Return where the mask after a page marks missing pixels, upright; None if there is none, or it marks none."""
    size = page.imagelength, page.imagewidth, 1
    for mask in itertools.takewhile(_is_extra, pages[pages.index(page) + 1 :]):
        is_mask = mask.is_mask and mask.photometric == _PHOTOMETRIC_MASK and mask.bitspersample <= 8
        if is_mask and (mask.imagelength, mask.imagewidth, mask.samplesperpixel) == size:
            break
    else:
        return None
    if not _is_complete(mask, content, options):
        return None
    missing: NDArray[np.bool_] = _turn_upright(mask.asarray() == 0, page)
    return missing if missing.any() else None


def _is_complete(page: Any, content: bytes, options: DecodeOptions) -> bool:
    """Return whether the data of a page are complete; raise IncompleteError if they must be and are not."""
    try:
        check_tiff(content, {tag.code: tag.value for tag in page.tags}, allow_sparse=True)
    except IncompleteError:
        if options.truncated == "refuse":
            raise
        return False
    return True


def _turn_upright(image: NDArray[Any], page: Any) -> NDArray[Any]:
    return UPRIGHT.get(page.tags.valueof("Orientation", 1), UPRIGHT[1]).apply(image)


def _check_kind(page: Any) -> None:
    """Raise ValueError if a page has colors that are not read."""
    import tifffile

    if page.samplesperpixel > 4:
        raise ValueError(
            f"a TIFF with {page.samplesperpixel} channels is not supported; save the infrared image separately"
        )
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        raise ValueError(
            "0 is white in this TIFF (MINISWHITE), which is read only from 8-bit files of one image: save its values as they are if "
            "they are counts or degrees, or else the largest value of their type minus the values, such as by "
            "tifffile.imwrite(path, 65535 - tifffile.imread(path))"
        )
    kinds = [tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.MINISBLACK]
    if page.colormap is not None and page.samplesperpixel == 1 and page.dtype == np.uint8:
        kinds.append(tifffile.PHOTOMETRIC.PALETTE)
    if page.compression == tifffile.COMPRESSION.JPEG and page.planarconfig == 1:  # which is decoded to RGB
        kinds.append(tifffile.PHOTOMETRIC.YCBCR)
    if page.photometric not in kinds:
        name = getattr(page.photometric, "name", page.photometric)
        raise ValueError(f"colors of the kind {name} are not supported in this TIFF; save it as gray or RGB")


def _decode_page(page: Any, content: bytes, options: DecodeOptions) -> DecodedImage:
    check_pixels(page.imagewidth, page.imagelength * max(page.imagedepth, 1), options.max_pixels)
    _check_kind(page)
    if is_complete := _is_complete(page, content, options):
        check_ratio("TIFF", page.imagewidth, page.imagelength, page.bitspersample * page.samplesperpixel, len(content))
    image = page.asarray() if is_complete else _decode_segments(page, content)
    if page.axes not in ("YX", "YXS", "SYX") or image.size == 0:
        raise ValueError(f"a TIFF with axes {page.axes} and shape {image.shape} is not supported or damaged")
    if page.axes == "SYX":  # planar
        image = np.moveaxis(image, 0, -1)
    if image.dtype.kind not in "fiu":
        raise ValueError(f"a TIFF of {image.dtype} samples is not supported, or its tags are damaged")
    image = _turn_upright(image, page)
    no_data = parse_no_data(page.tags.valueof(GDAL_NODATA, None))
    pixels = image.astype(image.dtype.newbyteorder("="))
    scales = parse_scales(page.tags.valueof(GDAL_METADATA, None))
    decoded = DecodedImage(pixels, "TIFF", no_data=no_data, scales=scales, is_filled=not is_complete)
    if page.photometric != _PALETTE:
        return decoded
    palette = (page.colormap >> 8).astype(np.uint8).T
    return replace(decoded, pixels=palette[pixels], indices=pixels, palette=palette)


def _decode_segments(page: Any, content: bytes) -> NDArray[Any]:
    """Decode the complete strips or tiles of a page; the others become its no-data value or 0. Raise IncompleteError if there is none."""
    pixels, found = np.full(page.shaped, page.nodata, page.dtype), False  # planes, depth, rows, columns, channels
    full = page.dtype.itemsize * page.imagewidth * (page.tilelength or page.rowsperstrip) * page.samplesperpixel
    for index, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=False)):
        data = content[offset : offset + count]
        with contextlib.suppress(Exception):  # of any kind: this part of the image is missing, too
            data = data.ljust(full, b"\0") if page.compression == 1 and data else data
            part, (plane, *starts, _), shape = page.decode(data, index, jpegtables=page.jpegtables)
            target = pixels[plane][
                tuple(slice(start, start + size) for start, size in zip(starts, shape, strict=False))
            ]
            target[...] = part[tuple(map(slice, target.shape))]
            found = True
    if not found:
        raise IncompleteError("no strip or tile is complete")
    return pixels.reshape(page.shape)


def parse_no_data(text: Any) -> float | None:
    """Return the number in the tag GDAL_NODATA; None if it has none."""
    try:
        return None if text is None else float(str(text).strip("\0 "))
    except ValueError:
        return None


def parse_scales(text: Any) -> dict[int, tuple[float, float]]:
    """Return the factors and offsets in the tag GDAL_METADATA by channel; damaged ones and those without effect are left out.

    Examples:
        >>> parse_scales('<GDALMetadata><Item name="SCALE" sample="0" role="scale">0.01</Item></GDALMetadata>')
        {0: (0.01, 0.0)}
    """
    if not isinstance(text, str) or len(text) > MAX_XML:
        return {}
    try:
        items = list(parse_xml(text.strip("\0 ")))
        kept = [item for item in items if item.get("role") in ("scale", "offset")]
        found = {(item.get("sample"), item.get("role")): float(item.text or "") for item in kept}
    except (ValueError, RecursionError):
        return {}
    samples = {sample for sample, _ in found if sample is not None and sample.isdecimal()}
    scales = {int(each): (found.get((each, "scale"), 1.0), found.get((each, "offset"), 0.0)) for each in samples}
    return {
        sample: scale
        for sample, scale in scales.items()
        if np.isfinite(scale).all() and scale[0] != 0 and scale != (1.0, 0.0)
    }


def check_single_frame(frames: int) -> None:
    """Raise ValueError if a file has several frames."""
    if frames > 1:
        raise ValueError(f"it has {frames} frames; save one of them as a separate file")
