"""GeoTIFF pairs whose positions are known: a scene that is a function of coordinates, and grids that sample it."""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from scipy.ndimage import binary_erosion

from gffusion import ImageFusionPipeline, create_model, load_image_processor
from gffusion.cameras import InfraredFrame, Rig
from gffusion.cli import main
from gffusion.data import FusionDataset, ReadOptions, read_pair
from gffusion.data.georeference import add_georeference

ORIGIN = 690_000.0, 5_335_000.0
UTM = {1024: 1, 3072: 25832}  # model and code of the projection
DEGREES = {1024: 2, 2048: 4326}
OWN = {1024: 1, 2048: 4326, 3072: 32767, 3075: 1}  # a projection whose parameters are the numbers
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
    path: Path,
    image: np.ndarray,
    matrix: np.ndarray,
    system: dict[int, int] = UTM,
    form: str = "scale",
    numbers: tuple[float, ...] = (),
    more: Sequence[Any] = (),
    **options: Any,
) -> None:
    """Write a GeoTIFF file; the form of the georeference is "scale", "negative" (a scale), "point" (centers of pixels) or "matrix"."""
    entries = {1025: 2 if form == "point" else 1, **system}
    keys = (1, 1, 0, len(entries), *(number for key, value in sorted(entries.items()) for number in (key, 0, 1, value)))
    if form == "matrix":
        rows = np.zeros((4, 4))  # GDAL ignores the last row, too
        rows[np.ix_([0, 1], [0, 1, 3])] = matrix[:2]
        tags = [(34264, 12, 16, tuple(rows.ravel()), True)]
    else:
        shift = 0.5 if form == "point" else 0
        corner = matrix @ (10 + shift, 7 + shift, 1)
        tags = [
            (33550, 12, 3, (matrix[0, 0], matrix[1, 1] if form == "negative" else -matrix[1, 1], 0.0), True),
            (33922, 12, 6, (10.0, 7.0, 0.0, corner[0], corner[1], 0.0), True),
        ]
    tags += [(34735, 3, len(keys), keys, True), *more]
    if numbers:
        tags.append((34736, 12, len(numbers), numbers, True))
    tifffile.imwrite(path, np.rint(image).astype(np.uint8), extratags=tags, **options)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    write(tmp_path / "visible.tif", sample(VISIBLE, SIZE), VISIBLE)
    return tmp_path / "visible.tif", tmp_path / "infrared.tif"


