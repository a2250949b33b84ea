"""What all box formats share: suffixes, encoding and clipping."""

import logging
from pathlib import Path

import numpy as np
import pytest

from gffusion.data import read_boxes

SIZE = (100, 200)  # height, width


def test_clipped_and_left_out_with_one_report(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a.txt"
    file.write_text("0 0 0 0.5 0.5\n0 0.5 0.5 0 0.2\n1 1.3 0.5 0.1 0.1\n2 0.95 0.9 0.2 0.4")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            boxes = read_boxes(file, SIZE)
    np.testing.assert_allclose(boxes.coordinates, [(0, 0, 50, 25), (170, 70, 200, 100)], atol=1e-4)
    assert boxes.classes.tolist() == [0, 2]
    (record,) = caplog.records
    assert record.getMessage() == f"{file}: left out 2 of 4 boxes, outside the image or without an area"


@pytest.mark.parametrize("name", ["a.txt", "a.xml"])
def test_other_encodings(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=rf"{name} is not UTF-8 text"):
        read_boxes(tmp_path / name, SIZE)


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("a.csv", ValueError, r"a\.csv: the suffix must be one of \.txt, \.xml, \.json"),
        ("all.json", ValueError, "read it with read_coco"),
        ("a.txt", FileNotFoundError, r"a\.txt"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_boxes(tmp_path / name, SIZE)
