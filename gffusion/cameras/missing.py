"""Find infrared pixels without a measurement, fill them, and blend the visible image over larger holes."""

import math
from typing import Any

import numpy as np
import scipy  # imports ndimage on first use, which takes a quarter of a second
from numpy.typing import NDArray

Mask = NDArray[np.bool_]

# Values that mark missing pixels in many raster files (ESRI, GDAL, MODIS), and absolute zero in degrees Celsius, which
# converted zeros give; larger magnitudes are those of float types.
_MARKERS = (-999.0, -9999.0, -99999.0, -32767.0, -32768.0, float(np.iinfo(np.int32).min), -273.15)
_HUGE = 1e30
_BODY_PERCENTILES = (0.5, 99.5)
# A marker is outside the range of the other values by at least this many times the width of that range.
_MARKER_GAP, _DEAD_GAP, _ZERO_GAP = 0.5, 0.5, 2.0
# Share of the neighbors of a dead region that must have ordinary values: saturated objects have a gradual boundary.
_ORDINARY_SHARE = 0.8
# The visible image replaces the fused one from this distance inside a hole, as a share of the shorter side.
_FEATHER = 1 / 16
# Values up to so many pixels around a hole fill it. A few holes, such as dead pixels, are filled one by one, which is faster.
_FILL_REACH, _MAX_PARTS = 3, 64


def find_missing(values: NDArray[Any], no_data: float | None = None) -> Mask | None:
    """Return where an infrared image has no measurement, (H, W); `None` if it has one everywhere.

    NaN, infinite values and `no_data` are missing. So are the usual markers -999, -9999, -99999, -32767, -32768, -273.15
    and magnitudes from 1e30, and zero and the largest value of unsigned counts (16 or 32 bits), if they are far outside
    the range of all other values, or if all counts have one of the two. Zeros and saturated values that neighbors approach
    gradually are measurements.

    Args:
        values: (H, W) or (H, W, 3), of any numeric type.
        no_data: Value that marks missing pixels, if the file names it.

    Raises:
        ValueError: If the array is masked.

    Example:
        >>> find_missing(np.array([[21.5, -9999, 22.5, 23]], np.float32))
        array([[False,  True, False, False]])
        >>> find_missing(np.array([[20, 0, 255]], np.uint8)) is None
        True
    """
    values = _unmask(values)
    missing = np.zeros(values.shape[:2], np.bool_)
    planes = values[..., None] if values.ndim == 2 else values
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # half precision cannot hold them
            missing |= (~np.isfinite(planes) | (np.abs(planes) >= _HUGE)).any(axis=-1)
    if no_data is not None and np.isfinite(no_data):
        # Integers cannot hold every value; as text, floats can have more digits than their type.
        with np.errstate(over="ignore"):  # infinite, which is missing anyway
            stored = no_data if values.dtype.kind in "iu" else np.asarray(no_data, np.float64).astype(planes.dtype)
        missing |= (planes == stored).all(axis=-1)
    if values.ndim == 2 and values.dtype != np.uint8:
        missing |= _find_markers(values, missing)
    return missing if missing.any() else None


