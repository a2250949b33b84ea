"""Measured values of ordinary infrared images: byte order, and intensities of false colors."""

from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import InfraredFrame
from gffusion.cameras.byte_order import is_byte_swapped

from .decoding import DecodedImage, to_supported

FalseColor = Literal["recover", "luma"]
FALSE_COLORS: tuple[str, ...] = get_args(FalseColor)


def to_frame(decoded: DecodedImage, name: str, false_color: FalseColor = "recover") -> InfraredFrame:
    """Return the values of an infrared image as measured.

    Args:
        decoded: The decoded file.
        name: Name of the image for messages.
        false_color: See [`ReadOptions`].

    Raises:
        ValueError: If the image has colors of an unknown palette.
    """
    values = to_supported(decoded.image)
    if decoded.format == "PNG" and values.ndim == 2 and values.dtype == np.uint16 and is_byte_swapped(values):
        note = "bytes of 16-bit values swapped, as FLIR stores them in PNG"
        return InfraredFrame(values.byteswap(), notes=(note,))
    frame = InfraredFrame(values, no_data=decoded.no_data)
    if decoded.indices is not None and decoded.palette is not None and false_color == "recover" and has_colors(values):
        from gffusion.cameras.palettes import recover_indices  # here to save start-up time

        found = recover_indices(decoded.indices, decoded.palette)
        if found is not None:
            return replace(frame, values=found[0], notes=("indices of a palette that is ordered by heat",))
    return recover_colors(frame, name, false_color)


def recover_colors(frame: InfraredFrame, name: str, false_color: FalseColor = "recover") -> InfraredFrame:
    """Map the false colors of an infrared image back to intensities; images without colors are returned unchanged.

    Args:
        frame: The image.
        name: Name of the image for messages.
        false_color: See [`ReadOptions`].

    Raises:
        ValueError: If the image has colors of an unknown palette.
    """
    values = frame.values
    if false_color == "luma" or not has_colors(values) or values.dtype.kind == "f":
        return frame
    from gffusion.cameras.palettes import GRAY, recognize_palette  # here to save start-up time

    found = recognize_palette(values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8))
    if found is None:
        raise ValueError(
            f"{name} has colors of an unknown palette, whose brightness need not follow the temperature: export the image in "
            'gray (white-hot) or as counts; check that it is the infrared image; or pass false_color="luma" '
            "(--false-color luma) to fuse the brightness of its colors"
        )
    notes = frame.notes
    if found.palette != GRAY:
        notes += (f"mapped back from the palette {found.palette}",)
    if found.has_overlay:
        notes += ("the infrared image has a display (text, cross-hair or color bar) burnt in, which is fused, too",)
    # A gray image in three channels stays as it is: its luma is taken where it is used.
    return replace(frame, values=values if found.palette == GRAY else found.values, notes=notes)


def has_colors(values: NDArray[Any]) -> bool:
    """Return whether the channels of an image differ.

    Example:
        >>> has_colors(np.full((4, 6, 3), 7)), has_colors(np.zeros((4, 6)))
        (False, False)
    """
    return values.ndim == 3 and bool((values != values[..., :1]).any())
