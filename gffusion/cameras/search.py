"""Exhaustive search of the position, scale and rotation of the infrared image, on small images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy import ndimage

from .edges import EdgePair, find_edges, resize_image
from .rig import from_relative

ZOOMS: tuple[float, ...] = tuple(np.exp(np.arange(np.log(0.42), np.log(2.4), np.log(1.035))).tolist())
"""Ratios of the fields of view, visible to infrared, that are tried."""
ANGLES: tuple[float, ...] = (0, -2, 2, -4, 4, -6, 6)
"""Rotations in degrees that are tried."""

_LONGEST = 96  # pixels of the longer side of the visible image
_MAX_SHIFT = 0.25  # of the visible image's sides


def search_rigs(
    pairs: Sequence[EdgePair], zooms: Sequence[float] = ZOOMS, angles: Sequence[float] = ANGLES
) -> list[NDArray[np.float64]]:
    """Return the best position for every zoom and angle, (3, 3) as in [`Rig`], best first.

    The correlation of edges is computed for all positions at once with Fourier transforms, and summed over the pairs.
    """
    small = _LONGEST / max(pairs[0].visible.shape)
    size = tuple(max(8, round(side * small)) for side in pairs[0].visible.shape)
    canvas = tuple(
        scipy.fft.next_fast_len(int(np.ceil((side + side / min(zooms) * 1.1) / 2 + (_MAX_SHIFT + 0.1) * side)) + 2)
        for side in (size[0] * _aspect(pairs[0]), size[1])
    )
    canvas = tuple(max(side, own + 2) for side, own in zip(canvas, size, strict=True))
    visible = [_transform(find_edges(resize_image(pair.visible, size)), canvas) for pair in pairs]
    candidates = []
    for zoom in zooms:
        width = size[1] / zoom
        exact = width * pairs[0].infrared.shape[0] / pairs[0].infrared.shape[1], width
        shape = max(8, round(exact[0])), max(8, round(exact[1]))
        edges = [_find_infrared_edges(pair, shape) for pair in pairs]
        for angle in angles:
            radians = np.deg2rad(angle)
            turned = [_turn(field, radians) for field in edges]
            scores = _correlate(visible, turned, canvas)
            candidates.append(_pick_best(scores, size, exact, turned[0].shape, radians))
    return [matrix for _, matrix in sorted(candidates, key=lambda candidate: -candidate[0])]


def describe_search() -> str:
    """Return the positions that [`search_rigs`] covers, for messages.

    Examples:
        >>> describe_search()
        'the search covers infrared fields of view of 43% to 238% of the visible width, rotations up to 6 degrees, and ...'
    """
    return (
        f"the search covers infrared fields of view of {1 / ZOOMS[-1]:.0%} to {1 / ZOOMS[0]:.0%} of the visible width, rotations up to "
        f"{max(ANGLES):.0f} degrees, and shifts up to {_MAX_SHIFT:.0%} of the image"
    )


def _aspect(pair: EdgePair) -> float:
    """Return how much taller the infrared image is than the visible image, at the same width; at least 1."""
    (height, width), (other_height, other_width) = pair.visible.shape, pair.infrared.shape
    return max(1.0, other_height * width / (other_width * height))


def _find_infrared_edges(pair: EdgePair, shape: tuple[int, int]) -> NDArray[np.complex64]:
    valid = None if pair.valid is None else resize_image(pair.valid.astype(np.float32), shape) > 0.95
    return find_edges(resize_image(pair.infrared, shape), valid)


def _transform(edges: NDArray[np.complex64], canvas: tuple[int, ...]) -> tuple[Any, Any]:
    """Return the transforms of the edges and of their energy."""
    energy = (edges.real**2 + edges.imag**2).astype(np.float32)
    return scipy.fft.fft2(edges, canvas, workers=1), scipy.fft.rfft2(energy, canvas, workers=1)


def _turn(edges: NDArray[np.complex64], radians: float) -> NDArray[np.complex64]:
    """Rotate a field of edges around its center; the result is larger, so that no corner is lost."""
    if radians == 0:
        return edges
    height, width = edges.shape
    turned_height, turned_width = height + 2 * int(0.06 * width), width + 2 * int(0.06 * height)
    cosine, sine = np.cos(radians), np.sin(radians)
    matrix = np.array([[cosine, sine], [-sine, cosine]])  # of rows and columns
    offset = np.array([(height - 1) / 2, (width - 1) / 2]) - matrix @ [(turned_height - 1) / 2, (turned_width - 1) / 2]
    parts = [
        ndimage.affine_transform(part, matrix, offset, (turned_height, turned_width), order=1)
        for part in (edges.real, edges.imag)
    ]
    return ((parts[0] + 1j * parts[1]) * np.exp(-2j * radians)).astype(np.complex64)


def _correlate(
    visible: Sequence[tuple[Any, Any]], infrared: Sequence[NDArray[np.complex64]], canvas: tuple[int, ...]
) -> NDArray[Any]:
    """Return the agreement of edges for every shift, in standard deviations of unrelated edges."""
    products: Any = 0
    energies: Any = 0
    for (edges, energy), field in zip(visible, infrared, strict=True):
        other_edges, other_energy = _transform(field, canvas)
        products = products + edges.conj() * other_edges
        energies = energies + energy.conj() * other_energy
    agreement = scipy.fft.ifft2(products, workers=1).real
    variance = 0.5 * scipy.fft.irfft2(energies, canvas, workers=1)
    return agreement / np.sqrt(np.maximum(variance, 1e-3 * variance.max() + 1e-9))


def _pick_best(
    scores: NDArray[Any], size: tuple[int, ...], shape: tuple[float, float], turned: tuple[int, ...], radians: float
) -> tuple[float, NDArray[np.float64]]:
    """Return the score of the best shift of the allowed ones, and its rig, (3, 3).

    Scores are by the shift of the infrared edges, of the size `turned`, against the visible ones of `size`, and periodic.
    `shape` is the size before they were rotated by `radians`, not rounded, so that pixels stay square.
    """
    centers = [(other - own) / 2 for other, own in zip(turned, size, strict=True)]
    ranges = [
        np.arange(round(center) - int(_MAX_SHIFT * side), round(center) + int(_MAX_SHIFT * side) + 1)
        for center, side in zip(centers, size, strict=True)
    ]
    part = scores[np.ix_(ranges[0] % scores.shape[0], ranges[1] % scores.shape[1])]
    row, column = np.unravel_index(part.argmax(), part.shape)
    shift = np.array([ranges[1][column] - centers[1], ranges[0][row] - centers[0]])
    cosine, sine = np.cos(radians), np.sin(radians)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    pixels = np.eye(3)
    pixels[:2, :2] = turn
    middle, other_middle = ((np.array(sides[::-1]) - 1) / 2 for sides in (size, shape))
    pixels[:2, 2] = other_middle + turn @ (shift - middle)
    matrix = np.linalg.inv(from_relative(shape)) @ pixels @ from_relative((size[0], size[1]))
    return float(part[row, column]), matrix / matrix[2, 2]
