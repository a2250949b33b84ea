"""Estimate the rig of two cameras from their images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .edges import EdgePair, prepare_pair
from .refinement import LEVELS, PARAMETERS, Tiles, Transform, fit_tiles, refine_rig
from .rig import Rig, describe_size
from .search import Candidate, search_rigs

MAXIMUM_PAIRS = 10
"""Number of pairs from which a rig is estimated; more do not improve it."""

PairArrays = tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_] | None]
"""Visible image, infrared image, and the mask of its missing pixels."""

_SMALLEST = 48  # pixels
_CANDIDATES = 6
_DISTINCT = 0.05  # distance of rigs that are not the same, in widths of the visible image
_SPLITS = 8
# Calibrated on pairs that were moved by known amounts and on unrelated images, see docs/alignment.md.
_LEAST_SCORE, _LEAST_CONFIDENCE, _LARGEST_RESIDUAL = 8.0, 0.25, 0.012
_CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)


@dataclass(frozen=True)
class RigEstimate:
    """Estimated rig, and how far it can be trusted.

    Attributes:
        rig: The rig.
        residual: Expected error in pixels of the visible image, mean over the corners of the common part. It is
            measured by the difference between estimates from halves of the images, so it includes objects at different
            distances.
        confidence: From 0 to 1: the agreement of edges at the best other position is 1 minus this share of the
            agreement for the rig.
        sure: Whether the rig can be used without looking at it.
        pairs: Number of pairs.
        transform: Kind of transform.
    """

    rig: Rig
    residual: float
    confidence: float
    sure: bool
    pairs: int
    transform: Transform

    def describe(self) -> str:
        """Return the estimate in words, for users."""
        zoom, angle, shift = describe_matrix(self.rig)
        return (
            f"{self.transform} from {_count(self.pairs)}: infrared field of view {1 / zoom:.0%} of the visible width, rotated by "
            f"{angle:.1f} degrees, center at {shift[0]:.1%}, {shift[1]:.1%}; residual {self.residual:.1f} pixels, confidence "
            f"{self.confidence:.2f}"
        )


def estimate_rig(
    pairs: Sequence[PairArrays], transform: Transform = "similarity", start: Rig | None = None
) -> RigEstimate:
    """Estimate the transform between the cameras of a rig from the edges that both see.

    All positions (up to a quarter of the image), scales (0.42 to 2.4) and rotations (up to 6 degrees) are tried on
    small images. The best are refined on tiles of larger images. Sums over all pairs decide, so that ten pairs of
    different scenes give a better rig than one.

    Args:
        pairs: Visible and infrared images of one rig and mask of missing infrared pixels, or `None`; at most 10 are
            used.
        transform: Kind of transform: `"translation"` for cameras with one field of view, `"similarity"` adds scale and
            rotation, `"affine"` stretch and shear, and `"homography"` perspective.
        start: Approximate rig, which is only refined.

    Raises:
        ValueError: If there is no pair, the sizes of the pairs differ, images are smaller than 48 pixels, or the
            transform is unknown.

    Example:
        >>> from scipy import ndimage
        >>> scene = ndimage.gaussian_filter(np.random.default_rng(0).random((120, 160)), 2)
        >>> estimate = estimate_rig([(scene, 1 - scene[10:110, 20:150], None)], "similarity")
        >>> estimate.sure, (estimate.rig.to_pixels((120, 160), (100, 130)) @ (20, 10, 1)).round(0) + 0.0
        (True, array([0., 0., 1.]))
    """
    _check_arguments(pairs, transform)
    size, infrared_size = pairs[0][0].shape[:2], pairs[0][1].shape[:2]
    prepared = [prepare_pair(*pair) for pair in pairs[:MAXIMUM_PAIRS] if pair[2] is None or not pair[2].all()]
    prepared = [pair for pair in prepared if np.ptp(pair.visible) > 0 and np.ptp(pair.infrared) > 0]
    candidates = _find_candidates(prepared, transform, start) if prepared else []
    if not candidates:
        unknown = Rig(np.eye(3), size, infrared_size, "not found")
        return RigEstimate(unknown, float(size[1]), 0.0, False, len(prepared), transform)
    matrix, tiles, _ = refine_rig(prepared, candidates[0].matrix, transform, LEVELS[1:])
    second = candidates[1].score if len(candidates) > 1 else 0.0
    confidence = float(np.clip(1 - second / max(candidates[0].score, 1e-9), 0, 1))
    residual = _measure_residual(tiles, matrix, transform)
    rig = _make_rig(matrix, size, infrared_size, f"{transform} estimated from {_count(len(prepared))}")
    is_distinct = candidates[0].score >= _LEAST_SCORE and confidence >= _LEAST_CONFIDENCE
    is_sure = is_distinct and residual <= _LARGEST_RESIDUAL and rig is not None
    rig = rig or Rig(candidates[0].matrix, size, infrared_size, "uncertain")
    return RigEstimate(rig, residual * size[1], confidence, is_sure, len(prepared), transform)


def measure_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return how far two rigs are apart: mean over the corners of the common part, in widths of the visible image.

    Args:
        first: (3, 3), the matrix of a rig.
        second: (3, 3), the matrix of another one.
    """
    common = _apply(np.linalg.inv(first), _CORNERS).clip(0, 1)
    moved = _apply(np.linalg.inv(second), _apply(first, common))
    return float(np.linalg.norm(moved - common, axis=1).mean())


