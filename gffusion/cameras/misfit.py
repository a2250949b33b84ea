"""Measure how far a rig is from the images it was estimated from: in parts of the images, and in single pairs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .edges import EdgePair
from .refinement import (
    NO_EVIDENCE,
    PARAMETERS,
    Fit,
    Level,
    Tiles,
    Transform,
    compare_tiles,
    find_evidence,
    find_likelihoods,
    fit_tiles,
)

CLEAR_MARGIN = 18.0
"""Difference of evidence from which one position is clearly better than another."""

# Tiles of the second level see displacements of a fifth of the width.
_NEAR, _FAR = Level(320, 16, 48), Level(160, 32, 40)
_SCALES = np.array([0.35, 0.7, 1.4, 2.8, 5.6, 8.0])  # standard deviations of displacements in pixels of `_NEAR`
_STEPS = 60  # after which the shares of the scales change no more
# Evidence at both levels for other positions than the rig. That of images without texture, of noise or fog is at least -18.
_CONTRARY = -24.0
_NOTED = 2 / 640  # misfit in widths from which other transforms are tried


class Misfit(NamedTuple):
    """How far a rig is from the images.

    Attributes:
        distance: Mean distance in widths of the visible image between the rig and the own positions of the tiles.
        better: Smallest transform with more parameters that fits clearly better, or `None`.
        unfit: Indices of the pairs that clearly have another position, or clearly none.
    """

    distance: float
    better: Transform | None
    unfit: tuple[int, ...]


def measure_misfit(pairs: Sequence[EdgePair], fit: Fit, transform: Transform) -> Misfit:
    """Compare a rig with the displacements of tiles, and with the positions of single pairs."""
    tiles = compare_tiles(pairs, fit.matrix, _NEAR.find_size(pairs[0].visible.shape), _NEAR)
    distance = _measure_distance(tiles)
    better = _find_better(tiles, transform) if distance > _NOTED * tiles.size[1] else None
    unfit = [index for index in range(len(pairs)) if len(pairs) > 1 and not _fits(pairs, fit, tiles, index, distance)]
    return Misfit(distance / tiles.size[1], better, tuple(unfit))


def _measure_distance(tiles: Tiles) -> float:
    """Return the mean displacement of the tiles in pixels.

    Displacements are a mixture of normal distributions around 0, and of tiles without a clear position, whose displacements
    are all equally likely. The shares that explain the likelihoods best are found by expectation maximization, so that tiles
    with little evidence count little.
    """
    steps = np.arange(-tiles.radius, tiles.radius + 1)
    distances = np.hypot(steps[:, None], steps)
    normal = np.exp(-0.5 * (distances / _SCALES[:, None, None]) ** 2)
    normal /= normal.sum(axis=(1, 2), keepdims=True)
    likelihoods = np.einsum("tij,sij->ts", find_likelihoods(tiles), normal, optimize=True)
    likelihoods = np.column_stack([likelihoods, np.full(len(likelihoods), 1 / distances.size)])
    shares = np.full(len(_SCALES) + 1, 1 / (len(_SCALES) + 1))
    for _ in range(_STEPS):
        weights = likelihoods * shares
        shares = (weights / weights.sum(axis=1, keepdims=True)).mean(axis=0)
    means = np.einsum("sij,ij->s", normal, distances)
    means[0] = 0  # smaller than a pixel: part of the standard error
    return float(shares[:-1] @ means / max(shares[:-1].sum(), 1e-9))


def _find_better(tiles: Tiles, transform: Transform) -> Transform | None:
    """Return the transform with more parameters, as few as possible, that has clearly more evidence."""
    evidence, better = fit_tiles(tiles, transform)[1], None
    for other, count in PARAMETERS.items():
        if count > PARAMETERS[transform]:
            more = fit_tiles(tiles, other)[1]
            if more >= evidence + CLEAR_MARGIN:
                evidence, better = more, other
    return better


def _fits(pairs: Sequence[EdgePair], fit: Fit, tiles: Tiles, index: int, misfit: float) -> bool:
    """Return False if one pair clearly has another position, or clearly none; a pair with little texture fits."""
    own = slice(index, index + 1)
    one = tiles._replace(agreements=tiles.agreements[own], variances=tiles.variances[own])
    here, best = _find_positions(one, max(1.0, misfit))
    if here >= CLEAR_MARGIN or best >= here + CLEAR_MARGIN:
        return best < here + CLEAR_MARGIN
    far = compare_tiles(pairs[own], fit.matrix, _FAR.find_size(pairs[index].visible.shape), _FAR)
    coarse, coarse_best = _find_positions(far, 1.0)
    return coarse_best < coarse + CLEAR_MARGIN and here + coarse > _CONTRARY


def _find_positions(tiles: Tiles, deviation: float) -> tuple[float, float]:
    """Return the evidence for the rig and for the best shift of all tiles together."""
    surfaces, radius = find_evidence(tiles, deviation)
    evidence = surfaces.sum(axis=0) - NO_EVIDENCE * len(surfaces)
    steps = np.arange(-radius, radius + 1)
    near = np.hypot(steps[:, None], steps) <= 2 * deviation + 1
    return float(evidence[near].max()), float(evidence.max())
