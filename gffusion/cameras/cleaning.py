"""Turn decoded infrared images into intensities with a mask of missing pixels."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .borders import find_borders
from .byte_order import note_swapped_bytes
from .frames import InfraredFrame
from .missing import fill_missing, find_missing, format_share, join_masks
from .palettes import GRAY, recognize_palette, recover_indices

# Levels by which an even scale of gray may differ from a straight line: 64 grays have steps of 4.
_MAX_UNEVENNESS = 8
_MIN_SHARE, _STEP = 1e-3, 16  # of the pixels; distance of tested pixels
_FEW_LEVELS = 8  # by which a scene without contrast can differ
_GRAY_ENDS = (
    "; or its gray palette has a colored hot end (red-hot, isotherm, alarm), whose brightness is taken, so that the hottest "
    "pixels get too dark: export it in white-hot"
)

BORDER_FILLED = "filled by the visible image; --keep-borders keeps it"
"""End of the note on a border."""
BORDER_CUT = "cut off; --keep-borders keeps it"
"""The same, if the images are cropped."""


def clean_frame(
    frame: InfraredFrame, name: str, *, infrared_luma: bool = False, keep_borders: bool = False
) -> InfraredFrame:
    """Return an infrared image without false colors, with its missing pixels and borders in the mask, and notes on both.

    Gray images in RGB are unchanged.

    Args:
        frame: The decoded image.
        name: Name of the image for the error message.
        infrared_luma: Whether to leave colors as they are; the image processor takes their luma.
        keep_borders: Whether black or white borders are measurements.

    Raises:
        ValueError: If the image has colors of no known palette.

    Examples:
        >>> values = np.random.default_rng(0).integers(90, 160, (60, 80)).astype(np.uint8)
        >>> values[:, :20] = 0
        >>> clean_frame(InfraredFrame(values), "infrared.png").notes
        ('infrared border (28 %) filled by the visible image; --keep-borders keeps it',)
    """
    notes = list(frame.notes)
    values = frame.values
    found = find_missing(values, frame.no_data)
    missing = join_masks(frame.missing, found)
    if found is not None and frame.missing is not None:
        found &= ~frame.missing  # which has a note of its own
    if values.ndim == 3 and not infrared_luma and (missing is None or not missing.all()):
        filled = values if missing is None else fill_missing(values, missing)
        values, color_notes = remove_colors(filled, name)
        notes += color_notes
    if not frame.is_raw:
        notes += note_swapped_bytes(frame.values, "infrared")
    if found is not None and found.any():
        notes.append(
            f"infrared pixels without a measurement ({format_share(found)}) filled{_describe_saturated(values, found, frame.no_data)}"
        )
    if not keep_borders and not frame.is_raw:
        border = find_borders(values, missing)
        if border is not None:
            notes.append(f"infrared border ({format_share(border)}) {BORDER_FILLED}")
            missing = join_masks(missing, border)
    if constant := describe_only_value(values, missing):
        notes += constant
    elif _has_two_values(values, missing):
        notes.append(
            "the infrared image has only two values, as a mask or a 1-bit file: give the image as the camera measured it"
        )
    return replace(frame, values=values, missing=missing, notes=tuple(notes))


def note_cut_border(notes: tuple[str, ...], crop: bool, is_filled: bool = True) -> tuple[str, ...]:
    """Return notes in which a border is cut off, if the images are cropped, and not filled.

    Args:
        notes: The notes on the infrared image.
        crop: Whether the images are cropped.
        is_filled: Whether pixels without a measurement remain, which are filled.

    Examples:
        >>> note_cut_border((f"infrared border (9 %) {BORDER_FILLED}",), True)
        ('infrared border (9 %) cut off; --keep-borders keeps it',)
    """
    if not crop:
        return notes
    notes = tuple(note.replace(BORDER_FILLED, BORDER_CUT) for note in notes)
    return notes if is_filled else tuple(note.replace(") filled", ") cut off") for note in notes)


def _describe_saturated(values: NDArray[Any], filled: NDArray[np.bool_], no_data: float | None) -> str:
    """Return what else the filled pixels can be, if more than dead pixels have the largest count, which is no `no_data`."""
    if values.dtype.kind != "u":
        return ""
    largest = np.iinfo(values.dtype).max
    if largest == no_data or np.count_nonzero(values[filled] == largest) < _MIN_SHARE * values.size:
        return ""
    return f"; those of {largest} can also be a saturated hot object, which is lost: use a wider range of the camera"


def _has_two_values(values: NDArray[Any], missing: NDArray[np.bool_] | None) -> bool:
    """Return whether measured pixels have exactly two values, which are far apart and not those of a few damaged pixels."""
    if len(np.unique(values[::_STEP, ::_STEP])) > 3:  # for most images, without looking at all pixels
        return False
    measured, counts = np.unique(values if missing is None else values[~missing], return_counts=True)
    is_far = len(measured) == 2 and measured[1] - measured[0] > _FEW_LEVELS
    return bool(is_far and counts.min() >= _MIN_SHARE * counts.sum())


def describe_only_value(values: NDArray[Any], missing: NDArray[np.bool_] | None) -> tuple[str, ...]:
    """Return a note on the value, or the color, that all measured pixels share; none if they differ or none is measured.

    Examples:
        >>> describe_only_value(np.full((2, 3), 7), None)
        ('all infrared values are 7, as behind a closed shutter: they show nothing of the scene',)
    """
    measured = values.reshape(-1, *values.shape[2:]) if missing is None else values[~missing]
    if not len(measured) or (measured != measured[0]).any():
        return ()
    levels = [f"{value:.7g}" for value in np.atleast_1d(measured[0])]
    value = levels[0] if len(set(levels)) == 1 else f"({', '.join(levels)})"
    return (f"all infrared values are {value}, as behind a closed shutter: they show nothing of the scene",)


def read_indices(
    indices: NDArray[np.uint8], palette: NDArray[np.uint8], colors: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return the values of a palette image: its indices if the palette is ordered by heat, else its colors.

    Args:
        indices: (H, W).
        palette: (N, 3), RGB.
        colors: (H, W, 3) or (H, W), the colors of the pixels.

    Returns:
        (H, W), or the colors if the palette is not ordered by heat or is gray, except a uniform scale from white to
        black; and notes.
    """
    entries = np.unique(indices[indices < len(palette)])
    used = palette[entries].astype(int)
    if len(entries) > 1 and (np.ptp(used, axis=1) == 0).all():
        levels = used[:, 0]
        if not (np.diff(levels) <= 0).all():
            return colors, ()
        # Programs that drop unused levels may sort the others in any way: only a uniform scale is that of a camera.
        scale = np.interp(entries, entries[[0, -1]], levels[[0, -1]])
        if np.abs(levels - scale).max() > _MAX_UNEVENNESS:
            return colors, ("brightness of the palette image taken as values; invert=True (--invert) if black is hot",)
    ordered = recover_indices(indices, palette)
    if ordered is None:
        return colors, ()
    order = "brightness" if ordered[1] == "luma" else ordered[1]
    hot = _name(tuple(used[-1]))
    note = f"indices of the palette image taken as values: its palette is ordered by {order}; invert=True (--invert) if {hot} is cold"
    return ordered[0], (note,)


