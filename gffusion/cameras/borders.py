"""Find borders that a registration left around infrared images."""

import math
from typing import Any

import numpy as np
import scipy  # imports ndimage on first use, which takes a quarter of a second
from numpy.typing import NDArray

from gffusion.models.gffusion.array_checks import unmask

from .common_frames import measure_bars
from .missing import Mask, fill_missing, get_edge

# Borders, in levels of 0 to 255.
_JPEG_LEVELS = 8.0
_MIN_AREA, _MAX_AREA, _MIN_AREA_OF_GRAY = 5e-4, 0.6, 5e-3
_MIN_STEP, _STEP_SHARE, _MIN_SHARPNESS = 14.0, 0.8, 0.7
# Rows and columns of exactly one value at a side: their number, share of the image, step, and values in the line behind them.
_MIN_LINES, _MAX_FRAME_SHARE, _MIN_FRAME_STEP, _MIN_VALUES = 2, 0.25, 8.0, 8
# Regions along a straight cut lie outside the convex hull of the rest, up to few pixels along the cut.
_MAX_DEPTH, _MAX_SHARE_IN_HULL = 2, 0.1
_DILATION = 2  # pixels along the step, which are mixtures
_SMALLEST_RANGE = 1e-30  # of floating-point values
_MIN_LENGTH = 16  # of the edge of the image, in pixels


def find_borders(values: NDArray[Any], missing: Mask | None = None) -> Mask | None:
    """Return the border that a registration left around the measured part of an infrared image; `None` without one.

    A border is a region of one value, such as black, that touches the edge of the image and is separated from a convex
    rest by a sharp step along straight lines. Small variations (JPEG) are allowed if it is black or white. A cold sky
    or a saturated object is none: its outline is not straight, or its boundary is gradual. Up to a quarter of the rows or
    columns at a side, of exactly one value, are a border also if the step is small, and so are as many at the opposite side.

    Args:
        values: (H, W) or (H, W, 3), of any numeric type.
        missing: (H, W), True where there is no measurement, such as at dead pixels. If a region of it lies along the edge
            of the image, the file marks its borders itself, and no others are searched for.

    Returns:
        (H, W), including the pixels along the step, which are mixtures.

    Raises:
        ValueError: If the array is masked.

    Examples:
        >>> values = np.random.default_rng(0).integers(90, 160, (60, 80)).astype(np.uint8)
        >>> find_borders(values) is None
        True
        >>> values[:, :20] = 0
        >>> find_borders(values)[0, [0, 19, 40]]
        array([ True,  True, False])
    """
    values = unmask(values, "infrared")
    if min(values.shape[:2]) < _MIN_LENGTH or (missing is not None and get_edge(missing).sum() >= _MIN_LENGTH):
        return None
    values = values if missing is None else fill_missing(values, missing)
    # The mean of three planes is faster than that along the last axis.
    gray = values if values.ndim == 2 else np.ascontiguousarray(np.moveaxis(values, -1, 0)).mean(axis=0)
    if not np.isfinite(gray).all():
        return None
    low, high = (float(limit) for limit in (gray.min(), gray.max()))
    if high - low < _SMALLEST_RANGE:
        return None
    levels = (gray - low) * (255 / (high - low)) if values.dtype != np.uint8 else gray
    candidates = _choose_border_values(levels)
    searched = [_find_border(levels, value, tolerance) for value, tolerance in candidates]
    searched += [_find_frame(levels, value) for value, _ in candidates]
    found = [border for border in searched if border is not None]
    if not found:
        return None
    joined = _add_opposite_bars(levels, np.logical_or.reduce(found))
    return joined if joined.mean() <= _MAX_AREA else found[0]


def find_missing_border(missing: Mask) -> Mask | None:
    """Return what lies along the sides of an image around the convex hull of its measured part, (H, W); `None` if nothing does.

    Dead pixels, holes, and missing regions that the measured part surrounds, such as saturated objects, belong to the hull.

    Examples:
        >>> missing = np.zeros((60, 80), bool)
        >>> missing[30, 40] = missing[:, :20] = True
        >>> find_missing_border(missing)[0, [0, 19, 20, 40]]
        array([ True,  True, False, False])
    """
    if get_edge(missing).sum() < _MIN_LENGTH:
        return None
    measured = _open(~_open(missing, 3), 5)
    if not measured.any():
        return None
    first, last = _find_hull(measured, 0)
    column = np.arange(missing.shape[1])
    regions, count = scipy.ndimage.label((column < first[:, None]) | (column > last[:, None]))
    lengths = np.bincount(get_edge(regions), minlength=count + 1)
    lengths[0] = 0
    border = (lengths >= _MIN_LENGTH)[regions]
    return border if border.any() else None


