"""How an infrared camera is mounted: upright, turned by quarter turns, or behind a mirror."""

from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

TURNS = (0, 90, 180, 270)
"""Degrees by which images can be turned."""

# From relative coordinates (x, y, 1) of an image that was turned by 90 degrees, or mirrored, to those of the image before.
_TURN = np.array([[0.0, -1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
_MIRROR = np.array([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


class Orientation(NamedTuple):
    """What makes the images of an infrared camera upright.

    Attributes:
        turn: Degrees by which they are turned, counterclockwise: 0, 90, 180 or 270.
        mirror: Whether left and right are swapped, before they are turned.

    Examples:
        >>> Orientation(90).apply(np.array([[1, 2, 3]])).tolist()
        [[3], [2], [1]]
        >>> Orientation(180, mirror=True).apply(np.array([[1, 2], [3, 4]])).tolist()
        [[3, 4], [1, 2]]
    """

    turn: int = 0
    mirror: bool = False

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return an image (H, W) or (H, W, 3) upright."""
        return np.ascontiguousarray(np.rot90(array[:, ::-1] if self.mirror else array, self.turn // 90))

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3), float64, from relative coordinates (x, y, 1) of the upright image to those of the image as it is."""
        return (_MIRROR if self.mirror else np.eye(3)) @ np.linalg.matrix_power(_TURN, self.turn // 90)


ORIENTATIONS = tuple(Orientation(turn, mirror) for mirror, turn in product((False, True), (0, 180, 90, 270)))
"""All orientations, the more usual ones first."""


def split_orientation(matrix: NDArray[np.float64]) -> tuple[Orientation, NDArray[np.float64]]:
    """Return how the infrared camera of a rig, (3, 3), is mounted, and the rig for its upright images.

    Examples:
        >>> split_orientation(Orientation(90, mirror=True).matrix)[0]
        Orientation(turn=90, mirror=True)
    """
    upright = {orientation: np.linalg.inv(orientation.matrix) @ matrix for orientation in ORIENTATIONS}

    def measure(orientation: Orientation) -> float:
        """Return the derivative of x by x plus that of y by y at the center of the visible image: both are positive if upright."""
        x, y, depth = upright[orientation] @ (0.5, 0.5, 1)
        (x_by_x, _, _), (_, y_by_y, _), (depth_by_x, depth_by_y, _) = upright[orientation]
        return float(x_by_x - depth_by_x * x / depth + y_by_y - depth_by_y * y / depth)

    best = max(ORIENTATIONS, key=measure)
    return best, upright[best]