def find_borders(values: NDArray[Any], missing: Mask | None = None) -> Mask | None:
    """Return the border that a registration left around the measured part of an infrared image; `None` without one.

    A border is a region of one value, such as black, that touches the edge of the image and is separated from a convex
    rest by a sharp step along straight lines. Small variations (JPEG) are allowed if it is black or white. A cold sky
    or a saturated object is none: its outline is not straight, or its boundary is gradual.

    Args:
        values: (H, W) or (H, W, 3), of any numeric type.
        missing: (H, W), True where there is no measurement, such as at dead pixels. If a region of it lies along the edge
            of the image, the file marks its borders itself, and no others are searched for.

    Returns:
        (H, W), including the pixels along the step, which are mixtures.

    Raises:
        ValueError: If the array is masked.

    Example:
        >>> values = np.random.default_rng(0).integers(90, 160, (60, 80)).astype(np.uint8)
        >>> find_borders(values) is None
        True
        >>> values[:, :20] = 0
        >>> find_borders(values)[0, [0, 19, 40]]
        array([ True,  True, False])
    """
    values = _unmask(values)
    if min(values.shape[:2]) < _MIN_LENGTH or (missing is not None and _count_edge(missing) >= _MIN_LENGTH):
        return None
    values = values if missing is None else fill_missing(values, missing)
    gray = values if values.ndim == 2 else values.mean(axis=-1)
    if not np.isfinite(gray).all():
        return None
    low, high = (float(limit) for limit in (gray.min(), gray.max()))
    if low == high:
        return None
    levels = (gray - low) * (255 / (high - low)) if values.dtype != np.uint8 else gray
    for value, tolerance in _choose_border_values(levels):
        border = _find_border(levels, value, tolerance)
        if border is not None:
            return border
    return None


def join_masks(first: Mask | None, second: Mask | None) -> Mask | None:
    """Return where one of two masks, (H, W), is true; `None` if both are."""
    return second if first is None else first if second is None else first | second


def fill_missing(values: NDArray[Any], missing: Mask) -> NDArray[Any]:
    """Return an infrared image with smooth values instead of missing ones; the others are unchanged.

    Args:
        values: (H, W) or (H, W, 3).
        missing: (H, W), True where there is no measurement.

    Raises:
        ValueError: If all pixels are missing, or the array is masked.

    Example:
        >>> fill_missing(np.array([[10, 0, 10]], np.uint8), np.array([[False, True, False]]))
        array([[10, 10, 10]], dtype=uint8)
    """
    values = _unmask(values)
    if missing.all():
        raise ValueError(
            "the infrared image has no measured pixel: all values are NaN, mark missing data, or are 0 or the largest count"
        )
    if not missing.any():
        return values
    filled = values.copy()
    regions, count = scipy.ndimage.label(scipy.ndimage.maximum_filter(missing, 2 * _FILL_REACH + 1))
    if count > _MAX_PARTS:
        regions, count = np.ones_like(regions), 1
    for number, part in enumerate(scipy.ndimage.find_objects(regions), start=1):
        hole = missing[part] & (regions[part] == number)
        filled[part][hole] = _smooth_nearest(values[part], missing[part])[hole]
    return filled


def blend_visible(fused: NDArray[Any], visible: NDArray[Any], missing: Mask | None) -> NDArray[Any]:
    """Return a fused image that turns into the visible image inside holes of the infrared image.

    Pixels with a measurement are unchanged, and so are small holes, such as dead pixels: the visible image gains weight
    with the distance from the edge of the hole.

    Args:
        fused: (H, W) or (H, W, 3).
        visible: Of the same shape, dtype and colors.
        missing: (H, W), True where the infrared image has no measurement.

    Example:
        >>> missing = np.zeros((80, 80), bool)
        >>> missing[:, 40:] = True
        >>> blended = blend_visible(np.full((80, 80), 200, np.uint8), np.full((80, 80), 100, np.uint8), missing)
        >>> blended[0, [39, 40, 79]].tolist()
        [200, 200, 100]
    """
    if missing is None or not missing.any():
        return fused
    distances = scipy.ndimage.distance_transform_edt(missing)
    width = np.clip(distances.max() / 2, 2, max(2.0, min(missing.shape) * _FEATHER))
    share = np.clip((distances - 1) / width, 0, 1)
    weight = share * share * (3 - 2 * share)  # smoothstep
    weight = weight[..., None] if fused.ndim == 3 else weight
    blended = fused + weight * (visible.astype(np.float64) - fused)
    return (np.rint(blended) if fused.dtype.kind in "iu" else blended).astype(fused.dtype)


