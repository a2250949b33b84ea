"""Edges that look alike in visible and infrared images: orientations, without sign and contrast."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.transform import resize

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_LONGEST = 640  # pixels; more detail than that does not improve the estimate
# Edges are compared with those in a square of this width, so that dark parts of a scene count as much as bright ones.
_NEIGHBORHOOD = 21
_FLOOR = 0.3  # share of the mean energy of edges that is added everywhere, so that noise in flat parts stays small
_HIGHPASS = 41  # width of the mean that is subtracted: a road has horizontal edges everywhere
_CLIP = 2.0


@dataclass(frozen=True)
class EdgePair:
    """Pair of images, prepared for the search of their rig.

    Attributes:
        visible: (H, W), float32.
        infrared: (h, w), float32, filled where missing.
        valid: (h, w), False at missing pixels; `None` if there are none.
    """

    visible: NDArray[np.float32]
    infrared: NDArray[np.float32]
    valid: NDArray[np.bool_] | None


def prepare_pair(visible: NDArray[Any], infrared: NDArray[Any], missing: NDArray[np.bool_] | None) -> EdgePair:
    """Return gray images of at most 640 pixels per side.

    Args:
        visible: (H, W) or (H, W, 3), any numeric type.
        infrared: (h, w) or (h, w, 3), any numeric type.
        missing: (h, w), True where the infrared image has no measurement, or `None`.
    """
    values = _to_gray(infrared)
    if missing is not None and missing.any() and not missing.all():
        nearest = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
        values = values[tuple(nearest)]
        valid = _shrink((~missing).astype(np.float32)) > 0.99
    else:
        valid = None
    return EdgePair(_shrink(_stretch(_to_gray(visible))), _shrink(_stretch(values)), valid)


def resize_image(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize an image (H, W) bilinearly, with antialiasing."""
    if image.shape == size:
        return image
    return resize(image, size, order=1, mode="edge", anti_aliasing=True).astype(np.float32)


def find_edges(image: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> NDArray[np.complex64]:
    """Return edges as complex numbers: strengths relative to the neighborhood, at twice the angle of the gradient.

    Doubling the angle makes an edge from dark to bright equal to one from bright to dark.

    Args:
        image: (H, W).
        valid: (H, W), False where edges are 0; `None` to use all.

    Returns:
        (H, W), magnitudes of at most about 2; the mean of the neighborhood is subtracted.
    """
    across = ndimage.gaussian_filter(image, 1.0, order=(0, 1), mode="nearest")
    down = ndimage.gaussian_filter(image, 1.0, order=(1, 0), mode="nearest")
    weights = np.ones(image.shape, np.float32) if valid is None else valid.astype(np.float32)
    energy = (across**2 + down**2) * weights
    local = ndimage.uniform_filter(energy, _NEIGHBORHOOD, mode="nearest")
    strength = np.sqrt(energy)
    scale = np.minimum(strength / np.sqrt(local + _FLOOR * energy.mean() + 1e-12), _CLIP)
    edges = (across + 1j * down) ** 2 / np.maximum(energy, 1e-12) * scale * weights
    shares = np.maximum(ndimage.uniform_filter(weights, _HIGHPASS, mode="constant"), 1e-6)
    mean = ndimage.uniform_filter(edges, _HIGHPASS, mode="constant") / shares
    return ((edges - mean) * weights).astype(np.complex64)


def _to_gray(image: NDArray[Any]) -> NDArray[np.float32]:
    values = image.astype(np.float32)
    return values @ _LUMA if values.ndim == 3 else values


def _stretch(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale to about [0, 1]; hot spots are clipped."""
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(finite, (0.1, 99.9))
    return ((finite - low) / max(float(high - low), 1e-9)).clip(0, 1).astype(np.float32)


def _shrink(image: NDArray[np.float32]) -> NDArray[np.float32]:
    scale = _LONGEST / max(image.shape)
    if scale >= 1:
        return image
    return resize_image(image, (max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))))
