"""Pascal VOC files."""

import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from gffusion.data import read_boxes
from gffusion.data.class_names import check_class_names

SIZE = (100, 200)  # height, width
CLASSES = ("person", "Car", "bus")
CAR = ("car", 1, 1, 20, 20)


def voc(folder: Path, *objects: tuple[str, float, float, float, float], size: str = "") -> Path:
    entries = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax>"
        f"<ymax>{bottom}</ymax></bndbox></object>"
        for name, left, top, right, bottom in objects
    )
    (folder / "a.xml").write_text(f"<annotation>{size}{entries}</annotation>", encoding="utf-8")
    return folder / "a.xml"


def test_corners_count_from_1_and_belong_to_the_box(tmp_path: Path) -> None:
    boxes = read_boxes(voc(tmp_path, ("car", 1, 1, 200, 100), ("Person", 11, 21, 30, 40)), SIZE, CLASSES)
    np.testing.assert_array_equal(boxes.coordinates, [(0, 0, 200, 100), (10, 20, 30, 40)])
    assert boxes.classes.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(25.0, 8.0, 30.0, 18.0), (11, 21, 30, 40)], [(25, 8, 30, 18), (11, 21, 30, 40)]),
        ([(12.25, 8, 30.5, 18)], [(12.25, 8, 30.5, 18)]),
        ([(0, 8, 30, 18), (11, 21, 30, 40)], [(0, 8, 30, 18), (11, 21, 30, 40)]),
        ([(10, 20, 100, 100)], [(9, 19, 100, 100)]),
        (
            [(0, 8, 30, 18), (5, 7, 5, 9), (5, 7, 9, 7), (0, 3, 0, 3)],
            [(0, 8, 30, 18), (5, 7, 6, 9), (5, 7, 9, 8), (0, 3, 1, 4)],
        ),
        ([(0, 0, 0, 0), (0, 8, 30, 18)], [(0, 8, 30, 18)]),
        ([(5.0, 7, 5.0, 9), (1, 2, 3, 4)], [(1, 2, 3, 4)]),
    ],
)
def test_edges_count_from_0_in_files_with_a_decimal_point_or_0(
    tmp_path: Path, rows: list[tuple[float, ...]], expected: list[tuple[float, ...]]
) -> None:
    """As Datumaro writes them, of which CVAT makes use."""
    boxes = read_boxes(voc(tmp_path, *(("car", *row) for row in rows)), SIZE, CLASSES)
    np.testing.assert_array_equal(boxes.coordinates, expected)


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        ("90.0", (45, 15, 55, 45)),
        ("60", (38.1699, 14.5096, 61.8301, 45.4904)),
        *((text, (35, 25, 65, 35)) for text in ("0.0", "north", "", "nan", "inf")),
    ],
)
def test_rotated_boxes(tmp_path: Path, rotation: str, expected: tuple[float, ...]) -> None:
    """CVAT stores them before their rotation, but polygons as they are."""
    attributes = "".join(
        f"<attribute><name>{name}</name><value>{value}</value></attribute>"
        for name, value in (("occluded", 1), ("rotation", rotation))
    )
    file = voc(tmp_path, ("car", 35.0, 25.0, 65.0, 35.0), ("car", 35.0, 25.0, 65.0, 35.0))
    file.write_text(file.read_text().replace("</object>", f"<attributes>{attributes}</attributes></object>", 1))
    boxes = read_boxes(file, SIZE, CLASSES).coordinates
    np.testing.assert_allclose(boxes, [expected, (35, 25, 65, 35)], atol=1e-3)
    polygon = "<polygon><x1>35.0</x1><y1>25</y1><x2>65</x2><y2>25</y2><x3>65</x3><y3>35</y3></polygon>"
    file.write_text(re.sub("<bndbox>.*?</bndbox>", polygon, file.read_text()))
    assert read_boxes(file, SIZE, CLASSES).coordinates.tolist() == [[35, 25, 65, 35]] * 2


@pytest.mark.parametrize("points", [[(30, 21), (5, 40), (11, 9)], [(30, 21), (12, 40), (5, 22), (11, 9)]])
def test_box_around_a_polygon(tmp_path: Path, points: list[tuple[int, int]]) -> None:
    numbers = "".join(f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(points, start=1))
    entry = f"<object><name>car</name><polygon>{numbers}</polygon></object>"
    file = tmp_path / "a.xml"
    file.write_text(f"<annotation>{entry}</annotation>")
    assert read_boxes(file, SIZE, CLASSES).coordinates.tolist() == [[4, 8, 30, 40]]
    file.write_text(f"<annotation>{entry.replace('<x3>', '<x>').replace('</x3>', '</x>')}</annotation>")
    with pytest.raises(ValueError, match=r"object 1 needs the numbers bndbox/.*, or polygon/x1, y1"):
        read_boxes(file, SIZE, CLASSES)
    entry = entry.replace("<x1>30<", "<x1>30.0<")
    file.write_text(f"<annotation>{entry}</annotation>")
    assert read_boxes(file, SIZE, CLASSES).coordinates.tolist() == [[5, 9, 30, 40]]
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
    file.write_text(f"<annotation>{entry.replace('<polygon>', f'{box}<polygon>')}</annotation>")
    assert read_boxes(file, SIZE, CLASSES).coordinates.tolist() == [[0, 0, 20, 20]]


