"""Refine a rig on tiles of the images, from small to large images."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.fft
from einops import rearrange
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import ndimage, optimize

from .edges import EdgePair, find_edges, resize_image
from .rig import Rig, from_relative
from .warping import warp_image

Transform = Literal["translation", "similarity", "affine", "homography"]
PARAMETERS: dict[Transform, int] = {"translation": 2, "similarity": 4, "affine": 6, "homography": 8}
"""Number of parameters of the transforms."""

_FINER = 4  # steps per pixel between which evidence is interpolated linearly
# Edges of unrelated images agree with a deviation of about three times that of independent pixels.
_CORRELATION = 3.0
# Lens distortion and parallax move tiles away from the transform by a normal distribution. The deviation that explains
# the images best is used, in shares of the width.
_DEVIATIONS = (1 / 640, 2 / 640, 4 / 640)
_UNRELATED = 0.05  # odds of a tile in which the cameras see different edges
NO_EVIDENCE = float(np.log1p(1 / _UNRELATED))
"""Evidence of a tile for which all displacements are equally likely."""


class Level(NamedTuple):
    """One step of the refinement.

    Attributes:
        width: Width of the visible image in pixels.
        radius: Largest displacement that is looked for, in pixels of this level.
        tile: Width and height of a tile in pixels; within a tile, images are shifted only.
    """

    width: int
    radius: int
    tile: int

    def find_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the size of a visible image at this level, which is not larger than it is."""
        scale = min(1.0, self.width / shape[1])
        return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


COARSE = (Level(160, 6, 20), Level(320, 6, 32))
"""Steps that rank the candidates of the search."""
FINE = (Level(320, 6, 32), Level(640, 6, 64), Level(640, 6, 64))
"""Steps that refine the best candidate. The last one is repeated because it sees no displacement beyond its radius."""


class Tiles(NamedTuple):
    """Agreement of the edges in tiles of the images, for all small displacements.

    Attributes:
        agreements: (pairs, tiles, 2 * radius + 1, 2 * radius + 1), by displacement along rows and columns.
        variances: (pairs, tiles), of the agreement of unrelated edges.
        centers: (tiles, 2), x and y in pixels of the visible image.
        size: Height and width of the visible image.
        radius: Largest displacement in pixels.
    """

    agreements: NDArray[np.float32]
    variances: NDArray[np.float32]
    centers: NDArray[np.float64]
    size: tuple[int, int]
    radius: int


class Fit(NamedTuple):
    """A rig that was fitted to tiles.

    Attributes:
        matrix: (3, 3), as in [`Rig`].
        evidence: Logarithm of the likelihood of the agreements in all tiles, relative to unrelated images.
        covariance: (parameters, parameters), of the parameters of [`make_change`]; `None` at no maximum.
        size: Height and width of the visible image at the last level.
    """

    matrix: NDArray[np.float64]
    evidence: float
    covariance: NDArray[np.float64] | None
    size: tuple[int, int]


@np.errstate(under="ignore")  # also in programs in which NumPy raises
def refine_rig(
    pairs: Sequence[EdgePair], matrix: NDArray[np.float64], transform: Transform, levels: Sequence[Level]
) -> Fit:
    """Return the rig near a given one, (3, 3) as in [`Rig`], for which the edges agree best.

    At every level, the infrared image is warped by the current rig, agreements are computed for all small displacements
    of all tiles, and the transform with the most evidence is found. Levels larger than the visible image are replaced by
    its size.

    Raises:
        ValueError: If a step ends at a transform that is not plausible.
    """
    for level in levels:
        size = level.find_size(pairs[0].visible.shape)
        change, evidence, covariance = fit_tiles(compare_tiles(pairs, matrix, size, level), transform)
        matrix = matrix @ change
        matrix = matrix / matrix[2, 2]
    return Fit(Rig(matrix).matrix, evidence, covariance, size)


