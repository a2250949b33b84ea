"""Images to check an alignment by eye."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from gffusion.models.gffusion.array_checks import check_mask

_SQUARES = 8  # along the longer side
_LONGEST = 960  # pixels


def draw_alignment(
    visible: NDArray[Any], infrared: NDArray[Any], missing: NDArray[np.bool_] | None = None
) -> Image.Image:
    """Draw aligned images as a checkerboard, and their edges in cyan (visible) and red (infrared), side by side.

    Edges of both at the same place are white.

    Args:
        visible: (H, W) or (H, W, 3), any numeric type.
        infrared: (H, W) or (H, W, 3), any numeric type.
        missing: (H, W), True where the infrared image has no measurement, or `None`.

    Raises:
        ValueError: If the mask is not bool or has another size.

    Examples:
        >>> draw_alignment(np.zeros((48, 64, 3), np.uint8), np.eye(48, 64)).size
        (136, 48)
    """
    check_mask(missing, visible.shape[:2], "`missing`")
    missing = np.zeros(visible.shape[:2], np.bool_) if missing is None else missing
    base = _stretch(visible if visible.ndim == 3 else np.repeat(visible[..., None], 3, axis=-1))
    thermal = _stretch(infrared.mean(axis=-1) if infrared.ndim == 3 else infrared, ~missing)
    side = max(1, max(visible.shape[:2]) // _SQUARES)
    rows, columns = np.indices(visible.shape[:2]) // side
    is_infrared = ((rows + columns) % 2 == 1) & ~missing
    board = np.where(is_infrared[..., None], thermal[..., None], base)
    edges = np.stack([_find_edges(thermal, ~missing), *[_find_edges(base.mean(axis=-1))] * 2], axis=-1)
    gap = np.ones((len(board), 8, 3))
    sheet = Image.fromarray((np.concatenate([board, gap, edges], axis=1) * 255).round().astype(np.uint8))
    sheet.thumbnail((2 * _LONGEST, _LONGEST))
    return sheet


def _stretch(image: NDArray[Any], used: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    values = image.astype(np.float64)
    sample = values if used is None or not used.any() else values[used]
    low, high = np.percentile(sample, (0.5, 99.5))
    return ((values - low) / max(high - low, 1e-9)).clip(0, 1)


def _find_edges(image: NDArray[np.float64], used: NDArray[np.bool_] | None = None) -> NDArray[np.float64]:
    strength = ndimage.gaussian_gradient_magnitude(image, 1.2, mode="nearest")
    if used is not None:
        strength *= ndimage.binary_erosion(used, iterations=4, border_value=1)
    return (strength / max(float(np.percentile(strength, 98)), 1e-9)).clip(0, 1)
