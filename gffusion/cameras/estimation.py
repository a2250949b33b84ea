"""Estimate the rig of two cameras from their images."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.array_checks import check_mask
from gffusion.utils.notes import format_count
from gffusion.utils.progress import show_progress

from .edges import EdgePair, prepare_pair
from .misfit import CLEAR_MARGIN, measure_misfit
from .orientation import ORIENTATIONS, Orientation
from .refinement import COARSE, FINE, PARAMETERS, Fit, Transform, make_change, refine_rig
from .rig import MAX_PAIRS, Rig, describe_size, from_relative
from .search import search_rigs

PairArrays = tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_] | None]
"""Visible image, infrared image, and the mask of its missing pixels."""

_SMALLEST = 48  # pixels
_CANDIDATES = (24, 6)  # positions that are refined at the two steps of `COARSE`
_DISTINCT = 0.05  # distance of rigs that are not the same, in widths and heights of the visible image
# Calibrated on pairs that were moved by known amounts and on unrelated images, see docs/benchmarks/alignment.md.
_MAX_RESIDUAL = 0.012
_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)


@dataclass(frozen=True)
class RigEstimate:
    """Estimated rig, and how far it can be trusted.

    Attributes:
        rig: The rig.
        residual: Expected error in pixels of the visible image, mean over the common part: the standard error of the rig, and
            how far parts of the images are from it, all pairs together, such as by lens distortion, parallax or a transform
            that is too simple. Parts in which the cameras see no common edges are not measured; corners can be several times
            as far off.
        confidence: From 0 to 1: `margin / (margin + 18)`, where the margin is the logarithm of the ratio between the
            likelihoods of the rig and of the best other position.
        sure: Whether the rig can be used without looking at it.
        pairs: Number of pairs.
        transform: Kind of transform.
        problem: Why no position was found, so that `rig` is none; empty if one was.
        unfit: Indices of the pairs that clearly do not fit the rig. Pairs with little texture are not among them; empty below
            a confidence of 0.5.
        better: Smallest transform with more parameters that fits clearly better; `None` if there is none, or the residual is
            small.
        standard_error: The part of the residual by which estimates from other pairs differ, in pixels.
    """

    rig: Rig
    residual: float
    confidence: float
    sure: bool
    pairs: int
    transform: Transform
    problem: str = ""
    unfit: tuple[int, ...] = ()
    better: Transform | None = None
    standard_error: float = 0.0

    def check_found(self) -> None:
        """Raise ValueError if no position was found."""
        if self.problem:
            raise ValueError(
                f"no position of the infrared image was found: {self.problem}. Give pairs with edges that both cameras see. "
                'Cameras with the same field of view need none: `gffusion fuse` and others take align="resize" (--align resize)'
            )

    def describe(self) -> str:
        """Return the estimate in words, for users."""
        is_mirrored = np.linalg.det(self.rig.matrix[:2, :2]) < 0
        mirror = Orientation(mirror=bool(is_mirrored)).matrix
        position = describe_position(
            replace(self.rig, matrix=mirror @ self.rig.matrix), "mirrored, " if is_mirrored else ""
        )
        return (
            f"{self.transform} from {format_count(self.pairs, 'pair')}: {position}; residual {self.residual:.1f} pixels, confidence "
            f"{self.confidence:.2f}"
        )

    def list_notes(self, names: Sequence[object] = ()) -> tuple[str, ...]:
        """Return what to look at, in words.

        Args:
            names: Names of the pairs; their numbers from 1 if it is empty.
        """
        notes = []
        if self.unfit:
            unfit = ", ".join(str(names[index] if names else index + 1) for index in self.unfit)
            count = f"{len(self.unfit)} of {format_count(self.pairs, 'pair')}"
            verb = "does" if len(self.unfit) == 1 else "do"
            notes.append(f"{count} {verb} not fit this rig: {unfit}; did a camera move, or are they wrong pairs?")
        if self.better:
            notes.append(
                f'{self.better} fits clearly better than {self.transform}: estimate the rig with transform="{self.better}" '
                f"(--transform {self.better} of gffusion align)"
            )
        return tuple(notes)


@np.errstate(under="ignore")  # also in programs in which NumPy raises
def estimate_rig(
    pairs: Sequence[PairArrays],
    transform: Transform = "similarity",
    start: Rig | None = None,
    orientation: Orientation = ORIENTATIONS[0],
) -> RigEstimate:
    """Estimate the transform between the cameras of a rig from the edges that both see.

    All positions (up to a quarter of the image), scales (0.42 to 2.4) and rotations (up to 6 degrees) are tried on
    small images. The best are compared by the evidence in tiles of larger images, where evidence of all pairs is added,
    so that ten pairs of different scenes give a better rig than one.

    Args:
        pairs: Visible and infrared images of one rig and mask of missing infrared pixels, or `None`; at most 10 are
            used.
        transform: Kind of transform: `"translation"` for cameras with one field of view, `"similarity"` adds scale and
            rotation, `"affine"` stretch and shear, and `"homography"` perspective.
        start: Approximate rig that is compared with the positions that the search finds, such as that of a file's tags.
            It maps to upright infrared images, unlike the rig that is returned.
        orientation: How the infrared camera is mounted. The rig is for its images as they are.

    Raises:
        ValueError: If there is no pair, or something else, the sizes of the pairs differ, images are smaller than 48 pixels, a
            mask is not bool or has another size, or the transform is unknown.

    Examples:
        >>> from scipy import ndimage
        >>> scene = ndimage.gaussian_filter(np.random.default_rng(0).random((120, 160)), 2)
        >>> estimate = estimate_rig([(scene, 1 - scene[10:110, 20:150], None)], "similarity")
        >>> estimate.sure, (estimate.rig.to_pixels((120, 160), (100, 130)) @ (20, 10, 1)).round(0) + 0.0
        (True, array([0., 0., 1.]))
    """
    pairs = list(pairs)
    check_arguments(pairs, transform)
    size, infrared_size = pairs[0][0].shape[:2], pairs[0][1].shape[:2]
    measured = {
        index: prepare_pair(
            visible, orientation.apply(infrared), None if missing is None else orientation.apply(missing)
        )
        for index, (visible, infrared, missing) in enumerate(pairs[:MAX_PAIRS])
        if missing is None or not missing.all()
    }
    used = [index for index, pair in measured.items() if np.ptp(pair.visible) > 0 and np.ptp(pair.infrared) > 0]
    prepared = [measured[index] for index in used]
    candidates = _find_candidates(prepared, transform, start) if prepared else []
    if not candidates:
        unknown = Rig(np.eye(3), size, infrared_size, "not found")
        problem = "no edges of the two images agree" if prepared else _find_flat(list(measured.values()))
        return RigEstimate(unknown, float(size[1]), 0.0, False, len(prepared), transform, problem)
    margin = candidates[0].evidence - (candidates[1].evidence if len(candidates) > 1 else 0.0)
    try:
        fit, is_plausible = _refine(prepared, candidates[0].matrix, transform), True
    except ValueError:
        fit, is_plausible = candidates[0], False
    misfit = measure_misfit(prepared, fit, transform)
    error = _measure_error(fit)
    residual = float(np.hypot(error, misfit.distance))
    is_sure = is_plausible and margin >= CLEAR_MARGIN and residual <= _MAX_RESIDUAL
    origin = f"{transform} estimated from {format_count(len(prepared), 'pair')}"
    rig = Rig(orientation.matrix @ fit.matrix, size, infrared_size, origin)
    # Of a rig that may lie elsewhere, pairs that do not fit say nothing.
    unfit = tuple(used[index] for index in misfit.unfit) if margin >= CLEAR_MARGIN else ()
    return RigEstimate(
        rig,
        residual * size[1],
        margin / (margin + CLEAR_MARGIN),
        is_sure,
        len(prepared),
        transform,
        unfit=unfit,
        better=misfit.better,
        standard_error=error * size[1],
    )


def find_orientation(
    pairs: Sequence[PairArrays], transform: Transform = "similarity", tried: Orientation = ORIENTATIONS[0]
) -> Orientation | None:
    """Return the first orientation of the infrared camera, other than the one that was tried, whose estimate is sure.

    `None` if the estimate is sure for none. At most 5 pairs are used, for the sake of time.

    Raises:
        ValueError: As for [`estimate_rig`].
    """
    others = show_progress([other for other in ORIENTATIONS if other != tried], unit="orientation")
    return next((other for other in others if estimate_rig(pairs[:5], transform, None, other).sure), None)


def measure_distance(
    first: NDArray[np.float64], second: NDArray[np.float64], size: tuple[float, float] = (1, 1)
) -> float:
    """Return how far two rigs, (3, 3), are apart: mean distance of the corners of the common part.

    It has the unit of `size`, the height and width of the visible image.
    """
    common = _find_common(first)
    moved = _apply(np.linalg.inv(second), _apply(first, common))
    return float(np.linalg.norm((moved - common) * size[::-1], axis=1).mean())


def describe_position(rig: Rig, mirrored: str = "") -> str:
    """Return where in the visible image the infrared camera looks, in words; `mirrored` is put before the rotation."""
    center, right = _apply(np.linalg.inv(rig.matrix), np.array([[0.5, 0.5], [1.0, 0.5]]))
    height, width = rig.visible_size or (1, 1)
    x, y = (right - center) * (width, height) * 2
    return (
        f"infrared field of view {np.hypot(x, y) / width:.0%} of the visible width, {mirrored}rotated by "
        f"{np.degrees(np.arctan2(y, x)):.1f} degrees, center at {center[0]:.1%}, {center[1]:.1%}"
    )


def _find_flat(pairs: Sequence[EdgePair]) -> str:
    """Return which images have no contrast, in words."""
    for kind in ("infrared", "visible"):
        if all(np.ptp(getattr(pair, kind)) == 0 for pair in pairs):
            return f"the {kind} image has no contrast" if len(pairs) == 1 else f"no {kind} image has contrast"
    return "no pair has contrast in both images"


def check_arguments(pairs: Sequence[PairArrays], transform: str) -> None:
    """Raise ValueError if [`estimate_rig`] cannot take these pairs, or does not know the transform."""
    if transform not in PARAMETERS:
        raise ValueError(f"`transform` (--transform) must be one of {', '.join(PARAMETERS)}, got {transform!r}")
    wrong = [pair for pair in pairs if not _is_pair(pair)]
    if wrong:
        kinds = [type(item).__name__ for item in (wrong[0] if isinstance(wrong[0], tuple | list) else wrong[:1])]
        raise ValueError(
            "`pairs` must be a list of (visible, infrared, missing), two arrays and a mask or None, got one of "
            f"{', '.join(kinds[:4])}: add None for images without a mask, or take `pair[:3]` of what `read_pair` returns"
        )
    if not pairs:
        raise ValueError("a rig is estimated from at least one pair, got none")
    for _, infrared, missing in pairs:
        check_mask(missing, infrared.shape[:2])
    sizes = sorted({(pair[0].shape[:2], pair[1].shape[:2]) for pair in pairs})
    if len(sizes) > 1:
        words = [f"{describe_size(visible)} and {describe_size(infrared)}" for visible, infrared in sizes[:2]]
        raise ValueError(
            f"all pairs of a rig have the same sizes, got {' and also '.join(words)} pixels: other cameras?"
        )
    smallest = min(min(shape) for shape in sizes[0])
    if smallest < _SMALLEST:
        raise ValueError(f"images need at least {_SMALLEST} pixels per side to be aligned, got {smallest}")


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, tuple | list) and len(pair) == 3 and all(isinstance(image, np.ndarray) for image in pair[:2])
    )


def _find_candidates(pairs: Sequence[EdgePair], transform: Transform, start: Rig | None) -> list[Fit]:
    """Return distinct rigs, refined on small images, the one with the most evidence first."""
    matrices = search_rigs(pairs, [1.0], [0.0]) if transform == "translation" else search_rigs(pairs)
    if start is not None:
        matrices.insert(0, start.matrix)
    simple: Transform = transform if PARAMETERS[transform] <= PARAMETERS["similarity"] else "similarity"
    for level, count in zip(COARSE, _CANDIDATES, strict=True):
        fits = []
        for matrix in _keep_distinct(matrices, count):
            with contextlib.suppress(ValueError):  # not a plausible rig
                fits.append(refine_rig(pairs, matrix, simple, [level]))
        fits.sort(key=lambda fit: -fit.evidence)
        matrices = [fit.matrix for fit in fits]
    distinct = _keep_distinct(matrices, 2)
    return [fit for fit in fits if any(fit.matrix is matrix for matrix in distinct)]


def _refine(pairs: Sequence[EdgePair], matrix: NDArray[np.float64], transform: Transform) -> Fit:
    """Return the rig refined on large images; the last step is repeated if the search for the maximum ended before it."""
    fit = refine_rig(pairs, matrix, transform, FINE)
    return fit if fit.covariance is not None else refine_rig(pairs, fit.matrix, transform, FINE[-1:])


def _keep_distinct(matrices: Sequence[NDArray[np.float64]], count: int) -> list[NDArray[np.float64]]:
    """Return the first matrices that are apart from each other."""
    kept: list[NDArray[np.float64]] = []
    for matrix in matrices:
        if len(kept) < count and all(measure_distance(other, matrix) > _DISTINCT for other in kept):
            kept.append(matrix)
    return kept


def _measure_error(fit: Fit) -> float:
    """Return the standard error, mean over the corners of the common part, in widths of the visible image."""
    if fit.covariance is None:
        return 1.0
    count, corners = len(fit.covariance), _find_common(fit.matrix)
    relative = from_relative(fit.size)
    moves = []
    for unit in np.eye(8)[:count]:
        change = np.linalg.inv(relative) @ make_change(unit, fit.size) @ relative
        moves.append((_apply(change, corners) - corners) * (1, fit.size[0] / fit.size[1]))
    jacobian = np.stack(moves, axis=-1)  # (corners, 2, parameters)
    variances = np.einsum("cxp,pq,cxq->c", jacobian, fit.covariance, jacobian)
    return float(np.sqrt(variances).mean())


def _find_common(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the corners of the part of the visible image that the infrared camera sees, as if it were a rectangle."""
    return _apply(np.linalg.inv(matrix), _CORNERS).clip(0, 1)


def _apply(matrix: NDArray[Any], points: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return moved[:, :2] / moved[:, 2:]
