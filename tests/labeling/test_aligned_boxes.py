"""Boxes that were drawn on the infrared image, in the frame of the visible image."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gffusion.cameras import Align, Rig
from gffusion.data import ImagePair, ReadOptions, read_pair
from gffusion.data.boxes import NamedBoxes
from gffusion.labeling.aligned_boxes import read_aligned_boxes

SIZE, INFRARED_SIZE = (120, 160), (60, 80)
SHIFTED = Rig.from_pixels(np.array([[0.5, 0, -8], [0, 0.5, 4], [0, 0, 1]]), SIZE, INFRARED_SIZE)
BOX = (20, 10, 40, 30)


@pytest.fixture
def pair(tmp_path: Path) -> ImagePair:
    """A box that fills a bright area of the infrared image, and the same as a box to ignore."""
    infrared = np.zeros(INFRARED_SIZE, np.uint8)
    infrared[10:30, 20:40] = 200
    Image.fromarray(infrared).save(tmp_path / "infrared.png")
    Image.new("RGB", SIZE[::-1], (0, 90, 0)).save(tmp_path / "visible.png")
    boxes = NamedBoxes("all.json", INFRARED_SIZE, ("car",), (BOX,), (BOX,))
    return ImagePair("scene", tmp_path / "visible.png", tmp_path / "infrared.png", boxes=boxes)


@pytest.mark.parametrize("align", ["resize", SHIFTED])
def test_boxes_move_with_the_image(pair: ImagePair, align: Align) -> None:
    options = ReadOptions(align)
    boxes = read_aligned_boxes(pair, SIZE, ["bus", "car"], options)
    rows, columns = np.nonzero(read_pair(pair.visible, pair.infrared, options).infrared > 100)
    area = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose(boxes.coordinates, [area], atol=1)
    np.testing.assert_array_equal(boxes.ignored, boxes.coordinates)
    assert boxes.classes.tolist() == [1]


def test_boxes_on_the_visible_image_stay(pair: ImagePair) -> None:
    on_visible = replace(pair, boxes=NamedBoxes("all.json", SIZE, ("car",), (BOX,)))
    assert read_aligned_boxes(on_visible, SIZE, ["car"], ReadOptions("resize")).coordinates.tolist() == [[*BOX]]


@pytest.mark.parametrize(("align", "size"), [("none", INFRARED_SIZE), ("auto", INFRARED_SIZE), ("resize", (90, 80))])
def test_what_is_refused(pair: ImagePair, align: Align, size: tuple[int, int]) -> None:
    other = replace(pair, boxes=NamedBoxes("all.json", size, ("car",), (BOX,)))
    with pytest.raises(ValueError, match=rf"all\.json: the boxes were drawn on .* 80x{size[0]} .* measures 160x120"):
        read_aligned_boxes(other, SIZE, ["car"], ReadOptions(align))
    with pytest.raises(ValueError, match=r"visible\.png has no boxes"):
        read_aligned_boxes(replace(pair, boxes=None), SIZE, ["car"], ReadOptions())
