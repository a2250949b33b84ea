"""Boxes that were drawn on the infrared image, in the frame of the visible image."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gffusion.cameras import Align, Rig
from gffusion.data import FusionDataset, ImagePair, ReadOptions, read_pair
from gffusion.data.aligned_boxes import read_aligned_boxes
from gffusion.data.boxes import Boxes, NamedBoxes

SIZE, INFRARED_SIZE = (120, 160), (60, 80)
SHIFTED = Rig.from_pixels(np.array([[0.5, 0, -8], [0, 0.5, 4], [0, 0, 1]]), SIZE, INFRARED_SIZE)
TURNED = Rig.from_pixels(np.array([[0.48, 0.1, -4], [-0.1, 0.48, 6], [5e-4, 3e-4, 1]]), SIZE, INFRARED_SIZE)
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


def read(pair: ImagePair, align: Align, class_names: Sequence[str] = ("car",)) -> Boxes:
    images = read_pair(pair.visible, pair.infrared, ReadOptions(align))
    return read_aligned_boxes(pair, images, class_names, align)


@pytest.mark.parametrize("align", ["resize", SHIFTED, TURNED])
def test_boxes_move_with_the_image(pair: ImagePair, align: Align) -> None:
    boxes = read(pair, align, ["bus", "car"])
    rows, columns = np.nonzero(read_pair(pair.visible, pair.infrared, ReadOptions(align)).infrared > 100)
    area = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose(boxes.coordinates, [area], atol=1)
    np.testing.assert_array_equal(boxes.ignored, boxes.coordinates)
    assert boxes.classes.tolist() == [1]


def test_what_the_infrared_image_does_not_show_is_unseen(pair: ImagePair) -> None:
    unseen = read(pair, SHIFTED).unseen
    rows, columns = np.indices(SIZE)  # of pixel centers; by the matrix of SHIFTED
    inside = (abs((columns * 0.5 - 8) - 39.5) <= 40) & (abs((rows * 0.5 + 4) - 29.5) <= 30)
    assert unseen is not None and 0.1 < unseen.mean() < 0.9
    np.testing.assert_array_equal(unseen, ~inside)
    assert read(pair, "resize").unseen is None
    assert read(replace(pair, boxes=NamedBoxes("all.json", SIZE, ("car",), (BOX,))), SHIFTED).unseen is None


@pytest.mark.parametrize("align", ["resize", SHIFTED])
def test_datasets_move_boxes(pair: ImagePair, tmp_path: Path, align: Align) -> None:
    """From the file of the boxes to the item, with its alignment as an option."""
    for kind in ("visible", "infrared", "boxes"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    shutil.copy(pair.visible, tmp_path / "data" / "visible" / "1.png")
    shutil.copy(pair.infrared, tmp_path / "data" / "infrared" / "1.png")
    box = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), (21, 11, 40, 30), strict=True)
    )
    (tmp_path / "data" / "boxes" / "1.xml").write_text(
        "<annotation><size><width>80</width><height>60</height></size>"
        f"<object><name>car</name><bndbox>{box}</bndbox></object></annotation>"
    )
    dataset = FusionDataset(tmp_path / "data", class_names=["car"], read_options=ReadOptions(align))
    np.testing.assert_allclose(dataset[0]["boxes"], read(pair, align).coordinates)


def test_boxes_on_the_visible_image_stay(pair: ImagePair) -> None:
    on_visible = replace(pair, boxes=NamedBoxes("all.json", SIZE, ("car",), (BOX,)))
    assert read(on_visible, "resize").coordinates.tolist() == [[*BOX]]


def test_what_is_refused(pair: ImagePair) -> None:
    other = replace(pair, boxes=NamedBoxes("all.json", (90, 80), ("car",), (BOX,)))
    with pytest.raises(
        ValueError, match=r"all\.json: the boxes were drawn on .* 80x90 .* measures 160x120.*annotated$"
    ):
        read(other, "resize")
    images = read_pair(pair.visible, pair.infrared, ReadOptions("resize"))
    with pytest.raises(ValueError, match=r"80x60 .* measures 160x120.* or a rig moves them"):
        read_aligned_boxes(pair, images, ["car"], "auto")
    with pytest.raises(ValueError, match=r"visible\.png has no boxes"):
        read(replace(pair, boxes=None), "resize")