def _choose_border_values(levels: NDArray[Any]) -> list[tuple[float, float]]:
    """Return the values that a border could have, and how much they may vary."""
    edge = get_edge(levels)
    values, counts = np.unique(edge, return_counts=True)
    chosen: dict[float, float] = {}
    if np.mean(edge <= _JPEG_LEVELS) > 0.01:
        chosen[0.0] = _JPEG_LEVELS
    if np.mean(edge >= 255 - _JPEG_LEVELS) > 0.01:
        chosen[255.0] = _JPEG_LEVELS
    for index in np.argsort(-counts)[:3]:
        if counts[index] >= 0.05 * edge.size and min(values[index], 255 - values[index]) > _JPEG_LEVELS:
            chosen[float(values[index])] = 0.5
    return list(chosen.items())


def _find_border(levels: NDArray[Any], value: float, tolerance: float) -> Mask | None:
    """Return the border of one value, or `None`."""
    least = _MIN_AREA if tolerance > 1 else _MIN_AREA_OF_GRAY
    lowest, highest = value - tolerance, value + tolerance
    if levels.dtype == np.uint8:  # compared as they are, which takes a tenth of the time
        lowest, highest = max(0, math.ceil(lowest)), min(255, math.floor(highest))
    same = (levels >= lowest) & (levels <= highest)
    needed = (1 - _MAX_SHARE_IN_HULL) * least * same.size
    if get_edge(same).sum() < _MIN_LENGTH or np.count_nonzero(same) < needed:  # of which opening keeps a part
        return None
    opened = _open(same, 3)
    if not _can_hold_border(opened, needed):
        return None
    border = _keep_outside_hull(same, opened)
    if not least <= border.mean() <= _MAX_AREA or not _has_sharp_step(levels, border, value):
        return None
    return np.asarray(scipy.ndimage.binary_dilation(border, iterations=_DILATION), np.bool_)


def _find_frame(levels: NDArray[Any], value: float) -> Mask | None:
    """Return the border if it is whole rows and columns of exactly one value, or `None`."""
    height, width = levels.shape
    top, bottom, left, right = counts = measure_bars(levels, levels.dtype.type(value))
    inside = levels[top : height - bottom, left : width - right]
    behind = inside, inside[::-1], inside.T, inside.T[::-1]  # the lines behind those of the value, at the four sides
    top, bottom, left, right = (
        count if _MIN_LINES <= count <= length * _MAX_FRAME_SHARE and _is_scene(lines, value) else 0
        for count, length, lines in zip(counts, (height, height, width, width), behind, strict=True)
    )
    area = levels.size - (height - top - bottom) * (width - left - right)
    if not _MIN_AREA <= area / levels.size <= _MAX_AREA:
        return None
    border = np.ones(levels.shape, np.bool_)
    border[top : height - bottom, left : width - right] = False
    return np.asarray(scipy.ndimage.binary_dilation(border, iterations=_DILATION), np.bool_)


def _add_opposite_bars(levels: NDArray[Any], border: Mask) -> Mask:
    """Return the border with the second bar of letter and pillar boxes, behind which a dark sky can have no step."""
    added = border.copy()
    for turns in range(4):  # so that the found bar is at the top
        turned = np.rot90(levels, turns)
        count = int(np.argmin(np.rot90(border, turns).all(axis=1))) - _DILATION
        if count < _MIN_LINES:
            continue
        last = turned[::-1][: 2 * count]
        differences = np.abs(last - np.median(turned[:count])).max(axis=1)
        # A sky of the same value has any number of lines; bars differ by one if their sum is odd.
        for lines in (int(np.argmax(differences > tolerance)) for tolerance in (0, _JPEG_LEVELS)):
            if abs(lines - count) <= 1:
                np.rot90(added, turns)[-lines - _DILATION :] = True
                break
    return added


def _is_scene(lines: NDArray[Any], value: float) -> bool:
    """Return whether the lines behind a frame begin with a sharp step from its value, and have texture."""
    steps = np.abs(lines[:8].astype(np.float64) - value)
    near, far = steps[0], steps[2:]
    is_step = np.mean(near >= (_MIN_FRAME_STEP if value == 0 else 2 * _MIN_FRAME_STEP)) >= _STEP_SHARE
    if not is_step or len(np.unique(near)) < _MIN_VALUES or far.size == 0:
        return False
    return bool(np.median(near) >= _MIN_SHARPNESS * np.median(far))


def _can_hold_border(opened: Mask, needed: float) -> bool:
    """Return whether a border can have the needed pixels, which is faster than finding that there is none.

    Borders lie outside the convex hull of the rest, which regions of `opened` that are no border would only enlarge.
    """
    if get_edge(opened).sum() < _MIN_LENGTH:
        return False
    rest = _open(~opened, 5)
    if not rest.any():
        return True
    first, last = _find_hull(rest, _MAX_DEPTH)
    return bool(rest.size - np.maximum(last - first + 1, 0).sum() >= needed)