def remove_colors(values: NDArray[Any], name: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the intensities (H, W) of an image in false colors, or another image unchanged; and notes.

    Args:
        values: (H, W) or (H, W, 3). With NaN, which is refused later, an image is unchanged.
        name: Name of the image for the error message.

    Raises:
        ValueError: If the image has colors of no known palette.

    Examples:
        >>> remove_colors(np.full((4, 6, 3), 90, np.uint8), "infrared.png")[0].shape
        (4, 6, 3)
    """
    if values.ndim == 2 or (values == values[..., :1]).all() or not np.isfinite(values).all():
        return values, ()
    found = recognize_palette(to_8_bits(values))
    if found is None:
        raise ValueError(
            f"{name} is a color image, and its colors are those of no known palette: give an infrared image in gray, counts "
            "or a usual palette, check that the images are not swapped, or take its brightness on purpose with "
            "infrared_luma=True (--infrared-luma)"
        )
    notes: tuple[str, ...] = ()
    if found.has_overlay:
        display = (
            "a display (text, a cross-hair or a color bar) is burnt into the infrared image, and shows in the result"
        )
        notes = (display + _GRAY_ENDS if found.palette == GRAY else display,)
    if found.palette == GRAY:
        return values, notes
    mapped = f"infrared colors mapped back to intensity by the palette {found.palette}; invert=True (--invert) if {_name(found.hot)} is cold"
    return found.values, (*notes, mapped)


def _name(color: tuple[int, ...]) -> str:
    """Return the name of the nearest basic color."""
    names = {
        "black": (0, 0, 0), "white": (255, 255, 255), "red": (230, 0, 0), "dark red": (128, 0, 0), "green": (0, 200, 0),
        "dark green": (0, 80, 0), "blue": (0, 0, 230), "dark blue": (0, 0, 110), "yellow": (255, 240, 60),
        "orange": (255, 140, 0), "magenta": (255, 0, 255), "purple": (110, 0, 130), "cyan": (0, 255, 255),
        "brown": (120, 60, 20), "pink": (255, 170, 200),
    }  # fmt: skip
    return min(names, key=lambda name: sum((a - b) ** 2 for a, b in zip(names[name], color, strict=True)))


def to_8_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image with 8 bits; floating-point values up to 1 are multiplied by 255."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16:
        return np.rint(values / 257).astype(np.uint8)
    low, high = float(values.min()), float(values.max())
    scale = 255.0 if low >= 0 and high <= 1 else 255.0 / max(high, 1.0)
    return np.rint(np.clip(values * scale, 0, 255)).astype(np.uint8)
