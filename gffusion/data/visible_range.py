"""Visible images as files hold them: their missing pixels, and the values that become black and white."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras.byte_order import note_swapped_bytes
from gffusion.cameras.missing import fill_missing, find_outside, find_unset, format_share, join_masks

VisibleRange = tuple[float, float]

_LARGEST_OF_NOISE = 127  # of black images of 16 bits
_LARGEST_OF_14_BITS = 1 << 14  # larger values were scaled to 16 bits
# Of 500 visible images of MSRS, M3SVD and RoadScene, many of them at night, none ends below half of the range.
_MIN_USED, _MAX_USED = 1 / 256, 0.5
_WRONG_SHARE = 0.99  # of black or white pixels: a few have other values in any unit, such as 0


class VisibleFrame(NamedTuple):
    """Visible image as stored.

    Attributes:
        values: (H, W) or (H, W, 3).
        no_data: Value that marks missing pixels, if the file names it.
        notes: What was changed or assumed while decoding, one sentence each, for the user.
        transparent: (H, W), True where the image is fully transparent; `None` if it is nowhere or everywhere.
    """

    values: NDArray[Any]
    no_data: float | None = None
    notes: tuple[str, ...] = ()
    transparent: NDArray[np.bool_] | None = None


def check_visible_range(
    value: Sequence[float | str] | str | None, option: str = "`visible_range` (--visible-range)"
) -> VisibleRange | None:
    """Return the two numbers of a range, which can be a text or a list of words; `None` stays.

    Raises:
        ValueError: If it is anything else; the message names `option`, as the user typed it.

    Examples:
        >>> check_visible_range((0, 4095)), check_visible_range("0,0.4"), check_visible_range(["0", "1"])
        ((0.0, 4095.0), (0.0, 0.4), (0.0, 1.0))
    """
    if value is None:
        return None
    try:
        low, high = map(float, value.replace(",", " ").split() if isinstance(value, str) else value)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise ValueError(
            f"{option} must be two finite numbers LOW,HIGH, the lower one first, such as 0,4095, got {value!r}"
        )
    return low, high


def map_visible(
    frame: VisibleFrame, name: str, visible_range: VisibleRange | None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Map the values in a range to the whole range of the type, 0 to 65535, or 0 to 1 for floating-point values; fill missing pixels.

    NaN, infinite values, magnitudes from 1e30, `no_data` and fully transparent pixels are missing. Regions of them that touch a
    side of the image become black, as outside a mosaic of aerial images; the others are filled from their neighbors. In
    integer images, 0 stays black even if it is `no_data`: it is also the value of shadows.

    Args:
        frame: The image, uint8, uint16 or floating point.
        name: Its name in messages.
        visible_range: Values that become black and white; other values are clipped. `None` changes nothing.

    Returns:
        The image in its type, and notes: those of the frame, what is missing, and if it probably needs a range, or if the
        range is not that of its values.

    Raises:
        ValueError: If a range is given for an image of 8 bits, or all pixels are missing.

    Examples:
        >>> map_visible(VisibleFrame(np.array([[0, 819, 4095]], np.uint16)), "a.png", (0, 4095))[0].tolist()
        [[0, 13107, 65535]]
        >>> map_visible(VisibleFrame(np.array([[np.nan, 0.5, 1]], np.float32)), "a.tif", None)[0].tolist()
        [[0.0, 0.5, 1.0]]
    """
    image, no_data, notes, transparent = frame
    notes += note_swapped_bytes(image, "visible")
    has_unset = image.dtype.kind == "f" or no_data not in (None, 0)
    unset = find_unset(image, no_data) if has_unset else None
    missing = join_masks(transparent, unset)
    if missing is None or not missing.any():
        mapped, found = _map_range(image, name, visible_range)
        return mapped, notes + found
    if missing.all():
        raise ValueError(
            f"{name} has no pixel with a value: all are NaN, infinite, transparent or the no-data value of the file"
        )
    mapped, found = _map_range(fill_missing(image, missing), name, visible_range)
    outside = find_outside(missing)
    mapped[outside] = 0
    kind = "visible {} without a value" if unset is not None and unset.any() else "transparent visible {}"
    parts = ("border", outside, "black"), ("pixels", missing & ~outside, "filled")
    notes += tuple(f"{kind.format(name)} ({format_share(part)}) {change}" for name, part, change in parts if part.any())
    return mapped, notes + found


def _map_range(
    image: NDArray[Any], name: str, visible_range: VisibleRange | None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    if visible_range is None:
        if (unused := find_unused_range(image)) is None:
            return image, ()
        found, white = unused
        note = f"{found}: if it looks too dark, set `visible_range=(0, {white})` (--visible-range 0,{white})"
        return image, (note,)
    if image.dtype == np.uint8:
        raise ValueError(
            "`visible_range` (--visible-range) is for visible images of 16 bits or floating-point values, but "
            f"{name} has 8 bits: leave it out"
        )
    if image.dtype == np.uint16:
        table = _stretch(np.arange(65536, dtype=np.float64), visible_range) * 65535
        mapped = np.rint(table).astype(np.uint16)[image]
        return mapped, _note_wrong_unit(mapped, 65535)
    mapped = _stretch(image.astype(np.result_type(image.dtype, np.float32)), visible_range)
    return mapped, _note_wrong_unit(mapped, 1)


def _stretch(values: NDArray[np.floating[Any]], visible_range: VisibleRange) -> NDArray[np.floating[Any]]:
    """Map a range to [0, 1], in place."""
    low, high = visible_range
    np.clip(values, low, high, out=values)
    values -= low
    values /= high - low
    return values


def _note_wrong_unit(mapped: NDArray[Any], white: int) -> tuple[str, ...]:
    """Return a note about an image that is black or white nearly everywhere."""
    shares = {"black": (mapped < _MIN_USED * white).mean(), "white": (mapped > (1 - _MIN_USED) * white).mean()}
    return tuple(
        f"the visible image becomes {color} nearly everywhere: give `visible_range` (--visible-range) in the unit of its values"
        for color, share in shares.items()
        if share > _WRONG_SHARE
    )


def find_unused_range(image: NDArray[Any]) -> tuple[str, float] | None:
    """Return how values end far below white, as those of few bits and of reflectance do, and their probable white; else `None`.

    There are few such texts, however many images are read.

    Examples:
        >>> find_unused_range(np.array([[0, 4000]], np.uint16)), find_unused_range(np.array([[0, 4000 * 16]], np.uint16))
        (('the visible image has 16 bits but uses 12', 4095), None)
    """
    if image.dtype == np.uint16 and _LARGEST_OF_NOISE < (largest := int(image.max())) < _LARGEST_OF_14_BITS:
        bits = largest.bit_length()
        return f"the visible image has 16 bits but uses {bits}", (1 << bits) - 1
    if image.dtype.kind == "f" and _MIN_USED < (brightest := float(image.max())) < _MAX_USED:
        end = math.ceil(round(brightest * 10, 4)) / 10
        return f"the visible image has floating-point values of 0 to 1 but uses only 0 to {end:g}", end
    return None