def describe_matrix(rig: Rig) -> tuple[float, float, tuple[float, float]]:
    """Return the zoom of the infrared camera, its rotation in degrees, and its center, relative to the visible image."""
    center, right = _apply(np.linalg.inv(rig.matrix), np.array([[0.5, 0.5], [1.0, 0.5]]))
    height, width = rig.visible_size or (1, 1)
    x, y = (right - center) * (width, height) * 2
    return width / float(np.hypot(x, y)), float(np.degrees(np.arctan2(y, x))), (float(center[0]), float(center[1]))


def _count(pairs: int) -> str:
    return f"{pairs} pair{'s' * (pairs != 1)}"


def _check_arguments(pairs: Sequence[PairArrays], transform: str) -> None:
    if transform not in PARAMETERS:
        raise ValueError(f"`transform` (--transform) must be one of {', '.join(PARAMETERS)}, got {transform!r}")
    if not pairs:
        raise ValueError("a rig is estimated from at least one pair, got none")
    sizes = sorted({(pair[0].shape[:2], pair[1].shape[:2]) for pair in pairs})
    if len(sizes) > 1:
        words = [f"{describe_size(visible)} and {describe_size(infrared)}" for visible, infrared in sizes[:2]]
        raise ValueError(
            f"all pairs of a rig have the same sizes, got {' and also '.join(words)} pixels: other cameras?"
        )
    smallest = min(min(shape) for shape in sizes[0])
    if smallest < _SMALLEST:
        raise ValueError(f"images need at least {_SMALLEST} pixels per side to be aligned, got {smallest}")


def _find_candidates(pairs: Sequence[EdgePair], transform: Transform, start: Rig | None) -> list[Candidate]:
    """Return distinct rigs, refined on small images, best first."""
    if start is not None:
        found = [Candidate(1.0, start.matrix)]
    elif transform == "translation":
        found = search_rigs(pairs, [1.0], [0.0])
    else:
        found = search_rigs(pairs)
    simple: Transform = transform if PARAMETERS[transform] <= PARAMETERS["similarity"] else "similarity"
    refined = []
    for candidate in _keep_distinct(found)[:_CANDIDATES]:
        try:
            matrix, _, score = refine_rig(pairs, candidate.matrix, simple, LEVELS[:1])
            refined.append(Candidate(score, Rig(matrix).matrix))
        except ValueError:  # not a plausible rig
            continue
    return _keep_distinct(sorted(refined, key=lambda candidate: -candidate.score))


def _keep_distinct(candidates: Sequence[Candidate]) -> list[Candidate]:
    kept: list[Candidate] = []
    for candidate in candidates:
        if len(kept) < _CANDIDATES and all(
            measure_distance(other.matrix, candidate.matrix) > _DISTINCT for other in kept
        ):
            kept.append(candidate)
    return kept


def _make_rig(
    matrix: NDArray[np.float64], size: tuple[int, int], infrared_size: tuple[int, int], origin: str
) -> Rig | None:
    try:
        return Rig(matrix, size, infrared_size, origin)
    except ValueError:
        return None


def _measure_residual(tiles: Tiles, matrix: NDArray[np.float64], transform: Transform) -> float:
    """Return the standard deviation of the estimate, in widths of the visible image."""
    rng = np.random.default_rng(0)
    squares = []
    for _ in range(_SPLITS):
        half = rng.random(tiles.variances.shape) < 0.5
        changes = [
            fit_tiles(
                tiles._replace(
                    agreements=tiles.agreements * part[..., None, None].astype(np.float32),
                    variances=tiles.variances * part,
                ),
                transform,
            )[0]
            for part in (half, ~half)
        ]
        squares.append(measure_distance(matrix @ changes[0], matrix @ changes[1]) ** 2)
    # The estimate from all tiles varies half as much as the difference between those from two halves.
    return float(np.sqrt(np.mean(squares)) / 2)


def _apply(matrix: NDArray[Any], points: NDArray[np.float64]) -> NDArray[np.float64]:
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return moved[:, :2] / moved[:, 2:]
