"""Find pixels without a value, fill them, and blend the visible image over larger holes of the infrared image."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy  # imports ndimage on first use, which takes a quarter of a second
from numpy.typing import NDArray

from gffusion.models.gffusion.array_checks import check_mask, unmask

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
_SMOOTHED = 2  # pixels on each side of which a mean fills a pixel
_ROWS = 256  # rows computed at once, to limit memory


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

    Examples:
        >>> find_missing(np.array([[21.5, -9999, 22.5, 23]], np.float32))
        array([[False,  True, False, False]])
        >>> find_missing(np.array([[20, 0, 255]], np.uint8)) is None
        True
    """
    values = unmask(values, "infrared")
    missing = find_unset(values, no_data)
    if values.ndim == 2 and values.dtype != np.uint8:
        missing |= _find_markers(values, missing)
    return missing if missing.any() else None


def find_unset(values: NDArray[Any], no_data: float | None = None) -> Mask:
    """Return where an image has no value by its type and its file, (H, W): NaN, infinite values, magnitudes from 1e30, and `no_data`.

    Args:
        values: (H, W) or (H, W, 3), of any numeric type. One channel that is not finite is enough, but all must be `no_data`.
        no_data: Value that marks missing pixels, if the file names it.

    Examples:
        >>> find_unset(np.array([[0, -9999, np.nan]], np.float32), no_data=-9999)
        array([[False,  True,  True]])
    """
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
    return missing


def find_outside(missing: Mask) -> Mask:
    """Return the missing regions that touch a side of the image, as around a mosaic of aerial images; (H, W).

    Examples:
        >>> find_outside(np.array([[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]], bool)).astype(int)
        array([[1, 0, 0, 0],
               [1, 0, 0, 0],
               [0, 0, 0, 0]])
    """
    regions, count = scipy.ndimage.label(missing)
    is_outside = np.zeros(count + 1, np.bool_)  # a table: np.isin takes much memory
    is_outside[get_edge(regions)] = True
    is_outside[0] = False
    outside: Mask = is_outside[regions]
    return outside


def get_edge(image: NDArray[Any]) -> NDArray[Any]:
    """Return the first and last rows and columns of an image (H, W), one after another."""
    return np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])


def join_masks(first: Mask | None, second: Mask | None) -> Mask | None:
    """Return where one of two masks, (H, W), is true; `None` if both are."""
    return second if first is None else first if second is None else first | second


def format_share(mask: Mask) -> str:
    """Return the share of a mask that is true, such as "2.5 %".

    Examples:
        >>> format_share(np.array([True, False])), format_share(np.arange(1000) > 0)
        ('50 %', '100 %')
    """
    percent = 100 * mask.mean()
    return f"{percent:.2g} %" if percent < 99.5 else "100 %"


def fill_missing(values: NDArray[Any], missing: Mask) -> NDArray[Any]:
    """Return an image with smooth values instead of missing ones; the others are unchanged.

    Args:
        values: (H, W) or (H, W, 3).
        missing: (H, W), True where there is no measurement.

    Raises:
        ValueError: If all pixels are missing, the array is masked, or the mask is not bool or has another size.

    Examples:
        >>> fill_missing(np.array([[10, 0, 10]], np.uint8), np.array([[False, True, False]]))
        array([[10, 10, 10]], dtype=uint8)
    """
    values = unmask(values, "infrared")
    check_mask(missing, values.shape[:2], "The mask of missing pixels")
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

    Examples:
        >>> missing = np.zeros((80, 80), bool)
        >>> missing[:, 40:] = True
        >>> blended = blend_visible(np.full((80, 80), 200, np.uint8), np.full((80, 80), 100, np.uint8), missing)
        >>> blended[0, [39, 40, 79]].tolist()
        [200, 200, 100]
    """
    if missing is None or not missing.any():
        return fused
    blended = np.empty_like(fused)
    for rows, weight in _weigh_rows(missing):
        shares = weight[..., None] if fused.ndim == 3 else weight
        band = fused[rows] + shares * (visible[rows].astype(np.float64) - fused[rows])
        blended[rows] = np.rint(band) if fused.dtype.kind in "iu" else band
    return blended


def weight_visible(missing: Mask) -> NDArray[np.float64]:
    """Return the weight (H, W) of the visible image in [`blend_visible`].

    Examples:
        >>> weight_visible(np.arange(8)[None] > 1).round(1)
        array([[0. , 0. , 0. , 0.5, 1. , 1. , 1. , 1. ]])
    """
    return np.concatenate([weight for _, weight in _weigh_rows(missing)])


def _weigh_rows(missing: Mask) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield the rows of bands of an image and their weights of the visible image."""
    nearest = scipy.ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    height, width = missing.shape
    bands = [slice(top, min(top + _ROWS, height)) for top in range(0, height, _ROWS)]

    def measure(rows: slice) -> NDArray[np.float64]:
        down = nearest[0, rows] - np.arange(rows.start, rows.stop, dtype=np.float64)[:, None]
        return np.sqrt(down**2 + (nearest[1, rows] - np.arange(width, dtype=np.float64)) ** 2)

    largest = max(measure(rows).max() for rows in bands)
    feather = np.clip(largest / 2, 2, max(2.0, min(missing.shape) * _FEATHER))
    for rows in bands:
        share = np.clip((measure(rows) - 1) / feather, 0, 1)
        yield rows, share * share * (3 - 2 * share)  # smoothstep


def _smooth_nearest(values: NDArray[Any], missing: Mask) -> NDArray[Any]:
    """Return means of the nearest measured values, which alone would draw streaks into large holes."""
    rows, columns = scipy.ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    smooth = np.empty_like(values)
    for top in range(0, len(values), _ROWS):
        first, last = max(0, top - _SMOOTHED), top + _ROWS + _SMOOTHED
        planes = np.atleast_3d(values[rows[first:last], columns[first:last]]).astype(np.float64)
        filtered = [
            scipy.ndimage.uniform_filter(plane, 2 * _SMOOTHED + 1, mode="nearest")[top - first :][:_ROWS]
            for plane in np.moveaxis(planes, -1, 0)
        ]
        band = np.stack(filtered, axis=-1).reshape(-1, *values.shape[1:])
        smooth[top : top + _ROWS] = np.rint(band) if values.dtype.kind in "iu" else band
    return smooth


def _find_markers(values: NDArray[Any], missing: Mask) -> Mask:
    """Return where a usual marker of missing values is far outside the range of the others."""
    if values.dtype.kind == "u":
        markers = {0.0: _DEAD_GAP, float(np.iinfo(values.dtype).max): _DEAD_GAP}
    else:
        markers = dict.fromkeys(_MARKERS, _MARKER_GAP) | ({0.0: _ZERO_GAP} if values.dtype.kind == "f" else {})
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
    regions, count = scipy.ndimage.label(mask, np.ones((3, 3), np.bool_))
    around = np.where(mask, 0, scipy.ndimage.maximum_filter(regions, 3))
    reach = 0.25 * max(high - low, 1e-12)
    ordinary = (values > low - reach) if marker < low else (values < high + reach)
    shares = scipy.ndimage.mean(ordinary, around, np.arange(count + 1))
    shares[0] = 0
    lonely = np.bincount(around.ravel(), minlength=count + 1) == 0
    return (np.where(lonely, 1, shares) >= _ORDINARY_SHARE)[regions] & mask
