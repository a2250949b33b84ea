"""Rendered scenes whose infrared image is moved by a known transform."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import Rig
from gffusion.cameras.warping import warp_image
from gffusion.data import write_image
from gffusion.synthetic.rendering import render_scene

SIZE = (240, 320)


def make_matrix(
    zoom: float = 1.3, angle: float = 2.0, shift: tuple[float, float] = (0.03, -0.04), perspective: float = 0.0
) -> NDArray[np.float64]:
    """Return the matrix of a rig around the center of images of 4:3."""
    radians = np.deg2rad(angle)
    turn = zoom * np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    square = np.diag([1, 3 / 4])  # relative coordinates -> widths
    matrix, center, back = np.eye(3), np.eye(3), np.eye(3)
    matrix[:2, :2] = np.linalg.inv(square) @ turn @ square
    matrix[2, :2] = perspective
    center[:2, 2], back[:2, 2] = 0.5, (-0.5 - shift[0], -0.5 - shift[1])
    moved = center @ matrix @ back
    return moved / moved[2, 2]


def move_infrared(
    infrared: NDArray[Any], matrix: NDArray[np.float64], size: tuple[int, int] = (120, 160)
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return the infrared image of a rig for one that lies in the visible image, and its missing pixels."""
    return warp_image(infrared, None, np.linalg.inv(Rig(matrix).to_pixels(infrared.shape[:2], size)), size)[:2]


def make_pairs(
    matrix: NDArray[np.float64], seeds: Sequence[int] = (0,), size: tuple[int, int] = (120, 160)
) -> list[tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_] | None]]:
    """Return rendered pairs of a rig: visible images of 320 x 240 pixels, and infrared images of `size`."""
    scenes = [render_scene(seed, *SIZE) for seed in seeds]
    return [(scene.visible, *move_infrared(scene.infrared, matrix, size)) for scene in scenes]


def write_rig(folder: Path, matrix: NDArray[np.float64], count: int) -> Path:
    """Write visible/ and infrared/ of pairs of a rig, of 320 x 240 and 160 x 120 pixels, and rig.json; return the folder."""
    for name in ("visible", "infrared"):
        (folder / name).mkdir()
    for index, (visible, infrared, _) in enumerate(make_pairs(matrix, range(count))):
        write_image(folder / "visible" / f"{index}.png", visible)
        write_image(folder / "infrared" / f"{index}.png", infrared)
    Rig(matrix, SIZE, (120, 160)).save(folder / "rig.json")
    return folder
