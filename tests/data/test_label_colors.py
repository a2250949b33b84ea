"""Palettes of label maps, as Pillow writes them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gffusion.data import FusionDataset
from gffusion.data.label_colors import LabelColors
from gffusion.data.label_values import check_class_values

BLACK, RED, GREEN, BLUE = (0, 0, 0), (250, 50, 83), (51, 221, 51), (61, 61, 245)
COLORS = np.array([BLACK, RED, GREEN, BLUE], np.uint8)
NAMES = ["background", "person", "bicycle", "car"]


def paint(*classes: int) -> Image.Image:
    return Image.fromarray(COLORS[np.resize(classes, (8, 12))])


def index(palette: Mapping[int, tuple[int, ...]], *classes: int) -> Image.Image:
    image = Image.fromarray(np.resize(np.array(classes, np.uint8), (8, 12)), "P")
    image.putpalette([value for number in range(256) for value in palette.get(number, BLACK)])
    return image


def add(folder: Path, *images: Image.Image) -> list[str]:
    colors = LabelColors()
    for number, image in enumerate(images):
        file = folder / f"{number}.png"
        image.save(file)
        with Image.open(file) as stored:
            colors.add(file, map(int, np.unique(np.array(stored))))
    return colors.describe()


def test_colors_numbered_anew_in_every_file(tmp_path: Path) -> None:
    """As by indexed color, pngquant and `quantize`: training and evaluation would take the indices for classes."""
    for kind in ("visible", "infrared", "labels"):
        (tmp_path / kind).mkdir()
        for number, classes in enumerate(([0, 1, 2], [0, 2, 3], [0, 1, 3])):
            image = paint(*classes).quantize(3) if kind == "labels" else paint(0).convert("L")
            image.save(tmp_path / kind / f"{number}.png")
    message = (
        r"gives the color \(.*\) the index \d, but that of .*\.png the index \d: indices that change from file to file"
    )
    with pytest.raises(ValueError, match=message):
        FusionDataset(tmp_path).read_label_values()
    with pytest.raises(ValueError, match=message):
        check_class_values(sorted((tmp_path / "labels").iterdir()), NAMES, {}, 1000)


def test_one_palette_in_another_order(tmp_path: Path) -> None:
    assert "background, has the color (51, 221, 51) in the palettes of the label maps, and black has the index 3" in add(
        tmp_path, *[index({0: GREEN, 1: BLUE, 2: RED, 3: BLACK}, 0, 1, 2, 3)] * 2
    )[0]  # fmt: skip


def test_one_object_in_every_file(tmp_path: Path) -> None:
    """No color has two indices, and the same class can have got another color."""
    (note,) = add(tmp_path, index({1: RED}, 0, 1), index({1: BLUE}, 0, 1))
    assert f"{tmp_path}: the palettes of the label maps give the index 1 the colors {RED} and {BLUE}. If" in note


@pytest.mark.parametrize(
    "images",
    [
        [index(dict(enumerate([BLACK, RED, GREEN, BLUE])), *classes) for classes in ([0, 1], [3, 0, 2], [2], [1, 2])],
        [index({number: (number,) * 3 for number in range(256)}, 0, 1, 2), index({1: RED, 2: BLUE}, 0, 1, 2)],
        [index({}, 0, 1, 2), index({1: RED, 2: BLUE}, 0, 1, 2)],  # no colors
        [index({1: RED}, 4, 1), index({1: RED}, 0, 1), index({1: RED}, 3, 1)],  # 3 and 4 have no color of their own
        [Image.fromarray(np.eye(8, dtype=np.uint8)), index({1: RED}, 0, 1), Image.new("1", (8, 8), 1)],
        [Image.new("P", (4, 4)), index({1: RED}, 0, 1)],
    ],
    ids=["one palette", "grays", "black", "unnamed colors", "without a palette", "blank"],
)
def test_palettes_that_do_not_contradict(tmp_path: Path, images: list[Image.Image]) -> None:
    assert add(tmp_path, *images) == []
