"""Measured values of ordinary infrared images: byte order, and indices of palettes."""

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import InfraredFrame
from gffusion.cameras.byte_order import is_byte_swapped
from gffusion.cameras.cleaning import read_indices
from gffusion.cameras.missing import find_missing, format_share, join_masks
from gffusion.cameras.temperatures import LinearScale

from .decoded_image import DecodedImage, to_supported
from .decoding import keep_partial


def to_frame(decoded: DecodedImage, use_indices: bool = True) -> InfraredFrame:
    """Return the values of an infrared image as measured; colors are not changed.

    Args:
        decoded: The decoded file.
        use_indices: Whether to take the indices of a palette image that is ordered by heat, instead of its colors.
    """
    values = to_supported(decoded.image)
    notes: tuple[str, ...] = ()
    if values.ndim == 3 and values.dtype != np.uint8:
        red, green, blue = np.moveaxis(values, -1, 0)
        if np.array_equal(red, green, equal_nan=True) and np.array_equal(red, blue, equal_nan=True):
            values = np.ascontiguousarray(red)  # counts stored as red, green and blue
    if decoded.format == "PNG" and values.ndim == 2 and values.dtype == np.uint16 and is_byte_swapped(values):
        values, notes = values.byteswap(), ("bytes of 16-bit values swapped, as FLIR stores them in PNG",)
    missing = transparent = find_transparent(decoded)
    if decoded.indices is not None and decoded.palette is not None:
        unmeasured = find_missing(decoded.indices, decoded.no_data)
        missing = join_masks(transparent, unmeasured)
        if use_indices:
            values, notes = read_indices(_drop_indices(decoded.indices, missing), decoded.palette, values)
        if unmeasured is not None:
            notes = (*notes, f"infrared pixels without a measurement ({format_share(unmeasured)}) filled")
    if transparent is not None:
        notes = (*notes, f"transparent infrared pixels ({format_share(transparent)}) filled")
    no_data, scale = (decoded.no_data, decoded.scales.get(0)) if decoded.indices is None else (None, None)
    temperature = None
    if scale is not None and values.ndim == 2:
        temperature = LinearScale(*scale, unit="in the unit of its GDAL scale")
    return InfraredFrame(values, missing=missing, no_data=no_data, temperature=temperature, notes=notes)


def _drop_indices(indices: NDArray[np.uint8], missing: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Return the indices with a measured one in place of missing ones, whose colors are often not in the palette of heat."""
    if missing is None or missing.all():
        return indices
    return np.where(missing, indices[~missing][0], indices)


def find_transparent(decoded: DecodedImage) -> NDArray[np.bool_] | None:
    """Return where a palette, a value, a mask or an opacity channel is fully transparent, (H, W); None if it is nowhere."""
    opacity = decoded.opacity
    return join_masks(decoded.transparent, None if opacity is None else keep_partial(opacity == 0))