def _unmask(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array without the type of masked arrays, as the image processor does, whose import takes seconds."""
    if np.ma.is_masked(values):
        raise ValueError(
            "The infrared image is a masked array: pass its values, image.data; its mask is what is missing."
        )
    return np.asarray(values)


def _smooth_nearest(values: NDArray[Any], missing: Mask) -> NDArray[Any]:
    """Return means of the nearest measured values, which alone would draw streaks into large holes."""
    rows, columns = scipy.ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    planes = np.atleast_3d(values[rows, columns]).astype(np.float64)
    filtered = [scipy.ndimage.uniform_filter(plane, 5, mode="nearest") for plane in np.moveaxis(planes, -1, 0)]
    smooth = np.stack(filtered, axis=-1).reshape(values.shape)
    return (np.rint(smooth) if values.dtype.kind in "iu" else smooth).astype(values.dtype)


def _find_markers(values: NDArray[Any], missing: Mask) -> Mask:
    """Return where a usual marker of missing values is far outside the range of the others."""
    zero = 0.0
    markers = {marker: _MARKER_GAP for marker in _MARKERS if values.dtype.kind in "if"}
    if values.dtype.kind == "u":
        markers |= {zero: _DEAD_GAP, float(np.iinfo(values.dtype).max): _DEAD_GAP}
    elif values.dtype.kind == "f":
        markers |= {zero: _ZERO_GAP}
    with np.errstate(over="ignore"):  # half precision cannot hold all of them
        found = {marker: mask for marker in markers if (mask := (values == marker) & ~missing).any()}
    marked = np.zeros_like(missing)
    if not found:
        return marked
    others = values[~missing & ~np.logical_or.reduce(list(found.values()))]
    if others.size == 0:  # an image of zeros in degrees, or of 0 and the largest value, can be a measurement
        is_dead = values.dtype.kind == "u" and len(found) == 1
        return np.logical_or.reduce(
            [marked, *(mask for marker, mask in found.items() if is_dead or marker in _MARKERS)]
        )
    low, high = (float(limit) for limit in np.percentile(others, _BODY_PERCENTILES))
    for marker, mask in found.items():
        gap = max(low - marker, marker - high)
        if gap <= 0 or gap < markers[marker] * (high - low):
            continue
        # Markers of integers are no measurement of a scene; zeros and saturated values can be one.
        marked |= mask if marker in _MARKERS else _keep_abrupt(values, mask, low, high, marker)
    return marked


def _keep_abrupt(values: NDArray[Any], mask: Mask, low: float, high: float, marker: float) -> Mask:
    """Return the regions of a mask most of whose neighbors have ordinary values, not values on the way to the marker."""
    regions = scipy.ndimage.label(mask, np.ones((3, 3), np.bool_))[0]
    count = int(regions.max())
    around = np.where(mask, 0, scipy.ndimage.maximum_filter(regions, 3))
    reach = 0.25 * max(high - low, 1e-12)
    ordinary = (values > low - reach) if marker < low else (values < high + reach)
    shares = scipy.ndimage.mean(ordinary, around, np.arange(count + 1))
    shares[0] = 0
    lonely = np.bincount(around.ravel(), minlength=count + 1)[: count + 1] == 0
    return (np.where(lonely, 1, shares) >= _ORDINARY_SHARE)[regions] & mask


# Borders, in levels of 0 to 255.
_JPEG_LEVELS = 8.0
_MIN_AREA, _MAX_AREA, _MIN_AREA_OF_GRAY = 5e-4, 0.6, 5e-3
_MIN_STEP, _STEP_SHARE, _MIN_SHARPNESS = 14.0, 0.8, 0.7
# Regions along a straight cut lie outside the convex hull of the rest, up to few pixels along the cut.
_MAX_DEPTH, _MAX_SHARE_IN_HULL = 2, 0.1
_MIN_LENGTH = 16  # of the edge of the image, in pixels


def _choose_border_values(levels: NDArray[Any]) -> list[tuple[float, float]]:
    """Return the values that a border could have, and how much they may vary."""
    edge = np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])
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
    if _count_edge(same) < _MIN_LENGTH or np.count_nonzero(same) < needed:  # of which opening keeps a part
        return None
    opened = _open(same, 3)
    if not _can_hold_border(same, opened, needed):
        return None
    border = _keep_outside_hull(same, opened)
    if not least <= border.mean() <= _MAX_AREA:
        return None
    if not _has_sharp_step(levels, border, value):
        return None
    return np.asarray(scipy.ndimage.binary_dilation(border, iterations=2), np.bool_)


def _can_hold_border(same: Mask, opened: Mask, needed: float) -> bool:
    """Return whether a border can have the needed pixels: it takes a fifth of the time of finding that there is none.

    The regions of `opened` that are no candidates only enlarge the hull, and what is kept of a region is mostly outside.
    """
    if _count_edge(opened) < _MIN_LENGTH:
        return False
    rest = _open(~opened, 5)
    outside = np.count_nonzero(same & ~_fill_eroded_hull(rest)) if rest.any() else same.size
    return bool(outside >= needed)


def _count_edge(mask: Mask) -> int:
    """Return the number of true pixels in the first and last rows and columns."""
    return sum(int(np.count_nonzero(edge)) for edge in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))


def _keep_outside_hull(same: Mask, opened: Mask) -> Mask:
    """Return the regions of a mask that touch the edge of the image and lie outside the convex hull of the rest."""
    regions = scipy.ndimage.label(opened)[0]
    edge = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    lengths = np.bincount(edge, minlength=regions.max() + 1)
    lengths[0] = 0
    candidates = lengths >= _MIN_LENGTH
    rest = _open(~candidates[regions], 5)  # without the specks of JPEG along the step
    if not candidates.any() or not rest.any():
        return np.zeros_like(same)
    inner = _fill_eroded_hull(rest)
    shares = _count(regions, len(lengths), inner) / np.maximum(_count(regions, len(lengths)), 1)
    kept = (candidates & (shares <= _MAX_SHARE_IN_HULL))[regions]
    if not kept.any():
        return kept
    return np.asarray(scipy.ndimage.binary_propagation(kept, mask=kept | (same & ~inner)), np.bool_)


def _fill_eroded_hull(mask: Mask) -> Mask:
    """Return the convex hull of the pixels of a mask that is not empty, without its outer pixels.

    The edge of the image does not erode it.
    """
    height, width = mask.shape
    rows = np.flatnonzero(mask.any(axis=1))
    hull = np.arange(rows[0], rows[-1] + 1)
    # In an empty row, the first column is behind the last one.
    first, last = np.full(height + 2, width), np.full(height + 2, -1)
    first[1 + hull] = np.ceil(_follow_hull(rows, mask[rows].argmax(axis=1), hull) - 1e-9)
    last[1 + hull] = width - 1 - np.ceil(_follow_hull(rows, mask[rows, ::-1].argmax(axis=1), hull) - 1e-9)
    for _ in range(_MAX_DEPTH):
        first[[0, -1]], last[[0, -1]] = 0, width - 1  # the rows outside of the image
        inside = np.where(first == 0, 0, first + 1), np.where(last == width - 1, last, last - 1)
        first[1:-1] = np.max([inside[0][1:-1], first[:-2], first[2:]], axis=0)
        last[1:-1] = np.min([inside[1][1:-1], last[:-2], last[2:]], axis=0)
    column = np.arange(width, dtype=np.int32)
    return (column >= first[1:-1, None].astype(np.int32)) & (column <= last[1:-1, None].astype(np.int32))


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


def _count(regions: NDArray[np.signedinteger[Any]], length: int, mask: Mask | None = None) -> NDArray[np.int64]:
    """Return the number of pixels of every region, in parts of the image: counting copies them to 64 bits."""
    counts = np.zeros(length, np.int64)
    for top in range(0, len(regions), 256):
        part = regions[top : top + 256]
        counts += np.bincount(part.ravel() if mask is None else part[mask[top : top + 256]], minlength=length)
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
