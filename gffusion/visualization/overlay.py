"""Draw label maps over images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .palette import color_classes


def overlay(image: NDArray[Any], label_map: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw a label map (H, W) over an image, (H, W) or (H, W, 3), uint8, uint16 or floating point in [0, 1].

    Returns (H, W, 3) uint8. The background, 0, is left unchanged; elsewhere, half of the color is that of the class.

    Examples:
        >>> overlay(np.full((1, 2), 100, np.uint8), np.array([[0, 1]], np.uint8)).tolist()
        [[[100, 100, 100], [165, 80, 80]]]
    """
    scale = np.iinfo(image.dtype).max if np.issubdtype(image.dtype, np.integer) else 1
    base = np.broadcast_to(image if image.ndim == 3 else image[..., None], (*image.shape[:2], 3)) / scale
    share = 0.5 * (label_map > 0)[..., None]
    # Mixed on 0 to 255: `to_uint8` of a mixture on 0 to 1 would round some halves to another level.
    return np.rint(255 * (1 - share) * base + share * color_classes(label_map)).astype(np.uint8)
