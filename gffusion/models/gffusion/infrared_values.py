"""Map the values of visible and infrared images to [0, 1]: ranges, inversion and automatic gain control."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.utils import logging

from .array_checks import check_mask, unmask
from .image_ops import ROUNDING, rgb_to_luma
from .infrared_options import DEFAULT_PLATEAU_LIMIT, InfraredOptions, Limits

logger = logging.get_logger(__name__)

Mask = NDArray[np.bool_]

# Wide enough to keep contrast within people, who cover few pixels of a street; narrow enough to ignore dead pixels.
PERCENTILES = (0.1, 99.9)
# A 16-bit thermal image that uses a smaller share of its range than this looks uniformly gray.
_NARROW_RANGE, _BULK = 0.1, (0.5, 99.5)
LOOKS_FLAT = (
    "A 16-bit infrared image uses less than a tenth of its range and will look flat. "
    'Set infrared_range="percentile" (--infrared-range percentile), or a range in counts.'
)
"""The warning about such an image, unless its range was chosen."""
# An image of which a larger share is outside a fixed range has another unit or another scene.
MOST = 0.5
_HISTOGRAM_BINS = 512
_PARTS = 8  # in which CLAHE divides each side
_CLAHE_BINS = 253  # of the default 256, scikit-image leaves the last three empty, so that white depends on the others
_MASK = ", or give `predict` or the image processor a mask of them: missing=[np.isnan(infrared)]."


def scale_by_type(array: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Divide integers by the largest value of their type; raise ValueError for other values that are not in [0, 1], or masked ones.

    `name` is that of the image in errors, "visible", "infrared" or "fused". Values may exceed [0, 1] by rounding.
    """
    array = unmask(array, name)
    if np.issubdtype(array.dtype, np.integer):
        values = array.astype(np.float32)
        values /= np.float32(np.iinfo(array.dtype).max)
        return values
    low, high = float(array.min()), float(array.max())
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # also rejects NaN
        hint = "Scale it first, for example -1 to 1 by (image + 1) / 2."
        if name == "visible":
            hint = "Scale it first, or give files with visible_range=(low, high) (--visible-range LOW,HIGH)."
        if name == "infrared":
            hint = 'Pass infrared_range="percentile" (--infrared-range percentile) or a range in its unit.'
        if not np.isfinite(array).all():
            hint = "Replace NaN and infinite values first" + (_MASK if name == "infrared" else ".")
        raise ValueError(
            f"The {name} image must have values in [0, 1] or unsigned integers of 8 or 16 bits, got {low:g} to {high:g}. {hint}"
        )
    values = array.astype(np.float32)
    return np.clip(values, 0, 1, out=values)


def to_visible_values(array: NDArray[Any], name: str = "visible") -> NDArray[np.float32]:
    """Scale a visible or fused image (H, W) or (H, W, 3) to [0, 1] by its type -> (3, H, W); a gray image is repeated.

    `name` and errors are those of [`scale_by_type`].
    """
    values = scale_by_type(array, name)
    return np.repeat(values[None], 3, axis=0) if values.ndim == 2 else np.moveaxis(values, -1, 0)  # (3, H, W)


