"""Pascal VOC files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gffusion.data import read_boxes

SIZE = (100, 200)  # height, width
CLASSES = ("person", "Car", "bus")
CAR = ("car", 1, 1, 20, 20)
WriteVoc = Callable[..., Path]


@pytest.fixture
def write_voc(tmp_path: Path) -> WriteVoc:
    """Write a file of objects: name, xmin, ymin, xmax, ymax."""

    def write(*objects: tuple[str, float, float, float, float], size: str = "") -> Path:
        entries = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>"
            f"<ymax>{bottom}</ymax></bndbox></object>"
            for name, left, top, right, bottom in objects
        )
        path = tmp_path / "a.xml"
        path.write_text(f"<annotation>{size}{entries}</annotation>", encoding="utf-8")
        return path

    return write


def test_corners_count_from_1_and_belong_to_the_box(write_voc: WriteVoc) -> None:
    boxes = read_boxes(write_voc(("car", 1, 1, 200, 100), ("Person", 11, 21, 30, 40)), SIZE, CLASSES)
    np.testing.assert_array_equal(boxes.coordinates, [(0, 0, 200, 100), (10, 20, 30, 40)])
    assert boxes.classes.tolist() == [1, 0]


def test_people_are_persons_unless_both_are_classes(write_voc: WriteVoc) -> None:
    file = write_voc(("People", 1, 1, 20, 20))
    assert read_boxes(file, SIZE, CLASSES).classes.tolist() == [0]
    assert read_boxes(file, SIZE, ("person", "people")).classes.tolist() == [1]


def test_file_without_objects(write_voc: WriteVoc) -> None:
    assert read_boxes(write_voc(), SIZE, CLASSES).coordinates.shape == (0, 4)


def test_stated_size(write_voc: WriteVoc) -> None:
    size = "<size><width>{}</width><height>{}</height><depth>3</depth></size>"
    for accepted in (size.format(200, 100), size.format(0, 0), "<size/>"):
        assert len(read_boxes(write_voc(CAR, size=accepted), SIZE, CLASSES).classes) == 1
    with pytest.raises(ValueError, match=r"a\.xml: .* drawn on an image of 400x200 .* measures 200x100"):
        read_boxes(write_voc(CAR, size=size.format(400, 200)), SIZE, CLASSES)


def test_class_names(write_voc: WriteVoc) -> None:
    with pytest.raises(ValueError, match=r"a\.xml: unknown class 'tram'; class_names are person, car, bus"):
        read_boxes(write_voc(("tram", 1, 1, 20, 20)), SIZE, CLASSES)
    with pytest.raises(ValueError, match=r"a\.xml contains class names; pass class_names="):
        read_boxes(write_voc(CAR), SIZE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation><object><name>car</name></object></annotation>", ": object 1 needs the numbers bndbox/xmin"),
        ("0 0.5 0.5 1 1", " is not an XML file"),
    ],
)
def test_malformed_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "b.xml").write_text(content)
    with pytest.raises(ValueError, match=rf"b\.xml{message}"):
        read_boxes(tmp_path / "b.xml", SIZE, CLASSES)
