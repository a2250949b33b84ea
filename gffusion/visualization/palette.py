"""Colors of classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Twelve colors that are easy to tell apart; class 0, the background, is black.
PALETTE = np.array(
    [
        (0, 0, 0),
        (230, 60, 60),
        (60, 180, 75),
        (70, 120, 240),
        (245, 190, 30),
        (170, 60, 200),
        (40, 200, 210),
        (240, 120, 200),
        (150, 110, 40),
        (170, 240, 90),
        (250, 140, 60),
        (120, 120, 150),
    ],
    dtype=np.uint8,
)


def color_classes(classes: NDArray[Any] | int) -> NDArray[np.uint8]:
    """Return the colors of classes; those beyond the palette start again after the background.

    Args:
        classes: Class ids of any shape (...).

    Returns:
        (..., 3) uint8.

    Example:
        >>> color_classes(1).tolist(), color_classes(12).tolist()
        ([230, 60, 60], [230, 60, 60])
    """
    classes = np.asarray(classes)
    return PALETTE[np.where(classes == 0, 0, (classes.astype(int) - 1) % (len(PALETTE) - 1) + 1)]
