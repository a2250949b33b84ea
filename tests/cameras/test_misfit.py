"""Distance between rigs and the images, for transforms that the rig cannot hold."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from gffusion.cameras.edges import prepare_pair
from gffusion.cameras.misfit import measure_misfit
from gffusion.cameras.refinement import FINE, Transform, refine_rig
from gffusion.synthetic.rendering import render_scene

HEIGHT, WIDTH = 240, 320
Points = NDArray[np.float64]


def zoom(x: Points, y: Points) -> Points:
    return np.full_like(x, 0.96)


def barrel(x: Points, y: Points) -> Points:
    return 1 - 0.08 * (x**2 + y**2)


def tilt(x: Points, y: Points) -> Points:
    return 1 / (1 + 0.07 * x)


@pytest.mark.parametrize(
    ("move", "transform", "better"),
    [
        (zoom, "translation", "similarity"),
        (zoom, "similarity", None),
        (barrel, "similarity", None),
        (tilt, "affine", "homography"),
        (tilt, "homography", None),
    ],
)
def test_the_distance_is_the_mean_error(
    move: Callable[[Points, Points], Points], transform: Transform, better: Transform | None
) -> None:
    row, column = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    center = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    x, y = (column - center[0]) / (WIDTH / 2), (row - center[1]) / (WIDTH / 2)
    factor = move(x, y)
    seen = np.stack([center[0] + x * factor * WIDTH / 2, center[1] + y * factor * WIDTH / 2])  # by each infrared pixel
    scenes = [render_scene(seed, HEIGHT, WIDTH) for seed in range(4)]
    pairs = [
        prepare_pair(scene.visible, ndimage.map_coordinates(scene.infrared.astype(float), seen[::-1], order=1), None)
        for scene in scenes
    ]
    fit = refine_rig(pairs, np.eye(3), transform, FINE)
    misfit = measure_misfit(pairs, fit, transform)
    places = np.stack([(column.ravel() + 0.5) / WIDTH, (row.ravel() + 0.5) / HEIGHT, np.ones(x.size)])
    found = np.linalg.inv(fit.matrix) @ places
    found = found[:2] / found[2] * [[WIDTH], [HEIGHT]] - 0.5
    inside = (seen[0] >= 0) & (seen[0] < WIDTH) & (seen[1] >= 0) & (seen[1] < HEIGHT)
    error = np.hypot(*(found - seen.reshape(2, -1)))[inside.ravel()].mean()
    if error > 1:
        assert error / 2 < misfit.distance * WIDTH < 2 * error
    else:
        assert misfit.distance * WIDTH < 1
    assert (misfit.better, misfit.unfit) == (better, ())
