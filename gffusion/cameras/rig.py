"""Position of the infrared image in the visible image of a rig of two cameras."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Rig:
    """Transform from the visible to the infrared image of a rig.

    Attributes:
        matrix: (3, 3), float64, maps homogeneous coordinates (x, y, 1) in the visible image to the infrared image. Both are
            relative: 0 and 1 are the outer edges of the first and last pixel, so that one rig serves every resolution.
    """

    matrix: NDArray[np.float64]