def to_infrared_values(
    array: NDArray[Any], options: InfraredOptions, missing: Mask | None = None
) -> NDArray[np.float32]:
    """Map an infrared image (H, W) or (H, W, 3) to [0, 1] -> (1, H, W); color is reduced to luma.

    Args:
        array: The image, uint8, uint16 or floating point.
        options: How values are mapped.
        missing: (H, W), True where nothing was measured. Such pixels count in no range and no histogram.

    Raises:
        ValueError: If floating-point values are outside [0, 1] and no range is given, values are not finite, most pixels
            are outside a fixed range, all pixels are missing, the mask is not bool or has another size, or the range depends
            on other images, too.

    Examples:
        >>> to_infrared_values(np.array([[0, 51], [204, 255]], np.uint8), InfraredOptions([255, 0]))
        array([[[1. , 0.8],
                [0.2, 0. ]]], dtype=float32)
    """
    if options.needs_measuring:
        raise ValueError(
            'infrared_range="folder" and `smooth_range` depend on several images, which `gffusion fuse`, the pipeline with a '
            "list of pairs, and FusionDataset measure first. Here, pass infrared_range=[low, high], measured with "
            'gffusion.cameras.running_range.measure_ranges, or "percentile" for the range of each image.'
        )
    check_mask(missing, array.shape[:2])
    if missing is not None and not missing.any():
        missing = None
    array = array if missing is None else _bound_missing(array, missing)
    valid = slice(None) if missing is None else ~missing
    if options.infrared_range in ("auto", "type"):  # arrays show no file: their type decides
        values = _scale_infrared_by_type(array, valid, options)
        if options.agc == "clahe":  # the image may fill any part of the range of its type
            values = _stretch(values, missing)
    else:
        values = _scale_to_range(array, valid, options)
    if options.agc == "plateau":
        values = equalize_plateau(values, options.plateau_limit or DEFAULT_PLATEAU_LIMIT, missing)
    elif options.agc == "clahe":
        values = equalize_clahe(values, missing)
    return values[None]


def measure_limits(array: NDArray[Any], missing: Mask | None = None) -> Limits:
    """Return the 0.1st and 99.9th percentile of the [`measured_counts`] of an infrared image."""
    low, high = np.percentile(measured_counts(array, missing), PERCENTILES)
    return float(low), float(high)


def measured_counts(array: NDArray[Any], missing: Mask | None = None) -> NDArray[np.float64]:
    """Return the values (N,) of an infrared image (H, W) or (H, W, 3) that are not missing, in float64; color as luma."""
    check_mask(missing, array.shape[:2])
    if missing is not None:
        array = _bound_missing(array, missing)
    counts = _to_counts(array)
    return counts.ravel() if missing is None else counts[~missing]


def share_outside(counts: NDArray[np.float64], limits: Limits) -> float:
    """Return the share of values that are outside the limits."""
    return float(((counts < limits[0]) | (counts > limits[1])).mean())


def equalize_plateau(
    values: NDArray[np.float32], limit: float = DEFAULT_PLATEAU_LIMIT, missing: Mask | None = None
) -> NDArray[np.float32]:
    """Equalize the histogram of values in [0, 1], (H, W), counting no bin more than `limit` times the mean of the others.

    Without a limit, large uniform areas such as the sky would take most gray levels. Empty bins do not count in the
    mean.

    Source:
        V. E. Vickers, Plateau equalization algorithm for real-time display of high-quality infrared imagery, Optical
        Engineering 35(7), 1996, doi:10.1117/1.601006.
    """
    measured = (values if missing is None else values[~missing]).astype(np.float64)  # for bins of nearly flat images
    low, high = float(measured.min()), float(measured.max())
    if low == high:
        return values
    counts, edges = np.histogram(measured, _HISTOGRAM_BINS, (low, high))
    clipped = np.minimum(counts, limit * counts[counts > 0].mean())
    shares = np.concatenate([[0], clipped.cumsum()]) / clipped.sum()
    return np.interp(values, edges, shares).astype(np.float32)


