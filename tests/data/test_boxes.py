"""Boxes from YOLO, VOC and COCO files, against coordinates worked out by hand."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gffusion.data import read_boxes, read_coco

SIZE = (100, 200)  # height, width
CLASSES = ("person", "Car", "bus")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def voc(path: Path, *objects: tuple[str, float, float, float, float], size: str = "") -> Path:
    entries = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        "</bndbox></object>"
        for name, left, top, right, bottom in objects
    )
    return write(path, f"<annotation>{size}{entries}</annotation>")


def coco(path: Path, **changes: Any) -> Path:
    content = {
        "categories": [{"id": 7, "name": "car"}, {"id": 2, "name": "person"}],
        "images": [
            {"id": 10, "file_name": "visible/a.png", "height": 100, "width": 200},
            {"id": 3, "file_name": "b.jpg", "height": 100, "width": 200},
        ],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 7, "bbox": [10, 20, 30, 40]},
            {"id": 2, "image_id": 10, "category_id": 2, "bbox": [0, 0, 200, 100], "iscrowd": 0},
            {"id": 3, "image_id": 10, "category_id": 2, "bbox": [0, 0, 50, 50], "iscrowd": 1},
        ],
    }
    return write(path, json.dumps(content | changes))


class TestYolo:
    def test_pixels(self, tmp_path: Path) -> None:
        file = write(tmp_path / "a.txt", "0 0.5 0.5 1 1  \n\n2  0.25 0.5 0.1 0.2 0.875\r\n1.0 0.5 0.5 0.5 0.5\n")
        boxes = read_boxes(file, SIZE, CLASSES)
        np.testing.assert_allclose(
            boxes.coordinates, [(0, 0, 200, 100), (40, 40, 60, 60), (50, 25, 150, 75)], atol=1e-5
        )
        assert boxes.classes.tolist() == [0, 2, 1]
        assert (boxes.coordinates.dtype, boxes.classes.dtype) == (np.float32, np.int64)

    @pytest.mark.parametrize("content", ["", "\n  \n"])
    def test_nothing_is_no_objects(self, tmp_path: Path, content: str) -> None:
        boxes = read_boxes(write(tmp_path / "a.txt", content), SIZE, CLASSES)
        assert boxes.coordinates.shape == (0, 4)
        assert boxes.classes.shape == (0,)

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("0 0.5 0.5 1", "class, centre x"),
            ("0 0.1 0.1 0.2 0.1 0.2 0.2", "class, centre x"),  # a polygon
            ("person 0.5 0.5 1 1", "numbers only"),
            ("3 0.5 0.5 1 1", r"0 to 2 \(person, Car, bus\)"),
            ("-1 0.5 0.5 1 1", "0 to 2"),
            ("0.5 0.5 0.5 1 1", "whole number"),
            ("0 100 50 20 20", "relative to the image"),
            ("0 0.5 nan 1 1", "relative to the image"),
            ("0 0.5 0.5 -0.5 1", "relative to the image"),
        ],
    )
    def test_malformed_rows(self, tmp_path: Path, row: str, message: str) -> None:
        file = write(tmp_path / "a.txt", f"0 0.5 0.5 1 1\n{row}\n")
        with pytest.raises(ValueError, match=rf"a\.txt, line 2: .*{message}.*got '{row}'"):
            read_boxes(file, SIZE, CLASSES)

    def test_classes_need_no_names(self, tmp_path: Path) -> None:
        assert read_boxes(write(tmp_path / "a.TXT", "41 0.5 0.5 1 1"), SIZE).classes.tolist() == [41]

    def test_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00\x01")
        with pytest.raises(ValueError, match=r"a\.txt is no UTF-8 text"):
            read_boxes(tmp_path / "a.txt", SIZE)


class TestVoc:
    def test_corners_count_from_1_and_belong_to_the_box(self, tmp_path: Path) -> None:
        file = voc(tmp_path / "a.xml", ("car", 1, 1, 200, 100), ("Person", 11, 21, 30, 40))
        boxes = read_boxes(file, SIZE, CLASSES)
        np.testing.assert_array_equal(boxes.coordinates, [(0, 0, 200, 100), (10, 20, 30, 40)])
        assert boxes.classes.tolist() == [1, 0]

    def test_people_are_persons_where_only_those_are_known(self, tmp_path: Path) -> None:
        file = voc(tmp_path / "a.xml", ("People", 1, 1, 20, 20))
        assert read_boxes(file, SIZE, CLASSES).classes.tolist() == [0]
        assert read_boxes(file, SIZE, ("person", "people")).classes.tolist() == [1]

    def test_nothing_is_no_objects(self, tmp_path: Path) -> None:
        assert read_boxes(voc(tmp_path / "a.xml"), SIZE, CLASSES).coordinates.shape == (0, 4)

    def test_size_that_differs(self, tmp_path: Path) -> None:
        size = "<size><width>{}</width><height>{}</height><depth>3</depth></size>"
        box = ("car", 1, 1, 20, 20)
        for fitting in (size.format(200, 100), size.format(0, 0), "<size/>"):
            assert len(read_boxes(voc(tmp_path / "a.xml", box, size=fitting), SIZE, CLASSES).classes) == 1
        with pytest.raises(ValueError, match=r"a\.xml: .* drawn on an image of 400x200 .* measures 200x100"):
            read_boxes(voc(tmp_path / "a.xml", box, size=size.format(400, 200)), SIZE, CLASSES)

    def test_mistakes(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"a\.xml: 'tram' is none of the classes person, car, bus"):
            read_boxes(voc(tmp_path / "a.xml", ("tram", 1, 1, 20, 20)), SIZE, CLASSES)
        with pytest.raises(ValueError, match=r"a\.xml.* class_names must say"):
            read_boxes(tmp_path / "a.xml", SIZE)
        with pytest.raises(ValueError, match=r"b\.xml: object 1 lacks a number in bndbox/xmin"):
            read_boxes(
                write(tmp_path / "b.xml", "<annotation><object><name>car</name></object></annotation>"), SIZE, CLASSES
            )
        with pytest.raises(ValueError, match=r"c\.xml is no XML file"):
            read_boxes(write(tmp_path / "c.xml", "0 0.5 0.5 1 1"), SIZE, CLASSES)


class TestCoco:
    def test_ids_with_gaps(self, tmp_path: Path) -> None:
        images, class_names = read_coco(coco(tmp_path / "all.json"))
        assert class_names == ("person", "car")  # in the order of the ids 2 and 7
        boxes = read_boxes(images["a"], SIZE, class_names)
        np.testing.assert_array_equal(boxes.coordinates, [(10, 20, 40, 60), (0, 0, 200, 100)])
        assert boxes.classes.tolist() == [1, 0]
        assert read_boxes(images["a"], SIZE, CLASSES).classes.tolist() == [1, 0]

    def test_an_image_without_annotations_has_no_objects(self, tmp_path: Path) -> None:
        images, class_names = read_coco(coco(tmp_path / "all.json"))
        assert images.keys() == {"a", "b"}
        assert read_boxes(images["b"], SIZE, class_names).coordinates.shape == (0, 4)

    def test_size_that_differs(self, tmp_path: Path) -> None:
        images, class_names = read_coco(coco(tmp_path / "all.json"))
        with pytest.raises(ValueError, match=r"all\.json \(visible/a\.png\): .* drawn on an image of 200x100"):
            read_boxes(images["a"], (50, 100), class_names)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"annotations": [{"image_id": 5, "category_id": 2, "bbox": [0, 0, 1, 1]}]}, "the image 5, which"),
            ({"annotations": [{"image_id": 3, "category_id": 5, "bbox": [0, 0, 1, 1]}]}, "the category 5, which"),
            ({"annotations": [{"image_id": 3, "category_id": 2}]}, "an entry lacks 'bbox'"),
            ({"annotations": [{"image_id": 3, "category_id": 2, "bbox": [5, 5, -1, 1]}]}, "negative side"),
            ({"annotations": 3}, "not iterable"),
            ({"images": [{"id": 1, "file_name": "x/a.png"}, {"id": 2, "file_name": "y\\a.jpg"}]}, "two images .* a,"),
        ],
    )
    def test_mistakes(self, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
        without = {"annotations": []} if "images" in changes else {}
        with pytest.raises(ValueError, match=rf"all\.json.*{message}"):
            read_coco(coco(tmp_path / "all.json", **without, **changes))

    def test_other_json(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=r"all\.json .* lacks annotations, categories, images"):
            read_coco(write(tmp_path / "all.json", "{}"))
        with pytest.raises(ValueError, match=r"all\.json is no JSON file"):
            read_coco(write(tmp_path / "all.json", "{"))
        with pytest.raises(ValueError, match="read_coco"):
            read_boxes(tmp_path / "all.json", SIZE)


def test_clipped_and_left_out_with_one_report(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = ("0 0 0 0.5 0.5", "0 0.5 0.5 0 0.2", "1 1.3 0.5 0.1 0.1", "2 0.95 0.9 0.2 0.4")
    file = write(tmp_path / "a.txt", "\n".join(rows))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            boxes = read_boxes(file, SIZE, CLASSES)
    np.testing.assert_allclose(boxes.coordinates, [(0, 0, 50, 25), (170, 70, 200, 100)], atol=1e-4)
    assert boxes.classes.tolist() == [0, 2]
    (record,) = caplog.records
    assert record.getMessage() == f"{file}: left out 2 of 4 boxes, outside the image or without an area"


def test_other_suffix(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.csv: the suffix must be one of \.txt, \.xml, \.json"):
        read_boxes(tmp_path / "a.csv", SIZE)
    with pytest.raises(FileNotFoundError, match=r"a\.txt"):
        read_boxes(tmp_path / "a.txt", SIZE)


def test_real_boxes(data_dir: Path) -> None:
    folder = data_dir / "train" / "msrs"
    names = (folder / "classes.txt").read_text().split()
    files = sorted((folder / "boxes").glob("*.txt"))
    assert len(files) == 242
    for file in files[::10]:
        boxes = read_boxes(file, (480, 640), names)
        rows = np.array([line.split() for line in file.read_text().splitlines() if line.strip()], float).reshape(-1, 5)
        centres = (boxes.coordinates[:, :2] + boxes.coordinates[:, 2:]) / 2
        inside = (np.abs(rows[:, 1:3] - 0.5) + rows[:, 3:] / 2 <= 0.5).all(axis=1)  # not clipped
        np.testing.assert_allclose(centres[inside], (rows[:, 1:3] * (640, 480))[inside], atol=1e-2)
        assert boxes.classes.tolist() == rows[:, 0].tolist()
