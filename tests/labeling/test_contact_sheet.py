"""The contact sheet of label maps: which pairs are chosen, and what is drawn."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gffusion.data import ImagePair
from gffusion.labeling.contact_sheet import choose_pairs, draw_contact_sheet


@pytest.fixture
def pair(tmp_path: Path) -> ImagePair:
    """Black images of 100 x 50 pixels with two boxes; the left half of one is labeled, its right half ignored."""
    Image.new("RGB", (100, 50)).save(tmp_path / "visible.png")
    Image.new("L", (100, 50)).save(tmp_path / "infrared.png")
    (tmp_path / "boxes.txt").write_text("0 0.3 0.5 0.2 0.4\n2 0.7 0.5 0.2 0.4\n")
    labels = np.zeros((50, 100), dtype=np.uint8)
    labels[15:35, 20:30], labels[15:35, 30:40] = 1, 255
    Image.fromarray(labels).save(tmp_path / "labels.png")
    files = [tmp_path / name for name in ("visible.png", "infrared.png", "labels.png", "boxes.txt")]
    return ImagePair("scene", *files)


def find_colors(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask of pixels that are not gray."""
    return np.ptp(image.astype(int), axis=-1) > 60


def test_boxes_are_on_both_images_and_labels_on_the_third(pair: ImagePair) -> None:
    sheet = np.asarray(draw_contact_sheet([pair]))
    tiles = [sheet[-274:-24, left : left + 500] for left in (12, 524, 1036)]
    for tile in tiles[:2]:
        colored = find_colors(tile)
        assert colored[75:175, [99, 200, 299, 400]].all()  # upright sides of both boxes, 5 times as large
        assert colored.sum() < 1000  # lines only
        assert not (tile[125, 99] == tile[125, 299]).all()  # different classes, different colors
    third = tiles[2]
    assert find_colors(third)[80:170, 105:145].all()
    ignored = third[80:170, 155:195]
    assert not find_colors(ignored).any()
    assert (ignored > 60).all()
    assert (third[:, 210:] == 0).all()


def test_a_row_for_every_pair_and_a_name_for_every_class(pair: ImagePair) -> None:
    one = draw_contact_sheet([pair])
    three = draw_contact_sheet([pair] * 3, ["person", "bicycle", "car"])
    assert three.width == one.width
    assert (three.height - one.height) / 2 == 318
    legend, empty_legend = (find_colors(np.asarray(sheet)[:38]) for sheet in (three, one))
    assert not empty_legend.any()
    assert len(np.unique(np.asarray(three)[:38][legend], axis=0)) == 3


def test_gray_and_16_bit_images(pair: ImagePair, tmp_path: Path) -> None:
    Image.new("L", (100, 50)).save(tmp_path / "gray.png")
    Image.fromarray(np.full((50, 100), 65534, dtype=np.uint16)).save(tmp_path / "deep.png")
    other = replace(pair, visible=tmp_path / "gray.png", infrared=tmp_path / "deep.png")
    sheet = np.asarray(draw_contact_sheet([other]))
    assert (sheet[-40, [262, 774, 1286]] == [[0], [255], [255]]).all()


@pytest.mark.parametrize(("missing", "message"), [("boxes", "no boxes"), ("labels", "no label map")])
def test_pair_that_cannot_be_shown(pair: ImagePair, missing: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"scene has {message}"):
        draw_contact_sheet([replace(pair, **{missing: None})])


def test_label_map_of_another_size(pair: ImagePair, tmp_path: Path) -> None:
    Image.new("L", (50, 50), 1).save(tmp_path / "small.png")
    with pytest.raises(
        ValueError,
        match=r"small\.png 50 x 50 .*a label map must have the size of the visible image\. Its aspect ratio differs",
    ):
        draw_contact_sheet([replace(pair, labels=tmp_path / "small.png")])


def test_choice_is_spread_evenly_and_skips_empty_maps(pair: ImagePair, tmp_path: Path) -> None:
    Image.new("L", (100, 50)).save(tmp_path / "empty.png")
    empty = {0, 1, 5, 6, 7, 8, 9}
    pairs = [
        replace(pair, name=str(index), labels=tmp_path / "empty.png" if index in empty else pair.labels)
        for index in range(20)
    ]
    assert [chosen.name for chosen in choose_pairs(pairs, 4)] == ["2", "10", "15"]
    assert [chosen.name for chosen in choose_pairs(pairs[10:12], 8)] == ["10", "11"]
    assert choose_pairs(pairs[5:10], 3) == choose_pairs([], 3) == []
    with pytest.raises(OSError, match="--max-pixels 5000"):
        choose_pairs(pairs, 4, max_pixels=4999)
