"""Move the images of a pair into one frame."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.argument_checks import check_flag
from gffusion.models.gffusion.array_checks import check_mask, unmask

from .rig import Rig, check_size

Reference = Literal["visible", "infrared"]
REFERENCES: tuple[Reference, ...] = ("visible", "infrared")

_ROWS = 256  # rows warped at once, to limit memory
_SNAP = 1e-6  # coordinates closer to the center of a pixel, in pixels, are not interpolated
_CANDIDATES = 512  # rows tried as borders of a window
_IGNORED = 255  # label of pixels that are not learned
_MAX_BLUR = 25.0  # standard deviation for the largest scale of estimated rigs
_TOLERANCE = 1.0  # pixels that the visible image may fall short of the infrared image


class AlignedImages(NamedTuple):
    """Images of a pair in one frame.

    Attributes:
        visible: (H, W) or (H, W, 3).
        infrared: (H, W) or (H, W, 3), 0 where missing.
        missing: (H, W), True where the infrared image has no measurement; `None` if it has one everywhere.
        window: Top, left, height and width of the images in the frame of the reference, if they were cropped.
        outside: (H, W), True outside of the frame of the moved image; `None` if it covers the other one.
    """

    visible: NDArray[Any]
    infrared: NDArray[Any]
    missing: NDArray[np.bool_] | None = None
    window: tuple[int, int, int, int] | None = None
    outside: NDArray[np.bool_] | None = None


def apply_rig(
    visible: NDArray[Any],
    infrared: NDArray[Any],
    missing: NDArray[np.bool_] | None,
    rig: Rig,
    reference: Reference = "visible",
    crop: bool = False,
    border: NDArray[np.bool_] | None = None,
) -> AlignedImages:
    """Move the images of a pair into one frame.

    Args:
        visible: (H, W) or (H, W, 3).
        infrared: (h, w) or (h, w, 3).
        missing: (h, w), True where the infrared image has no measurement, or `None`.
        rig: The transform between the images. Its sizes are not checked, see [`Rig.check_sizes`].
        reference: The image whose frame and size the result has. The other one is moved.
        crop: Whether to keep only the largest rectangle that both cameras see, without borders of the infrared image.
        border: (h, w), True where the infrared camera sees nothing for `crop`. By default, what `missing` has along the
            sides around a convex rest, such as black bars; this can differ from frame to frame.

    Raises:
        ValueError: If the images have no common part, or if the visible image is moved, does not cover the infrared
            image, and `crop` is not set; or if `reference` is unknown, an image is a masked array, or a mask is not bool
            or has another size.

    Examples:
        >>> visible, infrared = np.zeros((480, 640, 3), np.uint8), np.zeros((240, 320), np.uint16)
        >>> rig = Rig(np.diag([2.0, 2.0, 1.0]))
        >>> aligned = apply_rig(visible, infrared, None, rig)
        >>> aligned.infrared.shape, float(aligned.missing.mean())
        ((480, 640), 0.75)
        >>> apply_rig(visible, infrared, None, rig, crop=True).window
        (0, 0, 240, 320)
    """
    visible, infrared = unmask(visible, "visible"), unmask(infrared, "infrared")
    check_mask(missing, infrared.shape[:2], "`missing`")
    check_mask(border, infrared.shape[:2], "`border`")
    check_reference(reference)
    check_flag("`crop` (--crop)", crop)
    border = _find_border(missing, border) if crop else None
    matrix = rig.to_pixels(visible.shape[:2], infrared.shape[:2])
    if reference == "visible":
        size = visible.shape[:2]
        if border is not None:
            border = warp_image(np.zeros(infrared.shape[:2], np.uint8), border, matrix, size)[1]
        infrared, missing, outside = warp_image(infrared, missing, matrix, size)
    else:
        size, matrix = infrared.shape[:2], np.linalg.inv(matrix).astype(np.float64)
        visible, _, outside = warp_image(visible, None, matrix, size, 0 if crop else _TOLERANCE)
    unseen = outside if border is None else outside | border
    if unseen.all():
        words = f"the rig ({rig.origin})" if rig.origin else "the rig"
        raise ValueError(f"the infrared image lies outside the visible image: {words} does not belong to these images")
    if not crop:
        if reference == "infrared" and outside.any():
            raise ValueError(
                f"the visible image covers only {1 - outside.mean():.0%} of the infrared image: pass crop=True (--crop) to "
                'keep the common part, or reference="visible" (--reference visible)'
            )
        return AlignedImages(visible, infrared, missing, outside=outside if outside.any() else None)
    top, left, height, width = window = find_window(~unseen)
    part = slice(top, top + height), slice(left, left + width)
    missing = None if missing is None or not missing[part].any() else missing[part]
    return AlignedImages(visible[part], infrared[part], missing, window)


def _find_border(missing: NDArray[np.bool_] | None, border: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    """Return the given border or that of the missing pixels; `None` if it is empty."""
    if border is None and missing is not None and missing.any():
        from .borders import find_missing_border  # imports scipy

        border = find_missing_border(missing)
    return None if border is None or not border.any() else border


def align_labels(labels: NDArray[Any], rig: Rig, visible_size: tuple[int, int]) -> NDArray[Any]:
    """Move a label map that was drawn on the infrared image into the frame of the visible image, by nearest neighbor.

    Args:
        labels: (h, w), class indices.
        rig: The transform between the images, with which they are aligned.
        visible_size: Height and width of the visible image.

    Returns:
        (H, W) in the type of `labels`, 255 (ignored) outside of the infrared image.

    Raises:
        ValueError: If `labels` are no array of integers with two axes whose type can hold 255, the rig is for other sizes, or `visible_size` is no pair of positive integers.

    Examples:
        >>> align_labels(np.array([[0, 1]], np.uint8), Rig(np.diag([2.0, 1.0, 1.0])), (2, 8))
        array([[  0,   0,   1,   1, 255, 255, 255, 255],
               [  0,   0,   1,   1, 255, 255, 255, 255]], dtype=uint8)
    """
    labels = unmask(np.asanyarray(labels), "label map")
    if labels.ndim != 2 or labels.dtype.kind not in "iu" or np.iinfo(labels.dtype).max < _IGNORED:
        raise ValueError(
            f"`labels` must be an array (height, width) of class indices, such as uint8, got {labels.dtype} of shape {labels.shape}"
        )
    height, width = size = check_size("visible_size", visible_size)
    rig.check_sizes(size, (labels.shape[0], labels.shape[1]))
    matrix = rig.to_pixels(size, (labels.shape[0], labels.shape[1]))
    moved = np.full(size, _IGNORED, labels.dtype)
    for top in range(0, height, _ROWS):
        rows = slice(top, min(top + _ROWS, height))
        points = _map_points(matrix, rows, width)
        inside = ~_is_outside(points, labels.shape, 0)
        limits = np.array(labels.shape)[:, None] - 1
        row, column = np.clip(np.rint(points[:, inside]), 0, limits).astype(np.intp)
        moved[rows][inside] = labels[row, column]
    return moved


def check_reference(reference: Any) -> None:
    """Raise ValueError if no image of a pair has this name.

    Examples:
        >>> check_reference("infrared")
    """
    if reference not in REFERENCES:
        raise ValueError(f'`reference` must be "visible" or "infrared", got {reference!r}')


def warp_image(
    values: NDArray[Any],
    missing: NDArray[np.bool_] | None,
    matrix: NDArray[np.float64],
    size: tuple[int, int],
    tolerance: float = 0,
) -> tuple[NDArray[Any], NDArray[np.bool_] | None, NDArray[np.bool_]]:
    """Warp an image bilinearly, after a Gaussian filter where it shrinks, without any influence of missing pixels.

    Args:
        values: (h, w) or (h, w, C), any numeric type.
        missing: (h, w), True where there is no measurement, or `None`.
        matrix: (3, 3), maps pixels (column, row, 1) of the result to pixels of `values`; whole numbers are centers.
        size: Height and width of the result.
        tolerance: Pixels by which `values` go on beyond their border.

    Returns:
        The image (H, W) or (H, W, C) in the type of `values`, integers rounded; the mask (H, W) of pixels that are outside
        `values`, or mostly made of missing pixels, where the image is 0, or `None` if there are none; and the mask (H, W) of
        pixels that are outside `values`.
    """
    from scipy import ndimage  # takes half a second

    if values.shape[:2] == size and np.allclose(matrix, np.eye(3), rtol=0, atol=_SNAP):
        return values.copy(), None if missing is None or not missing.any() else missing.copy(), np.zeros(size, np.bool_)
    exact = np.float32 if values.dtype.itemsize <= 2 or values.dtype == np.float32 else np.float64
    planes = np.moveaxis(np.atleast_3d(values), -1, 0).astype(exact)  # (C, h, w)
    weights = None if missing is None or not missing.any() else (~missing).astype(np.float32)
    if weights is not None:
        planes[:, missing] = 0
    sigma = find_blur(matrix, size)
    if max(sigma) > _MAX_BLUR:  # of georeferences, which have no limit
        if _is_all_outside(matrix, size, values.shape[:2], tolerance):
            everywhere = np.ones(size, np.bool_)
            return np.zeros((*size, *values.shape[2:]), values.dtype), everywhere, everywhere.copy()
        sigma = min(sigma[0], max(_MAX_BLUR, values.shape[0] / 2)), min(sigma[1], max(_MAX_BLUR, values.shape[1] / 2))
    if max(sigma) > 0:
        planes = np.stack([ndimage.gaussian_filter(plane, sigma, mode="nearest") for plane in planes])
        weights = None if weights is None else ndimage.gaussian_filter(weights, sigma, mode="nearest")
    warped = np.zeros((len(planes), *size), values.dtype)
    lost, outside = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    for top in range(0, size[0], _ROWS):
        rows = slice(top, min(top + _ROWS, size[0]))
        points = _map_points(matrix, rows, size[1])  # (2, rows, W): row, column
        band_lost = _is_outside(points, values.shape[:2], tolerance)
        outside[rows] = band_lost
        shares: Any = 1
        if weights is not None:
            shares = ndimage.map_coordinates(weights, points, order=1, mode="nearest")
            band_lost |= shares < 0.5  # type: ignore[operator]
            shares = np.where(band_lost, 1, shares)
        for plane, target in zip(planes, warped, strict=True):
            band = ndimage.map_coordinates(plane, points, order=1, mode="nearest") / shares
            band[band_lost] = 0
            target[rows] = _round(band, values.dtype) if values.dtype.kind in "iu" else band
        lost[rows] = band_lost
    image = np.moveaxis(warped, 0, -1) if values.ndim == 3 else warped[0]
    return np.ascontiguousarray(image), lost if lost.any() else None, outside


def _round(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return floats as integers; interpolation can exceed the largest value of the type, and would wrap."""
    limits = np.iinfo(dtype)
    high = np.nextafter(float(limits.max), 0) if dtype.itemsize == 8 else limits.max  # 2**64 - 1 is no float
    return np.clip(np.rint(values), limits.min, high).astype(dtype)


