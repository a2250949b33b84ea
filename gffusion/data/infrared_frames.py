"""Measured values of ordinary infrared images: byte order, and indices of palettes."""

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import InfraredFrame
from gffusion.cameras.byte_order import is_byte_swapped

from .decoded_image import DecodedImage, to_supported


def to_frame(decoded: DecodedImage, use_indices: bool = True) -> InfraredFrame:
    """Return the values of an infrared image as measured; colors are not changed.

    Args:
        decoded: The decoded file.
        use_indices: Whether to take the indices of a palette image that is ordered by heat, instead of its colors.
    """
    values = to_supported(decoded.image)
    notes: tuple[str, ...] = ()
    if (
        values.ndim == 3
        and values.dtype != np.uint8
        and np.array_equal(values, np.repeat(values[..., :1], 3, axis=-1), equal_nan=True)
    ):
        values = np.ascontiguousarray(values[..., 0])  # counts stored as red, green and blue
    if decoded.format == "PNG" and values.ndim == 2 and values.dtype == np.uint16 and is_byte_swapped(values):
        values, notes = values.byteswap(), ("bytes of 16-bit values swapped, as FLIR stores them in PNG",)
    if decoded.indices is not None and decoded.palette is not None and use_indices:
        from gffusion.cameras.cleaning import read_indices  # here to save start-up time

        values, notes = read_indices(decoded.indices, decoded.palette, values)
    transparent = find_transparent(decoded)
    if transparent is not None:
        notes = (*notes, f"transparent infrared pixels ({100 * transparent.mean():.2g} %) filled")
    return InfraredFrame(values, missing=transparent, no_data=decoded.no_data, notes=notes)


def find_transparent(decoded: DecodedImage) -> NDArray[np.bool_] | None:
    """Return where a palette or an opacity channel is fully transparent, (H, W); None if it is nowhere or everywhere."""
    if decoded.extra_channel is None:
        return decoded.transparent
    transparent = decoded.extra_channel == 0
    return transparent if transparent.any() and not transparent.all() else None
