"""YOLO files."""

from pathlib import Path

import numpy as np
import pytest

from gffusion.data import read_boxes

SIZE = (100, 200)  # height, width
CLASSES = ("person", "Car", "bus")


def test_relative_coordinates_become_pixels(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 0.5 0.5 1 1  \n\n2  0.25 0.5 0.1 0.2 0.875\r\n1.0 0.5 0.5 0.5 0.5\n")
    boxes = read_boxes(tmp_path / "a.txt", SIZE, CLASSES)
    np.testing.assert_allclose(boxes.coordinates, [(0, 0, 200, 100), (40, 40, 60, 60), (50, 25, 150, 75)], atol=1e-5)
    assert boxes.classes.tolist() == [0, 2, 1]
    assert (boxes.coordinates.dtype, boxes.classes.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("confidence", ["", " 0.9"])
@pytest.mark.parametrize(
    ("points", "box"),
    [
        ("0.1 0.2 0.3 0.2 0.3 0.6", (20, 20, 60, 60)),
        ("0.5 0.1 0.9 0.5 0.5 0.9 0.1 0.5", (20, 10, 180, 90)),
        ("0 0 1 0 1 1 0.5 0.5 0 1", (0, 0, 200, 100)),
    ],
)
def test_box_of_a_polygon(tmp_path: Path, points: str, box: tuple[int, ...], confidence: str) -> None:
    (tmp_path / "a.txt").write_text(f"1 {points}{confidence}\n0 0.5 0.5 1 1\n")
    boxes = read_boxes(tmp_path / "a.txt", SIZE, CLASSES)
    np.testing.assert_allclose(boxes.coordinates, [box, (0, 0, 200, 100)], atol=1e-4)
    assert boxes.classes.tolist() == [1, 0]


@pytest.mark.parametrize("column", ["0", "1", "1.0", "0.25", "1e-3", "1.0001", "car"])
def test_sixth_column(tmp_path: Path, column: str) -> None:
    (tmp_path / "a.txt").write_text(f"1 0.5 0.5 0.5 1 {column}\n")
    assert read_boxes(tmp_path / "a.txt", SIZE, CLASSES).coordinates.tolist() == [[50, 0, 150, 100]]


@pytest.mark.parametrize("content", ["", "\n  \n"])
def test_empty_file_has_no_objects(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.txt").write_text(content)
    boxes = read_boxes(tmp_path / "a.txt", SIZE, CLASSES)
    assert (boxes.coordinates.shape, boxes.classes.shape) == ((0, 4), (0,))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0 0.5 0.5 1", "class, center x"),
        ("0 10 10 20 10 20 20", "relative to the image"),  # a polygon in pixels
        ("0 0.5 0.5 0.2 0.2 0.5 0.5 2 0.6 0.6 1", "relative to the image"),  # key points with their visibility
        ("0 0.1 0.1 0.2 0.1 x 0.2", "only numbers"),
        *(
            (
                f"0 0.5 0.5 0.2 0.1 {number}",
                f"the sixth number {number} is no confidence .* track .* export the boxes as polygons",
            )
            for number in (7, 90, -0.78, 1.57, "nan")
        ),
        ("person 0.5 0.5 1 1", "only numbers"),
        ("3 0.5 0.5 1 1", r"0 to 2 \(person, Car, bus\)"),
        ("-1 0.5 0.5 1 1", "0 to 2"),
        ("0.5 0.5 0.5 1 1", "an integer"),
        ("0 100 50 20 20", "relative to the image"),
        ("0 0.5 nan 1 1", "relative to the image"),
        ("0 0.5 0.5 -0.5 1", "relative to the image"),
    ],
)
def test_malformed_lines(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 1 1\n{row}\n")
    with pytest.raises(ValueError, match=rf"a\.txt, line 2: .*{message}.*got '{row}'"):
        read_boxes(tmp_path / "a.txt", SIZE, CLASSES)


def test_class_names_are_optional(tmp_path: Path) -> None:
    (tmp_path / "a.TXT").write_text("41 0.5 0.5 1 1")
    assert read_boxes(tmp_path / "a.TXT", SIZE).classes.tolist() == [41]
    (tmp_path / "a.TXT").write_text("1e20 0.5 0.5 1 1")
    with pytest.raises(ValueError, match="an integer from 0 to 65535, got '1e20"):
        read_boxes(tmp_path / "a.TXT", SIZE)


def test_real_boxes(data_dir: Path) -> None:
    folder = data_dir / "train" / "msrs"
    names = (folder / "classes.txt").read_text().split()
    files = sorted((folder / "boxes").glob("*.txt"))
    assert len(files) == 242
    for file in files[::10]:
        boxes = read_boxes(file, (480, 640), names)
        rows = np.array([line.split() for line in file.read_text().splitlines() if line.strip()], float).reshape(-1, 5)
        centers = (boxes.coordinates[:, :2] + boxes.coordinates[:, 2:]) / 2
        inside = (np.abs(rows[:, 1:3] - 0.5) + rows[:, 3:] / 2 <= 0.5).all(axis=1)  # not clipped
        np.testing.assert_allclose(centers[inside], (rows[:, 1:3] * (640, 480))[inside], atol=1e-2)
        assert boxes.classes.tolist() == rows[:, 0].tolist()
