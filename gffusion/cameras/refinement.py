"""Refine a rig on tiles of the images, from small to large images."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from .edges import EdgePair, find_edges, resize_image
from .rig import Rig, from_relative
from .warping import warp_image

Transform = Literal["translation", "similarity", "affine", "homography"]
PARAMETERS: dict[Transform, int] = {"translation": 2, "similarity": 4, "affine": 6, "homography": 8}
"""Number of parameters of the transforms."""

_FINER = 4  # steps per pixel between which agreements are interpolated linearly


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


LEVELS = (Level(160, 6, 10), Level(320, 4, 16), Level(640, 3, 32))


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


def refine_rig(
    pairs: Sequence[EdgePair], matrix: NDArray[np.float64], transform: Transform, levels: Sequence[Level] = LEVELS
) -> tuple[NDArray[np.float64], Tiles, float]:
    """Return the rig near a given one for which the edges agree best.

    At every level, the infrared image is warped by the current rig, agreements are computed for all small displacements
    of all tiles, and the transform with the largest sum of agreements is found.

    Args:
        pairs: Pairs of one rig.
        matrix: The start, (3, 3), as in [`Rig`].
        transform: Kind of transform.
        levels: Steps of the refinement. Levels larger than the visible image are replaced by its size.

    Returns:
        The matrix, the tiles at the last level, whose displacements are relative to the returned matrix, and the
        agreement in standard deviations of unrelated edges.
    """
    height, width = pairs[0].visible.shape
    score = 0.0
    for level in levels:
        scale = min(1.0, level.width / width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        tiles = compare_tiles(pairs, matrix, size, level)
        change, score = fit_tiles(tiles, transform)
        matrix = matrix @ change
        matrix = matrix / matrix[2, 2]
        if scale == 1.0:
            break
    tiles = compare_tiles(pairs, matrix, size, level)
    change, score = fit_tiles(tiles, transform)
    matrix = matrix @ change
    return matrix / matrix[2, 2], tiles, score


def compare_tiles(pairs: Sequence[EdgePair], matrix: NDArray[np.float64], size: tuple[int, int], level: Level) -> Tiles:
    """Return the agreement of the edges in tiles, see [`Tiles`].

    Args:
        pairs: Pairs of one rig.
        matrix: (3, 3), as in [`Rig`].
        size: Height and width to which the visible image is resized.
        level: Radius and size of the tiles.
    """
    rows, columns = (-(-side // level.tile) for side in size)
    agreements, variances = [], []
    for pair in pairs:
        visible, infrared = _find_both_edges(pair, matrix, size)
        agreements.append(_shift_and_sum(visible, infrared, level, (rows, columns)))
        energy = [
            ndimage.uniform_filter(np.abs(edges) ** 2, 2 * level.radius + 1, mode="constant")
            for edges in (visible, infrared)
        ]
        variances.append(_sum_tiles(0.5 * energy[0] * energy[1], level.tile, (rows, columns)))
    y, x = np.mgrid[:rows, :columns]
    centers = np.stack([x.ravel(), y.ravel()], axis=1) * level.tile + (level.tile - 1) / 2
    return Tiles(np.stack(agreements), np.stack(variances), centers, size, level.radius)


def fit_tiles(tiles: Tiles, transform: Transform) -> tuple[NDArray[np.float64], float]:
    """Return the small transform of the visible image with the largest sum of agreements.

    Args:
        tiles: Agreements.
        transform: Kind of transform.

    Returns:
        Matrix (3, 3) of relative coordinates, to multiply to the right of the rig's matrix, and the sum of agreements
        in standard deviations of unrelated edges.
    """
    # Nearly equal weights: lenses distort the parts of an image differently, and all of it should fit.
    variances = tiles.variances.sum(axis=0)
    weights = 1 / (variances + 0.25 * variances.mean() + 1e-12)
    surfaces = _interpolate(tiles.agreements.sum(axis=0) * weights[:, None, None], tiles.radius)
    spread = float(np.sqrt((variances * weights**2).sum())) + 1e-12
    evaluate = _make_objective(surfaces, tiles)
    values = np.zeros(8)
    for count in dict.fromkeys((2, PARAMETERS[transform])):
        start = values[:count]
        simplex = np.vstack([start, start + 1.5 * np.eye(count)])

        def objective(point: NDArray[np.float64], count: int = count) -> float:
            return -evaluate(np.concatenate([point, np.zeros(8 - count)])) / spread

        options: Any = {"initial_simplex": simplex, "xatol": 0.01, "fatol": 1e-3, "maxfev": 150 * count}
        values[:count] = optimize.minimize(objective, start, method="Nelder-Mead", options=options).x
    return _to_relative(_make_change(values, tiles.size), tiles.size), evaluate(values) / spread


def _find_both_edges(
    pair: EdgePair, matrix: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Return the edges of both images in the frame of the visible image."""
    to_infrared = Rig(matrix).to_pixels(size, pair.infrared.shape)
    missing = None if pair.valid is None else ~pair.valid
    warped, lost = warp_image(pair.infrared, missing, to_infrared, size)
    valid = None
    if lost is not None and not lost.all():
        nearest = ndimage.distance_transform_edt(lost, return_distances=False, return_indices=True)
        warped = warped[tuple(nearest)]  # no edge at the border of the infrared image
        valid = ~ndimage.binary_dilation(lost, iterations=2)
    return find_edges(resize_image(pair.visible, size)), find_edges(warped, valid)