def equalize_clahe(values: NDArray[np.float32], missing: Mask | None = None) -> NDArray[np.float32]:
    """Equalize the histograms of parts of values in [0, 1], (H, W), with scikit-image's `equalize_adapthist`.

    Black and white are 0 and 1, not the extremes of the image, so that one pixel cannot change all others.
    """
    try:  # transformers requires all imports of remote code outside of `try` to be installed
        from scipy.ndimage import distance_transform_edt
        from skimage.exposure import equalize_adapthist
    except ImportError as error:
        raise ImportError('agc="clahe" (--agc clahe) needs scikit-image: pip install scikit-image') from error
    if missing is not None:  # every pixel counts in a histogram: repeat the nearest measured one
        rows, columns = distance_transform_edt(missing, return_distances=False, return_indices=True)
        values = values[rows, columns]
    if np.ptp(values) == 0:
        return values
    # By default, the parts of tiny images are single pixels, which all become white.
    is_tiny = max(values.shape) < 2 * _PARTS
    size = values.shape if is_tiny else tuple(max(side // _PARTS, 1) for side in values.shape)
    # equalize_adapthist stretches its input and its result by their extremes: a black and a white pixel below fix them.
    padded = np.pad(values.astype(np.float64), ((0, 2), (0, 0)), "edge")
    padded[-2, 0], padded[-1, 0] = 0, 1
    return equalize_adapthist(padded, size, nbins=_CLAHE_BINS)[:-2].astype(np.float32)


def _bound_missing(array: NDArray[Any], missing: Mask) -> NDArray[Any]:
    """Limit missing pixels to the range of the others, so that they are finite and within the range of their type."""
    if missing.all():
        raise ValueError("The infrared image has no measured pixel: all values are missing.")
    measured = array[~missing]
    low, high = measured.min(), measured.max()
    array = array.copy()
    array[missing] = np.clip(np.nan_to_num(array[missing], nan=low, posinf=high, neginf=low), low, high)
    return array


def _to_counts(array: NDArray[Any]) -> NDArray[np.float64]:
    array = unmask(array, "infrared")
    if not np.isfinite(array).all():
        raise ValueError(f"The infrared image has values that are NaN or infinite. Replace them first{_MASK}")
    return _luma(array.astype(np.float64))


def _luma(array: NDArray[Any]) -> NDArray[Any]:
    """Return the BT.601 luma (H, W) of a floating-point color image; a gray image is returned as it is."""
    if array.ndim == 2:
        return array
    return rgb_to_luma(torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 0))))[0].numpy()


def _scale_infrared_by_type(array: NDArray[Any], valid: Any, options: InfraredOptions) -> NDArray[np.float32]:
    is_integer = np.issubdtype(array.dtype, np.integer)
    if options.is_inverted and is_integer:  # exactly as if the file were inverted
        array = np.iinfo(array.dtype).max - array
    values = _luma(scale_by_type(array, "infrared"))
    if options.is_inverted and not is_integer:
        values = 1 - values
    is_chosen = options.infrared_range == "type" or options.agc != "linear"
    if array.dtype == np.uint16 and not is_chosen and _is_flat(values[valid]):
        logger.warning_once(LOOKS_FLAT)
    return values


def _stretch(values: NDArray[np.float32], missing: Mask | None) -> NDArray[np.float32]:
    low, high = measure_limits(values, missing)
    return values if low == high else np.clip((values - low) / (high - low), 0, 1)


def is_nearly_constant(array: NDArray[Any], missing: Mask | None = None) -> bool:
    """Return whether a 16-bit image uses less than a tenth of the range of its type.

    Examples:
        >>> is_nearly_constant(np.arange(7000, 9000, dtype=np.uint16)[None])
        True
    """
    if array.dtype != np.uint16:
        return False
    return _is_flat(_luma(scale_by_type(array, "infrared"))[... if missing is None else ~missing])


def _is_flat(values: NDArray[np.float32]) -> bool:
    """Return whether nearly all values are in a narrow range; a few dead pixels do not widen it."""
    low, high = np.percentile(values, _BULK)
    return bool(high - low < _NARROW_RANGE and np.ptp(values) > 0)


def _scale_to_range(array: NDArray[Any], valid: Any, options: InfraredOptions) -> NDArray[np.float32]:
    counts = _to_counts(array)
    low, high = options.limits or map(float, np.percentile(counts[valid], PERCENTILES))
    if options.limits and (outside := share_outside(counts[valid], options.limits)) > MOST:
        share = "more than 99%" if 0.995 <= outside < 1 else f"{outside:.0%}"
        unit = "counts" if array.dtype == np.uint16 else "values"
        raise ValueError(
            f"{share} of the infrared image is outside the range {low:g} to {high:g}: its {unit} go from "
            f"{counts[valid].min():g} to {counts[valid].max():g}. Give a range that contains them, or "
            'infrared_range="percentile" (--infrared-range percentile) for the range of each image.'
        )
    span = max(high - low, float(np.finfo(np.float32).tiny))
    # In place: float64 of a large image takes much memory.
    if options.is_inverted:
        np.subtract(high, counts, out=counts)
    else:
        counts -= low
    counts /= span
    return np.clip(counts, 0, 1, out=counts).astype(np.float32)
