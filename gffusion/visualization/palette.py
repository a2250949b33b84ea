"""Colors of classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Twelve easily distinguishable colors; class 0, the background, is black. The first three also differ for color-blind readers.
_HEX = "000000 e63c3c f5be1e 4678f0 3cb44b aa3cc8 28c8d2 f078c8 966e28 aaf05a fa8c3c 787896"
PALETTE = np.frombuffer(bytes.fromhex(_HEX), np.uint8).reshape(-1, 3)


def color_classes(classes: NDArray[Any] | int) -> NDArray[np.uint8]:
    """Return the colors (..., 3) of class ids (...); ids beyond the palette repeat it without the background.

    Examples:
        >>> color_classes(1).tolist(), color_classes(12).tolist()
        ([230, 60, 60], [230, 60, 60])
    """
    classes = np.asarray(classes)
    return PALETTE[np.where(classes == 0, 0, (classes.astype(int) - 1) % (len(PALETTE) - 1) + 1)]