def _shift_and_sum(
    visible: NDArray[np.complex64], infrared: NDArray[np.complex64], level: Level, grid: tuple[int, int]
) -> NDArray[np.float32]:
    height, width = visible.shape
    padded = np.pad(infrared, level.radius)
    count = 2 * level.radius + 1
    sums = np.empty((grid[0] * grid[1], count, count), np.float32)
    for row in range(count):
        for column in range(count):
            part = padded[row : row + height, column : column + width]
            agreement = visible.real * part.real + visible.imag * part.imag
            sums[:, row, column] = _sum_tiles(agreement, level.tile, grid)
    return sums


def _sum_tiles(values: NDArray[Any], tile: int, grid: tuple[int, int]) -> NDArray[np.float32]:
    height, width = values.shape
    padded = np.pad(values, ((0, grid[0] * tile - height), (0, grid[1] * tile - width)))
    sums: NDArray[np.float32] = padded.reshape(grid[0], tile, grid[1], tile).sum(axis=(1, 3)).ravel()
    return sums


def _interpolate(surfaces: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Return (tiles, n, n) surfaces at steps of a quarter of a pixel, by cubic splines."""
    size = 2 * radius * _FINER + 1
    positions = np.linspace(0, 2 * radius, size)
    spline = np.stack(
        [
            ndimage.map_coordinates(unit, positions[None], order=3, mode="mirror")
            for unit in np.eye(2 * radius + 1, dtype=np.float32)
        ],
        axis=1,
    )  # (size, 2 * radius + 1)
    return np.einsum("ai,nij,bj->nab", spline, surfaces, spline, optimize=True)


def _make_objective(surfaces: NDArray[np.float32], tiles: Tiles) -> Callable[[NDArray[np.float64]], float]:
    """Return the function from the parameters of a small transform to the sum of agreements."""
    points = np.column_stack([tiles.centers, np.ones(len(tiles.centers))])
    index, last = np.arange(len(points)), surfaces.shape[1] - 1.001

    def evaluate(values: NDArray[np.float64]) -> float:
        moved = points @ _make_change(values, tiles.size).T
        x, y = ((moved[:, :2] / moved[:, 2:] - tiles.centers + tiles.radius) * _FINER).T
        inside_x, inside_y = x.clip(0, last), y.clip(0, last)
        column, row = inside_x.astype(int), inside_y.astype(int)
        right, down = inside_x - column, inside_y - row
        upper = surfaces[index, row, column] * (1 - right) + surfaces[index, row, column + 1] * right
        lower = surfaces[index, row + 1, column] * (1 - right) + surfaces[index, row + 1, column + 1] * right
        beyond = np.abs(x - inside_x) + np.abs(y - inside_y)
        return float(((upper * (1 - down) + lower * down) / (1 + beyond)).sum())

    return evaluate


def _make_change(values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
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
    change = np.array(
        [[1 + scale + stretch, shear - turn, x], [shear + turn, 1 + scale - stretch, y], [across, down, 1]]
    )
    return np.linalg.inv(center) @ change @ center


def _to_relative(pixels: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    relative = from_relative(size)
    return np.linalg.inv(relative) @ pixels @ relative