def test_people_are_persons_unless_both_are_classes(tmp_path: Path) -> None:
    file = voc(tmp_path, ("People", 1, 1, 20, 20))
    assert read_boxes(file, SIZE, CLASSES).classes.tolist() == [0]
    assert read_boxes(file, SIZE, ("person", "people")).classes.tolist() == [1]


@pytest.mark.parametrize("spelling", ["Traffic_Light", " traffic light ", "TRAFFIC LIGHT"])
def test_spellings_of_one_class(tmp_path: Path, spelling: str) -> None:
    """Names that cannot be two classes are one class."""
    for name, other in ((spelling, "traffic light"), ("traffic light", spelling)):
        boxes = read_boxes(voc(tmp_path, (name, 1, 1, 20, 20)), SIZE, ("person", other))
        assert boxes.classes.tolist() == [1]
    with pytest.raises(ValueError, match="twice"):
        check_class_names(("traffic light", spelling), "classes.txt")


def test_unicode_forms_of_one_class(tmp_path: Path) -> None:
    forms = [unicodedata.normalize(form, "Fußgänger") for form in ("NFC", "NFD")]
    for name, other in (forms, forms[::-1]):
        assert read_boxes(voc(tmp_path, (name, 1, 1, 20, 20)), SIZE, ("car", other)).classes.tolist() == [1]
    with pytest.raises(ValueError, match="twice"):
        check_class_names(forms, "classes.txt")


def test_file_without_objects(tmp_path: Path) -> None:
    assert read_boxes(voc(tmp_path), SIZE, CLASSES).coordinates.shape == (0, 4)


def test_namespace(tmp_path: Path) -> None:
    plain = read_boxes(path := voc(tmp_path, CAR), SIZE, CLASSES)
    path.write_text(path.read_text().replace("<annotation>", '<annotation xmlns="http://example.org/voc">'))
    np.testing.assert_array_equal(read_boxes(path, SIZE, CLASSES).coordinates, plain.coordinates)
    assert len(plain.coordinates) == 1


def test_stated_size(tmp_path: Path) -> None:
    size = "<size><width>{}</width><height>{}</height><depth>3</depth></size>"
    for accepted in (size.format(200, 100), size.format(0, 0), "<size/>"):
        assert len(read_boxes(voc(tmp_path, CAR, size=accepted), SIZE, CLASSES).classes) == 1
    for stated, advice in (((400, 200), "scale the boxes"), ((100, 200), "without the EXIF orientation .*: rotate")):
        message = rf"a\.xml: .* drawn on an image of {stated[0]}x{stated[1]} .* measures 200x100.*; .*{advice}"
        with pytest.raises(ValueError, match=message):
            read_boxes(voc(tmp_path, CAR, size=size.format(*stated)), SIZE, CLASSES)


def test_relative_boxes(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"a\.xml: all numbers of boxes .* \[0\.1, 0\.2, 0\.5, 1\]: are they relative\?"
    ):
        read_boxes(voc(tmp_path, ("car", 0.1, 0.2, 0.5, 1)), SIZE, CLASSES)
    assert len(read_boxes(voc(tmp_path, ("car", 1, 1, 1, 1)), SIZE, CLASSES).classes) == 1  # a pixel


def test_class_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.xml: unknown class 'tram'; class_names are person, car, bus"):
        read_boxes(voc(tmp_path, ("tram", 1, 1, 20, 20)), SIZE, CLASSES)
    with pytest.raises(ValueError, match=r"a\.xml contains class names; pass class_names="):
        read_boxes(voc(tmp_path, CAR), SIZE)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation><object><name>car</name></object></annotation>", ": object 1 needs the numbers bndbox/xmin"),
        ("0 0.5 0.5 1 1", " is not an XML file"),
        (
            '<annotations><image name="b.png"><box label="car" xtl="1"/></image></annotations>',
            ".*root is <annotations>.*CVAT",
        ),
        ('<svg xmlns="http://www.w3.org/2000/svg"/>', ".*root is <svg>"),
    ],
)
def test_malformed_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "b.xml").write_text(content)
    with pytest.raises(ValueError, match=rf"b\.xml{message}"):
        read_boxes(tmp_path / "b.xml", SIZE, CLASSES)