def find_window(inside: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return top, left, height and width of the largest rectangle in a convex area of at least one pixel, (H, W).

    Examples:
        >>> find_window(np.array([[0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 0]], bool))
        (1, 0, 2, 3)
    """
    rows = np.flatnonzero(inside.any(axis=1))
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _CANDIDATES)).round().astype(int))]
    starts = inside[rows].argmax(axis=1)
    ends = inside.shape[1] - inside[rows, ::-1].argmax(axis=1)
    # Of a convex area, the rows between two rows contain what both contain.
    left, right = np.maximum.outer(starts, starts), np.minimum.outer(ends, ends)
    heights = rows - rows[:, None] + 1  # [first, last]
    areas = np.where(heights > 0, heights * np.maximum(right - left, 0), 0)
    first, last = np.unravel_index(areas.argmax(), areas.shape)
    x, width = left[first, last], right[first, last] - left[first, last]
    return int(rows[first]), int(x), int(heights[first, last]), int(width)


def find_blur(matrix: NDArray[np.float64], size: tuple[int, int]) -> tuple[float, float]:
    """Return the standard deviations in y and x of the Gaussian before an image is warped, as in `skimage.transform.resize`.

    Args:
        matrix: (3, 3), maps pixels (column, row, 1) of the result to pixels of the image.
        size: Height and width of the result.

    Examples:
        >>> find_blur(np.diag([3.0, 1.0, 1.0]), (120, 160))  # a third of the width
        (0.0, 1.0)
    """
    center = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2, 1])
    x, y, depth = matrix @ center
    jacobian = (matrix[:2, :2] - np.outer((x / depth, y / depth), matrix[2, :2])) / depth
    across, down = np.linalg.norm(jacobian, axis=1)  # pixels of the image per pixel of the result
    return max(0.0, (float(down) - 1) / 2), max(0.0, (float(across) - 1) / 2)


def _map_points(matrix: NDArray[np.float64], rows: slice, width: int) -> NDArray[np.float64]:
    """Return the rows and columns (2, rows, W) in the other image of pixels of some rows."""
    x, y = np.arange(width)[None, :], np.arange(rows.start, rows.stop)[:, None]
    columns, lines, depth = (row[0] * x + row[1] * y + row[2] for row in matrix)
    with np.errstate(divide="ignore", invalid="ignore"):  # at the horizon, and behind the camera
        points = np.stack([lines / depth, columns / depth])
        points[:, depth <= 0] = np.inf  # behind the camera
        nearest = np.rint(points)
        return np.where(np.abs(points - nearest) < _SNAP, nearest, points)


def _is_all_outside(
    matrix: NDArray[np.float64], size: tuple[int, int], shape: tuple[int, ...], tolerance: float
) -> bool:
    """Return whether no pixel of the result (H, W) lies in an image (h, w)."""
    bands = (slice(top, min(top + _ROWS, size[0])) for top in range(0, size[0], _ROWS))
    return all(_is_outside(_map_points(matrix, rows, size[1]), (shape[0], shape[1]), tolerance).all() for rows in bands)


def _is_outside(points: NDArray[np.float64], size: tuple[int, int], tolerance: float) -> NDArray[np.bool_]:
    margin = 0.5 + tolerance + _SNAP
    rows, columns = points
    return (rows < -margin) | (rows > size[0] - 1 + margin) | (columns < -margin) | (columns > size[1] - 1 + margin)