@pytest.mark.parametrize("options", [{}, {"byteorder": ">"}, {"bigtiff": True, "compression": "deflate"}])
@pytest.mark.parametrize(
    ("matrix", "form"), [(NORTH_UP, "scale"), (NORTH_UP, "negative"), (NORTH_UP, "point"), (ROTATED, "matrix")]
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


@pytest.mark.parametrize(("pixels", "count"), [((0, 0), 0), ((0.6, 0.7), 0), ((0.8, -0.8), 1), ((30, 0), 1)])
@pytest.mark.parametrize("form", ["scale", "point"])
def test_images_of_other_places_are_noted(
    files: tuple[Path, Path], pixels: tuple[float, float], count: int, form: str
) -> None:
    """The files have one size, so that nothing else shows it."""
    matrix = VISIBLE + [[0, 0, 0.2 * pixels[0]], [0, 0, 0.2 * pixels[1]], [0, 0, 0]]
    write(files[1], 0.8 * sample(VISIBLE, SIZE), matrix, form=form)
    for options in (ReadOptions(), ReadOptions(align="resize")):
        notes = read_pair(*files, options).notes
        assert len(notes) == count and all("more than a pixel apart" in note for note in notes)
    assert read_pair(*files, ReadOptions(align=Rig(np.eye(3)))).notes == ()


@pytest.mark.parametrize(
    ("systems", "numbers", "is_one"),
    [
        ((UTM, {**UTM, 2048: 4258, 3076: 9001}), ((), ()), True),
        ((UTM, {**UTM, 3072: 25833}), ((), ()), False),
        ((DEGREES, DEGREES), ((), ()), True),
        ((DEGREES, UTM), ((), ()), False),
        ((OWN, OWN), ((500.0, 11.5), (500.0, 11.5)), True),
        ((OWN, OWN), ((500.0, 11.5), (510.0, 11.5)), False),
        ((OWN, DEGREES), ((500.0, 11.5), ()), False),
    ],
)
def test_only_one_coordinate_system_is_used(
    files: tuple[Path, Path],
    systems: tuple[dict[int, int], dict[int, int]],
    numbers: tuple[tuple[float, ...], tuple[float, ...]],
    is_one: bool,
) -> None:
    for path, system, values in zip(files, systems, numbers, strict=True):
        write(path, (0.8 if path is files[1] else 1) * sample(VISIBLE, SIZE), VISIBLE, system, numbers=values)
    assert read_pair(*files).notes == ()
    error = contextlib.nullcontext() if is_one else pytest.raises(ValueError, match="different coordinate systems")
    with error:
        assert "by the georeferences" in read_pair(*files, ReadOptions(align="auto")).notes[0]


@pytest.mark.parametrize(
    ("system", "more"),
    [({}, []), (UTM, [(274, 3, 1, 6, True)]), (UTM, [(33550, 12, 3, (np.nan, 1.0, 0.0), True)])],
)
@pytest.mark.parametrize("form", ["scale", "point"])
def test_georeferences_that_are_not_used(
    files: tuple[Path, Path], system: dict[int, int], more: Sequence[Any], form: str
) -> None:
    """Without a coordinate system, of turned images, and damaged ones."""
    for path in files:
        write(path, sample(VISIBLE, SIZE), VISIBLE, system, form, more=more)
    frame = InfraredFrame(np.zeros(SIZE, np.uint8))
    found = add_georeference(frame, (files[0].read_bytes(), files[1].read_bytes()), SIZE, "auto")
    assert found == (frame, ())


def test_the_command_names_what_it_used(files: tuple[Path, Path], gffusion: Callable) -> None:
    write(files[1], 0.8 * sample(NORTH_UP, (32, 40)), NORTH_UP)
    output = files[0].parent / "fused.tif"
    outcome = gffusion("fuse", *files, "-o", output, "--model", "gffusion-live", "--align", "auto")
    assert outcome.exit_code == 0 and "aligned by the georeferences of the files" in outcome.out + outcome.err
    outcome = gffusion("align", *files, "-o", files[0].parent / "rig.json")
    assert "both files are georeferenced: --align auto uses" in outcome.err


def test_places_without_common_part_are_refused(files: tuple[Path, Path]) -> None:
    far = NORTH_UP + [[0, 0, 1000], [0, 0, 0], [0, 0, 0]]
    write(files[1], 0.8 * sample(NORTH_UP, (32, 40)), far)
    with pytest.raises(ValueError, match=r"the rig \(read from the georeferences of both files\) does not belong"):
        read_pair(*files, ReadOptions(align="auto"))
    write(files[1], 0.8 * sample(VISIBLE, SIZE), np.diag([0, 1, 1]) @ NORTH_UP)
    assert "more than a pixel apart" in read_pair(*files).notes[0]
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


@pytest.mark.parametrize(("columns", "system", "is_refused"), [(0.7, UTM, False), (3, UTM, True), (3, DEGREES, False)])
def test_label_maps_and_fused_images_of_another_place_are_refused(
    files: tuple[Path, Path], columns: float, system: dict[int, int], is_refused: bool
) -> None:
    write(files[1], 0.8 * sample(NORTH_UP, (32, 40)), NORTH_UP)
    root = files[0].parent
    for folder, file in (("visible", files[0]), ("infrared", files[1])):
        (root / folder).mkdir()
        file.rename(root / folder / "1.tif")
    shifted = VISIBLE + [[0, 0, 0.2 * columns], [0, 0, 0], [0, 0, 0]]
    for folder, image in (("labels", np.arange(SIZE[1]) % 3), ("fused", sample(VISIBLE, SIZE))):
        (root / folder).mkdir()
        write(root / folder / "1.tif", np.broadcast_to(image, SIZE), shifted, system)
    folders = str(root / "visible"), str(root / "infrared")
    error = pytest.raises(ValueError, match=r"1\.tif place them more than a pixel apart")
    dataset = FusionDataset(root, read_options=ReadOptions(align="auto"), infrared_range="percentile")
    for read in (dataset.read_sizes, lambda: dataset[0]):
        with error if is_refused else contextlib.nullcontext():
            read()
    command = ["evaluate", "--visible", folders[0], "--infrared", folders[1], "--fused", f"own={root / 'fused'}"]
    command += [
        "--labels",
        str(root / "labels"),
        "--predicted-labels",
        f"own={root / 'labels'}",
        "--class-names",
        "a,b,c",
    ]
    with pytest.raises(SystemExit) as stop:
        main([*command, "-o", str(root / "o"), "--align", "auto", "--no-baselines", "--metrics", "EN"])
    assert bool(stop.value.code) == is_refused


def test_label_maps_of_aligned_images_have_one_of_their_georeferences(files: tuple[Path, Path]) -> None:
    """A note says that the georeferences of the images differ; a map has either of them, or none."""
    shift = 0.2 * np.eye(3)[:, :1] * [0, 0, 1]
    root = files[0].parent
    for folder in ("visible", "infrared", "labels"):
        (root / folder).mkdir()
    files[0].rename(root / "visible" / "1.tif")
    labels = np.broadcast_to(np.arange(SIZE[1]) % 3, SIZE)
    dataset = None
    for columns, is_refused in ((0, False), (3, False), (6, True)):
        write(root / "infrared" / "1.tif", sample(VISIBLE, SIZE), VISIBLE + 3 * shift)
        write(root / "labels" / "1.tif", labels, VISIBLE + columns * shift)
        dataset = FusionDataset(root)
        with pytest.raises(ValueError, match="gdal_edit") if is_refused else contextlib.nullcontext():
            dataset.read_sizes()
    assert dataset is not None
    tifffile.imwrite(root / "infrared" / "1.tif", sample(VISIBLE, SIZE).astype(np.uint8))
    with pytest.raises(ValueError, match="more than a pixel apart"):
        dataset.read_sizes()
    write(root / "labels" / "1.tif", labels, np.eye(3), form="matrix")  # as programs write it without a georeference
    dataset.read_sizes()


@pytest.mark.parametrize("scale", [1e4, 1e9])
@pytest.mark.parametrize("is_center", [False, True])
def test_images_smaller_than_a_pixel_take_no_memory(files: tuple[Path, Path], scale: float, is_center: bool) -> None:
    """A wrong scale is such a georeference: filters in proportion to it would take all memory or hours."""
    write(files[1], sample(NORTH_UP, (32, 40)), NORTH_UP)
    center = VISIBLE @ (75.5, 60.5, 1) - (0, 0, 1)  # of a pixel, at which the infrared image lies
    size = 0.2 / scale
    matrix = np.array([[size, 0, 0], [0, -size, 0], [0, 0, 1]])
    matrix[:2, 2] = center[:2] + (-20 * size, 16 * size) if is_center else center[:2] + 0.06
    write(files[1], sample(NORTH_UP, (32, 40)), matrix, form="matrix")
    if is_center:
        pair = read_pair(*files, ReadOptions(align="auto"))
        assert pair.outside is not None and (~pair.outside).sum() == 1
    else:
        with pytest.raises(ValueError, match="lies outside the visible image"):
            read_pair(*files, ReadOptions(align="auto"))


def test_grids_of_very_different_extent_are_aligned(files: tuple[Path, Path]) -> None:
    """An estimate of more than 50-fold is not plausible, but georeferences are exact."""
    site = np.array([[2.0, 0, ORIGIN[0] - 800], [0, -2.0, ORIGIN[1] + 800], [0, 0, 1]])
    write(files[1], np.add.outer(np.arange(900), np.arange(900)) / 10, site)
    pair = read_pair(*files, ReadOptions(align="auto"))
    assert pair.outside is None  # the visible image lies at row and column 400, and a pixel of the site has ten of it
    np.testing.assert_allclose(pair.infrared[[4, 104], [4, 144]], [80, 82.4], atol=0.5)
    with pytest.raises(ValueError, match="scales it more than 50-fold"):
        Rig(np.diag([60, 60, 1]))
