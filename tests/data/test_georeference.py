"""GeoTIFF pairs whose positions are known: a scene that is a function of coordinates, and grids that sample it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy.ndimage import binary_erosion

from gffusion import ImageFusionPipeline, create_model, load_image_processor
from gffusion.cameras import InfraredFrame, Rig
from gffusion.data import ReadOptions, read_pair
from gffusion.data.georeference import add_georeference

ORIGIN = 690_000.0, 5_335_000.0
SIZE = 120, 150  # of the visible image, pixels of 0.2 m
ANGLE = np.deg2rad(20)
# Column, row, 1 to coordinates, from the upper left corner of the first pixel.
VISIBLE = np.array([[0.2, 0, ORIGIN[0]], [0, -0.2, ORIGIN[1]], [0, 0, 1]])
NORTH_UP = np.array([[0.5, 0, ORIGIN[0] + 6.1], [0, -0.5, ORIGIN[1] - 4.3], [0, 0, 1]])
ROTATED = np.array(
    [
        [0.5 * np.cos(ANGLE), 0.5 * np.sin(ANGLE), ORIGIN[0] + 5],
        [0.5 * np.sin(ANGLE), -0.5 * np.cos(ANGLE), ORIGIN[1] - 12],
        [0, 0, 1],
    ]
)


def sample(matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the scene at the centers of the pixels, which has waves of 5 m and more."""
    row, column = np.mgrid[: size[0], : size[1]] + 0.5
    x, y = (matrix[axis, 0] * column + matrix[axis, 1] * row + matrix[axis, 2] - ORIGIN[axis] for axis in (0, 1))
    return 120 + 40 * np.sin(x / 0.9 + 1) * np.cos(y / 1.1) + 30 * np.sin((x + 2 * y) / 2.3)


def write(
    path: Path, image: np.ndarray, matrix: np.ndarray, code: int = 25832, form: str = "scale", **options: Any
) -> None:
    """Write a GeoTIFF file; the form of the georeference is "scale", "point" (centers of pixels) or "matrix"."""
    raster = 2 if form == "point" else 1
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, raster, 3072, 0, 1, code)
    if form == "matrix":
        numbers = np.zeros((4, 4))
        numbers[np.ix_([0, 1, 3], [0, 1, 3])] = matrix
        tags = [(34264, 12, 16, tuple(numbers.ravel()), True)]
    else:
        shift = 0.5 if form == "point" else 0
        corner = matrix @ (10 + shift, 7 + shift, 1)
        tags = [
            (33550, 12, 3, (matrix[0, 0], -matrix[1, 1], 0.0), True),
            (33922, 12, 6, (10.0, 7.0, 0.0, corner[0], corner[1], 0.0), True),
        ]
    tags.append((34735, 3, len(keys), keys, True))
    tifffile.imwrite(path, np.rint(image).astype(np.uint8), extratags=tags, **options)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    write(tmp_path / "visible.tif", sample(VISIBLE, SIZE), VISIBLE)
    return tmp_path / "visible.tif", tmp_path / "infrared.tif"


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True, "compression": "deflate"}])
@pytest.mark.parametrize(
    ("matrix", "form"), [(NORTH_UP, "scale"), (NORTH_UP, "point"), (NORTH_UP, "matrix"), (ROTATED, "matrix")]
)
def test_georeferenced_images_are_aligned(
    files: tuple[Path, Path], matrix: np.ndarray, form: str, options: dict[str, Any]
) -> None:
    write(files[1], 0.8 * sample(matrix, (32, 40)), matrix, form=form, **options)
    pair = read_pair(*files, ReadOptions(align="auto"))
    assert "aligned by the georeferences of both files" in pair.notes[0]
    assert pair.outside is not None
    inside = binary_erosion(~pair.outside, iterations=6)
    assert inside.mean() > 0.15
    differences = pair.infrared.astype(float) - 0.8 * sample(VISIBLE, SIZE)
    assert np.abs(differences[inside]).mean() < 0.8 and abs(differences[inside].mean()) < 0.1


def test_images_of_other_places_are_noted(files: tuple[Path, Path]) -> None:
    """The grids are 30 x 21.5 pixels apart; the files have one size, so that nothing else shows it."""
    matrix = np.array([[0.2, 0, NORTH_UP[0, 2] - 0.1], [0, -0.2, NORTH_UP[1, 2]], [0, 0, 1]])
    write(files[1], 0.8 * sample(matrix, SIZE), matrix)
    for options in (ReadOptions(), ReadOptions(align="resize")):
        (note,) = read_pair(*files, options).notes
        assert note.startswith("by the georeferences of the two files, their images are up to 37 pixels apart")
    assert read_pair(*files, ReadOptions(align=Rig(np.eye(3)))).notes == ()
    write(files[1], 0.8 * sample(VISIBLE, SIZE), VISIBLE, form="point")
    assert read_pair(*files).notes == ()


def test_other_coordinate_systems_are_not_used(files: tuple[Path, Path]) -> None:
    write(files[1], 0.8 * sample(VISIBLE, SIZE), NORTH_UP, code=25833)
    contents = files[0].read_bytes(), files[1].read_bytes()
    for align, count in (("auto", 1), ("none", 0)):
        frame, notes = add_georeference(InfraredFrame(np.zeros(SIZE, np.uint8)), contents, SIZE, align)  # type: ignore[arg-type]
        assert frame.rig is None and len(notes) == count
        assert all("different coordinate systems" in note for note in notes)


def test_places_without_common_part_are_refused(files: tuple[Path, Path]) -> None:
    far = NORTH_UP + [[0, 0, 1000], [0, 0, 0], [0, 0, 0]]
    write(files[1], 0.8 * sample(NORTH_UP, (32, 40)), far)
    with pytest.raises(ValueError, match=r"the rig \(read from the georeferences of both files\) does not belong"):
        read_pair(*files, ReadOptions(align="auto"))
    write(files[1], 0.8 * sample(NORTH_UP, (32, 40)), np.diag([1000, 1000, 1]) @ NORTH_UP)
    with pytest.raises(ValueError, match="the georeferences of the two files do not fit together"):
        read_pair(*files, ReadOptions(align="auto"))


def test_the_pipeline_uses_georeferences(files: tuple[Path, Path]) -> None:
    write(files[1], 0.8 * sample(NORTH_UP, (32, 40)), NORTH_UP)
    processor = load_image_processor("gffusion-live")
    pipeline = ImageFusionPipeline(create_model("gffusion-live"), image_processor=processor)
    by_content = pipeline(files[0].read_bytes(), files[1].read_bytes(), align="auto")
    to_infrared = np.linalg.inv(NORTH_UP @ np.diag([40, 32, 1])) @ VISIBLE @ np.diag([150, 120, 1])
    expected = pipeline(*map(str, files), align=Rig(to_infrared))
    assert np.abs(np.asarray(by_content).astype(int) - np.asarray(expected)).max() <= 1
