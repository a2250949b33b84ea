"""Color the classes of an image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .palette import PALETTE


def overlay(picture: NDArray[Any], label_map: NDArray[np.uint8], opacity: float = 0.5) -> NDArray[np.uint8]:
    """Colour the classes of a picture.

    Args:
        picture: (H, W) or (H, W, 3), uint8, uint16 or floating point in [0, 1].
        label_map: (H, W) class ids; 0, the background, keeps the picture's colour.
        opacity: Share of the class colour, in [0, 1].

    Returns:
        (H, W, 3) uint8.
    """
    scale = np.iinfo(picture.dtype).max if np.issubdtype(picture.dtype, np.integer) else 1
    base = np.broadcast_to(picture if picture.ndim == 3 else picture[..., None], (*picture.shape[:2], 3)) / scale
    classes = np.where(label_map == 0, 0, (label_map - 1) % (len(PALETTE) - 1) + 1)
    share = opacity * (label_map > 0)[..., None]
    return np.rint(255 * (1 - share) * base + share * PALETTE[classes]).astype(np.uint8)
