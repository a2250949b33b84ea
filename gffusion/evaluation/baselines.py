"""Classical baselines: image fusion by fixed formulas on 8-bit luma."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from gffusion.models.gffusion.image_arrays import Image, to_array
from gffusion.models.gffusion.image_ops import replace_luma, to_uint8
from gffusion.models.gffusion.infrared_values import to_visible_values

Luma = NDArray[np.float64]

_PYRAMID_LEVELS = 4
# The generating kernel of Burt and Adelson 1983 with a = 3/8.
_KERNEL = np.array([1, 4, 6, 4, 1]) / 16
_STRETCHED_PERCENTILES = (1, 99)


def average(visible: Luma, infrared: Luma) -> Luma:
    """Return `(V + R) / 2`."""
    return (visible + infrared) / 2


def maximum(visible: Luma, infrared: Luma) -> Luma:
    """Return the element-wise `max(V, R)`."""
    return np.maximum(visible, infrared)


def laplacian_pyramid(visible: Luma, infrared: Luma) -> Luma:
    """Fuse Laplacian pyramids of 4 levels: take the larger magnitude of details, and average the remainder.

    Images that are reduced to a single row or column before level 4 have fewer levels.

    Source: P. J. Burt and E. H. Adelson, The Laplacian pyramid as a compact image code, IEEE Transactions on Communications
    31(4), 1983, doi:10.1109/TCOM.1983.1095851.
    """
    details: list[Luma] = []
    while len(details) < _PYRAMID_LEVELS and min(visible.shape) > 1:
        smaller = _blur(visible)[::2, ::2], _blur(infrared)[::2, ::2]
        own, other = visible - _expand(smaller[0], visible.shape), infrared - _expand(smaller[1], infrared.shape)
        details.append(np.where(abs(own) >= abs(other), own, other))
        visible, infrared = smaller
    fused = average(visible, infrared)
    for detail in reversed(details):
        fused = detail + _expand(fused, detail.shape)
    return fused


def centered_sum(visible: Luma, infrared: Luma) -> Luma:
    """Return `V + R - mean(R)`, which has the mean of V, nearly the maximum SCD and a high contrast."""
    return visible + infrared - infrared.mean()


def average_stretched(visible: Luma, infrared: Luma) -> Luma:
    """Return the average with its 1st percentile mapped to 0 and its 99th to 255, or unchanged if it is constant."""
    fused = average(visible, infrared)
    low, high = np.percentile(fused, _STRETCHED_PERCENTILES)
    return 255 * (fused - low) / (high - low) if high > low else fused


BASELINES: Mapping[str, Callable[[Luma, Luma], Luma]] = {
    baseline.__name__: baseline for baseline in (average, maximum, laplacian_pyramid, centered_sum, average_stretched)
}
"""The baselines by name. They take and return gray levels of shape (H, W) from 0 to 255, neither rounded nor clipped."""


def fuse_luma(name: str, visible: ArrayLike, infrared: ArrayLike) -> NDArray[np.uint8]:
    """Fuse two images (H, W) of gray levels from 0 to 255 with a baseline of `BASELINES` -> (H, W) uint8.

    Raises:
        ValueError: If the name is unknown, the images are not gray or differ in size, or they have NaN or other values than gray
            levels, such as those from 0 to 1.

    Examples:
        >>> fuse_luma("average", np.array([[10.0, 200.0]]), np.array([[21.0, 100.0]])).tolist()
        [[16, 150]]
    """
    if name not in BASELINES:
        raise ValueError(f"There is no baseline {name!r}. Allowed are {', '.join(BASELINES)}.")
    levels = _to_levels(visible, "visible"), _to_levels(infrared, "infrared")
    if levels[0].shape != levels[1].shape:
        raise ValueError(
            f"The images must have one size, got visible {levels[0].shape} and infrared {levels[1].shape}."
        )
    # Halves are rounded up, as in `to_luma8`; `to_uint8` rounds them to even.
    return np.floor(BASELINES[name](*levels) + 0.5).clip(0, 255).astype(np.uint8)


def add_chroma(visible: Image, fused: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the gray image (H, W) with the chroma of the color image (H, W, 3), as (H, W, 3) uint8.

    The color image is uint8, uint16 or floating point in [0, 1], or a PIL image. A gray image `visible` (H, W) has no chroma: the
    result is `fused`. Rounding can change the luma of single pixels by one gray level.

    Raises:
        ValueError: If the color image has another type or values outside [0, 1], or the gray image has another size or type.

    Examples:
        >>> add_chroma(np.array([[[200, 100, 100]]], np.uint8), np.array([[90]], np.uint8)).tolist()
        [[[160, 60, 60]]]
    """
    color = to_array(visible, "visible")
    if fused.dtype != np.uint8 or fused.shape != color.shape[:2]:
        raise ValueError(f"`fused` must be uint8 of shape {color.shape[:2]}, got {fused.dtype} of shape {fused.shape}.")
    if color.ndim == 2:
        return fused
    luma = torch.from_numpy(fused[None] / np.float32(255))
    return to_uint8(replace_luma(torch.from_numpy(to_visible_values(color)), luma).movedim(0, -1).numpy())


def _to_levels(image: ArrayLike, name: str) -> Luma:
    """Return gray levels (H, W) from 0 to 255 in float64, in which sums of 8-bit levels do not overflow."""
    levels = np.asarray(image)
    if levels.ndim != 2 or not levels.size or levels.dtype.kind not in "uif":
        raise ValueError(
            f"The {name} image must be gray levels of shape (H, W), got {levels.dtype} of shape {levels.shape}."
        )
    levels = levels.astype(np.float64, copy=False)
    low, high = levels.min(), levels.max()
    is_unit = 0.5 < high <= 1 and (levels % 1).any()
    if is_unit or not (low >= -0.5 and high <= 255.5):  # interpolation can exceed 0 to 255; also NaN
        raise ValueError(
            f"The {name} image must have gray levels from 0 to 255, got {low:g} to {high:g}: `gffusion.metrics.to_luma8` converts images."
        )
    return levels


def _blur(image: Luma) -> Luma:
    rows = ndimage.convolve1d(image, _KERNEL, axis=0, mode="mirror")
    return ndimage.convolve1d(rows, _KERNEL, axis=1, mode="mirror")


def _expand(image: Luma, shape: tuple[int, ...]) -> Luma:
    spread = np.zeros(shape)
    spread[::2, ::2] = 4 * image
    return _blur(spread)