def _keep_outside_hull(same: Mask, opened: Mask) -> Mask:
    """Return the regions of a mask that touch the edge of the image and lie outside the convex hull of the rest."""
    regions, count = scipy.ndimage.label(opened)
    lengths = np.bincount(get_edge(regions), minlength=count + 1)
    lengths[0] = 0
    candidates = lengths >= _MIN_LENGTH
    rest = _open(~candidates[regions], 5)  # without the specks of JPEG along the step
    if not candidates.any() or not rest.any():
        return np.zeros_like(same)
    first, last = _find_hull(rest, _MAX_DEPTH)
    column = np.arange(same.shape[1])
    inner = (column >= first[:, None]) & (column <= last[:, None])
    shares = _count(regions, len(lengths), opened & inner) / np.maximum(_count(regions, len(lengths), opened), 1)
    kept = (candidates & (shares <= _MAX_SHARE_IN_HULL))[regions]
    if not kept.any():
        return kept
    return np.asarray(scipy.ndimage.binary_propagation(kept, mask=kept | (same & ~inner)), np.bool_)


def _find_hull(mask: Mask, depth: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and the last column, by row, of the convex hull of a mask that is not empty, without `depth` outer pixels.

    The edge of the image does not erode it. In an empty row, the first column is behind the last one.
    """
    height, width = mask.shape
    rows = np.flatnonzero(mask.any(axis=1))
    hull = np.arange(rows[0], rows[-1] + 1)
    first, last = np.full(height + 2, width), np.full(height + 2, -1)
    first[1 + hull] = np.ceil(_follow_hull(rows, mask.argmax(axis=1)[rows], hull) - 1e-9)
    last[1 + hull] = width - 1 - np.ceil(_follow_hull(rows, mask[:, ::-1].argmax(axis=1)[rows], hull) - 1e-9)
    for _ in range(depth):
        first[[0, -1]], last[[0, -1]] = 0, width - 1  # the rows outside of the image
        inside = np.where(first == 0, 0, first + 1), np.where(last == width - 1, last, last - 1)
        first[1:-1] = np.max([inside[0][1:-1], first[:-2], first[2:]], axis=0)
        last[1:-1] = np.min([inside[1][1:-1], last[:-2], last[2:]], axis=0)
    return first[1:-1], last[1:-1]


def _follow_hull(rows: NDArray[Any], ends: NDArray[Any], places: NDArray[Any]) -> NDArray[np.float64]:
    """Return the column of the convex hull's left side at rows `places`, given the first pixels of `rows`."""
    corners = np.concatenate([rows - 0.5, rows, rows + 0.5]), np.concatenate([ends, ends - 0.5, ends])
    order = np.lexsort(corners[::-1])
    row, column = corners[0][order], corners[1][order]
    is_first = np.diff(row, prepend=-1) > 0  # two pixels share a corner's row
    row, column = row[is_first], column[is_first]
    while True:  # a corner that is not left of the line between its neighbors is none of the hull
        slopes = np.diff(column) / np.diff(row)
        is_corner = np.concatenate([[True], slopes[1:] > slopes[:-1], [True]])
        if is_corner.all():
            return np.interp(places, row, column)
        row, column = row[is_corner], column[is_corner]


def _count(regions: NDArray[np.signedinteger[Any]], length: int, mask: Mask) -> NDArray[np.int64]:
    """Return the number of pixels of every region in a mask, in parts of the image: counting copies them to 64 bits."""
    counts = np.zeros(length, np.int64)
    for top in range(0, len(regions), 256):
        rows = slice(top, top + 256)
        counts += np.bincount(regions[rows][mask[rows]], minlength=length)
    return counts


def _open(mask: Mask, size: int) -> Mask:
    """Return the binary opening of a mask with a square; the mask goes on outside of the image."""
    opened = np.pad(mask, size - 1, mode="edge")
    for combine in (np.bitwise_and, np.bitwise_or):  # erosion, then dilation; fifty times as fast as scipy's
        for axis in (0, 1):
            length = opened.shape[axis] - size + 1
            shifted = [
                opened[shift : shift + length] if axis == 0 else opened[:, shift : shift + length]
                for shift in range(size)
            ]
            opened = combine(shifted[0], shifted[1])
            for other in shifted[2:]:
                combine(opened, other, out=opened)
    return opened


def _has_sharp_step(levels: NDArray[Any], border: Mask, value: float) -> bool:
    """Return whether values differ clearly from the border's right behind it, and hardly more further away."""
    distance = scipy.ndimage.distance_transform_cdt(~border, "chessboard")
    near, far = (np.abs(levels[distance == pixels] - value) for pixels in (3, 8))
    if near.size == 0 or far.size == 0:
        return False
    is_step = np.mean(near >= (_MIN_STEP if value == 0 else 2 * _MIN_STEP)) >= _STEP_SHARE
    # Behind a gradual boundary, values are just beyond the tolerance, and go on changing.
    sharpness = (np.median(near) - _JPEG_LEVELS) / max(np.median(far) - _JPEG_LEVELS, 1)
    return bool(is_step and sharpness >= _MIN_SHARPNESS)