def compare_tiles(pairs: Sequence[EdgePair], matrix: NDArray[np.float64], size: tuple[int, int], level: Level) -> Tiles:
    """Return the agreement of the edges in tiles of the visible image after it was resized to `size`, see [`Tiles`]."""
    rows, columns = (-(-side // level.tile) for side in size)
    agreements, variances = [], []
    for pair in pairs:
        visible, infrared = _find_both_edges(pair, matrix, size)
        agreements.append(_correlate_tiles(visible, infrared, level, (rows, columns)))
        energy = [
            ndimage.uniform_filter(np.abs(edges) ** 2, 2 * level.radius + 1, mode="constant")
            for edges in (visible, infrared)
        ]
        variances.append(_sum_tiles(0.5 * energy[0] * energy[1], level.tile, (rows, columns)))
    y, x = np.mgrid[:rows, :columns]
    centers = np.stack([x.ravel(), y.ravel()], axis=1) * level.tile + (level.tile - 1) / 2
    return Tiles(np.stack(agreements), np.stack(variances), centers, size, level.radius)


def fit_tiles(tiles: Tiles, transform: Transform) -> tuple[NDArray[np.float64], float, NDArray[np.float64] | None]:
    """Return the small transform of the visible image with the most evidence.

    Returns:
        Matrix (3, 3) of relative coordinates, to multiply to the right of the rig's matrix, the evidence, and the
        covariance of the parameters, see [`Fit`].
    """
    count, fits = PARAMETERS[transform], []
    for deviation in _DEVIATIONS:
        surfaces, radius = find_evidence(tiles, deviation * tiles.size[1])
        evaluate = _make_objective(_interpolate(surfaces, radius), tiles, radius)
        values = _maximize(evaluate, count)
        fits.append((evaluate(values), values, evaluate))
    evidence, values, evaluate = max(fits, key=lambda fit: fit[0])
    relative = from_relative(tiles.size)
    change = np.linalg.inv(relative) @ make_change(values, tiles.size) @ relative
    return change, evidence, _find_covariance(evaluate, values[:count])


def find_likelihoods(tiles: Tiles) -> NDArray[np.float32]:
    """Return the likelihood of every small displacement of every tile, (tiles, n, n), all pairs together; sums are 1."""
    variances = tiles.variances.sum(axis=0)
    spread = _CORRELATION * np.sqrt(variances + 1e-3 * variances.mean() + 1e-12)
    exponents = 0.5 * np.maximum(tiles.agreements.sum(axis=0) / spread[:, None, None], 0) ** 2
    likelihoods: NDArray[np.float32] = np.exp(exponents - exponents.max(axis=(1, 2), keepdims=True))
    return likelihoods / likelihoods.sum(axis=(1, 2), keepdims=True)


def find_evidence(tiles: Tiles, deviation: float) -> tuple[NDArray[np.float32], int]:
    """Return the evidence of every tile for all small displacements, and their largest one.

    `deviation` is the standard deviation of the distance between tiles and the transform, in pixels. The evidence is
    (tiles, n, n), logarithms of likelihoods relative to a tile in which the cameras see different edges, at least 0. That of
    unrelated edges is about [`NO_EVIDENCE`].
    """
    likelihoods = find_likelihoods(tiles)
    margin = int(np.ceil(2 * max(deviation, 1)))
    padded = np.pad(likelihoods, ((0, 0), (margin, margin), (margin, margin)))
    blurred = ndimage.gaussian_filter(padded, (0, deviation, deviation), mode="constant", truncate=6)
    places = (2 * tiles.radius + 1) ** 2
    return np.log1p(blurred * places / _UNRELATED).astype(np.float32), tiles.radius + margin


def _maximize(evaluate: Callable[[NDArray[np.float64]], float], count: int) -> NDArray[np.float64]:
    """Return the eight parameters of the maximum, of which the first `count` are free; the shift is found first."""
    values = np.zeros(8)
    for free in dict.fromkeys((2, count)):
        start = values[:free]

        def objective(point: NDArray[np.float64], free: int = free) -> float:
            return -evaluate(np.concatenate([point, np.zeros(8 - free)]))

        simplex = np.vstack([start, start + 1.5 * np.eye(free)])
        options: Any = {"initial_simplex": simplex, "xatol": 0.01, "fatol": 0.01, "maxfev": 150 * free}
        values[:free] = optimize.minimize(objective, start, method="Nelder-Mead", options=options).x
    return values


def _find_covariance(
    evaluate: Callable[[NDArray[np.float64]], float], values: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the inverse of the negative second derivative of the evidence, or `None` if it has no maximum there."""
    count, step = len(values), 0.5

    def at(*steps: NDArray[np.float64]) -> float:
        return evaluate(np.concatenate([values + step * sum(steps), np.zeros(8 - count)]))

    units = np.eye(count)
    second = [[at(a, b) - at(a, -b) - at(-a, b) + at(-a, -b) for b in units] for a in units]
    curvature = -np.array(second) / (4 * step**2)
    if np.linalg.eigvalsh(curvature)[0] < 1e-6:
        return None
    return np.asarray(np.linalg.inv(curvature), np.float64)


def _find_both_edges(
    pair: EdgePair, matrix: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Return the edges of both images in the frame of the visible image."""
    to_infrared = Rig(matrix).to_pixels(size, pair.infrared.shape)
    missing = None if pair.valid is None else ~pair.valid
    warped, lost, _ = warp_image(pair.infrared, missing, to_infrared, size)
    valid = None
    if lost is not None and not lost.all():
        nearest = ndimage.distance_transform_edt(lost, return_distances=False, return_indices=True)
        warped = warped[tuple(nearest)]  # no edge at the border of the infrared image
        valid = ~ndimage.binary_dilation(lost, iterations=2)
    return find_edges(resize_image(pair.visible, size)), find_edges(warped, valid)


def _correlate_tiles(
    visible: NDArray[np.complex64], infrared: NDArray[np.complex64], level: Level, grid: tuple[int, int]
) -> NDArray[np.float32]:
    """Return the agreement in every tile for all displacements, see [`Tiles`], by Fourier transforms of the tiles."""
    radius, side = level.radius, level.tile + 2 * level.radius  # of a tile with its surroundings
    missing = [count * level.tile - length for count, length in zip(grid, visible.shape, strict=True)]  # to whole tiles
    visible = np.pad(visible, [(0, after) for after in missing])
    infrared = np.pad(infrared, [(radius, after + radius) for after in missing])
    tiles = rearrange(visible, "(r h) (c w) -> (r c) h w", r=grid[0], c=grid[1])
    moving = sliding_window_view(infrared, (side, side))[:: level.tile, :: level.tile]
    size = (scipy.fft.next_fast_len(side),) * 2
    products = scipy.fft.fft2(tiles, size).conj() * scipy.fft.fft2(rearrange(moving, "r c h w -> (r c) h w"), size)
    agreements: NDArray[np.float32] = scipy.fft.ifft2(products).real
    return agreements[:, : 2 * radius + 1, : 2 * radius + 1]


def _sum_tiles(values: NDArray[Any], tile: int, grid: tuple[int, int]) -> NDArray[np.float32]:
    height, width = values.shape
    padded = np.pad(values, ((0, grid[0] * tile - height), (0, grid[1] * tile - width)))
    sums: NDArray[np.float32] = padded.reshape(grid[0], tile, grid[1], tile).sum(axis=(1, 3)).ravel()
    return sums


def _interpolate(surfaces: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Return (tiles, n, n) surfaces at steps of a quarter of a pixel, by cubic splines."""
    spline = _make_spline(radius)
    return np.einsum("ai,nij,bj->nab", spline, surfaces, spline, optimize=True)


@functools.lru_cache(maxsize=16)
def _make_spline(radius: int) -> NDArray[np.float32]:
    """Return the weights of 2 * radius + 1 values at steps of a quarter of a pixel, one row for each step."""
    positions = np.linspace(0, 2 * radius, 2 * radius * _FINER + 1)
    units = np.eye(2 * radius + 1, dtype=np.float32)
    return np.stack([ndimage.map_coordinates(unit, positions[None], order=3, mode="mirror") for unit in units], axis=1)


def _make_objective(surfaces: NDArray[np.float32], tiles: Tiles, radius: int) -> Callable[[NDArray[np.float64]], float]:
    """Return the function from the parameters of a small transform to the sum of evidence."""
    points = np.column_stack([tiles.centers, np.ones(len(tiles.centers))])
    width, last, flat = surfaces.shape[2], surfaces.shape[1] - 1.001, surfaces.ravel()
    first = np.arange(len(points)) * surfaces[0].size

    def evaluate(values: NDArray[np.float64]) -> float:
        moved = points @ make_change(values, tiles.size).T
        x, y = ((moved[:, :2] / moved[:, 2:] - tiles.centers + radius) * _FINER).T
        inside_x, inside_y = x.clip(0, last), y.clip(0, last)
        column, row = inside_x.astype(int), inside_y.astype(int)
        right, down = inside_x - column, inside_y - row
        at = first + row * width + column
        upper = flat.take(at) * (1 - right) + flat.take(at + 1) * right
        lower = flat.take(at + width) * (1 - right) + flat.take(at + width + 1) * right
        beyond = np.abs(x - inside_x) + np.abs(y - inside_y)
        return float(((upper * (1 - down) + lower * down) / (1 + beyond)).sum())

    return evaluate


def make_change(values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the matrix of pixels of a small transform.

    Args:
        values: Eight parameters: shift, scale and rotation, stretch and shear, perspective. All are displacements in
            pixels at the right border.
        size: Height and width of the image.
    """
    height, width = size
    half = width / 2
    x, y, scale, turn, stretch, shear, across, down = np.asarray(values) / half
    center = np.array([[1 / half, 0, -(width - 1) / width], [0, 1 / half, -(height - 1) / width], [0, 0, 1]])
    back = np.array([[half, 0, (width - 1) / 2], [0, half, (height - 1) / 2], [0, 0, 1]])  # its inverse
    change = np.array(
        [[1 + scale + stretch, shear - turn, x], [shear + turn, 1 + scale - stretch, y], [across, down, 1]]
    )
    return back @ change @ center
