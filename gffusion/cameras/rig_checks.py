"""Check whether the cameras of a rig have moved since it was saved."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .estimation import PairArrays, RigEstimate, check_arguments, describe_position, estimate_rig, measure_distance
from .orientation import split_orientation
from .refinement import Transform
from .rig import Rig

# Estimates from several pairs differ by less, see docs/benchmarks/alignment.md.
_TOLERANCE = 2 / 640  # of the width
_STANDARD_ERRORS = 3
_BOTH = 2**0.5  # the saved rig is an estimate, too
_DISTORTION = 0.005  # about 1 pixel at the borders of an image that is 640 wide


@dataclass(frozen=True)
class RigCheck:
    """Comparison of a saved rig with a new estimate.

    Attributes:
        estimate: The new estimate.
        distance: Distance between both rigs in pixels of the visible image, mean over the corners of the part that both
            cameras see.
        tolerance: Largest distance that can come from the estimates alone: 3 times the standard error of the new one and at
            least its residual, both times 1.4 because the saved rig is an estimate, too, and at least 2 pixels of an image that
            is 640 pixels wide.
        position: Position of the saved rig in words, as in [`RigEstimate.describe`].
    """

    estimate: RigEstimate
    distance: float
    tolerance: float
    position: str

    @property
    def has_moved(self) -> bool | None:
        """Whether a camera has moved since the rig was saved; `None` if the estimate is not sure."""
        return self.distance > self.tolerance if self.estimate.sure else None

    def describe(self) -> str:
        """Return the comparison in words, for users."""
        outcomes = {True: "a camera has moved", False: "the saved rig still fits", None: "the estimate is not sure"}
        return (
            f"{outcomes[self.has_moved]}: the saved rig ({self.position}) is {self.distance:.1f} pixels from the estimate; up to "
            f"{self.tolerance:.1f} can come from the estimates alone"
        )


def check_rig(pairs: Sequence[PairArrays], rig: Rig, transform: Transform | None = None) -> RigCheck:
    """Compare a saved rig with a new estimate from these pairs.

    The estimate is that of [`estimate_rig`] with `start=rig`: the position of the saved rig competes with those of the
    search, so that a large move is found, too.

    Args:
        pairs: As in [`estimate_rig`].
        rig: The saved rig. How the infrared camera is mounted (turned or mirrored) is taken from it.
        transform: As in [`estimate_rig`]; `None` for the kind of the saved rig: `"homography"` if it has perspective,
            `"affine"` if it stretches or shears the image, otherwise `"similarity"`.

    Raises:
        ValueError: As for [`estimate_rig`], or if the rig is for images of other aspect ratios.

    Examples:
        >>> from scipy import ndimage
        >>> scene = ndimage.gaussian_filter(np.random.default_rng(0).random((120, 160)), 2)
        >>> check = check_rig([(scene, 1 - scene, None)], Rig(np.array([[1, 0, 0.1], [0, 1, 0], [0, 0, 1]])))
        >>> round(check.distance), check.has_moved
        (16, True)
    """
    pairs = list(pairs)
    check_arguments(pairs, transform or "similarity")
    size, infrared_size = pairs[0][0].shape[:2], pairs[0][1].shape[:2]
    rig.check_sizes(size, infrared_size)
    orientation, upright = split_orientation(rig.matrix)
    turned = infrared_size[::-1] if orientation.turn % 180 else infrared_size
    estimate = estimate_rig(pairs, transform or _find_kind(upright, size, turned), Rig(upright), orientation)
    distance = measure_distance(rig.matrix, estimate.rig.matrix, size)
    error = _BOTH * max(_STANDARD_ERRORS * estimate.standard_error, estimate.residual)
    tolerance = max(_TOLERANCE * size[1], error)
    return RigCheck(estimate, distance, tolerance, describe_position(Rig(upright, (size[0], size[1]))))


def _find_kind(upright: NDArray[np.float64], size: tuple[int, ...], infrared_size: tuple[int, ...]) -> Transform:
    """Return the smallest transform, from similarity on, that the matrix of an upright rig is, up to about a pixel."""
    if np.abs(upright[2, :2]).max() > _DISTORTION:
        return "homography"
    (a, b, _), (c, d, _), _ = Rig(upright).to_pixels((size[0], size[1]), (infrared_size[0], infrared_size[1]))
    return "affine" if np.hypot(a - d, b + c) > _DISTORTION * np.hypot(a, c) else "similarity"
